"""Decodes that nobody waits for any more: bounded in number, and in the way of nobody."""

import asyncio
import threading
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deployments.common.errors import Overloaded
from deployments.ingress.images.decode_pool import DecodePool

pytestmark = pytest.mark.anyio

THREADS = 2


class Decoder:
    """Decodes `b"slow"` when told to, and all else at once."""

    def __init__(self) -> None:
        self.go_on = threading.Event()

    def __call__(self, data: bytes, max_pixels: int) -> NDArray[np.uint8]:
        if data == b"slow":
            self.go_on.wait(30)
        return np.zeros(max_pixels, np.uint8)


async def give_up(decoders: DecodePool) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(decoders.decode(b"slow", 1), 0.05)


@pytest.fixture
def decoder() -> Any:
    decoder = Decoder()
    yield decoder
    decoder.go_on.set()


async def test_images_are_decoded_beside_one_that_was_given_up(decoder: Decoder) -> None:
    decoders = DecodePool(decoder, THREADS)
    await give_up(decoders)
    decoders.raise_if_saturated()
    both = await asyncio.gather(*(decoders.decode(b"fast", 3) for _ in range(2 * THREADS)))
    assert [len(each) for each in both] == [3] * 2 * THREADS


async def test_too_many_that_were_given_up_refuse_requests_until_one_ends(
    decoder: Decoder,
) -> None:
    decoders = DecodePool(decoder, THREADS)
    for _ in range(THREADS):
        await give_up(decoders)
    with pytest.raises(Overloaded):
        decoders.raise_if_saturated()
    decoder.go_on.set()
    await eventually(decoders)


async def eventually(decoders: DecodePool) -> None:
    """Returns when requests are taken again. Raises Overloaded when they never are."""
    for _ in range(100):
        try:
            return decoders.raise_if_saturated()
        except Overloaded:
            await asyncio.sleep(0.01)
    return decoders.raise_if_saturated()
