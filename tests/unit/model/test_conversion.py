"""The graph is converted by a process of its own: what that costs, and what it says if it fails."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deployments.common.errors import StartupError
from deployments.model.base import load_model
from deployments.model.spec import SPEC
from deployments.model.weights import Weights, resolve
from testing.service import ROOT

STAND_IN = Weights("stand_in", SPEC.stand_in.version)
MAX_MORE_MIB = 50
START = """
import sys
import psutil
from deployments.model.base import load_model, warm_up
from deployments.model.spec import SPEC
from deployments.model.weights import Weights

model = load_model(Weights("stand_in", SPEC.stand_in.version), "cpu", "openvino", "fp32")
warm_up(model, 1)
print(psutil.Process().memory_info().rss // 2**20, "torch" in sys.modules)
"""


@pytest.fixture(autouse=True)
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def start() -> tuple[int, bool]:
    """Load and warm the model. Returns the process's resident MiB, and whether it has torch."""
    done = subprocess.run(
        [sys.executable, "-c", START],
        cwd=ROOT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=True,
    )
    resident_mib, has_torch = done.stdout.split()
    return int(resident_mib), has_torch == "True"


def test_a_first_start_takes_no_more_memory_than_a_later_one(cache_home: Path) -> None:
    first_mib, first_has_torch = start()
    assert len(list(cache_home.rglob("graph.xml"))) == 1
    later_mib, later_has_torch = start()
    assert first_mib < later_mib + MAX_MORE_MIB
    assert not first_has_torch
    assert not later_has_torch


def test_a_checkpoint_that_the_converter_refuses_is_told_in_its_words(tmp_path: Path) -> None:
    (tmp_path / "bad.pth").write_bytes(b"not a checkpoint")
    with pytest.raises(StartupError, match=r"^weights: .*bad.pth is not a readable PyTorch"):
        load_model(resolve(str(tmp_path / "bad.pth")), "cpu", "openvino")


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("kill -9 $$", "ended by signal 9. It takes about 1 GB of memory"),
        (
            "echo trace >&2; echo 'OSError: No space left' >&2; exit 1",
            "OpenVINO: OSError: No space",
        ),
        ("exit 1", "OpenVINO: it says nothing"),
    ],
)
def test_a_converter_that_fails_keeps_nothing_and_says_why(
    tmp_path: Path,
    cache_home: Path,
    monkeypatch: pytest.MonkeyPatch,
    script: str,
    expected: str,
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(StartupError, match=expected):
        load_model(STAND_IN, "cpu", "openvino")
    assert not list(cache_home.rglob("*graph*"))
    assert not list(cache_home.rglob(".converting-*"))
