"""The two operations of a dense layer as Triton kernels: each map is read once.

A third of the memory traffic of the separate operations, which is what a GPU's time goes to.
Importing this needs Triton; the first call compiles, which needs a C compiler.
"""

import torch
import triton
import triton.language as tl

from deployments.model.densenet_ops import Bottleneck, Size

BLOCK_ROWS = 128


class TritonOps:
    """As `densenet_ops.TorchOps`, on CUDA, in fp16 or bf16."""

    def bottleneck(self, maps: torch.Tensor, layer: Bottleneck) -> torch.Tensor:
        rows, width = len(maps), len(layer.bias)
        hidden = torch.empty((rows, width), dtype=maps.dtype, device=maps.device)
        channels = len(layer.scale)
        _bottleneck[(triton.cdiv(rows, BLOCK_ROWS),)](
            maps,
            layer.scale,
            layer.shift,
            layer.weight,
            layer.bias,
            hidden,
            rows,
            channels,
            maps.stride(0),
            WIDTH=width,
            BLOCK_ROWS=BLOCK_ROWS,
            BLOCK_CHANNELS=32,
            num_warps=8,
            num_stages=4,
        )
        return hidden

    def grow(
        self, hidden: torch.Tensor, weight: torch.Tensor, size: Size, out: torch.Tensor
    ) -> None:
        _grow[(triton.cdiv(size.rows, BLOCK_ROWS),)](
            hidden,
            weight,
            out,
            size.rows,
            size.height,
            size.width,
            out.stride(0),
            CHANNELS=hidden.shape[1],
            GROWTH=out.shape[1],
            BLOCK_ROWS=BLOCK_ROWS,
            num_warps=4,
            num_stages=3,
        )


@triton.jit
def _bottleneck(
    maps,
    scale,
    shift,
    weight,
    bias,
    hidden,
    num_rows,
    channels,
    row_stride,
    WIDTH: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_CHANNELS: tl.constexpr,
):
    rows = tl.program_id(0) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    columns = tl.arange(0, WIDTH)
    is_row = rows[:, None] < num_rows
    total = tl.zeros((BLOCK_ROWS, WIDTH), tl.float32)
    for start in range(0, channels, BLOCK_CHANNELS):
        channel = start + tl.arange(0, BLOCK_CHANNELS)
        is_channel = channel < channels
        mask = is_row & is_channel[None, :]
        x = tl.load(maps + rows[:, None] * row_stride + channel[None, :], mask=mask, other=0.0)
        a = tl.load(scale + channel, mask=is_channel, other=0.0)
        b = tl.load(shift + channel, mask=is_channel, other=0.0)
        normed = tl.maximum(x.to(tl.float32) * a[None, :] + b[None, :], 0.0).to(x.dtype)
        w_at = weight + channel[:, None] * WIDTH + columns[None, :]
        w = tl.load(w_at, mask=is_channel[:, None], other=0.0)
        total = tl.dot(normed, w, total)
    total = tl.maximum(total + tl.load(bias + columns).to(tl.float32)[None, :], 0.0)
    out = hidden + rows[:, None] * WIDTH + columns[None, :]
    tl.store(out, total.to(hidden.dtype.element_ty), mask=is_row)


@triton.jit
def _grow(
    hidden,
    weight,
    out,
    num_rows,
    height,
    width,
    out_stride,
    CHANNELS: tl.constexpr,
    GROWTH: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
):
    rows = tl.program_id(0) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    y = (rows // width) % height
    x = rows % width
    channels = tl.arange(0, CHANNELS)
    grown = tl.arange(0, GROWTH)
    total = tl.zeros((BLOCK_ROWS, GROWTH), tl.float32)
    for tap in range(9):
        dy = tap // 3 - 1
        dx = tap % 3 - 1
        is_inside = (y + dy >= 0) & (y + dy < height) & (x + dx >= 0) & (x + dx < width)
        is_inside = is_inside & (rows < num_rows)
        source = (rows + dy * width + dx)[:, None] * CHANNELS + channels[None, :]
        pixels = tl.load(hidden + source, mask=is_inside[:, None], other=0.0)
        # (32, 128, 3, 3), channels last: (grown, tap, channel) in memory
        w = tl.load(weight + (grown[None, :] * 9 + tap) * CHANNELS + channels[:, None])
        total = tl.dot(pixels, w, total)
    to = out + rows[:, None] * out_stride + grown[None, :]
    tl.store(to, total.to(out.dtype.element_ty), mask=(rows < num_rows)[:, None])
