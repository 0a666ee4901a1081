"""The Classifier across Ray: calls, retries, readiness, and Ray's errors put into our words.

The one place of the ingress that knows what a deployment handle is.
"""

import asyncio
import logging
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray.exceptions import ObjectLostError, RayActorError, RayError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle, DeploymentResponse, DeploymentResponseGenerator

from deployments.common.errors import (
    DeadlineExceeded,
    Overloaded,
    QueueFull,
    ServiceError,
    Unavailable,
)
from deployments.common.rpc_types import BatchResult, ImageBatch
from deployments.ingress import metrics
from deployments.ingress.rpc.retry_budget import RetryBudget

WATCH_PERIOD_S = 1.0
ANSWER_WITHIN_S = 5.0
DOUBT_S = 1.0
"""How long, after a replica was lost, the others have to show that they are there."""
MEET_WITHIN_S = 2.0
MAX_RETRIES = 3
"""Of one request: an image that kills whoever it is given to must not kill them all."""
PAUSE_S = 0.05

LOST = (RayActorError, ObjectLostError)
"""What says that a replica died, with the request or with the answer in its hands."""

Response = DeploymentResponse[Any] | DeploymentResponseGenerator[Any]

logger = logging.getLogger("ray.serve")


class RemoteClassifier:
    """All Classifier replicas, as one `pipeline.ClassifierPort`."""

    def __init__(self, handle: DeploymentHandle[Any]) -> None:
        self.model_version = "unknown"
        self._handle = handle
        self._last_answer: float | None = None
        self._lost = False
        self._under_way = 0
        self._is_closed = False
        self._budget = RetryBudget()
        self._doubt: asyncio.Task[None] | None = None
        self._full: tuple[float, QueueFull] | None = None

    @property
    def is_ready(self) -> bool:
        return self._is_there and not self._is_closed

    @property
    def _is_there(self) -> bool:
        return self._last_answer is not None and not self._lost

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Raises Unavailable or Overloaded where a request would only be refused later."""
        if self._is_closed:
            raise Unavailable("the service is being stopped")
        self._check()
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1

    def close(self) -> int:
        """Admit no more. Returns how many requests are under way."""
        self._is_closed = True
        return self._under_way

    def _check(self) -> None:
        if not self._is_there:
            raise Unavailable("no classifier is ready")
        if self._full is not None and time.monotonic() < self._full[0]:
            raise self._full[1]

    async def classify(self, images: ImageBatch, timeout_s: float) -> BatchResult:
        """Ask a replica; another one if that replica dies, within the budget and the time.

        Raises Unavailable, Overloaded or DeadlineExceeded.
        """
        deadline = time.monotonic() + timeout_s
        self._check()
        self._budget.count_request()
        for retry in range(MAX_RETRIES + 1):
            try:
                return await self._ask(images, deadline)
            except LOST as error:
                logger.warning("a classifier replica was lost: %s", type(error).__name__)
                self._start_to_doubt()
                if retry == MAX_RETRIES or not self._budget.take_retry():
                    break
            metrics.count_retry("retried")
            await asyncio.sleep(PAUSE_S * random.uniform(0, 2**retry))  # noqa: S311
        metrics.count_retry("rejected")
        raise Unavailable("the classifier was lost while it worked on the request")

    async def _ask(self, images: ImageBatch, deadline: float) -> BatchResult:
        remaining_s = deadline - time.monotonic()
        try:
            response = self._handle.classify.remote(images, remaining_s)
            answer: BatchResult = await _within(remaining_s, response)
        except QueueFull as refusal:
            self._full = (time.monotonic() + refusal.refuse_for_s, refusal)
            raise
        self._note_answer(answer.model_version)
        return answer

    async def watch(self) -> None:
        """Ask for the version again and again: its answer is the sign of readiness."""
        while True:
            await self._ask_version(ANSWER_WITHIN_S)
            await asyncio.sleep(WATCH_PERIOD_S)

    async def meet(self) -> None:
        """Wait a little for a first answer, lest a new ingress refuse what an old one would not."""
        await self._ask_version(MEET_WITHIN_S)

    def _start_to_doubt(self) -> None:
        """Are there other replicas? Requests go on meanwhile: mostly there are."""
        if self._doubt is None or self._doubt.done():
            self._doubt = asyncio.create_task(self._ask_version(DOUBT_S))

    async def _ask_version(self, timeout_s: float) -> None:
        asked = time.monotonic()
        try:
            version: str = await _within(timeout_s, self._handle.version.remote())
        except (ServiceError, RayError) as error:
            logger.debug("no classifier answers: %s", error)
            # A classification answered meanwhile is as good a sign.
            self._lost = (self._last_answer or 0.0) < asked
        else:
            self._note_answer(version)

    def _note_answer(self, version: str) -> None:
        self.model_version = version
        self._last_answer = time.monotonic()
        self._lost = False


async def _within(timeout_s: float, response: Response) -> Any:
    """Await an answer; give the call up when the time is, or the client has gone.

    Raises ServiceError, RayError.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await _in_our_words(response)
    except TimeoutError:
        response.cancel()  # type: ignore[no-untyped-call]
        raise DeadlineExceeded("the request's time is up") from None
    except asyncio.CancelledError:
        response.cancel()  # type: ignore[no-untyped-call]
        raise


async def _in_our_words(response: Response) -> Any:
    try:
        return await response
    except RayTaskError as error:
        # The text of a remote error is its traceback: only the error itself goes on.
        if isinstance(error.cause, ServiceError):
            raise error.cause from None
        raise
    except BackPressureError as error:
        raise Overloaded("too many requests are waiting") from error
    except DeploymentUnavailableError as error:
        raise Unavailable("the classifier is not available") from error
