"""Dynamic batching: batches that keep filling while the model is busy.

`@serve.batch` freezes a batch when its wait ends and queues it behind the model; frozen
batches never merge. Here every image waits in one queue, and whenever the model is free it
takes up to `max_batch_size` of all that wait. Knows asyncio; knows neither Ray nor torch.
"""

import asyncio
import contextvars
import heapq
import itertools
import logging
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deployments.classifier.queued_request import InferenceResult, QueuedImage, QueuedRequest
from deployments.common.errors import DeadlineExceeded, InternalError, Overloaded, QueueFull
from deployments.common.rpc_types import ImageBatch

Predict = Callable[[ImageBatch], Awaitable[NDArray[np.float32]]]

COST_WINDOW = 15
"""Batches, from which the batcher knows what an image takes."""
MAX_QUEUE_BYTES = 2**30
"""Of pixels: 7,000 images of uint8. A GPU that classifies 27,700 images/s would otherwise admit
62 GB within 15 s."""

logger = logging.getLogger("ray.serve")


class DynamicBatcher:
    """Puts the images of all requests before the model, `streams` batches at a time.

    max_queue_bytes: with so many bytes of pixels waiting, no further request is admitted.
    """

    def __init__(
        self,
        predict: Predict,
        max_batch_size: int,
        streams: int = 1,
        max_queue_bytes: int = MAX_QUEUE_BYTES,
    ) -> None:
        self.max_batch_size = max_batch_size
        self.max_queue_wait_s = math.inf
        self._max_queue_bytes = max_queue_bytes
        self._streams = streams
        self._predict = predict
        self._queue: list[tuple[float, int, QueuedImage]] = []
        self._sequence = itertools.count()
        self._pending_images = 0  # reserved and not done yet
        self._pending_bytes = 0
        self._costs_s: deque[float] = deque(maxlen=COST_WINDOW)
        self._cost_per_image_s = 0.0
        self._workers: set[asyncio.Task[Any] | None] = set()

    @property
    def pending_images(self) -> int:
        """Those that wait, and those before the model."""
        return self._pending_images

    @property
    def preferred_images(self) -> int:
        """Enough for a batch on each stream."""
        return self.max_batch_size * self._streams

    def reserve(self, images: ImageBatch, timeout_s: float) -> QueuedRequest:
        """Admission control: take all of a request or none of it.

        Raises QueueFull, or Overloaded if the images would be late. Images whose client has
        left cost nothing and do not count.
        """
        ahead_s = self._pending_images * self._cost_per_image_s
        done_s = ahead_s + len(images) * self._cost_per_image_s
        if ahead_s > self.max_queue_wait_s or self._pending_bytes >= self._max_queue_bytes:
            raise QueueFull("too many images are waiting", _whole_seconds(ahead_s))
        if done_s > timeout_s:
            raise Overloaded("the images would not be done in time", _whole_seconds(done_s))
        image_bytes = images[:1].nbytes
        self._count(image_bytes, len(images))
        release = partial(self._release, image_bytes)
        return QueuedRequest(images, time.monotonic() + timeout_s, release)

    def _release(self, image_bytes: int, num_images: int) -> None:
        self._count(image_bytes, -num_images)

    def _count(self, image_bytes: int, num_images: int) -> None:
        self._pending_images += num_images
        self._pending_bytes += image_bytes * num_images

    def enqueue(self, requests: Sequence[QueuedRequest]) -> None:
        """Queue what was reserved; each request's `done` says when it is."""
        for request in requests:
            for image in request.images():
                entry = (self._priority(image), next(self._sequence), image)
                heapq.heappush(self._queue, entry)
        for _ in range(min(self._streams - len(self._workers), len(self._queue))):
            # In no request's context: the worker outlives the request that starts it.
            work = asyncio.create_task(self._work(), context=contextvars.Context())
            self._workers.add(work)

    def _priority(self, image: QueuedImage) -> float:
        """The k-th image of an upload counts as if it had come k images' time later.

        So a large upload holds up no lone image, and is never starved by many.
        """
        return image.request.arrived + image.index * self._cost_per_image_s

    async def _work(self) -> None:
        try:
            while self._queue:
                batch = self._take_batch()
                if batch:
                    await self._run(batch)
        finally:
            # In the step that saw the queue empty: a done callback comes later, and what is
            # queued until then would have no worker.
            self._workers.discard(asyncio.current_task())

    def _take_batch(self) -> list[QueuedImage]:
        batch: list[QueuedImage] = []
        while self._queue and len(batch) < self.max_batch_size:
            if batch and self._queue[0][2].pixels.dtype != batch[0].pixels.dtype:
                break  # pixels and normalised images are no one array
            _, _, image = heapq.heappop(self._queue)
            request = image.request
            if request.done.done():
                continue  # its client has left, or one of its images was late
            if request.deadline <= time.monotonic():
                request.fail(DeadlineExceeded("the image waited for too long"))
                continue
            batch.append(image)
        return batch

    async def _run(self, batch: list[QueuedImage]) -> None:
        started = time.monotonic()
        try:
            rows = await self._predict(np.stack([image.pixels for image in batch]))
        except Exception:
            logger.exception("a batch of %d failed in the model", len(batch))
            await self._bisect(batch)
            return
        infer_s = time.monotonic() - started
        self._update_cost(infer_s / len(batch) / self._streams)
        for image, row in zip(batch, rows, strict=True):
            image.resolve(InferenceResult(row, started, 1000 * infer_s, len(batch)))

    async def _bisect(self, batch: list[QueuedImage]) -> None:
        """Halve a batch that failed until the image that breaks it stands alone."""
        if len(batch) == 1:
            batch[0].resolve(InternalError("the model failed on this image"))
            return
        middle = len(batch) // 2
        await self._run(batch[:middle])
        await self._run(batch[middle:])

    def _update_cost(self, cost_s: float) -> None:
        """The median of what the last batches took: one that was held up is no slow model."""
        self._costs_s.append(cost_s)
        self._cost_per_image_s = median(self._costs_s)


def _whole_seconds(wait_s: float) -> int:
    return max(math.ceil(wait_s), 1)
