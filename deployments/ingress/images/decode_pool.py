"""The threads that decode images, and what becomes of a decode that nobody waits for.

A thread cannot be stopped. A picture that takes minutes to decode outlives its request; it
is left to end, others decode beside it, and when too many such are left, no more are begun.
"""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from deployments.common.errors import Overloaded
from deployments.ingress.images import jpeg, preprocess

JPEG_START = b"\xff\xd8\xff"
INLINE_BYTES = 64 * 2**10
INLINE_PIXELS = 300_000
"""A smaller baseline JPEG is decoded on the event loop, in about 1 ms. Its thread would wait for
the GIL several times: under load 84 ms were seen for 256 x 256 pixels, and 2 ms more CPU time."""

Decode = Callable[[bytes, int], NDArray[np.uint8]]


class DecodePool:
    """`threads` decodes at a time, beside at most as many that were given up."""

    def __init__(self, decode: Decode, threads: int) -> None:
        self._decode = decode
        self._max_abandoned = threads
        self._abandoned = 0
        self._free = asyncio.Semaphore(threads)
        # Those that are waited for and those that are not: none of them waits for a thread.
        self._pool = ThreadPoolExecutor(2 * threads, thread_name_prefix="decode")

    @classmethod
    def for_this_machine(cls) -> "DecodePool":
        """A pool for all requests of a process.

        Pillow gives up the GIL while it decodes and resizes, so threads use all cores.
        """
        return cls(preprocess.preprocess, len(os.sched_getaffinity(0)))

    def raise_if_saturated(self) -> None:
        """Raises Overloaded while too many decodes that were given up still run."""
        if self._abandoned >= self._max_abandoned:
            raise Overloaded("images that take too long occupy the decoders", retry_after_s=5)

    async def decode(self, data: bytes, max_pixels: int) -> NDArray[np.uint8]:
        """What `preprocess` returns and raises; cancelled, it leaves its thread behind."""
        if is_quick(data):
            return self._decode(data, max_pixels)
        async with self._free:
            loop = asyncio.get_running_loop()
            decoding = loop.run_in_executor(self._pool, self._decode, data, max_pixels)
            try:
                return await asyncio.shield(decoding)
            except asyncio.CancelledError:
                self._abandoned += 1
                decoding.add_done_callback(self._forget)
                raise

    def _forget(self, decoding: asyncio.Future[NDArray[np.uint8]]) -> None:
        self._abandoned -= 1
        decoding.exception()  # nobody else asks for it


def is_quick(data: bytes) -> bool:
    """Whether a decode is so short that the event loop may wait for it."""
    if len(data) > INLINE_BYTES or not data.startswith(JPEG_START):
        return False
    pixels = jpeg.count_baseline_pixels(data)
    return pixels is not None and pixels <= INLINE_PIXELS
