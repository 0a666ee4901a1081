"""The model in torch, eager, on a CPU: the plain alternative to OpenVINO."""

import os

import numpy as np
import torch
from numpy.typing import NDArray

from deployments.common.rpc_types import ImageBatch
from deployments.common.settings import Precision
from deployments.model.checkpoint import build_network
from deployments.model.spec import SPEC
from deployments.model.weights import Weights

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class TorchModel:
    """Implements `base.Model`."""

    engine = "torch"
    device = "cpu"
    streams = 1
    max_batch_size = 8

    def __init__(self, weights: Weights, precision: Precision) -> None:
        torch.set_num_threads(len(os.sched_getaffinity(0)))
        self.precision = precision
        self._dtype = DTYPES[self.precision]
        network = build_network(weights).to(self._dtype)
        self._network = network.to(memory_format=torch.channels_last)
        self._mean = _channels(SPEC.pixel_mean)
        self._std = _channels(SPEC.pixel_std)

    @torch.inference_mode()
    def predict(self, images: ImageBatch) -> NDArray[np.float32]:
        """As `Model.predict`."""
        tensor = torch.from_numpy(images)
        normalised = self._normalise(tensor) if tensor.dtype == torch.uint8 else tensor
        inputs = normalised.to(self._dtype, memory_format=torch.channels_last)
        probabilities: NDArray[np.float32] = self._network(inputs).float().softmax(dim=1).numpy()
        return probabilities

    def _normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        return (pixels.permute(0, 3, 1, 2).float() - self._mean) / self._std


def _channels(values: NDArray[np.float32]) -> torch.Tensor:
    return torch.from_numpy(values).view(1, 3, 1, 1)
