"""What Ray's proxy says by itself, put into the service's words."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from deployments.envelope import render_error
from deployments.errors import QueueFull
from deployments.proxy import ProxyEnvelope

pytestmark = pytest.mark.anyio


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


async def test_a_full_queue_is_refused_before_the_body_is_read_and_for_a_moment_only() -> None:
    asked: list[str] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        asked.append(scope["path"])
        refusal = render_error(QueueFull("too many", 7), scope["path"], {"X-Model-Version": "1"})
        await refusal(scope, receive, send)

    async def body() -> AsyncIterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    transport = httpx.ASGITransport(ProxyEnvelope(application))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        first = await client.post("/predict")
        second = await client.post("/predict", content=body())
        await client.get("/readyz")
        await asyncio.sleep(QueueFull.refuse_for_s)
        await client.post("/predict")
    for response in (first, second):
        assert response.status_code == 503
        assert response.json()["error"]["code"] == "overloaded"
        assert response.headers["Retry-After"] == "7"
        assert response.headers["X-Model-Version"] == "1"
        assert "X-Refuse-For-S" not in response.headers
    assert asked == ["/predict", "/readyz", "/predict"]
