"""The Classifier across Ray: calls, readiness, and Ray's errors put into our words.

The one place of the ingress that knows what a deployment handle is.
"""

import asyncio
import logging
import time
from typing import Any

from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle, DeploymentResponse, DeploymentResponseGenerator

from deployments.errors import DeadlineExceeded, Overloaded, ServiceError, Unavailable
from deployments.messages import Classification, Images

WATCH_PERIOD_S = 1.0
ANSWER_WITHIN_S = 5.0

Response = DeploymentResponse[Any] | DeploymentResponseGenerator[Any]

logger = logging.getLogger("ray.serve")


class RemoteClassifier:
    """All Classifier replicas, as one `pipeline.ClassifierPort`."""

    def __init__(self, handle: DeploymentHandle[Any]) -> None:
        self.model_version = "unknown"
        self._handle = handle
        self._last_answer: float | None = None
        self._lost = False

    @property
    def is_ready(self) -> bool:
        return self._last_answer is not None and not self._lost

    async def classify(self, images: Images, timeout_s: float) -> Classification:
        """Ask a replica; another one if that replica dies, for as long as there is time.

        Raises Unavailable at once when no replica is known to answer, Overloaded, or
        DeadlineExceeded.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            if not self.is_ready:
                raise Unavailable("no classifier is ready")
            remaining_s = deadline - time.monotonic()
            try:
                response = self._handle.classify.remote(images, remaining_s)
                answer: Classification = await _within(remaining_s, response)
            except RayActorError:
                logger.warning("a classifier replica died; asking another")
                self._lost = True
                await self._ask_version()
                continue
            self._note_answer(answer.model_version)
            return answer

    async def watch(self) -> None:
        """Ask for the version again and again: its answer is the sign of readiness."""
        while True:
            await self._ask_version()
            await asyncio.sleep(WATCH_PERIOD_S)

    async def _ask_version(self) -> None:
        asked = time.monotonic()
        try:
            version: str = await _within(ANSWER_WITHIN_S, self._handle.version.remote())
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
    """Await an answer; give the call up when the time is. Raises ServiceError, RayActorError."""
    try:
        async with asyncio.timeout(timeout_s):
            return await _in_our_words(response)
    except TimeoutError:
        response.cancel()  # type: ignore[no-untyped-call]
        raise DeadlineExceeded("the request's time is up") from None


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
