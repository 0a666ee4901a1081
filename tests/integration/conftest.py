"""One running service for all tests over HTTP of a process; its model tells pictures apart."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser

from testing.browser import running_chromium
from testing.pictures import list_photos, make_picture
from testing.ports import find_free_port
from testing.reference import make_checkpoint
from testing.service import Service, running, write_config

NUM_PICTURES = 48


@pytest.fixture(scope="session")
def pictures() -> list[Image.Image]:
    """Generated pictures; the test model's class of `pictures[k]` is k."""
    return [make_picture(seed) for seed in range(NUM_PICTURES)]


@pytest.fixture(scope="session")
def checkpoint(pictures: list[Image.Image], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that gives each picture, and each photograph at hand, its own class."""
    path = tmp_path_factory.mktemp("weights") / "test.pth"
    make_checkpoint([*pictures, *(Image.open(photo) for photo in list_photos())], path)
    return path


@pytest.fixture(scope="session")
def service(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("config")
    with running(write_config(folder, find_free_port(), weights=str(checkpoint))) as service:
        yield service


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_chromium() as browser:
        yield browser
