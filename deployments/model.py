"""DenseNet-121: a checkpoint and uint8 pixels in, probabilities out.

Knows torch; knows nothing of Ray, of requests or of batching policy.
"""

import logging
import os
import pickle
import re
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.models import DenseNet, densenet121

from deployments.errors import StartError
from deployments.messages import Images
from deployments.settings import Device, Precision

NUM_CLASSES = 1000
UNTRAINED_SEED = 0
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Of RGB in [0, 1]; from `torchvision.transforms.ImageClassification`."""

logger = logging.getLogger("ray.serve")


class Model:
    """A DenseNet-121 on one device, ready to predict. Not thread-safe: one call at a time."""

    def __init__(self, network: DenseNet, device: Device, precision: Precision) -> None:
        self._device = torch.device(device)
        self._dtype = _dtype(device, precision)
        self._network = network.eval().to(
            self._device, self._dtype, memory_format=torch.channels_last
        )
        # uint8 goes to the device and is normalised there: a quarter of the bytes.
        self._mean = self._channels([255 * mean for mean in IMAGENET_MEAN])
        self._std = self._channels([255 * std for std in IMAGENET_STD])

    def _channels(self, values: list[float]) -> torch.Tensor:
        return torch.tensor(values, device=self._device).view(1, 3, 1, 1)

    @torch.inference_mode()
    def predict(self, images: Images) -> NDArray[np.float32]:
        """Pixels (n, 224, 224, 3), or what is normalised already, float32 (n, 3, 224, 224).

        Returns float32 softmax probabilities (n, 1000).
        """
        tensor = torch.from_numpy(images).to(self._device)
        normalised = self._normalise(tensor) if tensor.dtype == torch.uint8 else tensor
        inputs = normalised.to(self._dtype, memory_format=torch.channels_last)
        probabilities: NDArray[np.float32] = (
            self._network(inputs).float().softmax(dim=1).cpu().numpy()
        )
        return probabilities

    def _normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        return (pixels.permute(0, 3, 1, 2).float() - self._mean) / self._std

    def warm_up(self, batch_sizes: tuple[int, ...] = (1, 8)) -> None:
        """Pay the first calls' costs (kernel choice, allocations) before a client does."""
        for batch_size in batch_sizes:
            self.predict(np.zeros((batch_size, 224, 224, 3), np.uint8))


def load_model(checkpoint: Path | None, device: Device, precision: Precision = "auto") -> Model:
    """Build the model from a checkpoint, or untrained with a fixed seed where it is None.

    Raises StartError when the checkpoint is not a DenseNet-121 with 1000 classes.
    """
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(UNTRAINED_SEED)
        network = densenet121(weights=None)
    if checkpoint is not None:
        network.load_state_dict(read_checkpoint(checkpoint))
    return Model(network, device, precision)


def read_checkpoint(path: Path) -> dict[str, torch.Tensor]:
    """Read a state dict with today's key names, every key and shape checked.

    Accepts the official checkpoint's old key names (`norm.1` for `norm1`) and its want of
    `num_batches_tracked`. Raises StartError.
    """
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
        raise StartError(f"weights: {path} is not a readable PyTorch checkpoint") from error
    if not isinstance(loaded, dict):
        raise StartError(f"weights: {path} holds no state dict")
    state = {_modern_key(str(key)): value for key, value in loaded.items()}
    _check_state(state, path)
    return state


def _modern_key(key: str) -> str:
    """`denselayer1.norm.1.weight` to `denselayer1.norm1.weight`."""
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", key)


def _check_state(state: dict[str, torch.Tensor], path: Path) -> None:
    with torch.device("meta"):
        expected = densenet121(weights=None).state_dict()
    for key, tensor in expected.items():
        if key.endswith("num_batches_tracked"):
            state.setdefault(key, torch.zeros((), dtype=torch.int64))
        if key not in state:
            raise StartError(f"weights: {path} lacks {key}: not a DenseNet-121 checkpoint")
        found = getattr(state[key], "shape", None)
        if found != tensor.shape:
            raise StartError(
                f"weights: {path} has {key} of shape {_shape(found)} where DenseNet-121 with "
                f"{NUM_CLASSES} classes has {_shape(tensor.shape)}"
            )
    unknown = sorted(state.keys() - expected.keys())
    if unknown:
        raise StartError(f"weights: {path} has {unknown[0]}, which DenseNet-121 has not")


def _shape(shape: torch.Size | None) -> str:
    return "none" if shape is None else str(list(shape))


def _dtype(device: Device, precision: Precision) -> torch.dtype:
    if precision == "auto":
        return torch.bfloat16 if device == "cuda" else torch.float32
    return {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
