"""Which files the command's arguments name."""

import json
import os
import re
import socket
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from densenet_client.files import find_names
from densenet_client.suffixes import PHOTO_SUFFIXES, SYSTEM_FOLDERS, UNSUPPORTED_SUFFIXES
from testing.service import ROOT


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


PHOTOS = ["photos/A.PNG", "photos/b.jpg", "photos/sub/d.webp", "photos/sub/deep/e.gif"]


@pytest.mark.parametrize(
    "name",
    [
        "._b.jpg",
        ".trashed-1-b.jpg",
        "sub/._d.webp",
        ".thumbs/x.jpg",
        "sub/.sync/deep/x.jpg",
        "__MACOSX/x.jpg",
        "sub/@eaDir/x.jpg",
        "$RECYCLE.BIN/x.jpg",
    ],
)
@pytest.mark.parametrize("argument", ["photos", "photos/**", "./photos/*", "phot*"])
def test_what_people_do_not_see_in_a_folder_is_left_out(
    photos: Path, name: str, argument: str
) -> None:
    (photos / "photos" / name).parent.mkdir(exist_ok=True, parents=True)
    (photos / "photos" / name).touch()
    assert sorted(map(os.path.normpath, find_names([argument]))) == PHOTOS


@pytest.mark.parametrize("named", ["photos/._b.jpg", "photos/.hidden", "photos/__MACOSX"])
def test_a_hidden_file_or_folder_that_is_named_is_taken(photos: Path, named: str) -> None:
    (photos / "photos/._b.jpg").touch()
    (photos / "photos/__MACOSX").mkdir()
    (photos / "photos/__MACOSX/c.jpg").touch()
    assert len(list(find_names([named]))) == 1


@pytest.mark.parametrize("argument", ["photos", "photos/*", "photos/*.jpg", "photos/**"])
def test_a_folder_or_pattern_gives_no_pipe_socket_or_device(photos: Path, argument: str) -> None:
    before = list(find_names([argument]))
    os.mkfifo(photos / "photos/pipe.jpg")
    (photos / "photos/null.jpg").symlink_to("/dev/null")
    (photos / "photos/to-pipe.jpg").symlink_to(photos / "photos/pipe.jpg")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(photos / "photos/socket.jpg"))
        assert list(find_names([argument])) == before
    assert list(find_names(["photos/pipe.jpg"])) == ["photos/pipe.jpg"]


def test_a_link_to_a_photo_is_a_photo_and_one_that_leads_nowhere_is_reported(photos: Path) -> None:
    (photos / "photos/c.jpg").symlink_to(photos / "photos/b.jpg")
    (photos / "photos/d.jpg").symlink_to(photos / "photos/gone.jpg")
    found = list(find_names(["photos/*.jpg"]))
    assert found == ["photos/b.jpg", "photos/c.jpg", "photos/d.jpg"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["photos/**"],
        ["**"],
        ["photos", "photos"],
        ["photos", "photos/b.jpg", "./photos/sub", "photos/../photos/A.PNG"],
        ["photos/**/*", "photos/**/*.*", "photos/"],
        ["photos", "loop"],
    ],
)
def test_each_photo_is_given_once(photos: Path, arguments: list[str]) -> None:
    (photos / "loop").symlink_to(photos / "photos")
    (photos / "photos/sub/loop").symlink_to(photos / "photos")
    found = [os.path.realpath(name) for name in find_names(arguments)]
    assert sorted(found) == [os.path.realpath(name) for name in PHOTOS]


@pytest.mark.usefixtures("photos")
def test_standard_input_is_read_once() -> None:
    assert list(find_names(["-", "-"])) == ["-"]


@pytest.mark.usefixtures("photos")
def test_a_pattern_takes_any_file_only_by_its_suffix() -> None:
    assert list(find_names(["photos/*.txt"])) == ["photos/notes.txt"]
    assert list(find_names(["photos/*.t*", "photos/n*"])) == []


def test_pictures_in_other_formats_are_counted(photos: Path) -> None:
    for name in ("a.HEIC", "sub/b.heic", "c.avif", "._d.heic", "sub/e.tif"):
        (photos / "photos" / name).touch()
    unsupported: Counter[str] = Counter()
    assert list(find_names(["photos", "photos/**", "photos/a.HEIC"], unsupported)) == [
        *PHOTOS,
        "photos/a.HEIC",
    ]
    assert unsupported == {".heic": 2, ".avif": 1, ".tif": 1}


@pytest.mark.usefixtures("photos")
def test_a_folder_that_cannot_be_listed_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def refuse(path: str) -> Any:
        if path == "photos/sub":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)  # root may list every folder
    assert list(find_names(["photos"])) == ["photos/A.PNG", "photos/b.jpg", "photos/sub"]


def test_the_page_takes_the_same_files() -> None:
    script = (ROOT / "deployments/ingress/http/static/suffixes.js").read_text()
    lists = dict(re.findall(r"export const (\w+) = (\[.*?\]);", script, re.DOTALL))
    assert {name: set(json.loads(text)) for name, text in lists.items()} == {
        "PHOTO_SUFFIXES": PHOTO_SUFFIXES,
        "UNSUPPORTED_SUFFIXES": UNSUPPORTED_SUFFIXES,
        "SYSTEM_FOLDERS": SYSTEM_FOLDERS,
    }


def test_a_name_that_is_not_utf_8_is_found(photos: Path) -> None:
    with open(os.fsencode(photos) + b"/photos/\xff.jpg", "wb"):  # noqa: PTH123, Path takes no bytes
        pass
    assert "photos/\udcff.jpg" in list(find_names(["photos"]))
