"""`python -m deployments.model.prefetch`, with which the image is built."""

import os
import subprocess
import sys
from pathlib import Path

from testing.pictures import make_picture
from testing.reference import make_checkpoint
from testing.service import ROOT


def prefetch(weights: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deployments.model.prefetch", str(weights)],
        cwd=ROOT,
        env=os.environ | {"XDG_CACHE_HOME": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_fills_the_cache_with_the_converted_graph(tmp_path: Path) -> None:
    make_checkpoint([make_picture(1), make_picture(2)], tmp_path / "densenet121.pth")
    done = prefetch(tmp_path / "densenet121.pth", tmp_path / "cache")
    assert (done.returncode, done.stdout[:18]) == (0, "prefetched: sha256"), done.stderr
    assert list((tmp_path / "cache" / "densenet-serve").iterdir())


def test_weights_that_cannot_be_had_end_it_with_the_cause(tmp_path: Path) -> None:
    done = prefetch(tmp_path / "nothing.pth", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("prefetch: ")
    assert "nothing.pth" in done.stderr
