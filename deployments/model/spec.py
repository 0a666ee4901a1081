"""What the model is: the one description that all other modules read.

Another network, such as ResNet-50, is a change in `deployments.model` alone. Imports neither
torch nor OpenVINO, so that the Ingress may read it too.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

Channels = tuple[float, float, float]


@dataclass(frozen=True)
class OfficialFile:
    """The checkpoint that the network's makers publish.

    name: as torch's own cache keeps it, whatever the URL calls it.
    sha256_prefix: the first digits of its SHA-256; torchvision puts eight into the name.
    version: what `X-Model-Version` says when it is served.
    """

    url: str
    name: str
    sha256_prefix: str
    version: str

    def at(self, url: str | None) -> Self:
        """The same file from a mirror; None is no mirror."""
        return self if url is None else replace(self, url=url)


@dataclass(frozen=True)
class StandInSpec:
    """The network that answers while the official file is missing.

    version: what `X-Model-Version` says; it begins with `stand-in-`, which the page, the
    client, the alert and the launcher look for.
    """

    title: str
    version: str


@dataclass(frozen=True)
class ModelSpec:
    """A network for ImageNet's classes, and how its input is made.

    name: as clients of the Open Inference Protocol call it. title: as people do.
    short_side_px, input_px: an image's short side is resized to the first; the centre square
    of the second is the network's input.
    mean, std: of RGB in [0, 1]; the input is normalised by them.
    head: the key of the last layer's weight in a checkpoint, of shape (num_classes, num_features).
    """

    name: str
    title: str
    num_classes: int
    short_side_px: int
    input_px: int
    mean: Channels
    std: Channels
    head: str
    num_features: int
    official: OfficialFile
    stand_in: StandInSpec

    @property
    def pixel_mean(self) -> NDArray[np.float32]:
        """Of RGB from 0 to 255, shape (3,)."""
        return 255 * np.array(self.mean, np.float32)

    @property
    def pixel_std(self) -> NDArray[np.float32]:
        """Of RGB from 0 to 255, shape (3,)."""
        return 255 * np.array(self.std, np.float32)


SPEC = ModelSpec(
    name="densenet121",
    title="DenseNet-121",
    num_classes=1000,
    # Sizes, mean and deviation are those of `DenseNet121_Weights.IMAGENET1K_V1.transforms()`.
    short_side_px=256,
    input_px=224,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    head="classifier.weight",
    num_features=1024,
    official=OfficialFile(
        url="https://download.pytorch.org/models/densenet121-a639ec97.pth",
        name="densenet121-a639ec97.pth",
        sha256_prefix="a639ec97",
        version="imagenet1k-v1",
    ),
    stand_in=StandInSpec(title="EfficientNet-Lite0", version="stand-in-efficientnet-lite0"),
)
