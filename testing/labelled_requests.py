"""What is asked: pictures whose right answers are known, one in a hundred of them poisoned."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from PIL import Image

from deployments.common.labels import load_classes
from testing.encodings import KEYED
from testing.load_client import Question
from testing.photos import Photos
from testing.pictures import encode
from testing.stub_model import LEVELS, POISON, colour_of

POISON_EVERY = 100


@dataclass(frozen=True)
class Picture:
    """A file, and the class id or the error code that is right for it."""

    file: bytes
    right: str


@dataclass(frozen=True)
class Gallery:
    """Good pictures, and one that fails: in the model where that can be told to, else before."""

    pictures: tuple[Picture, ...]
    poison: Picture

    def ask(self, images: int) -> list[Question]:
        """Requests of so many images, each good picture in some of them."""
        pictures = itertools.cycle(self.pictures)
        return [_question(pictures, images) for _ in self.pictures]

    def ask_poisoned(self, images: int) -> list[Question]:
        """The same with every hundredth picture poisoned."""
        pictures = self._poisoned()
        return [_question(pictures, images) for _ in range(POISON_EVERY)]

    def _poisoned(self) -> Iterator[Picture]:
        for number, picture in enumerate(itertools.cycle(self.pictures), start=1):
            yield self.poison if number % POISON_EVERY == 0 else picture


def paint() -> Gallery:
    """Tiny pictures of one colour each, for the stub: a class for each colour."""
    classes = load_classes()
    files = [encode(Image.new("RGB", (8, 8), colour_of(number))) for number in range(LEVELS**3)]
    pictures = [Picture(file, classes[number].class_id) for number, file in enumerate(files)]
    return Gallery(tuple(pictures[:POISON]), Picture(files[POISON], "internal"))


def hang(photos: Photos) -> Gallery:
    """Photographs for the real model; the poison among them is half a file."""
    pairs = zip(photos.files, photos.class_ids, strict=True)
    half = photos.files[0][: len(photos.files[0]) // 2]
    return Gallery(
        tuple(Picture(file, right) for file, right in pairs), Picture(half, "undecodable_image")
    )


def _question(pictures: Iterator[Picture], images: int) -> Question:
    chosen: Sequence[Picture] = list(itertools.islice(pictures, images))
    payload = KEYED.encode([(index, picture.file) for index, picture in enumerate(chosen)])
    return Question(payload, tuple(picture.right for picture in chosen))
