"""The operations of a DenseNet as Triton kernels: each map is read once, and written once.

That is a third of the memory traffic of the separate operations, and traffic is what the GPU's
time goes to. Importing this needs Triton; the first call compiles, which needs a C compiler.
"""

import torch
import triton
import triton.language as tl

from deployments.model.densenet_ops import Bottleneck, Size

MANY_ROWS = 2**15
"""From here on there is work for every multiprocessor in large tiles; below, in small ones."""
POOL_ROWS = 32


def _tile(rows: int) -> dict[str, int]:
    """Rows and warps of each program: the fastest of those tried on an H100 in fp16."""
    if rows >= MANY_ROWS:
        return {"BLOCK_ROWS": 128, "num_warps": 8, "num_stages": 3}
    return {"BLOCK_ROWS": 64, "num_warps": 4, "num_stages": 3}


class TritonOps:
    """As `densenet_ops.TorchOps`, on CUDA, in fp16 or bf16."""

    def bottleneck(self, maps: torch.Tensor, layer: Bottleneck) -> torch.Tensor:
        rows, width = len(maps), len(layer.bias)
        hidden = torch.empty((rows, width), dtype=maps.dtype, device=maps.device)
        channels, tile = len(layer.scale), _tile(rows)
        _bottleneck[(triton.cdiv(rows, tile["BLOCK_ROWS"]),)](
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
            BLOCK_CHANNELS=64,
            **tile,
        )
        return hidden

    def grow(
        self, hidden: torch.Tensor, weight: torch.Tensor, size: Size, out: torch.Tensor
    ) -> None:
        tile = _tile(size.rows)
        _grow[(triton.cdiv(size.rows, tile["BLOCK_ROWS"]),)](
            hidden,
            weight,
            out,
            size.rows,
            size.height,
            size.width,
            out.stride(0),
            CHANNELS=hidden.shape[1],
            GROWTH=out.shape[1],
            BLOCK_CHANNELS=64,
            **tile,
        )

    def norm_relu_pool(
        self, maps: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor, size: Size
    ) -> torch.Tensor:
        half = size.halved()
        pooled = maps.new_empty((half.rows, maps.shape[1]))
        _norm_relu_pool[(triton.cdiv(half.rows, POOL_ROWS), maps.shape[1] // 64)](
            maps,
            scale,
            shift,
            pooled,
            half.rows,
            half.height,
            half.width,
            size.height,
            size.width,
            CHANNELS=maps.shape[1],
            BLOCK_ROWS=POOL_ROWS,
            BLOCK_CHANNELS=64,
        )
        return pooled

    def max_pool(
        self, maps: torch.Tensor, bias: torch.Tensor, size: Size, out: torch.Tensor
    ) -> None:
        half = size.halved()
        _max_pool[(triton.cdiv(half.rows, POOL_ROWS),)](
            maps,
            bias,
            out,
            half.rows,
            half.height,
            half.width,
            size.height,
            size.width,
            out.stride(0),
            CHANNELS=maps.shape[1],
            BLOCK_ROWS=POOL_ROWS,
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
    BLOCK_CHANNELS: tl.constexpr,
):
    rows = tl.program_id(0) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    y = (rows // width) % height
    x = rows % width
    grown = tl.arange(0, GROWTH)
    total = tl.zeros((BLOCK_ROWS, GROWTH), tl.float32)
    for step in range(9 * (CHANNELS // BLOCK_CHANNELS)):
        tap = step % 9
        channels = (step // 9) * BLOCK_CHANNELS + tl.arange(0, BLOCK_CHANNELS)
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


@triton.jit
def _norm_relu_pool(
    maps,
    scale,
    shift,
    pooled,
    num_rows,
    half_height,
    half_width,
    height,
    width,
    CHANNELS: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_CHANNELS: tl.constexpr,
):
    rows = tl.program_id(0) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    channels = tl.program_id(1) * BLOCK_CHANNELS + tl.arange(0, BLOCK_CHANNELS)
    is_row = (rows < num_rows)[:, None]
    y = (rows // half_width) % half_height
    image = rows // (half_width * half_height)
    corner = (image * height + 2 * y) * width + 2 * (rows % half_width)
    a = tl.load(scale + channels)[None, :]
    b = tl.load(shift + channels)[None, :]
    total = tl.zeros((BLOCK_ROWS, BLOCK_CHANNELS), tl.float32)
    for part in tl.static_range(4):
        source = corner + (part // 2) * width + part % 2
        x = tl.load(maps + source[:, None] * CHANNELS + channels[None, :], mask=is_row, other=0.0)
        total += tl.maximum(x.to(tl.float32) * a + b, 0.0)
    to = pooled + rows[:, None] * CHANNELS + channels[None, :]
    tl.store(to, (total / 4).to(pooled.dtype.element_ty), mask=is_row)


@triton.jit
def _max_pool(
    maps,
    bias,
    out,
    num_rows,
    half_height,
    half_width,
    height,
    width,
    out_stride,
    CHANNELS: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
):
    rows = tl.program_id(0) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    channels = tl.arange(0, CHANNELS)
    y = 2 * ((rows // half_width) % half_height)
    x = 2 * (rows % half_width)
    image = rows // (half_width * half_height)
    largest = tl.full((BLOCK_ROWS, CHANNELS), float("-inf"), tl.float32)
    for tap in tl.static_range(9):
        tap_y = y + tap // 3 - 1
        tap_x = x + tap % 3 - 1
        is_inside = (tap_y >= 0) & (tap_y < height) & (tap_x >= 0) & (tap_x < width)
        is_inside = is_inside & (rows < num_rows)
        source = ((image * height + tap_y) * width + tap_x)[:, None] * CHANNELS + channels[None, :]
        pixels = tl.load(maps + source, mask=is_inside[:, None], other=float("-inf"))
        largest = tl.maximum(largest, pixels.to(tl.float32))
    largest = tl.maximum(largest + tl.load(bias + channels).to(tl.float32)[None, :], 0.0)
    to = out + rows[:, None] * out_stride + channels[None, :]
    tl.store(to, largest.to(out.dtype.element_ty), mask=(rows < num_rows)[:, None])
