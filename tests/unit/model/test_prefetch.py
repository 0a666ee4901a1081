"""`python -m deployments.model.prefetch`, with which the image is built."""

import os
import subprocess
import sys
from pathlib import Path

from testing.pictures import make_picture
from testing.reference import make_checkpoint
from testing.service import ROOT

OFFLINE = {"https_proxy": "http://127.0.0.1:9"}
"""A proxy that is not there: no host can be reached, wherever the tests run."""


def prefetch(weights: object, cache: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deployments.model.prefetch", str(weights)],
        cwd=ROOT,
        env=os.environ
        | {"XDG_CACHE_HOME": str(cache), "TORCH_HOME": str(cache / "torch")}
        | OFFLINE,
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_fills_the_cache_with_the_converted_graph(tmp_path: Path) -> None:
    make_checkpoint([make_picture(1), make_picture(2)], tmp_path / "densenet121.pth")
    done = prefetch(tmp_path / "densenet121.pth", tmp_path / "cache")
    assert (done.returncode, done.stdout[:18]) == (0, "prefetched: sha256"), done.stderr
    assert list((tmp_path / "cache" / "densenet-serve").iterdir())


def test_without_internet_the_image_gets_the_stand_in_and_tries_again_when_it_runs(
    tmp_path: Path,
) -> None:
    done = prefetch("auto", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("prefetched: stand-in-efficientnet-lite0. https://")
    assert "no connection" in done.stdout
    (graph,) = (tmp_path / "densenet-serve").iterdir()
    assert "stand-in" in graph.name


def test_without_internet_no_image_is_made_that_requires_the_official_weights(
    tmp_path: Path,
) -> None:
    done = prefetch("imagenet", tmp_path)
    assert done.returncode == 1
    assert "densenet121-a639ec97.pth into" in done.stderr
    assert "Traceback" not in done.stderr


def test_weights_that_are_not_there_end_it_with_the_cause(tmp_path: Path) -> None:
    done = prefetch(tmp_path / "nothing.pth", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("prefetch: ")
    assert "nothing.pth" in done.stderr
