"""The middleware of Ray's proxy around a stand-in for Ray: its words, and when bodies are read."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from deployments.common.errors import InternalError, QueueFull
from deployments.ingress.http.body_limit import BODY_WANTED
from deployments.ingress.http.edge import ProxyEnvelope
from deployments.ingress.http.middleware import render_error

pytestmark = pytest.mark.anyio

TERMS = {"type": BODY_WANTED, "max_bytes": 100, "max_buffered_bytes": 150, "timeout_s": 30.0}


class Client:
    """Sends a body in pieces, and keeps what it gets."""

    def __init__(self, *pieces: bytes) -> None:
        self.sent = 0
        self.answer: list[Message] = []
        self._pieces = pieces

    async def receive(self) -> Message:
        if self.sent == len(self._pieces):
            await asyncio.Event().wait()
        self.sent += 1
        return {
            "type": "http.request",
            "body": self._pieces[self.sent - 1],
            "more_body": True,
        }

    async def send(self, message: Message) -> None:
        self.answer.append(message)

    @property
    def told(self) -> tuple[int, str]:
        start, body = self.answer
        return start["status"], json.loads(body["body"])["error"]["code"]


async def run(proxy: ProxyEnvelope, client: Client, has_body: bool = True) -> None:
    headers = [(b"transfer-encoding", b"chunked")] if has_body else []
    scope: Scope = {"type": "http", "method": "POST", "path": "/predict", "headers": headers}
    await proxy(scope, client.receive, client.send)


class Ray:
    """Reads as Ray's proxy does: all that comes, and is gone when the client is."""

    def __init__(self, terms: Message | None) -> None:
        self.terms = terms
        self.received: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reading = asyncio.create_task(self._read(receive))
        await asyncio.sleep(0.01)
        if self.terms is not None and BODY_WANTED in scope.get("extensions", {}):
            await send(self.terms)
        await asyncio.wait([reading], timeout=0.2)
        reading.cancel()

    async def _read(self, receive: Receive) -> None:
        while (message := await receive())["type"] != "http.disconnect":
            self.received.append(message["body"])


async def test_a_body_is_not_read_before_the_application_wants_it() -> None:
    client = Client(b"x")
    await run(ProxyEnvelope(Ray(None)), client)
    assert client.sent == 0
    assert client.told == (503, "unavailable")


async def test_a_body_is_read_no_further_than_the_application_wants_it() -> None:
    client, ray = Client(*[b"x" * 40] * 9), Ray(TERMS)
    await run(ProxyEnvelope(ray), client)
    assert [len(piece) for piece in ray.received] == [40, 40, 40]  # it sees that this is too much
    assert client.sent == 3


async def test_the_largest_of_too_many_bytes_is_refused_and_the_others_go_on() -> None:
    large, small = Client(b"x" * 90), Client(b"x" * 40, b"x" * 40)
    ray = Ray(TERMS)
    proxy = ProxyEnvelope(ray)
    await asyncio.gather(run(proxy, large), run(proxy, small))
    assert large.told == (503, "overloaded")
    assert small.sent == 2
    assert small.told == (503, "unavailable")  # this Ray answers nobody


async def test_a_request_without_a_body_takes_nothing_from_those_with_one() -> None:
    upload, probe = Client(b"x" * 90), Client(b"")
    proxy = ProxyEnvelope(Ray(TERMS))
    uploading = asyncio.create_task(run(proxy, upload))
    await asyncio.sleep(0.1)  # it holds its bytes for longer than that
    assert upload.sent == 1
    await run(proxy, probe, has_body=False)
    await uploading
    assert upload.told == (503, "unavailable")  # this Ray answers nobody, and none was refused


async def test_no_answer_after_the_deadline_is_that() -> None:
    client = Client(b"x")
    await run(ProxyEnvelope(Ray(TERMS | {"timeout_s": 0.1})), client)
    assert client.told == (504, "deadline_exceeded")


async def test_a_websocket_is_closed() -> None:
    async def app(*_: Any) -> None:
        raise AssertionError("it reached the application")

    client = Client()
    await ProxyEnvelope(app)({"type": "websocket", "path": "/"}, client.receive, client.send)
    assert client.answer == [{"type": "websocket.close"}]


@pytest.mark.parametrize(
    ("rays", "status", "code"),
    [
        (404, 503, "unavailable"),  # nothing is deployed
        (408, 504, "deadline_exceeded"),
        (429, 503, "overloaded"),  # `backpressure_config` of the ingress
        (500, 503, "unavailable"),  # an ingress died at work
        (503, 503, "unavailable"),
    ],
)
async def test_rays_own_answers_have_our_form(rays: int, status: int, code: str) -> None:
    async def ray(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("a trace at 10.0.0.1", rays)(scope, receive, send)

    transport = httpx.ASGITransport(ProxyEnvelope(ray))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        response = await client.post("/predict")
    assert response.status_code == status
    assert response.json()["error"]["code"] == code
    assert "10.0.0.1" not in response.text
    assert response.headers["X-Model-Version"] == "unknown"
    assert "X-Refuse-For-S" not in response.headers
    assert ("Retry-After" in response.headers) == (status == 503)


class LongFull(QueueFull):
    """Long enough for a busy machine to ask again within the period."""

    refuse_for_s = 1.0


async def test_a_full_queue_is_refused_before_the_body_is_read_and_for_a_moment_only() -> None:
    asked: list[str] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        asked.append(scope["path"])
        refusal = render_error(LongFull("too many", 7), scope["path"], {"X-Model-Version": "1"})
        await refusal(scope, receive, send)

    async def body() -> AsyncIterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    transport = httpx.ASGITransport(ProxyEnvelope(application))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        first = await client.post("/predict")
        second = await client.post("/predict", content=body())
        await client.get("/readyz")
        await asyncio.sleep(LongFull.refuse_for_s)
        await client.post("/predict")
    for response in (first, second):
        assert response.status_code == 503
        assert response.json()["error"]["code"] == "overloaded"
        assert response.headers["Retry-After"] == "7"
        assert response.headers["X-Model-Version"] == "1"
        assert "X-Refuse-For-S" not in response.headers
    assert asked == ["/predict", "/readyz", "/predict"]


async def test_after_a_full_queue_one_is_let_in_then_two_then_four() -> None:
    full = True

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        error = LongFull("too many", 7) if full else InternalError("let in")
        answer = render_error(error, scope["path"], {"X-Model-Version": "1"})
        await answer(scope, receive, send)

    transport = httpx.ASGITransport(ProxyEnvelope(application))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        await client.post("/predict")
        full = False
        refused_at = time.monotonic()
        let_in = []
        for period in range(4):
            middle = refused_at + (period + 0.5) * LongFull.refuse_for_s
            await asyncio.sleep(middle - time.monotonic())
            responses = [await client.post("/predict") for _ in range(20)]
            let_in.append(sum(response.status_code == 500 for response in responses))
    assert let_in == [0, 1, 2, 4]
