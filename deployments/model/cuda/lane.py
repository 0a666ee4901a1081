"""One batch at a time on a CUDA stream of its own: fixed buffers, a graph for each batch size.

Nothing is allocated, chosen or compiled after the capture. While one lane computes, the pixels
of another lane's batch travel to the GPU.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deployments.common.errors import StartupError
from deployments.common.rpc_types import ImageBatch
from deployments.model.spec import SPEC

WARM_UP_RUNS = 2
"""Before a capture: cuDNN measures its algorithms in the first run, and Triton compiles."""

Network = Callable[[torch.Tensor], torch.Tensor]

logger = logging.getLogger("ray.serve")


class Lane:
    """Pinned memory, device memory, a stream, and the network captured for each batch size."""

    def __init__(self, network: Network, dtype: torch.dtype, batch_sizes: Sequence[int]) -> None:
        """Capture what fits into the GPU's memory. Raises StartupError if nothing does."""
        largest = max(batch_sizes)
        self._network = network
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        # Waiting for it takes no CPU.
        self._done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        pixels_shape = (largest, SPEC.input_px, SPEC.input_px, 3)
        self._host_pixels = torch.empty(pixels_shape, dtype=torch.uint8, pin_memory=True)
        self._host_rows = torch.empty((largest, SPEC.num_classes), pin_memory=True)
        self._pixels = torch.zeros(pixels_shape, dtype=torch.uint8, device="cuda")
        self._inputs = torch.zeros(pixels_shape, dtype=dtype, device="cuda").permute(0, 3, 1, 2)
        self._rows = torch.zeros((largest, SPEC.num_classes), device="cuda")
        self._scale = _channels(1 / SPEC.pixel_std, dtype)
        self._shift = _channels(-SPEC.pixel_mean / SPEC.pixel_std, dtype)
        self._graphs = self._capture_all(batch_sizes)
        self.max_batch_size = max(self._graphs)

    def _capture_all(self, batch_sizes: Sequence[int]) -> dict[int, torch.cuda.CUDAGraph]:
        """The largest first: the smaller ones then reuse its memory."""
        graphs: dict[int, torch.cuda.CUDAGraph] = {}
        pool: Any = torch.cuda.graph_pool_handle()
        for batch_size in sorted(batch_sizes, reverse=True):
            try:
                graphs[batch_size] = self._capture(batch_size, pool)
            except torch.OutOfMemoryError:
                logger.warning("the GPU's memory is too small for batches of %d", batch_size)
                torch.cuda.empty_cache()
        if not graphs:
            raise StartupError(
                "the GPU's memory is too small for one image. Set 'gpu_fraction' to more, or "
                "end what else uses the GPU."
            )
        return graphs

    def _capture(self, batch_size: int, pool: Any) -> torch.cuda.CUDAGraph:
        with torch.cuda.stream(self._stream):
            for _ in range(WARM_UP_RUNS):
                self._forward(batch_size)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool, stream=self._stream):
            self._forward(batch_size)
        return graph

    def _forward(self, batch_size: int) -> None:
        logits = self._network(self._inputs[:batch_size])
        self._rows[:batch_size].copy_(logits.float().softmax(dim=1))

    def predict(self, images: ImageBatch) -> NDArray[np.float32]:
        """At most `max_batch_size` images, as `Model.predict`; rows are the caller's own."""
        count = len(images)
        with torch.cuda.stream(self._stream):
            if images.dtype == np.uint8:
                self._load_pixels(images)
            else:
                self._inputs[:count].copy_(torch.from_numpy(images))
            # The rows behind the last image are an earlier batch's, and nobody reads them.
            self._graphs[min(size for size in self._graphs if size >= count)].replay()
            self._host_rows[:count].copy_(self._rows[:count], non_blocking=True)
            self._done.record(self._stream)
        self._done.synchronize()
        rows: NDArray[np.float32] = self._host_rows[:count].numpy().copy()
        return rows

    def _load_pixels(self, images: ImageBatch) -> None:
        """uint8 travels, a quarter of the bytes of float32, and is normalised on the GPU."""
        count = len(images)
        np.copyto(self._host_pixels[:count].numpy(), images)
        self._pixels[:count].copy_(self._host_pixels[:count], non_blocking=True)
        inputs = self._inputs[:count]
        inputs.copy_(self._pixels[:count].permute(0, 3, 1, 2))
        torch.addcmul(self._shift, inputs, self._scale, out=inputs)


def _channels(values: NDArray[Any], dtype: torch.dtype) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.float32)).to("cuda", dtype).view(1, 3, 1, 1)
