"""The routes with a classifier that does as told: what a running service cannot show."""

import logging
import time
from typing import Any

import httpx
import pytest

from deployments.common.errors import Overloaded, Unavailable
from deployments.common.settings import Limits
from deployments.ingress.application import create_application
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
    assert fields["bytes"] > 0
    assert fields["duration_ms"] >= fields["decode_ms"] > 0
    assert "a.jpg" not in caplog.text
