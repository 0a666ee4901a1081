"""The routes with a classifier that does as told: what a running service cannot show."""

import asyncio
import base64
import json
import logging
import time
from typing import Any

import httpx
import pytest
from starlette.types import Message, Scope

from deployments.common.errors import Overloaded, Unavailable
from deployments.common.settings import Limits
from deployments.ingress.application import create_application
from deployments.ingress.context import RequestContext
from deployments.ingress.images.pipeline import Pipeline
from testing.fake_classifier import FakeClassifier
from testing.pictures import encode, make_picture

pytestmark = pytest.mark.anyio

JPEG = encode(make_picture(1), "JPEG")


async def post(
    classifier: FakeClassifier, path: str = "/predict", limits: Limits | None = None, **options: Any
) -> httpx.Response:
    api = create_application(Pipeline(classifier, limits or Limits()))
    transport = httpx.ASGITransport(api)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        options.setdefault("files", [("file", ("a.jpg", JPEG)), ("file", ("b.jpg", JPEG))])
        return await client.post(path, **options)


def error_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


async def test_a_failure_is_told_in_our_words_and_its_trace_is_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    response = await post(FakeClassifier(error=RuntimeError("secret at 10.0.0.1")))
    assert error_of(response) == (500, "internal")
    assert "secret" not in response.text
    assert "Traceback" in caplog.text
    assert "secret at 10.0.0.1" in caplog.text


async def test_an_image_the_model_failed_on_costs_the_others_nothing() -> None:
    response = await post(FakeClassifier(failed=frozenset({0})))
    assert response.status_code == 200
    assert response.json()["a.jpg"]["error"]["code"] == "internal"
    assert response.json()["b.jpg"]["class_name"] == "goldfish"


async def test_no_ready_classifier_is_unavailable_at_once() -> None:
    classifier = FakeClassifier()
    classifier.is_ready = False
    response = await post(classifier)
    assert error_of(response) == (503, "unavailable")
    assert int(response.headers["Retry-After"]) >= 1
    assert classifier.calls == 0


@pytest.mark.parametrize("error", [Overloaded("busy", 7), Unavailable("gone", 7)])
async def test_a_refusal_says_when_to_come_again(error: Overloaded | Unavailable) -> None:
    response = await post(FakeClassifier(error=error))
    assert error_of(response) == (503, error.code)
    assert response.headers["Retry-After"] == "7"


@pytest.mark.parametrize("headers", [{}, {"X-Deadline-Ms": "900000"}])
async def test_no_client_gets_more_time_than_the_limit(headers: dict[str, str]) -> None:
    classifier = FakeClassifier()
    classifier.delay_s = 30
    started = time.monotonic()
    response = await post(classifier, limits=Limits(timeout_s=0.2), headers=headers)
    assert error_of(response) == (504, "deadline_exceeded")
    assert time.monotonic() - started < 5


async def test_a_client_may_ask_for_less_time() -> None:
    classifier = FakeClassifier()
    classifier.delay_s = 30
    response = await post(classifier, headers={"X-Deadline-Ms": "100"})
    assert error_of(response) == (504, "deadline_exceeded")


async def test_every_answer_names_the_model() -> None:
    for path in ("/predict", "/nowhere"):
        assert (await post(FakeClassifier(), path)).headers["X-Model-Version"] == "test"


async def test_the_access_log_has_figures_and_no_names(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, logger="ray.serve")
    await post(FakeClassifier())
    record = next(record for record in caplog.records if "/predict" in record.getMessage())
    fields = vars(record)
    assert (fields["method"], fields["path"], fields["status"]) == ("POST", "/predict", "200")
    assert (fields["images"], fields["classified"], fields["error"]) == (2, 2, "")
    assert fields["client"] == ""
    assert fields["client_address"] == "127.0.0.1"
    assert fields["user_agent"].startswith("python-httpx/")
    assert fields["bytes"] > 0
    assert fields["duration_ms"] >= fields["decode_ms"] > 0
    assert "a.jpg" not in caplog.text


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        (["10.0.0.7"], "10.0.0.7"),
        (["forged, 10.0.0.7", "127.0.0.1"], "forged, 10.0.0.7, 127.0.0.1"),
        (["forged" * 1000, "10.0.0.7"], ("forged" * 1000)[-190:] + ", 10.0.0.7"),
    ],
)
async def test_the_access_log_has_the_addresses_that_proxies_saw_the_nearest_last(
    forwarded: list[str], address: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="ray.serve")
    headers = [("X-Forwarded-For", each) for each in forwarded] + [("User-Agent", "x" * 1000)]
    await post(FakeClassifier(), headers=headers)
    fields = vars(caplog.records[-1])
    assert fields["client_address"] == address
    assert fields["user_agent"] == "x" * 200


async def request(
    method: str, path: str, classifier: FakeClassifier | None = None
) -> httpx.Response:
    api = create_application(Pipeline(classifier or FakeClassifier(), Limits()))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(api), base_url="http://test"
    ) as client:
        return await client.request(method, path)


@pytest.mark.parametrize("path", ["/", "/readyz", "/healthz", "/v2", "/docs", "/openapi.json"])
async def test_head_is_answered_as_get_is(path: str) -> None:
    head, get = await request("HEAD", path), await request("GET", path)
    assert head.status_code == get.status_code == 200
    assert head.headers["Content-Type"] == get.headers["Content-Type"]


