"""The model in OpenVINO: the fastest engine measured on a CPU.

Its process never imports torch: the graph is converted by another one, once.
"""

import os
import threading

import numpy as np
from numpy.typing import NDArray

from deployments.common.rpc_types import ImageBatch
from deployments.common.settings import Precision
from deployments.model.conversion import converted
from deployments.model.openvino_runtime import openvino
from deployments.model.spec import SPEC
from deployments.model.weights import Weights

_MEAN = SPEC.pixel_mean.reshape(1, 3, 1, 1)
_STD = SPEC.pixel_std.reshape(1, 3, 1, 1)

_HINTS: dict[Precision, str] = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}


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
        with converted(weights) as file:
            graph = core.read_model(file)
        self._compiled = core.compile_model(
            graph,
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
