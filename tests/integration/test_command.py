"""The command against the running service."""

import json
from pathlib import Path

import pytest
from PIL import Image

from deployments.common.labels import load_classes
from testing.service import Service
from tests.command import run


@pytest.fixture
def photos(pictures: list[Image.Image], tmp_path: Path) -> Path:
    for index, picture in enumerate(pictures[:12]):
        picture.save(tmp_path / f"{index:02}.png")
    return tmp_path


def test_a_directory_is_classified(service: Service, photos: Path) -> None:
    done = run(photos, "--url", service.url, "--format", "json", "--top-k", "5")
    assert (done.returncode, done.stderr) == (0, "")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [Path(row["name"]).name for row in rows] == [f"{i:02}.png" for i in range(12)]
    found = [row["predictions"][0]["class_id"] for row in rows]
    assert found == [each.class_id for each in load_classes()[:12]]


def test_the_table_names_what_it_sees_and_what_failed(service: Service, photos: Path) -> None:
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 broken")
    done = run(photos / "01.png", photos / "broken.jpg", "--url", service.url)
    assert done.returncode == 1
    first, second = done.stdout.splitlines()
    assert first.endswith("n01443537  goldfish")
    assert "undecodable_image: " in second


def test_a_picture_comes_from_standard_input(service: Service, photos: Path) -> None:
    picture = (photos / "00.png").read_bytes()
    done = run("-", "--url", service.url, "--format", "csv", stdin=picture)
    assert done.returncode == 0
    assert done.stdout.splitlines()[1].startswith("-,,,n01440764,tench,0.")
