"""The model on threads of its own, and whether anything still comes of them. Knows no Ray."""

import asyncio
import logging
import math
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from deployments.common.errors import DeviceLost
from deployments.common.rpc_types import ImageBatch
from deployments.model.base import Model

STUCK_AFTER_S = 15.0
"""A forward pass that takes longer than this is held to be stuck for ever.

Half of a request's time: the other half is for Ray to replace the replica and for another
one to answer.
"""

logger = logging.getLogger("ray.serve")


class ModelThreads:
    """A thread for each of the model's streams: called inline, it would stop the event loop."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._threads = ThreadPoolExecutor(model.streams, thread_name_prefix="model")
        self._batch_starts: set[float] = set()
        self._lost: DeviceLost | None = None

    async def predict(self, images: ImageBatch) -> NDArray[np.float32]:
        """The model's answer; none for ever, where the device is lost.

        Then no split of the batch would help, and an answer would draw all requests to the
        one replica that refuses quickest. Ray ends it within seconds, and the ingress asks
        another.
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
        if time.monotonic() - min(self._batch_starts, default=math.inf) > STUCK_AFTER_S:
            raise RuntimeError(f"the model has not answered for {STUCK_AFTER_S:g} s")
