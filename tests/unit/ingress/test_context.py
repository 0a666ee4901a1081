"""What is told of each request when it has been answered, over HTTP and over gRPC."""

import asyncio
import time

import httpx
import pytest

from deployments.common.errors import Overloaded
from deployments.common.settings import Limits
from deployments.ingress import metrics
from deployments.ingress.application import create_application
from deployments.ingress.context import RequestContext
from deployments.ingress.images.pipeline import Pipeline
from deployments.ingress.v2.grpc import InferenceServicer
from deployments.ingress.v2.model import InferenceModel
from testing.fake_classifier import FakeClassifier
from testing.pictures import encode, make_picture
from tests.unit.ingress.v2.test_grpc import Context, call, make_request

pytestmark = pytest.mark.anyio
PICTURE = encode(make_picture(1))


async def post(classifier: FakeClassifier, *files: bytes) -> RequestContext:
    records: list[RequestContext] = []
    application = create_application(Pipeline(classifier, Limits()), on_request_end=records.append)
    transport = httpx.ASGITransport(application)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        parts = [("file", (f"{index}.png", file)) for index, file in enumerate(files)]
        await client.post("/predict", files=parts)
        for path in ("/readyz", "/", "/static/page.js", "/docs", "/openapi.json"):
            await client.get(path)
    (record,) = records  # neither a probe nor a page is one
    return record


async def test_every_image_has_an_outcome() -> None:
    record = await post(FakeClassifier(failed=frozenset({1})), PICTURE, PICTURE, b"no image")
    assert (record.status, record.error_code, record.images) == ("200", "", 3)
    expected = {"classified": 1, "internal": 1, "unsupported_media_type": 1}
    assert dict(record.outcomes) == expected
    assert record.received_bytes > 2 * len(PICTURE)


@pytest.mark.parametrize(
    ("failed", "outcomes"), [(set[int](), {"classified": 1}), ({0}, {"internal": 1})]
)
async def test_what_did_not_happen_is_not_counted(
    failed: set[int], outcomes: dict[str, int]
) -> None:
    record = await post(FakeClassifier(failed=frozenset(failed)), PICTURE)
    assert dict(record.outcomes) == outcomes
    metrics.record_request(record)  # Ray refuses to count nothing


async def test_a_refused_request_says_why_and_has_no_outcomes() -> None:
    record = await post(FakeClassifier(error=Overloaded("full")), PICTURE)
    assert (record.status, record.error_code, record.images) == ("503", "overloaded", 1)
    assert not record.outcomes


async def test_calls_over_grpc_are_told_of_as_requests_are() -> None:
    records: list[RequestContext] = []
    classifier = FakeClassifier(delay_s=60)
    model = InferenceModel(Pipeline(classifier, Limits()))
    servicer = InferenceServicer(model, on_request_end=records.append)
    waiting = asyncio.create_task(call(servicer, make_request(), Context()))
    await asyncio.wait_for(classifier.called.wait(), 10)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    servicer = InferenceServicer(
        InferenceModel(Pipeline(FakeClassifier(), Limits())), on_request_end=records.append
    )
    await call(servicer, make_request(), Context())
    await call(servicer, make_request(raw_input_contents=[b"too short"]), Context())
    assert [record.status for record in records] == ["cancelled", "OK", "INVALID_ARGUMENT"]
    assert [record.images for record in records] == [1, 1, 0]
    assert [record.has_left for record in records] == [True, False, False]


@pytest.mark.parametrize(
    ("code", "lasted_s", "reason"),
    [
        ("deadline_exceeded", 0.01, "short_deadline"),
        ("deadline_exceeded", 5.0, "deadline_exceeded"),
        ("overloaded", 0.01, "overloaded"),
    ],
)
def test_a_deadline_that_no_service_could_meet_is_told_apart(
    code: str, lasted_s: float, reason: str
) -> None:
    context = RequestContext(error_code=code, started=time.monotonic() - lasted_s)
    assert metrics.reason_of(context) == reason
