"""The kernels compute what torch's own operations do; by Triton's interpreter, on the CPU."""

import os
import subprocess
import sys
from typing import Any

import pytest
import torch

from deployments.model.cuda.ops import Bottleneck, Size, TorchOps

SIZE = Size(2, 14, 14)
HALF = SIZE.halved()


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(shape).half()


def test_kernels_agree_with_the_operations_of_torch() -> None:
    pytest.importorskip("triton")
    # In a process of its own: Triton decides when it is imported whether it interprets.
    command = [sys.executable, "-m", "tests.unit.model.cuda.test_triton_ops"]
    subprocess.run(command, env={**os.environ, "TRITON_INTERPRET": "1"}, check=True)


def compare() -> None:
    """Raises AssertionError when a kernel computes something else."""
    from deployments.model.cuda.triton_ops import TritonOps

    torch.manual_seed(0)
    maps, hidden = draw(SIZE.rows, 128), draw(SIZE.rows, 128)
    layer = Bottleneck(torch.randn(96), torch.randn(96), draw(96, 128) / 10, draw(128))
    weight = (draw(32, 128, 3, 3) / 34).contiguous(memory_format=torch.channels_last)
    scale, shift, stem, bias = torch.randn(128), torch.randn(128), draw(SIZE.rows, 64), draw(64)

    def run(ops: Any) -> list[torch.Tensor]:
        grown, pooled = torch.zeros(SIZE.rows, 160).half(), torch.zeros(HALF.rows, 128).half()
        ops.grow(hidden, weight, SIZE, grown[:, 96:128])
        ops.max_pool(stem, bias, SIZE, pooled[:, :64])
        means = ops.norm_relu_pool(maps, scale, shift, SIZE)
        return [ops.bottleneck(maps, layer), grown, pooled, means]

    for found, expected in zip(run(TritonOps()), run(TorchOps()), strict=True):
        assert expected.abs().max() > 1  # else zeros would do
        torch.testing.assert_close(found, expected, rtol=5e-3, atol=1e-2)


if __name__ == "__main__":
    compare()
