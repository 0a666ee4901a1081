"""What is asked: pictures whose right answers are known, one in a hundred of them poisoned."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from PIL import Image

from deployments.common.labels import load_classes
from testing.encodings import KEYED
from testing.load_client import LabelledRequest
from testing.photos import Photos
from testing.pictures import encode
from testing.stub_model import LEVELS, POISON, colour_of

POISON_EVERY = 100


@dataclass(frozen=True)
class Picture:
    """A file, and the class id or the error code that is right for it."""

    file: bytes
    expected: str


@dataclass(frozen=True)
class Dataset:
    """Good pictures, and one that fails: in the model where that can be told to, else before."""

    pictures: tuple[Picture, ...]
    poison: Picture

    def make_requests(self, images: int) -> list[LabelledRequest]:
        """Requests of so many images, each good picture in some of them."""
        pictures = itertools.cycle(self.pictures)
        return [_make_request(pictures, images) for _ in self.pictures]

    def make_poisoned_requests(self, images: int) -> list[LabelledRequest]:
        """The same with every hundredth picture poisoned."""
        pictures = self._poisoned()
        return [_make_request(pictures, images) for _ in range(POISON_EVERY)]

    def _poisoned(self) -> Iterator[Picture]:
        for number, picture in enumerate(itertools.cycle(self.pictures), start=1):
            yield self.poison if number % POISON_EVERY == 0 else picture


def synthetic_data() -> Dataset:
    """Tiny pictures of one colour each, for the stub: a class for each colour."""
    classes = load_classes()
    files = [encode(Image.new("RGB", (8, 8), colour_of(number))) for number in range(LEVELS**3)]
    pictures = [Picture(file, classes[number].class_id) for number, file in enumerate(files)]
    return Dataset(tuple(pictures[:POISON]), Picture(files[POISON], "internal"))


def photo_data(photos: Photos) -> Dataset:
    """Photographs for the real model; the poison among them is half a file."""
    pairs = zip(photos.files, photos.class_ids, strict=True)
    half = photos.files[0][: len(photos.files[0]) // 2]
    return Dataset(
        tuple(Picture(file, expected) for file, expected in pairs),
        Picture(half, "undecodable_image"),
    )


def _make_request(pictures: Iterator[Picture], images: int) -> LabelledRequest:
    chosen: Sequence[Picture] = list(itertools.islice(pictures, images))
    payload = KEYED.encode([(index, picture.file) for index, picture in enumerate(chosen)])
    return LabelledRequest(payload, tuple(picture.expected for picture in chosen))
