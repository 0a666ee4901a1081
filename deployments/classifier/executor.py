"""The model on threads of its own, and a watchdog over them. Knows no Ray."""

import asyncio
import logging
import math
import time
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from deployments.common.errors import DeviceLost
from deployments.common.rpc_types import ImageBatch
from deployments.model.base import Model, warm_up

HANG_TIMEOUT_S = 15.0
"""A forward pass that takes longer than this is held to be stuck for ever.

Half of a request's time: the other half is for Ray to replace the replica and for another
one to answer.
"""

logger = logging.getLogger("ray.serve")


class ModelExecutor:
    """A thread for each of the model's streams: called inline, it would stop the event loop."""

    def __init__(self, model: Model, hang_timeout_s: float = HANG_TIMEOUT_S) -> None:
        self._model = model
        self._hang_timeout_s = hang_timeout_s
        self._threads = ThreadPoolExecutor(model.streams, thread_name_prefix="model")
        self._batch_starts: set[float] = set()
        self._lost: DeviceLost | None = None

    def warm_up(self, batch_size: int) -> Future[None]:
        """Make batches up to this size as fast as later ones. Raises what the model raises."""
        return self._threads.submit(warm_up, self._model, batch_size)

    async def predict(self, images: ImageBatch) -> NDArray[np.float32]:
        """Run one forward pass on a worker thread.

        If the device is lost, this coroutine never returns: the health check fails, Ray replaces
        the replica, and the Ingress retries elsewhere. Raising instead would make the batcher
        bisect a batch on a dead device, and a replica that fails fast would attract most of the
        load.
        """
        started = time.monotonic()
        self._batch_starts.add(started)
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, self._model.predict, images)
        except DeviceLost as error:
            logger.exception("the device is lost; this replica waits to be replaced")
            self._lost = error
        finally:
            self._batch_starts.discard(started)
        never: asyncio.Future[NDArray[np.float32]] = loop.create_future()
        return await never

    def check_health(self) -> None:
        """Raises DeviceLost, or RuntimeError when the model is stuck."""
        if self._lost is not None:
            raise self._lost
        if time.monotonic() - min(self._batch_starts, default=math.inf) > self._hang_timeout_s:
            raise RuntimeError(f"the model has not answered for {self._hang_timeout_s:g} s")
