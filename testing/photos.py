"""The pictures every system is given, and the checkpoint every system serves."""

import io
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from deployments.common.labels import load_classes
from testing.pictures import encode, list_photos, make_picture
from testing.reference import classify, load_reference, make_checkpoint
from testing.stub_model import POISON, colour_of

NUM_PHOTOS = 32
PAINTED_SIDE = 256


@dataclass(frozen=True)
class Photos:
    """files: encoded images. class_ids: the right answers for them, by fp32 torch or the stub."""

    files: tuple[bytes, ...]
    class_ids: tuple[str, ...]
    source: str


def read_files() -> tuple[list[bytes], str]:
    """Real photographs where there are some, else generated pictures; and which they are."""
    paths = list_photos()[:NUM_PHOTOS]
    if paths:
        return [path.read_bytes() for path in paths], f"{len(paths)} photographs"
    pictures = [make_picture(seed, 500, 375) for seed in range(NUM_PHOTOS)]
    files = [encode(picture, "JPEG", quality=90) for picture in pictures]
    return files, f"{len(files)} generated JPEGs of 500x375"


def write_checkpoint(files: Sequence[bytes], path: Path) -> None:
    """A DenseNet-121 that gives each of the pictures a class of its own."""
    make_checkpoint([_open(file) for file in files], path)


def answer_rightly(files: Sequence[bytes], source: str, checkpoint: Path) -> Photos:
    """Classify by torchvision's transforms and fp32 eager torch, as nobody disputes."""
    probabilities = classify(load_reference(checkpoint), [_open(file) for file in files])
    classes = load_classes()
    best = probabilities.argmax(dim=1).tolist()
    return Photos(tuple(files), tuple(classes[number].class_id for number in best), source)


def paint_photos() -> Photos:
    """Pictures for the stub: detailed as photographs, with a class's colour in the middle."""
    classes = load_classes()
    numbers = range(0, POISON, POISON // NUM_PHOTOS)[:NUM_PHOTOS]
    files = [encode(_paint(number), "JPEG", quality=90) for number in numbers]
    source = f"{len(files)} generated JPEGs of {PAINTED_SIDE}x{PAINTED_SIDE}"
    return Photos(tuple(files), tuple(classes[number].class_id for number in numbers), source)


def _paint(number: int) -> Image.Image:
    picture = make_picture(number, PAINTED_SIDE, PAINTED_SIDE)
    side = PAINTED_SIDE // 4
    left_top = (PAINTED_SIDE - side) // 2
    picture.paste(colour_of(number), (left_top, left_top, left_top + side, left_top + side))
    return picture


def make_mosaic(files: Sequence[bytes], width: int, height: int) -> Image.Image:
    """A picture of any size with a photograph's detail: a smooth one would decode faster."""
    mosaic = Image.new("RGB", (width, height))
    tiles = itertools.cycle(_open(file).convert("RGB") for file in files)
    y = 0
    while y < height:
        x = row_height = 0
        while x < width:
            tile = next(tiles)
            mosaic.paste(tile, (x, y))
            x, row_height = x + tile.width, max(row_height, tile.height)
        y += row_height
    return mosaic


def _open(file: bytes) -> Image.Image:
    return Image.open(io.BytesIO(file))
