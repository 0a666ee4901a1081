"""The YAML itself: what is no document is told with its line."""

from pathlib import Path

import pytest

from deployments.common.errors import StartupError
from deployments.launcher.document import read_document


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [1\nb: 2\n", ", line 2: "),
        ("a:\n\t- 1\n", ", line 2: "),
        ("http_options:\n  port: 1\n  port: 2\n", ", line 3: the key 'port' stands twice"),
        ("", "holds no mapping"),
        ("- 1\n", "holds no mapping"),
        ("a: 1\n---\nb: 2\n", ", line 2: "),
        ("a: !!python/name:os.system\n", ", line 1: "),
    ],
)
def test_a_text_that_is_no_document_is_told_in_one_line(
    tmp_path: Path, text: str, told: str
) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(StartupError) as error:
        read_document(path)
    assert str(error.value).startswith(str(path))
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"nowhere.yaml cannot be read \(No such file"):
        read_document(tmp_path / "nowhere.yaml")
    with pytest.raises(StartupError, match="cannot be read"):
        read_document(tmp_path)
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(StartupError, match="is not a text file"):
        read_document(tmp_path / "photo.jpg")


def test_anchors_and_merged_keys_are_read(tmp_path: Path) -> None:
    path = tmp_path / "anchors.yaml"
    path.write_text("a: &one {x: 1, y: 2}\nb:\n  <<: *one\n  y: 3\n")
    assert read_document(path)["b"] == {"x": 1, "y": 3}
