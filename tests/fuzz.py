"""Properties of the decoder and of the upload parser, tried on what nobody thought of.

`make fuzz` (python -m tests.fuzz SECONDS) tries until the time is up, from another seed each
round; the tests try a few hundred.
"""

import asyncio
import logging
import random
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from PIL import Image
from starlette.datastructures import Headers

from deployments.common.errors import ImageError, ServiceError
from deployments.common.settings import Limits
from deployments.ingress.images import preprocess
from deployments.ingress.images.multipart import Upload, read_uploads
from testing.pictures import encode, make_picture

MAX_PIXELS = 10**6
LIMITS = Limits(max_image_bytes=1000, max_images=4, max_request_bytes=10**6)

_SMALL = make_picture(1, 48, 40)
FILES = [
    encode(_SMALL, "JPEG"),
    encode(_SMALL, "JPEG", progressive=True, exif=b"Exif\0\0II*\0\x08\0\0\0\0\0"),
    encode(_SMALL.convert("CMYK"), "JPEG"),
    encode(_SMALL, "PNG"),
    encode(_SMALL.convert("P"), "PNG", transparency=3),
    encode(Image.fromarray(np.arange(2000, dtype=np.uint16).reshape(40, 50)), "PNG"),
    encode(_SMALL.convert("P"), "GIF", save_all=True, append_images=[_SMALL.convert("P")]),
    encode(_SMALL, "WEBP"),
    encode(_SMALL.convert("RGBA"), "WEBP", lossless=True),
    encode(_SMALL, "BMP"),
    encode(_SMALL.convert("1"), "BMP"),
]

Edit = tuple[str, float, bytes]


@st.composite
def damaged_files(draw: st.DrawFn) -> bytes:
    """A good file with some of its bytes replaced, removed, inserted or repeated."""
    data = draw(st.sampled_from(FILES))
    kinds = st.sampled_from(["replace", "remove", "insert", "repeat", "cut"])
    places = st.one_of(st.floats(0, 0.1), st.floats(0, 1))  # headers are where it hurts
    edits = st.tuples(kinds, places, st.binary(min_size=1, max_size=8))
    for edit in draw(st.lists(edits, min_size=1, max_size=6)):
        data = apply(edit, data)
    return data


def apply(edit: Edit, data: bytes) -> bytes:
    kind, place, piece = edit
    start = int(place * len(data))
    match kind:
        case "replace":
            return data[:start] + piece + data[start + len(piece) :]
        case "remove":
            return data[:start] + data[start + len(piece) :]
        case "insert":
            return data[:start] + piece + data[start:]
        case "repeat":
            return data[:start] + 50 * data[start : start + len(piece)] + data[start:]
        case _:
            return data[:start]


def check_decode(data: bytes) -> None:
    """Pixels of the one shape, or an error of the image; nothing else, and in time."""
    started = time.monotonic()
    with suppress(ImageError):
        pixels = preprocess.preprocess(data, MAX_PIXELS)
        assert pixels.shape == (224, 224, 3)
        assert pixels.dtype == np.uint8
    assert time.monotonic() - started < 10


PIECES = [
    b"--b\r\n",
    b"--b--\r\n",
    b"--b--",
    b"--b",
    b"\r\n",
    b"\r",
    b"\n",
    b"--",
    b"Content-Disposition: form-data; ",
    b'name="a"',
    b'; filename="x.png"',
    b"; filename*=utf-8''%FF",
    b"Content-Type: image/png\r\n",
    b"\r\n\r\n",
    b'--b\r\nContent-Disposition: form-data; name="a"; filename="x"\r\n\r\ndata\r\n',
    b'"',
    b"\\",
    b"\x00",
    b"\xff",
    b"x" * 600,
]
bodies = st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=8)), max_size=25).map(
    # How much is ignored before the first boundary depends on how it was cut.
    lambda pieces: b"".join([b"--b\r\n", *pieces])
)
cuts = st.lists(st.floats(0, 1), max_size=6)


def check_parser(body: bytes, cuts: Sequence[float]) -> None:
    """Images or a refusal, and the same ones however the body was cut on its way."""
    places = sorted(int(cut * len(body)) for cut in cuts)
    chunks = [body[a:b] for a, b in zip([0, *places], [*places, len(body)], strict=True)]
    whole = read([body])
    assert read(chunks) == whole
    if isinstance(whole, list):
        assert len({upload.name for upload in whole}) == len(whole) <= LIMITS.max_images


def read(chunks: Sequence[bytes]) -> list[Upload] | tuple[type[ServiceError], str]:
    """The images by their names and bytes; of a refusal, which and why."""

    async def body() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    headers = Headers({"content-type": "multipart/form-data; boundary=b"})
    try:
        uploads = asyncio.run(read_uploads(headers, body(), LIMITS))
    except ServiceError as error:
        return type(error), error.message
    return [
        Upload(each.name, each.data if isinstance(each.data, bytes) else b"too large")
        for each in uploads
    ]


def properties(max_examples: int) -> dict[str, Any]:
    """What is to hold, by name; each is called without arguments."""
    options = settings(
        max_examples=max_examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    return {
        "decode": options(given(damaged_files())(check_decode)),
        "parser": options(given(bodies, cuts)(check_parser)),
    }


def main() -> int:
    """Try for so many seconds. What fails is raised, with the smallest input that does."""
    logging.disable(logging.WARNING)  # the parser's, of every broken body
    give_up = time.monotonic() + float(sys.argv[1])
    rounds = 0
    while time.monotonic() < give_up:
        number = random.SystemRandom().getrandbits(32)
        for name, check in properties(max_examples=500).items():
            print(f"round {rounds}: {name}, seed {number}", flush=True)
            seed(number)(check)()
        rounds += 1
    print(f"clean: {rounds} rounds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
