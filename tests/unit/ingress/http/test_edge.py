"""The middleware around Ray's own handler: ids, control headers, and Ray's own responses."""

import logging
from http import HTTPStatus

import httpx
import pytest
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.ingress.http.edge import EdgeMiddleware, error_for_ray_status

pytestmark = pytest.mark.anyio

CONTROL_HEADERS = [
    (b"x-request-timeout-seconds", b"0"),
    (b"x-request-disconnect-disabled", b"?1"),
]


class Application:
    """Responds as the application does, and keeps the headers it was sent."""

    def __init__(self, status: int = 200) -> None:
        self.headers = Headers()
        self._status = status

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.headers = Headers(scope=scope)
        response = PlainTextResponse("ours", self._status, {"X-Model-Version": "1"})
        await response(scope, receive, send)


async def post(
    app: ASGIApp,
    headers: list[tuple[str, str]] | None = None,
    path: str = "/predict",
    control_headers: list[tuple[bytes, bytes]] = CONTROL_HEADERS,
) -> httpx.Response:
    transport = httpx.ASGITransport(EdgeMiddleware(app, control_headers))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.post(path, headers=headers)


async def test_a_good_request_id_reaches_the_application() -> None:
    application = Application()
    await post(application, [("X-Request-ID", "client-1.a_B")])
    assert application.headers.getlist("x-request-id") == ["client-1.a_B"]


@pytest.mark.parametrize("sent", [[], [""], ["a b"], ["x" * 129], ["a\tb"]])
async def test_a_bad_request_id_is_replaced_by_a_new_one(sent: list[str]) -> None:
    application = Application()
    await post(application, [("X-Request-ID", each) for each in sent])
    (first,) = application.headers.getlist("x-request-id")
    await post(application)
    (second,) = application.headers.getlist("x-request-id")
    assert len(first) == 32
    assert first not in sent
    assert first != second


async def test_of_several_request_ids_one_is_left() -> None:
    application = Application()
    await post(application, [("X-Request-ID", "first"), ("X-Request-ID", "second")])
    assert application.headers.getlist("x-request-id") == ["first"]


async def test_control_headers_of_a_client_are_replaced() -> None:
    application = Application()
    sent = [
        ("X-Request-Timeout-Seconds", "900"),
        ("X-Request-Disconnect-Disabled", "?0"),
        ("Serve_Multiplexed_Model_Id", "a"),
        ("Serve-Multiplexed-Model-Id", "b"),
        ("X-Api-Key", "kept"),
    ]
    await post(application, sent)
    assert application.headers.getlist("x-request-timeout-seconds") == ["0"]
    assert application.headers.getlist("x-request-disconnect-disabled") == ["?1"]
    assert not {"serve_multiplexed_model_id", "serve-multiplexed-model-id"} & {*application.headers}
    assert application.headers["x-api-key"] == "kept"
    await post(application, sent, control_headers=[])
    assert "x-request-timeout-seconds" not in application.headers


@pytest.mark.parametrize("status", [200, 404, 408, 429, 500, 503])
async def test_the_applications_response_passes_as_it_is(status: int) -> None:
    response = await post(Application(status))
    assert (response.status_code, response.text) == (status, "ours")
    assert response.headers["X-Model-Version"] == "1"


@pytest.mark.parametrize("path", ["/-/healthz", "/-/routes"])
async def test_rays_own_paths_are_left_to_ray(path: str) -> None:
    response = await post(PlainTextResponse("success"), path=path)
    assert response.text == "success"


@pytest.mark.parametrize(
    ("rays", "status", "code"),
    [
        (404, 503, "unavailable"),  # nothing is deployed
        (408, 504, "deadline_exceeded"),
        (418, 500, "internal"),
        (429, 503, "overloaded"),  # `backpressure_config` of the ingress
        (500, 503, "unavailable"),  # an ingress died at work
        (503, 503, "unavailable"),
    ],
)
async def test_rays_own_responses_get_our_form(rays: int, status: int, code: str) -> None:
    response = await post(PlainTextResponse("a trace at 10.0.0.1", rays), [("X-Request-ID", "me")])
    assert response.status_code == status
    assert response.json()["error"]["code"] == code
    assert "10.0.0.1" not in response.text
    assert response.headers["X-Request-ID"] == "me"
    assert response.headers["X-Model-Version"] == "unknown"
    assert ("Retry-After" in response.headers) == (status == 503)


async def test_under_v2_they_get_the_form_of_the_protocol() -> None:
    response = await post(PlainTextResponse("gone", 500), path="/v2/models/densenet121/infer")
    assert response.json().keys() == {"error"}
    assert "ingress was lost" in response.json()["error"]


async def test_if_ray_sends_nothing_or_fails_the_client_still_gets_a_response(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def silent(_: Scope, __: Receive, ___: Send) -> None:
        return

    async def broken(_: Scope, __: Receive, ___: Send) -> None:
        raise RuntimeError("secret at 10.0.0.1")

    for app in (silent, broken):
        response = await post(app)
        assert response.status_code == 503
        assert "secret" not in response.text
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_a_small_body_is_read_before_a_response_that_replaces_rays() -> None:
    events: list[str] = []

    async def receive() -> Message:
        events.append("read")
        return {"type": "http.request", "body": b"abc", "more_body": False}

    async def send(message: Message) -> None:
        events.append(message["type"])

    headers = [(b"content-length", b"3")]
    scope = {"type": "http", "method": "POST", "path": "/predict", "headers": headers}
    await EdgeMiddleware(PlainTextResponse("busy", 429), [])(scope, receive, send)
    assert events == ["read", "http.response.start", "http.response.body"]


async def test_a_websocket_is_closed() -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError("read from it")

    await EdgeMiddleware(Application(), [])({"type": "websocket", "path": "/"}, receive, send)
    assert sent == [{"type": "websocket.close"}]


def test_every_status_of_ray_has_an_error() -> None:
    for status in (None, *HTTPStatus):
        assert error_for_ray_status(status).status >= 500
