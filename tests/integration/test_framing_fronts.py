"""Fronts right before the parser of the Ingress replicas: here its rules alone keep clients apart.

Only Caddy hands an offer on with a body, so only its tests fail with uvicorn's own parser: every
third or fourth victim gets the smuggled response. nginx, as in the documents, drops `Upgrade` and
closes each connection. HAProxy drops `Upgrade` from a request with a body. Behind these two the
other unclear requests are refused by the front or by llhttp, whichever parser reads them.
"""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send

from testing.framing_attacks import (
    OFFERS,
    Target,
    ask_as_victim,
    attack,
    attack_with_a_late_body,
    attacks,
)
from testing.fronts import FRONTS
from testing.parser_server import serving
from testing.pictures import encode, make_picture

pytestmark = pytest.mark.filterwarnings("ignore:Unverified HTTPS request")

PHOTO = encode(make_picture(1, 32, 32))
CLASSIFIED_AFTER_S = 0.2
"""A smuggled response is given to the next client if it comes after that client's request."""


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads the request as it is read, classifies slowly, and names whose response it is."""
    assert scope["type"] == "http"
    while (message := await receive()).get("more_body"):
        continue
    if message["type"] == "http.disconnect":
        return
    if scope["path"] == "/run_inference":
        await asyncio.sleep(CLASSIFIED_AFTER_S)
    request_id = dict(scope["headers"]).get(b"x-request-id", b"none")
    headers = [(b"content-length", b"0"), (b"x-request-id", request_id)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body"})


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serving(application) as port:
        yield port


@pytest.fixture(scope="module", params=FRONTS)
def target(
    request: pytest.FixtureRequest, port: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Target]:
    name = request.param
    if shutil.which(name, path="/usr/sbin:/usr/bin") is None:
        pytest.skip(f"{name} is not installed")
    folder: Path = tmp_path_factory.mktemp(name)
    with FRONTS[name](port, folder) as url:
        yield Target(name, url)


@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
def test_a_body_that_comes_late_is_no_request_of_the_next_client(
    target: Target, offer: tuple[bytes, ...]
) -> None:
    for number in range(50):
        attack_with_a_late_body(target, PHOTO, offer)
        assert ask_as_victim(target, number) == (200, f"{number}")


def test_a_second_client_gets_its_own_answers(target: Target) -> None:
    for number, request in enumerate(attacks(PHOTO)):
        attack(target, request)
        assert ask_as_victim(target, number) == (200, f"{number}"), request[:120]
