"""The Classifier deployment: the model on its threads, batches across requests."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from ray import serve

from deployments import autoscaling
from deployments.classifier import metrics
from deployments.classifier.dynamic_batcher import DynamicBatcher
from deployments.classifier.executor import ModelExecutor
from deployments.classifier.queued_request import QueuedRequest
from deployments.common import tracing
from deployments.common.errors import ServiceError
from deployments.common.garbage import resume_collection
from deployments.common.replica import application_name, survive_a_full_disk
from deployments.common.rpc_types import BatchResult, CallResult, ImageBatch, ModelInfo
from deployments.common.settings import DRAIN_TIMEOUT_S, BatchingConfig, read_batching_config
from deployments.model.base import Model
from deployments.model.weights import Weights

logger = logging.getLogger("ray.serve")


@serve.deployment(
    max_ongoing_requests=4096,  # more than can be queued: the batcher rejects, not Ray
    health_check_period_s=2,  # after three failures Ray replaces the replica
    graceful_shutdown_timeout_s=DRAIN_TIMEOUT_S,
    user_config={},  # so that Ray calls `reconfigure` when the YAML has none
    ray_actor_options={"num_cpus": 0.5},
)
class Classifier:
    """One model on a share of a GPU, or on the CPU."""

    def __init__(self, weights: Weights, load_model: Callable[[], Model]) -> None:
        survive_a_full_disk()
        metrics.set_application(application_name())
        self._model = model = load_model()
        self._info = ModelInfo(weights.version, model.engine, model.device, model.precision)
        self._executor = ModelExecutor(model)
        self._executor.warm_up(model.max_batch_size).result()
        self._warm_batch_size = model.max_batch_size
        self._config = BatchingConfig()
        self._batcher = DynamicBatcher(self._predict, model.max_batch_size, model.streams)
        resume_collection()

    async def reconfigure(self, user_config: dict[str, object]) -> None:
        """Take a new BatchingConfig, live; a bad one changes nothing and is logged."""
        self._config = config = read_batching_config(user_config, self._config)
        batch_size = config.batch_size(self._model.max_batch_size)
        if batch_size > self._warm_batch_size:
            await asyncio.wrap_future(self._executor.warm_up(batch_size))
            self._warm_batch_size = batch_size
        self._batcher.max_queue_wait_s = config.max_queue_wait_s
        self._batcher.max_batch_size = batch_size
        self._wait_for_others.set_batch_wait_timeout_s(config.batch_wait_timeout_s)  # type: ignore[attr-defined]
        self._log_what_is_in_effect()

    def _log_what_is_in_effect(self) -> None:
        chosen_by = "engine" if self._config.max_batch_size is None else "user_config"
        logger.info(
            "weights %s, %s; max_batch_size %d (by the %s), max_queue_wait_s %g",
            self._info.weights,
            self._info,
            self._batcher.max_batch_size,
            chosen_by,
            self._batcher.max_queue_wait_s,
        )

    async def describe(self) -> ModelInfo:
        """What is served; responding shows that the replica is warm."""
        return self._info

    async def classify(
        self, images: ImageBatch, sizes: Sequence[int], timeouts_s: Sequence[float]
    ) -> CallResult:
        """Classify the images of several requests (`rpc_types.ClassifyCall`).

        Each request is admitted or rejected by itself, and has a result of its own: a
        BatchResult, or QueueFull, Overloaded or DeadlineExceeded.
        """
        requests = self._reserve(images, sizes, timeouts_s)
        admitted = [each for each in requests if isinstance(each, QueuedRequest)]
        try:
            if admitted and self._config.batch_wait_timeout_s:
                await self._wait_for_others(admitted)
            else:
                self._batcher.enqueue(admitted)
            results = [await _result_of(each) for each in requests]
        finally:
            for request in admitted:
                request.done.cancel()  # if the caller has left
        _trace(admitted, results)
        return CallResult(results, self._info, self._batcher.preferred_images)

    def _reserve(
        self, images: ImageBatch, sizes: Sequence[int], timeouts_s: Sequence[float]
    ) -> list[QueuedRequest | ServiceError]:
        requests: list[QueuedRequest | ServiceError] = []
        start = 0
        for size, timeout_s in zip(sizes, timeouts_s, strict=True):
            try:
                requests.append(self._batcher.reserve(images[start : start + size], timeout_s))
            except ServiceError as error:
                requests.append(error)
            start += size
        return requests

    @serve.batch(max_batch_size=256, batch_wait_timeout_s=0)
    async def _wait_for_others(self, calls: list[list[QueuedRequest]]) -> list[None]:
        """Let calls wait for company (`batch_wait_timeout_s`), then queue their images."""
        self._batcher.enqueue([request for call in calls for request in call])
        return [None] * len(calls)

    async def _predict(self, images: ImageBatch) -> NDArray[np.float32]:
        metrics.record_batch(len(images))
        return await self._executor.predict(images)

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Called by Ray, for `autoscaling.ImagesInProgress`."""
        return {autoscaling.IMAGES: self._batcher.pending_images}

    def check_health(self) -> None:
        """Called by Ray, which replaces the replica when this raises."""
        # Ray forgets a gauge that is not set again and again.
        metrics.set_model_info(self._info)
        metrics.set_queue_depth(self._batcher.pending_images)
        self._executor.check_health()


async def _result_of(request: QueuedRequest | ServiceError) -> BatchResult | ServiceError:
    if isinstance(request, ServiceError):
        return request
    try:
        return await request.done
    except ServiceError as error:
        return error.with_traceback(None)  # its trace would keep the images, in a cycle


def _trace(
    requests: Sequence[QueuedRequest], results: Sequence[BatchResult | ServiceError]
) -> None:
    """Add the spans of the call's slowest request, after which the call was done."""
    if not tracing.is_enabled():
        return
    done = [each for each in results if isinstance(each, BatchResult) and each.batch_size]
    if not done:
        return
    slowest = max(done, key=lambda result: result.queue_ms + result.infer_ms)
    arrived = min(request.arrived for request in requests)
    started = arrived + slowest.queue_ms / 1000
    images = sum(len(result.probabilities) for result in done)
    tracing.add_span("queue", arrived, started, images=images)
    end = min(started + slowest.infer_ms / 1000, time.monotonic())
    tracing.add_span("infer", started, end, batch_size=slowest.batch_size)
