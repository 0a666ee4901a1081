"""What the service is measured against: torchvision's own transforms and fp32 eager torch.

Also makes the test model: a DenseNet-121 whose last layer is solved in closed form, so that
each picture it was made with has a class of its own.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torchvision.models import DenseNet, DenseNet121_Weights, densenet121

RIDGE = 1e-2
LOGIT_SCALE = 4.0
"""Large enough for wide margins, small enough that probabilities stay off 0 and 1."""


def preprocess(images: Sequence[Image.Image]) -> torch.Tensor:
    """float32 (n, 3, 224, 224), by the transforms that come with the official weights."""
    transforms = DenseNet121_Weights.IMAGENET1K_V1.transforms()
    return torch.stack([transforms(image.convert("RGB")) for image in images])


@torch.inference_mode()
def make_checkpoint(images: Sequence[Image.Image], path: Path) -> None:
    """Write a checkpoint whose class k is `images[k]`, in the official file's old format."""
    torch.manual_seed(1)
    network = densenet121(weights=None)
    inputs = preprocess(images)
    _calibrate(network, inputs)
    features = torch.cat([_features(network, part) for part in torch.split(inputs, 16)])
    weight, bias = _solve(features.double())
    network.classifier.weight[: len(images)] = weight
    network.classifier.bias[: len(images)] = bias
    network.classifier.weight[len(images) :] = 0
    network.classifier.bias[len(images) :] = -LOGIT_SCALE
    torch.save(_in_old_format(network.state_dict()), path)


def _calibrate(network: DenseNet, inputs: torch.Tensor) -> None:
    """Let the batch norms see the pictures; a random body's own statistics say nothing."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    network.train()
    network(inputs[:64])
    network.eval()


def _features(network: DenseNet, inputs: torch.Tensor) -> torch.Tensor:
    maps = torch.relu(network.features(inputs))
    return maps.mean(dim=(2, 3))


def _solve(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Ridge regression onto one-hot targets, centred; solved in the samples' space."""
    mean = features.mean(0)
    centred = features - mean
    count = len(features)
    targets = torch.eye(count, dtype=features.dtype) * 2 * LOGIT_SCALE - LOGIT_SCALE
    target_mean = targets.mean(0)
    gram = centred @ centred.T
    gram += RIDGE * gram.trace() / count * torch.eye(count, dtype=features.dtype)
    weight = torch.linalg.solve(gram, targets - target_mean).T @ centred
    return weight.float(), (target_mean - weight @ mean).float()


def _in_old_format(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """`norm.1` for `norm1` and no `num_batches_tracked`, as in the official checkpoint."""
    return {
        re.sub(r"(denselayer\d+\.(?:norm|conv))(\d)\.", r"\1.\2.", key): value
        for key, value in state.items()
        if not key.endswith("num_batches_tracked")
    }


def load_reference(path: Path) -> DenseNet:
    """torchvision's own network with a checkpoint in the old format, fp32, eager."""
    network = densenet121(weights=None)
    state = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))\.(\d)\.", r"\1\2.", key): value
        for key, value in torch.load(path, weights_only=True).items()
    }
    network.load_state_dict(state, strict=False)
    return network.eval()


@torch.inference_mode()
def classify(network: DenseNet, images: Sequence[Image.Image]) -> torch.Tensor:
    """float32 (n, 1000) probabilities."""
    parts = torch.split(preprocess(images), 16)
    return torch.cat([network(part).softmax(dim=1) for part in parts])
