"""The kernels of `triton_ops`: pointers to matrices of pixels by channels, and their sizes."""

import triton
import triton.language as tl


@triton.jit
def bottleneck(
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
def grow(
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
def norm_relu_pool(
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
def max_pool(
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
