"""Where a request ends, directly and behind proxies that share connections among their clients.

Here Ray's HAProxy stands between the front and the Ingress, and takes offers off as well: it
alone would make these tests pass. `test_framing_fronts` puts the fronts before the parser itself.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from PIL import Image

from testing.framing import CHUNKED, WEBSOCKET, head
from testing.framing_attacks import (
    IMAGE,
    OFFERS,
    PATH,
    TIMEOUT_S,
    Target,
    ask_as_victim,
    attack,
    attack_with_a_late_body,
    attacks,
    read_answer,
    smuggled,
)
from testing.fronts import FRONTS
from testing.pictures import encode
from testing.service import Service

NUM_VICTIMS = 100


@pytest.fixture(scope="module", params=["service", *FRONTS])
def target(
    request: pytest.FixtureRequest, service: Service, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Target]:
    name = request.param
    if name == "service":
        yield Target(name, f"http://127.0.0.1:{service.port}")
        return
    if shutil.which(name, path="/usr/sbin:/usr/bin") is None:
        pytest.skip(f"{name} is not installed")
    folder: Path = tmp_path_factory.mktemp(name)
    with FRONTS[name](service.port, folder) as url:
        yield Target(name, url)


@pytest.fixture(scope="module")
def photos(pictures: list[Image.Image]) -> list[bytes]:
    return [encode(picture) for picture in pictures[:2]]


@pytest.fixture(scope="module")
def class_ids(service: Service, photos: list[bytes]) -> list[str]:
    """The classes of those photos, asked for in the plain way."""
    ids = [ask(service.url, photo) for photo in photos]
    assert ids[0] != ids[1]
    return ids


def ask(url: str, photo: bytes) -> str:
    headers = {"Content-Type": "image/png"}
    answer = requests.post(
        f"{url}/run_inference",
        photo,
        headers=headers,
        timeout=TIMEOUT_S,
        verify=False,  # noqa: S501
    )
    return str(answer.json()["class_id"])


pytestmark = pytest.mark.filterwarnings("ignore:Unverified HTTPS request")

each_offer = pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)


@each_offer
@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunks"])
def test_a_photo_with_an_offer_to_upgrade_is_classified(
    target: Target,
    photos: list[bytes],
    class_ids: list[str],
    offer: tuple[bytes, ...],
    is_chunked: bool,
) -> None:
    photo = photos[0]
    if is_chunked:
        request = head(CHUNKED, IMAGE, *offer, path=b"/run_inference")
        request += b"%x\r\n" % len(photo) + photo + b"\r\n0\r\n\r\n"
    else:
        length = b"Content-Length: %d" % len(photo)
        request = head(length, IMAGE, *offer, path=b"/run_inference") + photo
    with target.connect() as client:
        client.sendall(request)
        answer = read_answer(client)
        assert answer.status == 200
        assert json.load(answer)["class_id"] == class_ids[0]


def test_a_second_client_gets_its_own_answers(target: Target, photos: list[bytes]) -> None:
    requests_ = attacks(photos[1])
    assert len(requests_) > NUM_VICTIMS
    answers = []
    for number, request in enumerate(requests_):
        attack(target, request)
        answers.append((*ask_as_victim(target, number), request[:120]))
    assert answers == [(200, f"{n}", request[:120]) for n, request in enumerate(requests_)]


@pytest.mark.parametrize("expectation", [b"100-continue", b"100-continue, 200-ok"])
@pytest.mark.parametrize("path", [b"/healthz", b"/nothing"])
def test_a_response_before_the_expected_body_ends_the_connection(
    service: Service, expectation: bytes, path: bytes
) -> None:
    """A proxy in front must not send the next client's request where the body is due."""
    request = head(b"Expect: " + expectation, b"Content-Length: 3", path=path)
    with Target("service", f"http://127.0.0.1:{service.port}").connect() as client:
        client.sendall(request)
        assert read_answer(client).headers["Connection"] == "close"


@each_offer
def test_a_second_client_gets_the_class_of_its_own_photo(
    target: Target, photos: list[bytes], class_ids: list[str], offer: tuple[bytes, ...]
) -> None:
    inner = smuggled(photos[1])
    request = head(b"Content-Length: %d" % len(inner), IMAGE, *offer, path=PATH) + inner
    for _ in range(10):
        attack(target, request)
        assert ask(target.url, photos[0]) == class_ids[0]


@each_offer
def test_a_body_that_comes_late_is_no_request_of_the_next_client(
    target: Target, photos: list[bytes], offer: tuple[bytes, ...]
) -> None:
    for number in range(20):
        attack_with_a_late_body(target, photos[1], offer)
        assert ask_as_victim(target, number) == (200, f"{number}")


def test_a_websocket_is_answered_at_once(target: Target) -> None:
    for lines, body in [((), b""), ((b"Content-Length: 3",), b"abc")]:
        with target.connect(5) as client:
            client.sendall(head(*lines, *WEBSOCKET, method=b"GET", path=PATH) + body)
            # HAProxy takes the offer off, and the Ingress answers what is left: no image.
            assert read_answer(client).status in {400, 403, 405, 415, 501}
