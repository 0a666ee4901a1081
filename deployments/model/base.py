"""Which engine runs the model, and what every engine promises.

Knows neither torch nor OpenVINO until one is chosen; nothing of Ray, requests or batching.
"""

import logging
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from deployments.common.rpc_types import ImageBatch
from deployments.common.settings import Device, Engine, Precision
from deployments.model.precision import choose_precision, read_cpu_flags
from deployments.model.spec import SPEC
from deployments.model.weights import Weights

logger = logging.getLogger("ray.serve")


class Model(Protocol):
    """DenseNet-121, or its stand-in, on one device, ready to predict.

    streams: how many batches it runs at once, each called from a thread of its own.
    max_batch_size: more images in a batch gain little; `predict` takes any number.
    precision: that of the arithmetic in effect, never `auto`.
    """

    @property
    def engine(self) -> str: ...

    @property
    def device(self) -> str: ...

    @property
    def precision(self) -> str: ...

    @property
    def streams(self) -> int: ...

    @property
    def max_batch_size(self) -> int: ...

    def predict(self, images: ImageBatch) -> NDArray[np.float32]:
        """Pixels (n, 224, 224, 3), or what is normalised already, float32 (n, 3, 224, 224).

        Returns float32 softmax probabilities (n, 1000). Raises DeviceLost where no later
        call can succeed; what else it raises is held to be some image's fault.
        """


def load_model(
    weights: Weights,
    device: Device,
    engine: Engine = "auto",
    precision: Precision = "auto",
    gpu_fraction: float = 1.0,
) -> Model:
    """Load the weights into the engine chosen: `auto` is OpenVINO on a CPU, torch on a GPU.

    precision: `auto` is decided by `choose_precision`, on the machine of the replica.
    gpu_fraction: how much of the GPU's memory the model may take.

    Raises StartupError when the checkpoint is not a DenseNet-121 with 1000 classes.
    """
    is_stand_in = weights.source == "stand_in"
    chosen = choose_precision(device, precision, read_cpu_flags(), is_stand_in)
    model = _load(weights, device, engine, chosen, gpu_fraction)
    if precision not in ("auto", model.precision):
        logger.warning(
            "precision: %s does not suit this device and network, so %s is in effect.",
            precision,
            model.precision,
        )
    return model


def _load(
    weights: Weights, device: Device, engine: Engine, precision: Precision, gpu_fraction: float
) -> Model:
    if engine == "openvino" or (engine == "auto" and device == "cpu"):
        from deployments.model.openvino_engine import OpenVINOModel

        return OpenVINOModel(weights, precision)
    if device == "cuda":
        from deployments.model.cuda.engine import CudaModel

        return CudaModel(weights, precision, gpu_fraction)
    from deployments.model.torch_engine import TorchModel

    return TorchModel(weights, precision)


def warm_up(model: Model, batch_size: int) -> None:
    """Pay the first calls' costs (kernel choice, allocations) before a client does.

    batch_size: the largest that is used. A model that gains nothing by batches runs them image
    by image.
    """
    for size in _list_sizes(1 if model.max_batch_size == 1 else batch_size):
        model.predict(np.zeros((size, SPEC.input_px, SPEC.input_px, 3), np.uint8))


def _list_sizes(largest: int) -> list[int]:
    """The powers of two below `largest`, and itself."""
    return [2**power for power in range((largest - 1).bit_length())] + [largest]
