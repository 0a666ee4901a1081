"""Checkpoints told from other files, without torch."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision.models import densenet121

from deployments.common.errors import StartupError
from deployments.model.checkpoint_file import check_checkpoint
from testing.service import ROOT


@pytest.fixture(scope="module")
def state() -> dict[str, Any]:
    with torch.device("cpu"):
        return dict(densenet121(weights=None).state_dict())


@pytest.mark.parametrize("as_zip", [True, False], ids=["zip", "legacy"])
def test_a_densenet_121_is_taken(tmp_path: Path, state: dict[str, Any], as_zip: bool) -> None:
    path = tmp_path / "good.pth"
    torch.save(state, path, _use_new_zipfile_serialization=as_zip)
    check_checkpoint(path)


@pytest.mark.parametrize("as_zip", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: {"classifier.weight": torch.zeros(10, 1024)}, r"\[10, 1024\].*\[1000, 1024\]"),
        (lambda: {"classifier.weight": torch.zeros(1000, 1664)}, r"\[1000, 1664\]"),
        (lambda: {"epoch": 3, "state_dict": {}}, "its first keys: epoch, state_dict"),
        (lambda: [torch.zeros(1)], "holds no state dict"),
        (lambda: torch.nn.Linear(1, 1), "torch.nn.modules.linear.Linear"),
        (lambda: Path("nowhere"), "holds a pathlib"),
    ],
)
def test_a_checkpoint_of_something_else_is_told(
    tmp_path: Path, make: Callable[[], Any], told: str, as_zip: bool
) -> None:
    path = tmp_path / "other.pth"
    torch.save(make(), path, _use_new_zipfile_serialization=as_zip)
    with pytest.raises(StartupError, match=told):
        check_checkpoint(path)


@pytest.mark.parametrize(
    "content", [b"", b"no checkpoint", b"PK\x03\x04" + bytes(100), b"\x80\x02K\x01.", bytes(5000)]
)
def test_a_file_that_is_no_checkpoint_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.pth"
    path.write_bytes(content)
    with pytest.raises(StartupError, match="is not a readable PyTorch checkpoint"):
        check_checkpoint(path)


def test_half_a_checkpoint_is_told(tmp_path: Path, state: dict[str, Any]) -> None:
    path = tmp_path / "half.pth"
    torch.save(state, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(StartupError, match="is not a readable PyTorch checkpoint"):
        check_checkpoint(path)


def test_nothing_in_the_file_runs(tmp_path: Path) -> None:
    path, trace = tmp_path / "evil.pth", tmp_path / "trace"
    code = f"cposix\nsystem\n(S'touch {trace}'\ntR."
    path.write_bytes(b"\x80\x02" + code.encode())
    with pytest.raises(StartupError, match=r"holds a posix\.system"):
        check_checkpoint(path)
    assert not trace.exists()


def test_neither_the_launcher_nor_its_checks_import_torch() -> None:
    modules = "deployments.launcher.lifecycle, deployments.launcher.preflight"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
