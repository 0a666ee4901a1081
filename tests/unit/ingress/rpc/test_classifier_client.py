"""What the ingress does when replicas die, refuse or are slow, with replicas that do as told."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Any, cast

import numpy as np
import pytest
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    ObjectLostError,
    RayError,
    RayTaskError,
)
from ray.serve.context import (
    _get_serve_request_context,
    _RequestContext,
    _serve_request_context,
)

from deployments.common.errors import (
    DeadlineExceeded,
    Overloaded,
    QueueFull,
    ServiceError,
    Unavailable,
)
from deployments.common.rpc_types import BatchResult, CallResult, ImageBatch, ModelInfo
from deployments.ingress.rpc import classifier_client
from deployments.ingress.rpc.classifier_client import MAX_RETRIES, RayClassifierClient
from deployments.ingress.rpc.retry_budget import MIN_RETRIES
from testing.fake_classifier import TEST_MODEL

pytestmark = pytest.mark.anyio

IMAGES = np.zeros((2, 2, 2, 3), np.uint8)
DIED = ActorDiedError()
POISON = 255
"""A pixel that kills every replica that gets it."""
UNAVAILABLE = ActorUnavailableError("gone", None)


class Response:
    """Meets what is used of a DeploymentResponse."""

    def __init__(self, answer: Awaitable[Any]) -> None:
        self.cancelled = False
        self._answer = answer

    def __await__(self) -> Generator[Any, None, Any]:
        return self._answer.__await__()

    def cancel(self) -> None:
        self.cancelled = True


class Handle:
    """Replicas that fail with each of the errors in turn and answer then."""

    def __init__(self, *errors: Exception, delay_s: float = 0.0) -> None:
        self.responses: list[Response] = []
        self.request_ids: list[str] = []
        """Of the requests that Ray holds to be those of the calls."""
        self._errors = iter(errors)
        self._delay_s = delay_s
        self.classify = _Method(self._classify)
        self.describe = _Method(self._describe)

    def options(self, **_: str) -> "Handle":
        return self

    def _classify(
        self, images: ImageBatch, sizes: Sequence[int], timeouts_s: Sequence[float]
    ) -> Response:
        self.request_ids.append(_get_serve_request_context().request_id)
        assert len(images) == sum(sizes)
        assert len(sizes) == len(timeouts_s)
        self.responses.append(Response(self._answer(images, sizes)))
        return self.responses[-1]

    async def _answer(self, images: ImageBatch, sizes: Sequence[int]) -> CallResult:
        if (images == POISON).any():
            raise DIED
        error = next(self._errors, None)
        if isinstance(error, RayError) or not isinstance(error, ServiceError | None):
            raise error
        await asyncio.sleep(self._delay_s)
        results = [error or _result(size) for size in sizes]
        return CallResult(results, TEST_MODEL, 8)

    def _describe(self) -> Response:
        async def answer() -> ModelInfo:
            return TEST_MODEL

        return Response(answer())


def _result(num_images: int) -> BatchResult:
    rows = np.eye(1000, dtype=np.float32)[:num_images]
    return BatchResult(rows, frozenset(), 1.0, 1.0, num_images)


def _raise(error: Exception) -> Callable[..., Response]:
    def remote() -> Response:
        raise error

    return remote


class _Method:
    def __init__(self, remote: Callable[..., Response]) -> None:
        self.remote = remote


async def connect(handle: Handle) -> RayClassifierClient:
    classifier = RayClassifierClient(cast("Any", handle))
    await classifier.wait_ready()
    return classifier


@pytest.mark.parametrize("error", [DIED, UNAVAILABLE, ObjectLostError("", None, "")])
async def test_a_replica_that_dies_costs_no_request(error: Exception) -> None:
    handle = Handle(error)
    classifier = await connect(handle)
    answer = await classifier.classify(IMAGES, 10)
    assert len(answer.probabilities) == 2
    assert len(handle.responses) == 2
    assert classifier.is_ready


async def test_a_call_that_requests_share_is_cancelled_with_none_of_them() -> None:
    handle = Handle()
    classifier = await connect(handle)

    async def classify(request_id: str) -> None:
        _serve_request_context.set(_RequestContext(request_id=request_id))  # type: ignore[arg-type]
        await classifier.classify(IMAGES, 10)

    await asyncio.gather(*(classify(each) for each in ("alone", "second", "third")))
    assert handle.request_ids == ["alone", ""]


@pytest.mark.parametrize("error", [RuntimeError("closed"), ValueError("a bad message")])
async def test_readiness_is_checked_again_after_any_error(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifier_client, "HEALTH_CHECK_PERIOD_S", 0.01)
    monkeypatch.setattr(classifier_client, "RECOVERY_CHECK_PERIOD_S", 0.01)
    handle, checked_again = Handle(), asyncio.Event()
    describe, handle.describe = handle.describe, _Method(_raise(error))
    classifier = RayClassifierClient(cast("Any", handle))
    checks = asyncio.create_task(classifier.run_health_checks())
    await asyncio.sleep(0)
    assert not classifier.is_ready

    def respond() -> Response:
        checked_again.set()
        return describe.remote()

    handle.describe = _Method(respond)
    await asyncio.wait_for(checked_again.wait(), 10)
    checks.cancel()


async def test_an_image_that_kills_each_replica_does_not_kill_them_all() -> None:
    handle = Handle(*[DIED] * 100)
    classifier = await connect(handle)
    with pytest.raises(Unavailable):
        await classifier.classify(IMAGES, 10)
    assert len(handle.responses) == MAX_RETRIES + 1


async def test_a_dying_cluster_is_not_stormed() -> None:
    handle = Handle(*[DIED] * 10_000)
    classifier = await connect(handle)
    asked = [classifier.classify(IMAGES, 60) for _ in range(200)]
    failures = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(failure, Unavailable) for failure in failures)
    assert len(handle.responses) <= 200 + MIN_RETRIES + 0.2 * 200 + 10


async def test_retries_end_with_the_deadline() -> None:
    handle = Handle(DIED, delay_s=30)
    classifier = await connect(handle)
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        await classifier.classify(IMAGES, 0.3)
    assert time.monotonic() - started < 2
    assert handle.responses[-1].cancelled


async def test_a_client_that_goes_takes_its_call_with_it() -> None:
    handle = Handle(delay_s=30)
    classifier = await connect(handle)
    asked = asyncio.create_task(classifier.classify(IMAGES, 30))
    await asyncio.sleep(0.01)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert handle.responses[0].cancelled


async def test_a_full_queue_is_believed_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(QueueFull, "open_for_s", 1.0)
    handle = Handle(QueueFull("full", 4))
    classifier = await connect(handle)
    with pytest.raises(QueueFull):
        await classifier.classify(IMAGES, 10)
    with pytest.raises(QueueFull) as refusal, classifier.admit():
        pytest.fail("it was admitted")
    assert refusal.value.retry_after_s == 4
    await asyncio.sleep(QueueFull.open_for_s)
    with classifier.admit():
        await classifier.classify(IMAGES, 10)


async def test_draining_serves_what_was_admitted_and_admits_no_more() -> None:
    classifier = await connect(Handle())
    with classifier.admit():
        assert classifier.start_draining() == 1
        assert not classifier.is_ready
        with pytest.raises(Unavailable), classifier.admit():
            pytest.fail("it was admitted")
        await classifier.classify(IMAGES, 10)
    assert classifier.start_draining() == 0


async def test_one_who_has_too_little_time_keeps_nobody_else_out() -> None:
    handle = Handle(Overloaded("late", 4))
    classifier = await connect(handle)
    with pytest.raises(Overloaded):
        await classifier.classify(IMAGES, 10)
    await classifier.classify(IMAGES, 10)


async def test_a_poison_image_harms_only_itself_however_many_share_its_call() -> None:
    handle = Handle(delay_s=0.01)
    classifier = await connect(handle)
    poison = np.full((1, 2, 2, 3), POISON, np.uint8)
    requests = [classifier.classify(each, 10) for each in [IMAGES] * 3 + [poison] + [IMAGES] * 3]
    results = await asyncio.gather(*requests, return_exceptions=True)
    assert isinstance(results.pop(3), Unavailable)
    assert [type(result) for result in results] == [BatchResult] * 6
    assert len(handle.responses) < 7 + 6 + MAX_RETRIES + 1


async def test_an_error_inside_the_classifier_is_raised_without_its_remote_trace() -> None:
    make: Any = RayTaskError
    arriving = make("classify", "the trace", DeadlineExceeded("late")).as_instanceof_cause()
    classifier = await connect(Handle(arriving))
    with pytest.raises(DeadlineExceeded) as raised:
        await classifier.classify(IMAGES, 10)
    assert raised.value.message == "late"
    assert not isinstance(raised.value, RayTaskError)


async def test_a_client_that_leaves_takes_nothing_from_those_who_share_its_call() -> None:
    handle = Handle(delay_s=0.05)
    classifier = await connect(handle)
    first = asyncio.create_task(classifier.classify(IMAGES, 10))
    await asyncio.sleep(0)
    leaves, stays = (asyncio.create_task(classifier.classify(IMAGES, 10)) for _ in range(2))
    await first
    leaves.cancel()
    assert len((await stays).probabilities) == 2
    assert not any(response.cancelled for response in handle.responses)
