"""Collects the images of many requests into one call, while other calls are out.

Knows asyncio and numpy; knows neither Ray nor HTTP.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from deployments.common.errors import ReplicaLost, ServiceError
from deployments.common.rpc_types import BatchResult, CallResult, ClassifyCall, ImageBatch

MIN_IMAGES = 8
"""What a call may hold at least, whatever the Classifier prefers."""
MAX_CALL_BYTES = 8 * 2**20
MAX_DELAY_S = 0.005
"""How long an image waits at most for others: a slow model does not hold up the next call, so
the Classifier sees what waits, and its admission control holds for all of it."""

Send = Callable[[ClassifyCall, float], Awaitable[CallResult]]
"""Sends a call that may take so many seconds. Raises ReplicaLost or ServiceError."""


@dataclass(eq=False)
class _Request:
    """One request's images, and its result once there is one.

    deadline, submitted: on the clock of `time.monotonic`, seconds.
    """

    images: ImageBatch
    deadline: float
    submitted: float = field(default_factory=time.monotonic)
    result: asyncio.Future[BatchResult] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class CallBatcher:
    """Sends at once while nothing is out; else when there is enough, or a call returns.

    A request of as many images as a call may hold goes alone, so it delays no single image.
    """

    def __init__(self, send: Send, max_delay_s: float = MAX_DELAY_S) -> None:
        self._send = send
        self._max_delay_s = max_delay_s
        self._max_images = MIN_IMAGES
        self._waiting: list[_Request] = []
        self._timer: asyncio.TimerHandle | None = None
        self._calls: set[asyncio.Task[None]] = set()

    async def submit(self, images: ImageBatch, deadline: float, alone: bool = False) -> BatchResult:
        """Classify the images of one request, in a call of its own if `alone`.

        Raises ReplicaLost if the replica died that had the call, or ServiceError. Cancelled, it
        leaves the call to the requests that share it, and ends a call that nobody wants.
        """
        request = _Request(images, deadline)
        if alone or len(images) >= self._max_images:
            self._start_call([request])
        else:
            self._waiting.append(request)
            self._flush_or_wait()
        try:
            return await request.result
        finally:
            del request  # the trace of its error would keep the images, in a cycle

    def _flush_or_wait(self) -> None:
        waiting_images = sum(len(request.images) for request in self._waiting)
        if not self._calls or waiting_images >= self._max_images:
            self._flush()
        elif self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._max_delay_s, self._flush)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting = [request for request in self._waiting if not request.result.done()]
        self._waiting = []
        for group in self._split(waiting):
            self._start_call(group)

    def _split(self, requests: Sequence[_Request]) -> list[list[_Request]]:
        """Groups of one kind of images each, none with more than a call may hold."""
        groups: list[list[_Request]] = []
        num_images = num_bytes = 0
        for request in requests:
            num_images += len(request.images)
            num_bytes += request.images.nbytes
            fits = num_images <= self._max_images and num_bytes <= MAX_CALL_BYTES
            if groups and fits and groups[-1][0].images.dtype == request.images.dtype:
                groups[-1].append(request)
            else:
                groups.append([request])
                num_images, num_bytes = len(request.images), request.images.nbytes
        return groups

    def _start_call(self, group: Sequence[_Request]) -> None:
        call = asyncio.create_task(self._call(group))
        self._calls.add(call)
        call.add_done_callback(self._on_call_end)

        def on_result(result: asyncio.Future[BatchResult]) -> None:
            if not result.cancelled():
                result.exception()  # asyncio need not log it if the client has left
            elif all(each.result.cancelled() for each in group):
                call.cancel()

        for request in group:
            request.result.add_done_callback(on_result)

    def _on_call_end(self, call: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        if self._waiting:
            self._flush()

    async def _call(self, group: Sequence[_Request]) -> None:
        now = time.monotonic()
        images = [request.images for request in group]
        call = ClassifyCall(
            images[0] if len(images) == 1 else np.concatenate(images),
            [len(each) for each in images],
            [request.deadline - now for request in group],
        )
        try:
            answer = await self._send(call, max(call.timeouts_s))
        except asyncio.CancelledError:
            # By a request that left: the others of the call still want their results.
            _fail(group, ReplicaLost("the call was cancelled"))
            raise
        except Exception as error:  # noqa: BLE001, each request of the group raises it
            _fail(group, error)
        else:
            self._max_images = max(MIN_IMAGES, answer.preferred_images)
            for request, result in zip(group, answer.results, strict=True):
                _resolve(request, result, 1000 * (now - request.submitted))


def _fail(group: Sequence[_Request], error: Exception) -> None:
    for request in group:
        if not request.result.done():
            request.result.set_exception(error)


def _resolve(request: _Request, result: BatchResult | ServiceError, waited_ms: float) -> None:
    if request.result.done():
        return  # its client has left
    if isinstance(result, ServiceError):
        request.result.set_exception(result)
    else:
        request.result.set_result(replace(result, queue_ms=result.queue_ms + waited_ms))
