"""Weights in, the network out: torchvision's DenseNet-121, every key and shape checked.

The stand-in comes from its own module.
"""

import pickle
import re
from pathlib import Path

import torch
from torchvision.models import densenet121

from deployments.common.errors import StartupError
from deployments.model.spec import SPEC
from deployments.model.weights import Weights, fetch_checkpoint


def build_network(weights: Weights) -> torch.nn.Module:
    """The network in fp32 on the CPU, for inference.

    It takes float (n, 3, 224, 224), normalised by `SPEC`, and returns logits (n, 1000), the
    stand-in included. Raises StartupError when the checkpoint is not a DenseNet-121 with
    1000 classes.
    """
    if weights.source == "stand_in":
        from deployments.model.stand_in import StandIn

        return StandIn().eval()
    state = read_checkpoint(fetch_checkpoint(weights))
    network = _build_empty()
    network.load_state_dict(state, assign=True)
    return network.eval()


def _build_empty() -> torch.nn.Module:
    """The network's shapes without values, which would be random and cost time."""
    with torch.device("meta"):
        network: torch.nn.Module = densenet121(weights=None, num_classes=SPEC.num_classes)
    return network


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
    expected = _build_empty().state_dict()
    for key, tensor in expected.items():
        if key.endswith("num_batches_tracked"):
            state.setdefault(key, torch.zeros((), dtype=torch.int64))
        if key not in state:
            raise StartupError(f"weights: {path} lacks {key}: not a {SPEC.title} checkpoint")
        found = getattr(state[key], "shape", None)
        if found != tensor.shape:
            raise StartupError(
                f"weights: {path} has {key} of shape {_shape(found)} where {SPEC.title} with "
                f"{SPEC.num_classes} classes has {_shape(tensor.shape)}"
            )
    unknown = sorted(state.keys() - expected.keys())
    if unknown:
        raise StartupError(f"weights: {path} has {unknown[0]}, which {SPEC.title} does not have")


def _shape(shape: torch.Size | None) -> str:
    return "none" if shape is None else str(list(shape))
