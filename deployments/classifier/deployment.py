"""The Classifier deployment: the model on its thread, batches across requests."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from ray import serve

from deployments import autoscaling
from deployments.classifier import metrics
from deployments.classifier.batcher import Batcher, Job, Outcome
from deployments.classifier.executor import ModelThreads
from deployments.common import tracing
from deployments.common.errors import InternalError
from deployments.common.labels import load_classes
from deployments.common.rpc_types import BatchResult, ImageBatch
from deployments.common.settings import BatchingConfig
from deployments.model.base import Model, warm_up
from deployments.model.weights import Weights

logger = logging.getLogger("ray.serve")


@serve.deployment
class Classifier:
    """One model on a share of a GPU, or on the CPU."""

    def __init__(self, weights: Weights, load_model: Callable[[], Model]) -> None:
        if weights.source == "untrained":
            logger.warning("serving UNTRAINED weights: %s", weights.reason)
        self.model_version = weights.version
        self._model = model = load_model()
        warm_up(model)
        self._threads = ModelThreads(model)
        self._batcher = Batcher(self._predict, self._batch_size(BatchingConfig()), model.streams)

    def reconfigure(self, user_config: dict[str, object]) -> None:
        """Take a new BatchingConfig, live. Raises pydantic.ValidationError for a bad one."""
        tuning = BatchingConfig.model_validate(user_config)
        self._batcher.max_queue_wait_s = tuning.max_queue_wait_s
        self._batcher.max_batch_size = batch_size = self._batch_size(tuning)
        self._gather.set_max_batch_size(batch_size)  # type: ignore[attr-defined]
        self._gather.set_batch_wait_timeout_s(tuning.batch_wait_timeout_s)  # type: ignore[attr-defined]

    def _batch_size(self, tuning: BatchingConfig) -> int:
        return min(tuning.max_batch_size, self._model.max_batch_size)

    async def version(self) -> str:
        """What `X-Model-Version` says; answering it shows that the replica is warm."""
        return self.model_version

    async def classify(self, images: ImageBatch, timeout_s: float) -> BatchResult:
        """Classify n images within `timeout_s` seconds: all of them, or none is begun.

        Raises QueueFull or Overloaded at once, where they would wait for too long, and
        DeadlineExceeded when they did.
        """
        self._batcher.admit(len(images), timeout_s)
        deadline = time.monotonic() + timeout_s
        jobs = [Job(image, deadline, position) for position, image in enumerate(images)]
        self._batcher.expect(jobs)
        metrics.show_waiting(self._batcher.waiting_images)
        try:
            await asyncio.gather(*(self._gather(job) for job in jobs))
            outcomes = await asyncio.gather(*(job.outcome for job in jobs), return_exceptions=True)
        finally:
            # Where the client has gone or one image's time was up, the others cost nothing.
            for job in jobs:
                job.outcome.cancel()
            metrics.show_waiting(self._batcher.waiting_images)
        _trace(jobs, outcomes)
        return summarise(outcomes, self.model_version)

    @serve.batch(max_batch_size=1, batch_wait_timeout_s=0)
    async def _gather(self, jobs: list[Job]) -> list[None]:
        """Let images of all requests wait for company (`batch_wait_timeout_s`), then queue them."""
        self._batcher.put(jobs)
        return [None] * len(jobs)

    async def _predict(self, images: ImageBatch) -> NDArray[np.float32]:
        metrics.count_batch(len(images))
        return await self._threads.predict(images)

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Asked by Ray, for `autoscaling.ImagesInProgress`."""
        return {autoscaling.IMAGES: self._batcher.waiting_images}

    def check_health(self) -> None:
        """Called by Ray, which replaces the replica when this raises."""
        # Ray forgets a gauge that is not set again and again.
        model = self._model
        metrics.show_model(self.model_version, model.engine, model.device, model.precision)
        metrics.show_waiting(self._batcher.waiting_images)
        self._threads.check_health()


def _trace(jobs: Sequence[Job], outcomes: Sequence[Outcome | BaseException]) -> None:
    """The way of the request's slowest image, after which the request was done."""
    ends = [
        (job.arrived + (outcome.queue_ms + outcome.infer_ms) / 1000, job.arrived, outcome)
        for job, outcome in zip(jobs, outcomes, strict=True)
        if isinstance(outcome, Outcome)
    ]
    if not ends:
        return
    end, arrived, slowest = max(ends, key=lambda each: each[0])
    started = arrived + slowest.queue_ms / 1000
    tracing.add_span("queue", arrived, started, images=len(jobs))
    tracing.add_span("infer", started, end, batch_size=slowest.batch_size)


def summarise(outcomes: Sequence[Outcome | BaseException], model_version: str) -> BatchResult:
    """One answer for the images of one request.

    Raises what any of them raised, but for InternalError, which is that image's own.
    """
    probabilities = np.zeros((len(outcomes), len(load_classes())), np.float32)
    done: list[Outcome] = []
    failed: set[int] = set()
    for index, outcome in enumerate(outcomes):
        if isinstance(outcome, Outcome):
            probabilities[index] = outcome.probabilities
            done.append(outcome)
        elif isinstance(outcome, InternalError):
            failed.add(index)
        else:
            raise outcome
    return BatchResult(
        probabilities,
        frozenset(failed),
        model_version,
        queue_ms=max((outcome.queue_ms for outcome in done), default=0.0),
        infer_ms=max((outcome.infer_ms for outcome in done), default=0.0),
        batch_size=max((outcome.batch_size for outcome in done), default=0),
    )
