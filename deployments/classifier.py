"""The Classifier deployment: the model on its thread, batches across requests."""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from ray import serve

from deployments import metrics
from deployments.batcher import Batcher, Job, Outcome
from deployments.classes import load_classes
from deployments.errors import DeviceLost, Internal, Overloaded, QueueFull
from deployments.messages import Classification, Images
from deployments.model import Model, warm_up
from deployments.settings import Tuning
from deployments.weights import Weights

STUCK_AFTER_S = 15.0
"""A forward pass that takes longer than this is held to be stuck for ever.

Half of a request's time: the other half is for Ray to replace the replica and for another
one to answer.
"""

logger = logging.getLogger("ray.serve")


@serve.deployment
class Classifier:
    """One model on a share of a GPU, or on the CPU."""

    def __init__(self, weights: Weights, load_model: Callable[[], Model]) -> None:
        if weights.source == "untrained":
            logger.warning("serving UNTRAINED weights: %s", weights.reason)
        self.model_version = weights.version
        self._model = load_model()
        warm_up(self._model)
        # Threads of its own: a model called inline would stop routing and health checks.
        self._threads = ThreadPoolExecutor(self._model.streams, thread_name_prefix="model")
        self._batch_starts: set[float] = set()
        self._device_lost: DeviceLost | None = None
        self._max_queue_s = Tuning().max_queue_s
        self._batcher = Batcher(self._predict, Tuning().max_batch_size, self._model.streams)

    def reconfigure(self, user_config: dict[str, object]) -> None:
        """Take a new Tuning, live. Raises pydantic.ValidationError for a bad one."""
        tuning = Tuning.model_validate(user_config)
        self._max_queue_s = tuning.max_queue_s
        self._batcher.max_batch_size = tuning.max_batch_size
        self._gather.set_max_batch_size(tuning.max_batch_size)  # type: ignore[attr-defined]
        self._gather.set_batch_wait_timeout_s(tuning.batch_wait_s)  # type: ignore[attr-defined]

    async def version(self) -> str:
        """What `X-Model-Version` says; answering it shows that the replica is warm."""
        return self.model_version

    async def classify(self, images: Images, timeout_s: float) -> Classification:
        """Classify n images within `timeout_s` seconds: all of them, or none is begun.

        Raises QueueFull or Overloaded at once, where they would wait for too long, and
        DeadlineExceeded when they did.
        """
        self._admit(len(images), timeout_s)
        deadline = time.monotonic() + timeout_s
        jobs = [Job(image, deadline, position) for position, image in enumerate(images)]
        self._batcher.expect(jobs)
        try:
            await asyncio.gather(*(self._gather(job) for job in jobs))
            outcomes = await asyncio.gather(*(job.outcome for job in jobs), return_exceptions=True)
        finally:
            # Where the caller has gone or one image's time was up, the others cost nothing.
            for job in jobs:
                job.outcome.cancel()
        return summarise(outcomes, self.model_version)

    def _admit(self, images: int, timeout_s: float) -> None:
        ahead_s = self._batcher.estimate_s(0)
        if ahead_s > self._max_queue_s:
            raise QueueFull("too many images are waiting", _whole_seconds(ahead_s))
        done_s = self._batcher.estimate_s(images)
        if done_s > timeout_s:
            raise Overloaded("the images would not be done in time", _whole_seconds(done_s))

    @serve.batch(max_batch_size=1, batch_wait_timeout_s=0)
    async def _gather(self, jobs: list[Job]) -> list[None]:
        """Let images of all requests wait for company (`batch_wait_s`), then queue them."""
        self._batcher.put(jobs)
        return [None] * len(jobs)

    async def _predict(self, images: Images) -> NDArray[np.float32]:
        metrics.batch_size.observe(len(images))
        started = time.monotonic()
        self._batch_starts.add(started)
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, self._model.predict, images)
        except DeviceLost as error:
            logger.exception("the device is lost; this replica waits to be replaced")
            self._device_lost = error
        finally:
            self._batch_starts.discard(started)
        # No split helps, and an answer now would draw all requests to the one replica that
        # refuses quickest. Ray ends it within seconds; the ingress then asks another.
        never: asyncio.Future[NDArray[np.float32]] = loop.create_future()
        return await never

    def check_health(self) -> None:
        """Called by Ray, which replaces the replica when this raises."""
        if self._device_lost is not None:
            raise self._device_lost
        if time.monotonic() - min(self._batch_starts, default=math.inf) > STUCK_AFTER_S:
            raise RuntimeError(f"the model has not answered for {STUCK_AFTER_S:g} s")


def _whole_seconds(wait_s: float) -> int:
    return max(math.ceil(wait_s), 1)


def summarise(outcomes: Sequence[Outcome | BaseException], model_version: str) -> Classification:
    """One answer for the images of one request.

    Raises what any of them raised, but for Internal, which is that image's own.
    """
    probabilities = np.zeros((len(outcomes), len(load_classes())), np.float32)
    done: list[Outcome] = []
    failed: set[int] = set()
    for index, outcome in enumerate(outcomes):
        if isinstance(outcome, Outcome):
            probabilities[index] = outcome.probabilities
            done.append(outcome)
        elif isinstance(outcome, Internal):
            failed.add(index)
        else:
            raise outcome
    return Classification(
        probabilities,
        frozenset(failed),
        model_version,
        queue_ms=max((outcome.queue_ms for outcome in done), default=0.0),
        infer_ms=max((outcome.infer_ms for outcome in done), default=0.0),
        batch_size=max((outcome.batch_size for outcome in done), default=0),
    )
