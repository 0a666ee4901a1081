"""Batches that keep filling while the model is busy.

`@serve.batch` freezes a batch when its wait ends and queues it behind the model; frozen
batches never merge. Here every image waits in one queue, and whenever the model is free it
takes up to `max_batch_size` of all that wait. Knows asyncio; knows neither Ray nor torch.
"""

import asyncio
import heapq
import itertools
import logging
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np
from numpy.typing import NDArray

from deployments.common.errors import DeadlineExceeded, InternalError, Overloaded, QueueFull
from deployments.common.rpc_types import ImageBatch

Predict = Callable[[ImageBatch], Awaitable[NDArray[np.float32]]]

LEARN_FROM = 15
"""Batches, from which the batcher knows what an image takes."""

logger = logging.getLogger("ray.serve")


@dataclass(frozen=True)
class Outcome:
    """What became of one image: probabilities, float32 (1000,), and what they cost."""

    probabilities: NDArray[np.float32]
    queue_ms: float
    infer_ms: float
    batch_size: int


@dataclass(eq=False)
class Job:
    """One image on its way through the model; made inside a running event loop.

    position: the image's place in its request, from 0.
    deadline, arrived: on the clock of `time.monotonic`, seconds.
    outcome: done with an Outcome, with DeadlineExceeded or with InternalError; whoever no longer
        wants it cancels it.
    """

    image: NDArray[np.uint8 | np.float32]
    deadline: float
    position: int = 0
    arrived: float = field(default_factory=time.monotonic)
    outcome: asyncio.Future[Outcome] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Batcher:
    """Puts the jobs of all clients before the model, `streams` batches at a time."""

    def __init__(self, predict: Predict, max_batch_size: int, streams: int = 1) -> None:
        self.max_batch_size = max_batch_size
        self.max_queue_wait_s = math.inf
        self._streams = streams
        self._predict = predict
        self._waiting: list[tuple[float, int, Job]] = []
        self._expected: set[asyncio.Future[Outcome]] = set()  # that are not done yet
        self._ties = itertools.count()
        self._image_times_s: deque[float] = deque(maxlen=LEARN_FROM)
        self._image_s = 0.0
        self._busy_streams = 0
        self._drains: set[asyncio.Task[None]] = set()  # the loop itself holds them weakly

    def admit(self, images: int, timeout_s: float) -> None:
        """All of a request or none of it: raises QueueFull, or Overloaded where it would be late.

        Jobs that were cancelled cost nothing and do not count.
        """
        ahead_s = len(self._expected) * self._image_s
        done_s = ahead_s + images * self._image_s
        if ahead_s > self.max_queue_wait_s:
            raise QueueFull("too many images are waiting", _whole_seconds(ahead_s))
        if done_s > timeout_s:
            raise Overloaded("the images would not be done in time", _whole_seconds(done_s))

    @property
    def waiting_images(self) -> int:
        """Those before the model included."""
        return len(self._expected)

    def expect(self, jobs: Iterable[Job]) -> None:
        """Count jobs as waiting that are yet to be put."""
        for job in jobs:
            self._expected.add(job.outcome)
            job.outcome.add_done_callback(self._expected.discard)

    def put(self, jobs: Sequence[Job]) -> None:
        """Queue jobs; each one's `outcome` tells when it is done."""
        self.expect(jobs)
        for job in jobs:
            heapq.heappush(self._waiting, (self._turn(job), next(self._ties), job))
        for _ in range(min(self._streams - self._busy_streams, len(self._waiting))):
            self._busy_streams += 1
            drain = asyncio.create_task(self._drain())
            self._drains.add(drain)
            drain.add_done_callback(self._drains.discard)

    def _turn(self, job: Job) -> float:
        """The k-th image of an upload counts as if it had come k images' time later.

        So a large upload holds up no lone image, and is never starved by many.
        """
        return job.arrived + job.position * self._image_s

    async def _drain(self) -> None:
        try:
            while self._waiting:
                batch = self._take_batch()
                if batch:
                    await self._run(batch)
        finally:
            self._busy_streams -= 1

    def _take_batch(self) -> list[Job]:
        batch: list[Job] = []
        while self._waiting and len(batch) < self.max_batch_size:
            if batch and self._waiting[0][2].image.dtype != batch[0].image.dtype:
                break  # pixels and normalised images are no one array
            _, _, job = heapq.heappop(self._waiting)
            if job.outcome.done():
                continue  # its client has gone
            if job.deadline <= time.monotonic():
                job.outcome.set_exception(DeadlineExceeded("the image waited for too long"))
                continue
            batch.append(job)
        return batch

    async def _run(self, batch: list[Job]) -> None:
        started = time.monotonic()
        try:
            rows = await self._predict(np.stack([job.image for job in batch]))
        except Exception:
            logger.exception("a batch of %d failed in the model", len(batch))
            await self._run_apart(batch)
            return
        infer_s = time.monotonic() - started
        self._learn(infer_s / len(batch) / self._streams)
        for job, row in zip(batch, rows, strict=True):
            queue_ms = 1000 * (started - job.arrived)
            _settle(job, Outcome(row, queue_ms, 1000 * infer_s, len(batch)))

    async def _run_apart(self, batch: list[Job]) -> None:
        """Halve a batch that failed until the image that breaks it stands alone."""
        if len(batch) == 1:
            _settle(batch[0], InternalError("the model failed on this image"))
            return
        middle = len(batch) // 2
        await self._run(batch[:middle])
        await self._run(batch[middle:])

    def _learn(self, image_s: float) -> None:
        """The median of what the last batches took: one that was held up is no slow model."""
        self._image_times_s.append(image_s)
        self._image_s = median(self._image_times_s)


def _whole_seconds(wait_s: float) -> int:
    return max(math.ceil(wait_s), 1)


def _settle(job: Job, outcome: Outcome | InternalError) -> None:
    if job.outcome.done():
        return  # cancelled while it was before the model
    if isinstance(outcome, Outcome):
        job.outcome.set_result(outcome)
    else:
        job.outcome.set_exception(outcome)
