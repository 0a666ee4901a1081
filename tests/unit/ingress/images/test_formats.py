"""The service, its page and the client accept the same files."""

import json
import re

import pytest

from densenet_client.suffixes import PHOTO_SUFFIXES
from deployments.common.errors import UnsupportedImage
from deployments.ingress.images.formats import FORMATS, SUFFIXES, sniff_format
from deployments.ingress.images.preprocess import preprocess
from testing.pictures import encode, make_picture
from testing.service import ROOT

STATIC = ROOT / "deployments" / "ingress" / "http" / "static"


def test_client_takes_the_suffixes_of_the_service() -> None:
    assert PHOTO_SUFFIXES == SUFFIXES


def test_page_takes_the_suffixes_of_the_service() -> None:
    script = (STATIC / "suffixes.js").read_text()
    found = re.search(r"PHOTO_SUFFIXES = (\[.*?\]);", script, re.DOTALL)
    assert found is not None
    assert set(json.loads(found[1])) == SUFFIXES


def test_page_offers_the_media_types_of_the_service() -> None:
    accepted = re.search(r'accept="([^"]*image/webp[^"]*)"', (STATIC / "index.html").read_text())
    assert accepted is not None
    assert set(accepted[1].split(",")) == {each.media_type for each in FORMATS}


@pytest.mark.parametrize("name", [each.name for each in FORMATS])
def test_format_is_recognised_by_its_first_bytes(name: str) -> None:
    assert sniff_format(encode(make_picture(1), name)) == name


@pytest.mark.parametrize("name", [each.name for each in FORMATS])
def test_format_is_decoded(name: str) -> None:
    assert preprocess(encode(make_picture(1), name), 10**6).shape == (224, 224, 3)


@pytest.mark.parametrize("data", [b"", b"RIFF1234WAVE", b" BM", b"GIF88a"])
def test_another_format_is_unsupported(data: bytes) -> None:
    with pytest.raises(UnsupportedImage):
        sniff_format(data)


@pytest.mark.parametrize(
    ("head", "name"),
    [(b"\0\0\0\x18ftypheic", "HEIC"), (b"\0\0\0\x1cftypavif", "AVIF"), (b"II*\0", "TIFF")],
)
def test_a_format_of_cameras_is_named_with_the_way_out(head: bytes, name: str) -> None:
    with pytest.raises(UnsupportedImage, match=f"{name}.*save the picture as JPEG"):
        sniff_format(head)
