"""The operations of a DenseNet on feature maps stored as matrices, in plain torch.

A map is a matrix (n * height * width, channels): NHWC, one row for each pixel. Of its channels,
the first ones are those computed so far. `triton_ops` has the same operations, fused.
"""

from dataclasses import dataclass

import torch
from torch.nn import functional


@dataclass(frozen=True)
class Size:
    """Of a feature map: images, and pixels."""

    images: int
    height: int
    width: int

    @property
    def rows(self) -> int:
        return self.images * self.height * self.width

    def halved(self) -> "Size":
        """Of every side of even length, half."""
        return Size(self.images, self.height // 2, self.width // 2)


@dataclass(frozen=True)
class Bottleneck:
    """relu(norm1), the 1x1 convolution with norm2 folded into it, and relu.

    scale, shift: float32 (channels,), of norm1. weight: (channels, 128). bias: (128,).
    """

    scale: torch.Tensor
    shift: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor


class TorchOps:
    """Runs wherever torch does."""

    def bottleneck(self, maps: torch.Tensor, layer: Bottleneck) -> torch.Tensor:
        """Of maps (rows, at least `channels`), returns (rows, 128)."""
        channels = len(layer.scale)
        normed = affine_relu(maps[:, :channels], layer.scale, layer.shift)
        return functional.relu_(torch.addmm(layer.bias, normed, layer.weight))

    def grow(
        self, hidden: torch.Tensor, weight: torch.Tensor, size: Size, out: torch.Tensor
    ) -> None:
        """Write the 3x3 convolution of `hidden` (rows, 128) to `out` (rows, 32), strided.

        weight: (32, 128, 3, 3), channels last.
        """
        out.copy_(_to_matrix(functional.conv2d(_to_pixels(hidden, size), weight, padding=1)))

    def norm_relu_pool(
        self, maps: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor, size: Size
    ) -> torch.Tensor:
        """The mean of 2x2 pixels of relu(norm), (rows / 4, channels)."""
        pixels = _to_pixels(affine_relu(maps, scale, shift), size)
        return _to_matrix(functional.avg_pool2d(pixels, 2))

    def max_pool(
        self, maps: torch.Tensor, bias: torch.Tensor, size: Size, out: torch.Tensor
    ) -> None:
        """Write relu(maximum of 3x3 pixels + bias), at every second pixel, to `out`, strided."""
        pooled = functional.max_pool2d(_to_pixels(maps, size), 3, stride=2, padding=1)
        out.copy_(_to_matrix(pooled).add_(bias).relu_())


def affine_relu(maps: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """relu(maps * scale + shift), computed in float32, in the dtype of `maps`."""
    normed = torch.addcmul(shift.to(maps.dtype), maps, scale.to(maps.dtype))
    return normed.relu_()


def _to_pixels(maps: torch.Tensor, size: Size) -> torch.Tensor:
    """As (images, channels, height, width), a view, channels last."""
    return maps.view(size.images, size.height, size.width, -1).permute(0, 3, 1, 2)


def _to_matrix(pixels: torch.Tensor) -> torch.Tensor:
    return pixels.permute(0, 2, 3, 1).reshape(-1, pixels.shape[1])
