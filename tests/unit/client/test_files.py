"""Which files the command's arguments name."""

import os
from pathlib import Path

import pytest

from densenet_client.files import find_names


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a tree of empty files."""
    monkeypatch.chdir(tmp_path)
    for name in ("b.jpg", "A.PNG", "notes.txt", ".hidden/c.jpg", "sub/d.webp", "sub/deep/e.gif"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).touch()
    return tmp_path


@pytest.mark.usefixtures("photos")
def test_a_directory_gives_the_photos_at_and_below_it_in_order() -> None:
    assert list(find_names(["photos"])) == [
        "photos/A.PNG",
        "photos/b.jpg",
        "photos/sub/d.webp",
        "photos/sub/deep/e.gif",
    ]


@pytest.mark.usefixtures("photos")
def test_a_pattern_gives_what_matches_it() -> None:
    assert list(find_names(["photos/*.jpg"])) == ["photos/b.jpg"]
    assert list(find_names(["photos/s*"])) == ["photos/sub/d.webp", "photos/sub/deep/e.gif"]
    assert list(find_names(["**/*.gif"])) == ["photos/sub/deep/e.gif"]


@pytest.mark.usefixtures("photos")
def test_a_file_that_is_named_is_taken_whatever_it_is() -> None:
    assert list(find_names(["photos/notes.txt", "-"])) == ["photos/notes.txt", "-"]


def test_a_file_is_taken_by_its_name_when_that_looks_like_a_pattern(photos: Path) -> None:
    (photos / "cat[1].jpg").touch()
    assert list(find_names(["cat[1].jpg"])) == ["cat[1].jpg"]


@pytest.mark.usefixtures("photos")
def test_what_is_not_there_is_kept_to_be_reported() -> None:
    assert list(find_names(["no.jpg", "photos/*.bmp"])) == ["no.jpg", "photos/*.bmp"]


def test_a_link_that_leads_back_is_not_followed_for_ever(photos: Path) -> None:
    (photos / "photos/sub/loop").symlink_to(photos / "photos")
    assert len(list(find_names(["photos"]))) == 4


def test_a_name_that_is_not_utf_8_is_found(photos: Path) -> None:
    with open(os.fsencode(photos) + b"/photos/\xff.jpg", "wb"):  # noqa: PTH123, Path takes no bytes
        pass
    assert "photos/\udcff.jpg" in list(find_names(["photos"]))
