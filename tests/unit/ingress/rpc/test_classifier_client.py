"""What the ingress does when replicas die, refuse or are slow, with replicas that do as told."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator
from typing import Any, cast

import numpy as np
import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError, ObjectLostError, RayTaskError

from deployments.common.errors import (
    DeadlineExceeded,
    Overloaded,
    QueueFull,
    ServiceError,
    Unavailable,
)
from deployments.common.rpc_types import BatchResult, ImageBatch
from deployments.ingress.rpc.classifier_client import MAX_RETRIES, RemoteClassifier
from deployments.ingress.rpc.retry_budget import FLOOR

pytestmark = pytest.mark.anyio

IMAGES = np.zeros((2, 2, 2, 3), np.uint8)
DIED = ActorDiedError()
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
        self._errors = iter(errors)
        self._delay_s = delay_s
        self.classify = _Method(self._classify)
        self.version = _Method(self._version)

    def _classify(self, images: ImageBatch, _: float) -> Response:
        self.responses.append(Response(self._answer(images)))
        return self.responses[-1]

    async def _answer(self, images: ImageBatch) -> BatchResult:
        if (error := next(self._errors, None)) is not None:
            raise error
        await asyncio.sleep(self._delay_s)
        rows = np.eye(1000, dtype=np.float32)[: len(images)]
        return BatchResult(rows, frozenset(), "test", 1.0, 1.0, len(images))

    def _version(self) -> Response:
        async def answer() -> str:
            return "test"

        return Response(answer())


class _Method:
    def __init__(self, remote: Callable[..., Response]) -> None:
        self.remote = remote


async def meet(handle: Handle) -> RemoteClassifier:
    classifier = RemoteClassifier(cast("Any", handle))
    await classifier.meet()
    return classifier


def remote(error: ServiceError) -> Exception:
    """As it arrives from a replica."""
    make: Any = RayTaskError
    arriving: Exception = make("classify", "the trace", error).as_instanceof_cause()
    return arriving


@pytest.mark.parametrize("error", [DIED, UNAVAILABLE, ObjectLostError("", None, "")])
async def test_a_replica_that_dies_costs_no_request(error: Exception) -> None:
    handle = Handle(error)
    classifier = await meet(handle)
    answer = await classifier.classify(IMAGES, 10)
    assert len(answer.probabilities) == 2
    assert len(handle.responses) == 2
    assert classifier.is_ready


async def test_an_image_that_kills_whoever_gets_it_does_not_kill_them_all() -> None:
    handle = Handle(*[DIED] * 100)
    classifier = await meet(handle)
    with pytest.raises(Unavailable):
        await classifier.classify(IMAGES, 10)
    assert len(handle.responses) == MAX_RETRIES + 1


async def test_a_dying_cluster_is_not_stormed() -> None:
    handle = Handle(*[DIED] * 10_000)
    classifier = await meet(handle)
    asked = [classifier.classify(IMAGES, 60) for _ in range(200)]
    failures = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(failure, Unavailable) for failure in failures)
    assert len(handle.responses) <= 200 + FLOOR + 0.2 * 200 + 10


async def test_retries_end_with_the_deadline() -> None:
    handle = Handle(DIED, delay_s=30)
    classifier = await meet(handle)
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        await classifier.classify(IMAGES, 0.3)
    assert time.monotonic() - started < 2
    assert handle.responses[-1].cancelled


async def test_a_client_that_goes_takes_its_call_with_it() -> None:
    handle = Handle(delay_s=30)
    classifier = await meet(handle)
    asked = asyncio.create_task(classifier.classify(IMAGES, 30))
    await asyncio.sleep(0.01)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert handle.responses[0].cancelled


async def test_a_full_queue_is_believed_for_a_moment() -> None:
    handle = Handle(remote(QueueFull("full", 4)))
    classifier = await meet(handle)
    with pytest.raises(QueueFull):
        await classifier.classify(IMAGES, 10)
    with pytest.raises(QueueFull) as refusal, classifier.admit():
        pytest.fail("it was let in")
    assert refusal.value.retry_after_s == 4
    await asyncio.sleep(QueueFull.refuse_for_s)
    with classifier.admit():
        await classifier.classify(IMAGES, 10)


async def test_when_it_is_closed_who_was_let_in_is_served_and_nobody_else() -> None:
    classifier = await meet(Handle())
    with classifier.admit():
        assert classifier.close() == 1
        assert not classifier.is_ready
        with pytest.raises(Unavailable), classifier.admit():
            pytest.fail("it was let in")
        await classifier.classify(IMAGES, 10)
    assert classifier.close() == 0


async def test_one_who_has_too_little_time_keeps_nobody_else_out() -> None:
    handle = Handle(remote(Overloaded("late", 4)))
    classifier = await meet(handle)
    with pytest.raises(Overloaded):
        await classifier.classify(IMAGES, 0.1)
    await classifier.classify(IMAGES, 10)
