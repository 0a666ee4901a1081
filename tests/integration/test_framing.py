"""Where a request ends, directly and behind proxies that share connections among their clients."""

import json
import shutil
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from PIL import Image

from testing.framing import BROKEN_CHUNKS, CHUNKED, H2C, UNCLEAR_HEADS, WEBSOCKET, head
from testing.fronts import FRONTS
from testing.pictures import encode
from testing.service import Service

TIMEOUT_S = 30.0
GIVEN_UP_AFTER_S = 2.0
"""How long an attacker waits: some proxies wait for more of what is sent."""

NUM_VICTIMS = 100
PATH = b"/predict"
CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
CONTEXT.check_hostname, CONTEXT.verify_mode = False, ssl.CERT_NONE


@dataclass(frozen=True)
class Target:
    """The service, or what stands before it, which makes its own of some requests."""

    name: str
    url: str

    @contextmanager
    def connect(self, timeout_s: float = TIMEOUT_S) -> Iterator[socket.socket]:
        parts = urlsplit(self.url)
        assert parts.port is not None
        with socket.create_connection(("localhost", parts.port), timeout_s) as plain:
            if parts.scheme == "http":
                yield plain
                return
            with CONTEXT.wrap_socket(plain, server_hostname="localhost") as client:
                yield client


def read_answer(client: socket.socket, method: str = "GET") -> HTTPResponse:
    """The next answer with its body at hand. Raises HTTPException or OSError."""
    answer = HTTPResponse(client, method=method)
    answer.begin()
    return answer


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

IMAGE = b"Content-Type: image/png"
OFFERS = {"h2c": H2C, "other": (b"Connection: upgrade", b"Upgrade: other/1")}
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


def smuggled(photo: bytes) -> bytes:
    """What a victim must never be answered with: a whole request for another photo."""
    length = b"Content-Length: %d" % len(photo)
    return head(length, IMAGE, b"X-Request-ID: smuggled", path=b"/run_inference") + photo


def attacks(photo: bytes) -> list[bytes]:
    """Bodies and remains of bodies that are requests."""
    inner = smuggled(photo)
    length = b"Content-Length: %d" % len(inner)
    chunks = b"%x\r\n" % len(inner) + inner + b"\r\n0\r\n\r\n"
    bodies = [
        head(*lines, *offer, IMAGE, method=method, path=PATH) + body
        for offer in [*OFFERS.values(), WEBSOCKET, (b"Expect: 100-continue",), ()]
        for lines, body in [((length,), inner), ((CHUNKED,), chunks)]
        for method in (b"POST", b"GET", b"HEAD", b"OPTIONS")
    ]
    unclear = [*UNCLEAR_HEADS.values(), *(head(CHUNKED) + each for each in BROKEN_CHUNKS.values())]
    return bodies + [request + inner for request in unclear]


def attack(target: Target, request: bytes) -> None:
    with target.connect(GIVEN_UP_AFTER_S) as client:
        try:
            client.sendall(request)
            read_answer(client, request.partition(b" ")[0].decode("latin-1")).read()
        except (HTTPException, OSError):
            return  # an attacker may be told anything, or nothing


def ask_as_victim(target: Target, number: int) -> tuple[int, str | None]:
    """On a connection of its own to the target: status and whose answer it is."""
    with target.connect() as client:
        client.sendall(head(b"X-Request-ID: %d" % number, method=b"GET", path=b"/healthz"))
        answer = read_answer(client)
        answer.read()
        return answer.status, answer.headers["X-Request-ID"]


def test_a_second_client_gets_its_own_answers(target: Target, photos: list[bytes]) -> None:
    requests_ = attacks(photos[1])
    assert len(requests_) > NUM_VICTIMS
    answers = []
    for number, request in enumerate(requests_):
        attack(target, request)
        answers.append((*ask_as_victim(target, number), request[:120]))
    assert answers == [(200, f"{n}", request[:120]) for n, request in enumerate(requests_)]


@each_offer
def test_a_second_client_gets_the_class_of_its_own_photo(
    target: Target, photos: list[bytes], class_ids: list[str], offer: tuple[bytes, ...]
) -> None:
    inner = smuggled(photos[1])
    request = head(b"Content-Length: %d" % len(inner), IMAGE, *offer, path=PATH) + inner
    for _ in range(10):
        attack(target, request)
        assert ask(target.url, photos[0]) == class_ids[0]


def test_a_websocket_is_answered_at_once(target: Target) -> None:
    for lines, body in [((), b""), ((b"Content-Length: 3",), b"abc")]:
        with target.connect(5) as client:
            client.sendall(head(*lines, *WEBSOCKET, method=b"GET", path=PATH) + body)
            # HAProxy takes the offer off, and the Ingress answers what is left: no image.
            assert read_answer(client).status in {400, 403, 405, 415, 501}
