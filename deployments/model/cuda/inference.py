"""torchvision's DenseNet, rewritten for inference: the same function, less memory traffic.

Each block owns one buffer, to which every layer adds its channels: nothing is concatenated.
norm2 is folded into the convolution before it, norm0 into the stem; a transition pools before
its 1x1 convolution, which commutes with the mean. The norms that stand before a relu remain.
"""

from typing import Any, Protocol

import torch
from torch import nn
from torch.nn import functional
from torchvision.models import DenseNet

from deployments.model.cuda.ops import Bottleneck, Size, affine_relu


class Ops(Protocol):
    """`ops.TorchOps`, or `triton_ops.TritonOps`."""

    def bottleneck(self, maps: torch.Tensor, layer: Bottleneck) -> torch.Tensor: ...

    def grow(
        self, hidden: torch.Tensor, weight: torch.Tensor, size: Size, out: torch.Tensor
    ) -> None: ...

    def norm_relu_pool(
        self, maps: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor, size: Size
    ) -> torch.Tensor: ...

    def max_pool(
        self, maps: torch.Tensor, bias: torch.Tensor, size: Size, out: torch.Tensor
    ) -> None: ...


class DenseNetForInference(nn.Module):
    """Takes what DenseNet takes, on the device and in the dtype given; returns its logits."""

    @torch.inference_mode()
    def __init__(
        self, network: DenseNet, ops: Ops, device: torch.device, dtype: torch.dtype
    ) -> None:
        super().__init__()
        features = network.features
        to = _Placement(device, dtype)
        children = list(features.named_children())
        transitions = [each for name, each in children if "transition" in name]
        blocks = [each for name, each in children if "block" in name]
        entries: list[_Stem | _Transition] = [_Stem(features.conv0, features.norm0, ops, to)]
        entries += [_Transition(each, ops, to) for each in transitions]
        self._stages = list(zip(entries, [_Block(each, ops, to) for each in blocks], strict=True))
        self._norm = [to(each, torch.float32) for each in _affine(features.norm5)]
        self._weight = to(network.classifier.weight.T)
        self._bias = to(network.classifier.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Of images (n, 3, height, width), channels last, returns logits (n, classes)."""
        maps, size = images, Size(len(images), images.shape[2], images.shape[3])
        for enter, block in self._stages:
            maps, size = enter(maps, size, block.channels)
            block(maps, size)
        normed = affine_relu(maps, *self._norm)
        means = normed.view(size.images, -1, normed.shape[1]).mean(dim=1)
        return torch.addmm(self._bias, means, self._weight)


class _Placement:
    """Puts a parameter where the network runs."""

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self._device = device
        self._dtype = dtype

    def __call__(self, values: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
        placed = values.detach().to(self._device, dtype or self._dtype)
        if placed.dim() == 4:
            return placed.contiguous(memory_format=torch.channels_last)
        return placed.contiguous()


class _Stem:
    """conv0, norm0, relu and pool0; a maximum commutes with adding a bias and with relu."""

    def __init__(self, conv: nn.Conv2d, norm: nn.BatchNorm2d, ops: Ops, to: _Placement) -> None:
        scale, shift = _affine(norm)
        self._ops = ops
        self._weight = to(conv.weight.double() * scale.view(-1, 1, 1, 1))
        self._bias = to(shift)

    def __call__(
        self, images: torch.Tensor, size: Size, channels: int
    ) -> tuple[torch.Tensor, Size]:
        """Returns a buffer (rows, channels) whose first channels are filled in."""
        convolved = functional.conv2d(images, self._weight, stride=2, padding=3)
        size = size.halved()
        maps = convolved.permute(0, 2, 3, 1).reshape(size.rows, -1)
        half = size.halved()
        buffer = maps.new_empty((half.rows, channels))
        self._ops.max_pool(maps, self._bias, size, buffer[:, : len(self._bias)])
        return buffer, half


class _Transition:
    """norm, relu, the mean of 2x2 pixels, then the 1x1 convolution."""

    def __init__(self, transition: Any, ops: Ops, to: _Placement) -> None:
        self._ops = ops
        self._scale, self._shift = (to(each, torch.float32) for each in _affine(transition.norm))
        self._weight = to(transition.conv.weight[:, :, 0, 0].T)

    def __call__(self, maps: torch.Tensor, size: Size, channels: int) -> tuple[torch.Tensor, Size]:
        """Returns a buffer (rows, channels) whose first channels are filled in."""
        pooled = self._ops.norm_relu_pool(maps, self._scale, self._shift, size)
        buffer = maps.new_empty((len(pooled), channels))
        buffer[:, : self._weight.shape[1]].copy_(pooled @ self._weight)
        return buffer, size.halved()


class _Block:
    """A dense block: each of its layers adds channels to the buffer."""

    def __init__(self, block: nn.Module, ops: Ops, to: _Placement) -> None:
        self._ops = ops
        layers: list[Any] = list(block.children())
        self._bottlenecks = [_fold_bottleneck(each, to) for each in layers]
        self._weights = [to(each.conv2.weight) for each in layers]
        self.channels = len(self._bottlenecks[-1].scale) + len(self._weights[-1])

    def __call__(self, buffer: torch.Tensor, size: Size) -> None:
        for bottleneck, weight in zip(self._bottlenecks, self._weights, strict=True):
            start = len(bottleneck.scale)
            hidden = self._ops.bottleneck(buffer, bottleneck)
            self._ops.grow(hidden, weight, size, buffer[:, start : start + len(weight)])


def _fold_bottleneck(layer: Any, to: _Placement) -> Bottleneck:
    scale, shift = _affine(layer.norm1)
    after_scale, after_shift = _affine(layer.norm2)
    weight = layer.conv1.weight[:, :, 0, 0].double() * after_scale.view(-1, 1)
    return Bottleneck(
        to(scale, torch.float32), to(shift, torch.float32), to(weight.T), to(after_shift)
    )


def _affine(norm: nn.BatchNorm2d) -> tuple[torch.Tensor, torch.Tensor]:
    """The scale and the shift, float64 (channels,), that a norm is at inference."""
    mean, variance = (dict(norm.named_buffers())[f"running_{name}"] for name in ("mean", "var"))
    scale = norm.weight.double() / torch.sqrt(variance.double() + norm.eps)
    return scale, norm.bias.double() - mean.double() * scale
