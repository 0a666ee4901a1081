"""The model on a GPU, in torch: CUDA graphs on two lanes, in fp16 or bf16."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.models import DenseNet

from deployments.common.errors import DeviceLost
from deployments.common.rpc_types import ImageBatch
from deployments.common.settings import Precision
from deployments.model.checkpoint import build_network
from deployments.model.cuda.inference import DenseNetForInference, Ops
from deployments.model.cuda.lane import Lane, Network
from deployments.model.cuda.ops import TorchOps
from deployments.model.torch_engine import DTYPES
from deployments.model.weights import Weights

BATCH_SIZES = (1, 2, 4, 8, 16, 32, 48, 64, 96, 128)
"""A batch runs as the next larger one of these, at most half as large again from 32 on. Batches of
256 gain nothing from host to host (measured on an H100)."""

logger = logging.getLogger("ray.serve")


class CudaModel:
    """Implements `base.Model`.

    gpu_fraction: how much of the GPU's memory this process may take; its computing time is
    shared with the other processes whatever this says.
    """

    engine = "torch"
    device = "cuda"
    streams = 2

    def __init__(self, weights: Weights, precision: Precision, gpu_fraction: float = 1.0) -> None:
        torch.cuda.set_per_process_memory_fraction(gpu_fraction)
        torch.backends.cudnn.benchmark = True
        self.precision = precision
        dtype = DTYPES[self.precision]
        self._lanes: SimpleQueue[Lane] = SimpleQueue()
        with raising_device_lost(), torch.inference_mode():
            network = optimise(build_network(weights), dtype)
            lanes = [Lane(network, dtype, BATCH_SIZES) for _ in range(self.streams)]
        self.max_batch_size = min(lane.max_batch_size for lane in lanes)
        for lane in lanes:
            self._lanes.put(lane)

    @torch.inference_mode()
    def predict(self, images: ImageBatch) -> NDArray[np.float32]:
        """As `Model.predict`. Raises DeviceLost after an error CUDA does not recover from."""
        lane = self._lanes.get()
        try:
            with raising_device_lost():
                return self._predict(lane, images)
        finally:
            self._lanes.put(lane)

    def _predict(self, lane: Lane, images: ImageBatch) -> NDArray[np.float32]:
        """In halves if they are too many, or the GPU's memory does not suffice for them."""
        if len(images) <= self.max_batch_size:
            try:
                return lane.predict(images)
            except torch.OutOfMemoryError:
                if len(images) == 1:
                    raise
        middle = len(images) // 2
        halves = (images[:middle], images[middle:])
        return np.concatenate([self._predict(lane, half) for half in halves])


@contextmanager
def raising_device_lost() -> Iterator[None]:
    """Raises DeviceLost for an error after which CUDA answers no further call."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, torch.AcceleratorError) or "CUDA error" in str(error):
            raise DeviceLost("the GPU reported an error it does not recover from") from error
        raise


def optimise(network: torch.nn.Module, dtype: torch.dtype) -> Network:
    """The network on the GPU: a DenseNet-121 rewritten, any other one as it is."""
    if isinstance(network, DenseNet):
        return DenseNetForInference(network, _choose_ops(dtype), torch.device("cuda"), dtype)
    return network.to("cuda", dtype).to(memory_format=torch.channels_last)


def _choose_ops(dtype: torch.dtype) -> Ops:
    """Triton's kernels, in fp16 and bf16, if they compile here; else torch's own operations."""
    if dtype == torch.float32:
        return TorchOps()
    try:
        from deployments.model.cuda.triton_ops import TritonOps

        ops = TritonOps()
        ops.compile_one(dtype)
    except Exception as error:  # noqa: BLE001, Triton and its compilers raise errors of many kinds
        logger.warning(
            "the model runs at a third of its speed: its kernels do not compile here (%s). "
            "Install Triton, which comes with torch for CUDA, and a C compiler.",
            error,
        )
        return TorchOps()
    return ops
