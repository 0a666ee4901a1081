"""The repository's configuration, for tests to put a mistake into."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from testing.service import ROOT
from tests.unit.launcher.changes import Change, Document


@pytest.fixture
def document() -> Document:
    parsed: Document = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    return parsed


@pytest.fixture
def save(tmp_path: Path, document: Document) -> Callable[[Change], Path]:
    """Writes the configuration after a change."""

    def write(change: Change) -> Path:
        change(document)
        path = tmp_path / "changed.yaml"
        path.write_text(yaml.safe_dump(document))
        return path

    return write
