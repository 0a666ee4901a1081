"""A request on its way through the model: its images in the queue, its result when all are done."""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deployments.common.errors import InternalError
from deployments.common.labels import load_classes
from deployments.common.rpc_types import BatchResult, ImageBatch


@dataclass(frozen=True)
class InferenceResult:
    """What the model gave for one image: probabilities, float32 (1000,).

    started: when its batch was put before the model, on the clock of `time.monotonic`.
    """

    probabilities: NDArray[np.float32]
    started: float
    infer_ms: float
    batch_size: int


@dataclass(frozen=True, eq=False)
class QueuedImage:
    """The `index`-th image of a request."""

    request: "QueuedRequest"
    index: int

    @property
    def pixels(self) -> NDArray[np.uint8 | np.float32]:
        image: NDArray[np.uint8 | np.float32] = self.request.batch[self.index]
        return image

    def resolve(self, result: InferenceResult | InternalError) -> None:
        self.request.resolve(self.index, result)


class QueuedRequest:
    """The images of one request; made inside a running event loop.

    batch: the images. deadline, arrived: on the clock of `time.monotonic`, seconds.
    done: a BatchResult once every image has a result, or DeadlineExceeded. A caller that no longer
        wants it cancels it. `release` is told of each image that waits no more.
    """

    def __init__(self, batch: ImageBatch, deadline: float, release: Callable[[int], None]) -> None:
        self.batch = batch
        self.deadline = deadline
        self.arrived = time.monotonic()
        self.done: asyncio.Future[BatchResult] = asyncio.get_running_loop().create_future()
        self._release = release
        self._results: list[InferenceResult | InternalError | None] = [None] * len(batch)
        self._missing = len(batch)
        self.done.add_done_callback(self._release_missing)

    def images(self) -> Iterator[QueuedImage]:
        return (QueuedImage(self, index) for index in range(len(self.batch)))

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)

    def resolve(self, index: int, result: InferenceResult | InternalError) -> None:
        """Note one image's result; the last one makes the request's."""
        if self.done.done():
            return  # cancelled while it was before the model
        self._results[index] = result
        self._missing -= 1
        self._release(1)
        if not self._missing:
            self.done.set_result(self._merge_results())

    def _release_missing(self, done: asyncio.Future[BatchResult]) -> None:
        if not done.cancelled():
            done.exception()  # asyncio need not log it if the caller has left
        self._release(self._missing)
        self._missing = 0

    def _merge_results(self) -> BatchResult:
        probabilities = np.zeros((len(self._results), len(load_classes())), np.float32)
        failed: set[int] = set()
        queue_ms = infer_ms = 0.0
        batch_size = 0
        for index, result in enumerate(self._results):
            if isinstance(result, InferenceResult):
                probabilities[index] = result.probabilities
                queue_ms = max(queue_ms, 1000 * (result.started - self.arrived))
                infer_ms = max(infer_ms, result.infer_ms)
                batch_size = max(batch_size, result.batch_size)
            else:
                failed.add(index)
        return BatchResult(probabilities, frozenset(failed), queue_ms, infer_ms, batch_size)
