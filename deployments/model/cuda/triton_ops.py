"""The operations of a DenseNet as Triton kernels: each map is read once, and written once.

That is a third of the memory traffic of the separate operations, and traffic is what the GPU's
time goes to. Importing this needs Triton; the first call compiles, which needs a C compiler.
"""

import torch
import triton

from deployments.model.cuda import kernels
from deployments.model.cuda.ops import Bottleneck, Size

MANY_ROWS = 2**15
"""From here on there is work for every multiprocessor in large tiles; below, in small ones."""
POOL_ROWS = 32


def _tile(rows: int) -> dict[str, int]:
    """Rows and warps of each program: the fastest of those tried on an H100 in fp16."""
    if rows >= MANY_ROWS:
        return {"BLOCK_ROWS": 128, "num_warps": 8, "num_stages": 3}
    return {"BLOCK_ROWS": 64, "num_warps": 4, "num_stages": 3}


class TritonOps:
    """As `ops.TorchOps`, on CUDA, in fp16 or bf16, for the widths of DenseNet-121."""

    def compile_one(self, dtype: torch.dtype) -> None:
        """Raises what Triton raises, of several kinds, if it cannot compile on this machine."""
        maps = torch.zeros((4, 64), dtype=dtype, device="cuda")
        norm = torch.zeros(64, device="cuda")
        self.norm_relu_pool(maps, norm, norm, Size(1, 2, 2))

    def bottleneck(self, maps: torch.Tensor, layer: Bottleneck) -> torch.Tensor:
        rows, width = len(maps), len(layer.bias)
        hidden = torch.empty((rows, width), dtype=maps.dtype, device=maps.device)
        channels, tile = len(layer.scale), _tile(rows)
        kernels.bottleneck[(triton.cdiv(rows, tile["BLOCK_ROWS"]),)](
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
        kernels.grow[(triton.cdiv(size.rows, tile["BLOCK_ROWS"]),)](
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
        kernels.norm_relu_pool[(triton.cdiv(half.rows, POOL_ROWS), maps.shape[1] // 64)](
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
        kernels.max_pool[(triton.cdiv(half.rows, POOL_ROWS),)](
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
