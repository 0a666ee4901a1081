"""A checkpoint file in, torchvision's DenseNet-121 out, every key and shape checked."""

import pickle
import re
from pathlib import Path

import torch
from torchvision.models import DenseNet, densenet121

from deployments.common.errors import StartupError
from deployments.model.weights import Weights, fetch

NUM_CLASSES = 1000
UNTRAINED_SEED = 0


def build_network(weights: Weights) -> DenseNet:
    """The network in fp32 on the CPU, for inference; untrained, it is so by a fixed seed.

    Raises StartupError when the checkpoint is not a DenseNet-121 with 1000 classes.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(UNTRAINED_SEED)
        network = densenet121(weights=None)
    checkpoint = fetch(weights)
    if checkpoint is not None:
        network.load_state_dict(read_checkpoint(checkpoint))
    return network.eval()


def read_checkpoint(path: Path) -> dict[str, torch.Tensor]:
    """Read a state dict with today's key names, every key and shape checked.

    Accepts the official checkpoint's old key names (`norm.1` for `norm1`) and its want of
    `num_batches_tracked`. Raises StartupError.
    """
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
        raise StartupError(f"weights: {path} is not a readable PyTorch checkpoint") from error
    if not isinstance(loaded, dict):
        raise StartupError(f"weights: {path} holds no state dict")
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
            raise StartupError(f"weights: {path} lacks {key}: not a DenseNet-121 checkpoint")
        found = getattr(state[key], "shape", None)
        if found != tensor.shape:
            raise StartupError(
                f"weights: {path} has {key} of shape {_shape(found)} where DenseNet-121 with "
                f"{NUM_CLASSES} classes has {_shape(tensor.shape)}"
            )
    unknown = sorted(state.keys() - expected.keys())
    if unknown:
        raise StartupError(f"weights: {path} has {unknown[0]}, which DenseNet-121 has not")


def _shape(shape: torch.Size | None) -> str:
    return "none" if shape is None else str(list(shape))
