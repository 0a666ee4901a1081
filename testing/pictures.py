"""Generated pictures, each unlike the others, and the files made of them."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PHOTOS = Path(__file__).parents[2] / "shared" / "photos"
"""Real photographs; tests that read them skip where they are not."""


def make_picture(seed: int, width: int = 320, height: int = 256) -> Image.Image:
    """Coloured waves and blocks, different for every seed; RGB."""
    random = np.random.default_rng(seed)
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    channels = []
    for _ in range(3):
        angle, frequency, phase = random.uniform(0, [np.pi, 40, 6])
        wave = np.sin(frequency * (x * np.cos(angle) + y * np.sin(angle)) + phase)
        blocks = random.uniform(-1, 1, (8, 8))
        rows, columns = (np.minimum((8 * axis).astype(int), 7) for axis in (y, x))
        channels.append(0.5 + 0.25 * wave + 0.25 * blocks[rows, columns])
    pixels: NDArray[np.uint8] = (255 * np.stack(channels, axis=2)).astype(np.uint8)
    return Image.fromarray(pixels)


def encode(image: Image.Image, image_format: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()


def list_photos() -> list[Path]:
    """The photographs, in a fixed order; empty where there are none."""
    return sorted(PHOTOS.glob("*.JPEG"))
