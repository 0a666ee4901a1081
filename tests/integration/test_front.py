"""What stands before the service in the open, as it is documented: a real Caddy, a real nginx."""

import shutil
from collections.abc import Iterator

import pytest
import requests
from PIL import Image

from testing.fronts import FRONTS
from testing.pictures import encode
from testing.service import Service


@pytest.fixture(scope="module")
def url(
    request: pytest.FixtureRequest, service: Service, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Of the front that the test is parametrised with."""
    name = request.param
    if shutil.which(name, path="/usr/sbin:/usr/bin") is None:
        pytest.skip(f"{name} is not installed")
    with FRONTS[name](service.port, tmp_path_factory.mktemp(name)) as url:
        yield url


each_front = pytest.mark.parametrize("url", ["caddy", "nginx"], indirect=True)
pytestmark = pytest.mark.filterwarnings("ignore:Unverified HTTPS request")


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
