"""The application around a model that costs little and whose answers are known.

A picture's class follows from the colour of its middle, so a wrong answer is seen. Pictures
of one colour break the model, as a poisoned image would.
"""

import time
from functools import partial

import numpy as np
from numpy.typing import NDArray
from ray.serve import Application

from deployments.app import bind
from deployments.common.rpc_types import ImageBatch
from deployments.common.settings import Settings
from deployments.model.weights import Weights

LEVELS = 8
"""Of each of red, green and blue: 512 classes, and one of them is poison."""
POISON = LEVELS**3 - 1
_WEIGHTS = Weights("file", "stub")


def colour_of(number: int) -> tuple[int, int, int]:
    """The colour of a picture of that class: in the middle of its levels."""
    digits = number // LEVELS**2, number // LEVELS % LEVELS, number % LEVELS
    red, green, blue = (256 // LEVELS * digit + 128 // LEVELS for digit in digits)
    return red, green, blue


class StubModel:
    """Meets `model.Model`: sleeps for each image, and answers the class of its colour."""

    engine, device, precision = "stub", "cpu", "none"
    streams = 1
    max_batch_size = 8

    def __init__(self, image_s: float) -> None:
        self._image_s = image_s

    def predict(self, images: ImageBatch) -> NDArray[np.float32]:
        time.sleep(self._image_s * len(images))
        levels = images[:, 112, 112].astype(int) * LEVELS // 256
        numbers = levels @ [LEVELS**2, LEVELS, 1]
        if (numbers == POISON).any():
            raise ValueError("a poisoned image")
        probabilities: NDArray[np.float32] = np.eye(1000, dtype=np.float32)[numbers]
        return probabilities


def build_fast(args: Settings) -> Application:
    """A millisecond an image: the rest of the service is what is tried."""
    return bind(args, _WEIGHTS, partial(StubModel, 0.001), num_gpus=0)


def build_slow(args: Settings) -> Application:
    """100 ms an image: so slow that two cores can make ten times the load."""
    return bind(args, _WEIGHTS, partial(StubModel, 0.1), num_gpus=0)


def build_medium(args: Settings) -> Application:
    """50 ms an image: long enough to have many in flight."""
    return bind(args, _WEIGHTS, partial(StubModel, 0.05), num_gpus=0)
