"""What stands before the service in the open, as it is documented: a real Caddy, a real nginx."""

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from PIL import Image

from testing.pictures import encode
from testing.service import ROOT, Service, find_free_port

READY_WITHIN_S = 30.0


@pytest.fixture
def url(request: pytest.FixtureRequest) -> str:
    """Of the front that the test is parametrised with."""
    name = request.param
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    found: str = request.getfixturevalue(name)
    return found


@pytest.fixture(scope="module")
def caddy(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Our Caddyfile, but for the ports, with one upstream that is not there."""
    folder = tmp_path_factory.mktemp("caddy")
    port = find_free_port()
    ours = ROOT / "config" / "Caddyfile"
    options = f"admin off\nskip_install_trust\nhttp_port {find_free_port()}\nhttps_port {port}"
    (folder / "Caddyfile").write_text(f"{{\n{options}\n}}\nimport {ours}\n")
    command = ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]
    upstreams = f"localhost:{find_free_port()} localhost:{service.port}"
    environment = {"UPSTREAMS": upstreams, "HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    with running_front(command, folder, f"https://localhost:{port}", environment) as url:
        yield url


@pytest.fixture(scope="module")
def nginx(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The README's lines, but for the ports and the certificate's place."""
    folder = tmp_path_factory.mktemp("nginx")
    subject = "-subj /CN=localhost -addext subjectAltName=DNS:localhost"
    make = f"openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem {subject}"
    subprocess.run(make.split(), cwd=folder, check=True, capture_output=True)
    port = find_free_port()
    lines = re.findall(r"```nginx\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[0]
    for theirs, mine in {
        "listen 443": f"listen 127.0.0.1:{port}",
        "/etc/nginx/": f"{folder}/",
        "127.0.0.1:5000": f"127.0.0.1:{service.port}",
    }.items():
        assert theirs in lines
        lines = lines.replace(theirs, mine)
    places = f"user root; pid {folder}/pid; error_log stderr; daemon off;"
    paths = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{path}_temp_path {folder}/{path};" for path in paths)
    http = f"http {{ access_log off; {temporary}\n{lines} }}"
    (folder / "nginx.conf").write_text(f"{places}\nevents {{}}\n{http}\n")
    command = ["nginx", "-p", str(folder), "-c", "nginx.conf"]
    with running_front(command, folder, f"https://localhost:{port}", {}) as url:
        yield url


@contextmanager
def running_front(
    command: list[str], folder: Path, url: str, environment: dict[str, str]
) -> Iterator[str]:
    """Started, with the service behind it; stopped at the end."""
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command, env={"PATH": "/usr/sbin:/usr/bin", **environment}, stderr=log
        )
    try:
        give_up = time.monotonic() + READY_WITHIN_S
        while not is_ready(url):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < give_up, (folder / "log").read_text()
            time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait()


def is_ready(url: str) -> bool:
    try:
        return requests.get(f"{url}/readyz", timeout=5, verify=False).ok  # noqa: S501
    except requests.ConnectionError:
        return False


each_front = pytest.mark.parametrize("url", ["caddy", "nginx"], indirect=True)
pytestmark = [
    pytest.mark.filterwarnings("ignore:Unverified HTTPS request"),
    pytest.mark.usefixtures("service"),  # each front stands before it
]


@each_front
def test_pictures_are_classified_over_tls(url: str, pictures: list[Image.Image]) -> None:
    files = [("file", (f"{index}.png", encode(pictures[index]))) for index in range(4)]
    answer = requests.post(f"{url}/predict", files=files, timeout=30, verify=False)  # noqa: S501
    assert list(answer.json()) == ["0.png", "1.png", "2.png", "3.png"]
    assert answer.headers["X-Model-Version"].startswith("sha256:")
    assert "queue;dur=" in answer.headers["Server-Timing"]


@each_front
def test_errors_of_the_service_come_through(url: str) -> None:
    answer = requests.post(f"{url}/predict", b"no image", timeout=30, verify=False)  # noqa: S501
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("url", ["nginx"], indirect=True)
def test_more_than_a_request_may_have_is_refused_in_front(url: str) -> None:
    body = bytes(64 * 2**20 + 1)
    answer = requests.post(f"{url}/predict", body, timeout=60, verify=False)  # noqa: S501
    assert answer.status_code == 413
    assert "nginx" in answer.text
