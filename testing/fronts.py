"""What stands before the service in the open: a real Caddy, nginx and HAProxy, as documented."""

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import urllib3

from testing.ports import find_free_port
from testing.service import ROOT

READY_WITHIN_S = 30.0

HAPROXY = """
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
listen front
  bind 127.0.0.1:{port}
  server service 127.0.0.1:{upstream}
"""


@contextmanager
def running_caddy(upstream: int, folder: Path, name: str = "Caddyfile") -> Iterator[str]:
    """Our Caddyfile of that name, but for the ports, with one upstream that is not there."""
    port = find_free_port()
    ours = ROOT / "config" / name
    options = f"admin off\nskip_install_trust\nhttp_port {find_free_port()}\nhttps_port {port}"
    (folder / "Caddyfile").write_text(f"{{\n{options}\n}}\nimport {ours}\n")
    command = ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]
    upstreams = f"localhost:{find_free_port()} localhost:{upstream}"
    environment = {"UPSTREAMS": upstreams, "HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    with _running(command, folder, f"https://localhost:{port}", environment) as url:
        yield url


@contextmanager
def running_nginx(upstream: int, folder: Path) -> Iterator[str]:
    """The documents' lines, but for the ports and the certificate's place."""
    subject = "-subj /CN=localhost -addext subjectAltName=DNS:localhost"
    make = f"openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem {subject}"
    subprocess.run(make.split(), cwd=folder, check=True, capture_output=True)
    port = find_free_port()
    lines = re.findall(
        r"```nginx\n(.*?)```", (ROOT / "docs" / "security.md").read_text(), re.DOTALL
    )[0]
    for theirs, mine in {
        "listen 443": f"listen 127.0.0.1:{port}",
        "/etc/nginx/": f"{folder}/",
        "127.0.0.1:5000": f"127.0.0.1:{upstream}",
    }.items():
        assert theirs in lines
        lines = lines.replace(theirs, mine)
    places = f"user root; pid {folder}/pid; error_log stderr; daemon off;"
    paths = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{path}_temp_path {folder}/{path};" for path in paths)
    http = f"http {{ access_log off; {temporary}\n{lines} }}"
    (folder / "nginx.conf").write_text(f"{places}\nevents {{}}\n{http}\n")
    command = ["nginx", "-p", str(folder), "-c", "nginx.conf"]
    with _running(command, folder, f"https://localhost:{port}", {}) as url:
        yield url


@contextmanager
def running_haproxy(upstream: int, folder: Path) -> Iterator[str]:
    """One that lets any client's request travel on any connection to the service."""
    port = find_free_port()
    (folder / "haproxy.cfg").write_text(HAPROXY.format(port=port, upstream=upstream))
    command = ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")]
    with _running(command, folder, f"http://127.0.0.1:{port}", {}) as url:
        yield url


FRONTS: dict[str, Callable[[int, Path], AbstractContextManager[str]]] = {
    "caddy": running_caddy,
    "nginx": running_nginx,
    "haproxy": running_haproxy,
}
"""By the name of the program: given the service's port and an empty folder, the front's URL."""


@contextmanager
def _running(
    command: list[str], folder: Path, url: str, environment: dict[str, str]
) -> Iterator[str]:
    """Started, with the service behind it; stopped at the end."""
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command, env={"PATH": "/usr/sbin:/usr/bin", **environment}, stderr=log
        )
    try:
        give_up = time.monotonic() + READY_WITHIN_S
        while not _is_ready(url):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < give_up, (folder / "log").read_text()
            time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait()


def _is_ready(url: str) -> bool:
    pools = urllib3.PoolManager(cert_reqs="CERT_NONE", retries=False, timeout=5)
    try:
        return pools.request("GET", f"{url}/readyz").status == 200
    except urllib3.exceptions.HTTPError:
        return False
