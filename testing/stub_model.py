"""A model that costs little and whose answers are known: a picture's class is its colour.

Imports numpy alone: the benchmark's peers run it in environments without Ray.
"""

import threading
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

LEVELS = 8
"""Of each of red, green and blue: 512 classes, and one of them is poison."""
POISON = LEVELS**3 - 1
NUM_CLASSES = 1000


def colour_of(number: int) -> tuple[int, int, int]:
    """The colour of a picture of that class: in the middle of its levels."""
    digits = number // LEVELS**2, number // LEVELS % LEVELS, number % LEVELS
    red, green, blue = (256 // LEVELS * digit + 128 // LEVELS for digit in digits)
    return red, green, blue


class StubModel:
    """Meets `deployments.model.base.Model`: sleeps for each image, and sees its middle's colour.

    Pictures of one colour break it, as a poisoned image would.
    """

    engine, device, precision = "stub", "cpu", "none"
    streams = 1
    max_batch_size = 8

    def __init__(self, image_s: float) -> None:
        self._image_s = image_s

    def predict(self, images: NDArray[np.uint8 | np.float32]) -> NDArray[np.float32]:
        """Take uint8 (n, 224, 224, 3), return float32 (n, 1000). Raises ValueError."""
        time.sleep(self._image_s * len(images))
        levels = images[:, 112, 112].astype(int) * LEVELS // 256
        numbers = levels @ [LEVELS**2, LEVELS, 1]
        if (numbers == POISON).any():
            raise ValueError("a poisoned image")
        probabilities = np.zeros((len(images), NUM_CLASSES), np.float32)
        probabilities[np.arange(len(images)), numbers] = 1
        return probabilities


class HangingOnce(StubModel):
    """A model that is stuck for ever, as on a lost device, if it finds the marker."""

    def __init__(self, marker: Path) -> None:
        super().__init__(0.001)
        self._marker = marker

    def predict(self, images: NDArray[np.uint8 | np.float32]) -> NDArray[np.float32]:
        if self._marker.exists():
            self._marker.unlink()
            threading.Event().wait()
        return super().predict(images)