async def test_head_of_readiness_says_unavailable_too() -> None:
    assert (await request("HEAD", "/readyz", FakeClassifier(is_ready=False))).status_code == 503


@pytest.mark.parametrize("path", ["/predict/", "/healthz/", "/docs/", "/v2x/", "//predict", "/no"])
async def test_a_path_with_a_slash_too_many_is_not_found_and_not_redirected(path: str) -> None:
    response = await request("GET", f"http://test{path}")
    assert error_of(response) == (404, "not_found")


async def test_a_method_that_a_path_lacks_is_refused_with_those_it_has() -> None:
    response = await request("DELETE", "/predict")
    assert error_of(response) == (405, "method_not_allowed")
    assert {"GET", "POST"} <= {*response.headers["Allow"].split(", ")}


@pytest.mark.parametrize(
    ("query", "hint"),
    [
        ("top-k=3", "Did you mean 'top_k'?"),
        ("topk=3", "Did you mean 'top_k'?"),
        ("top_k=3&TOP_K=3", "TOP_K"),
        ("nonsense=", "'nonsense'"),
    ],
)
@pytest.mark.parametrize("path", ["/predict", "/run_inference"])
async def test_an_unknown_query_parameter_is_refused_with_the_nearest_name(
    path: str, query: str, hint: str
) -> None:
    classifier = FakeClassifier()
    response = await post(classifier, f"{path}?{query}", files=[("file", ("a.jpg", JPEG))])
    assert error_of(response) == (400, "malformed_request")
    assert hint in response.json()["error"]["message"]
    assert not classifier.calls


@pytest.mark.parametrize("value", ["0", "1001", "-1", "1.0", "", "²", "9" * 5000])
async def test_a_bad_top_k_is_refused(value: str) -> None:
    response = await post(FakeClassifier(), f"/predict?top_k={value}")
    assert error_of(response) == (400, "malformed_request")
    assert "from 1 to 1000" in response.json()["error"]["message"]


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "soon"])
async def test_a_bad_deadline_is_refused(value: str) -> None:
    response = await post(FakeClassifier(), headers={"X-Deadline-Ms": value})
    assert error_of(response) == (400, "malformed_request")


class LeavingClient:
    """Sends its body whole, and leaves when it is told to."""

    def __init__(self, body: bytes) -> None:
        self.leaves = asyncio.Event()
        self.received: list[Message] = []
        self._messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive(self) -> Message:
        if self._messages:
            return self._messages.pop()
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.received.append(message)


V2_BODY = json.dumps(
    {
        "inputs": [
            {
                "name": "image",
                "datatype": "BYTES",
                "shape": [1],
                "data": [base64.b64encode(JPEG).decode()],
            }
        ]
    }
).encode()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/predict", JPEG),
        ("/run_inference", JPEG),
        ("/v2/models/densenet121/infer", V2_BODY),
    ],
)
async def test_a_client_that_leaves_cancels_its_classification(
    path: str, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="ray.serve")
    classifier, client = FakeClassifier(delay_s=60), LeavingClient(body)
    contexts: list[RequestContext] = []
    api = create_application(Pipeline(classifier, Limits()), on_request_end=contexts.append)
    headers = [(b"content-type", b"image/jpeg")]
    scope: Scope = {"type": "http", "method": "POST", "path": path, "headers": headers}
    scope["query_string"] = b""
    handling = asyncio.create_task(api(scope, client.receive, client.send))
    await asyncio.wait_for(classifier.called.wait(), 10)
    client.leaves.set()
    await asyncio.wait_for(handling, 10)
    assert classifier.is_cancelled
    (record,) = caplog.records
    fields = vars(record)
    assert (fields["status"], fields["error"]) == ("499", "client_closed_request")
    assert [context.status for context in contexts] == ["499"]


async def test_a_request_that_the_server_cancels_is_not_taken_for_a_client_that_left() -> None:
    classifier = FakeClassifier(delay_s=60)
    waiting = asyncio.create_task(post(classifier))
    await asyncio.wait_for(classifier.called.wait(), 10)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert classifier.is_cancelled


async def ask_from_page(origin: str, method: str, **headers: str) -> httpx.Response:
    pipeline = Pipeline(FakeClassifier(), Limits())
    api = create_application(pipeline, cors_origins=["https://example.org"])
    transport = httpx.ASGITransport(api)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        sent = {
            "Origin": origin,
            **{key.replace("_", "-"): value for key, value in headers.items()},
        }
        return await client.request(method, "/predict", headers=sent)


async def test_a_page_of_a_named_origin_may_use_the_api() -> None:
    preflight = await ask_from_page(
        "https://example.org",
        "OPTIONS",
        Access_Control_Request_Method="POST",
        Access_Control_Request_Headers="X-API-Key",
    )
    assert preflight.status_code == 200
    assert preflight.headers["Access-Control-Allow-Origin"] == "https://example.org"
    response = await ask_from_page("https://example.org", "POST")
    assert response.headers["Access-Control-Allow-Origin"] == "https://example.org"


async def test_a_page_of_another_origin_may_not() -> None:
    response = await ask_from_page("https://elsewhere.example", "POST")
    assert "Access-Control-Allow-Origin" not in response.headers
