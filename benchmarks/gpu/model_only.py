"""The model alone, batch by batch: eager, captured, compiled; and the engine from host to host."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import torch

from deployments.common.rpc_types import ImageBatch
from deployments.model.checkpoint import build_network
from deployments.model.cuda.engine import CudaModel, optimise
from deployments.model.weights import Weights

BATCH_SIZES = (1, 8, 32, 64, 128, 256)
REPEATS = 5
Rates = dict[str, float]
"""Images a second, by the way they were classified."""


def measure_model(weights: Weights, seconds: float, with_compile: bool) -> dict[int, Rates]:
    """By batch size. fp16; a rate is the median of five runs."""
    dtype = torch.float16
    with torch.inference_mode():
        eager = build_network(weights).to("cuda", dtype).to(memory_format=torch.channels_last)
        fused = optimise(build_network(weights), dtype)
        rates: dict[int, Rates] = {}
        for size in BATCH_SIZES:
            shape = (size, 3, 224, 224)
            inputs = torch.randn(shape, device="cuda", dtype=dtype)
            inputs = inputs.contiguous(memory_format=torch.channels_last)
            rates[size] = {
                "eager": size / _time(partial(eager, inputs), seconds),
                "eager, graph": size / _time(_capture(eager, inputs), seconds),
                "fused, graph": size / _time(_capture(fused, inputs), seconds),
            }
        if with_compile:
            rates[128]["compiled, graph"] = _compiled(eager, seconds)
    return rates


def _compiled(network: torch.nn.Module, seconds: float) -> float:
    inputs = torch.randn((128, 3, 224, 224), device="cuda", dtype=torch.float16)
    inputs = inputs.contiguous(memory_format=torch.channels_last)
    compiled = torch.compile(network, dynamic=False)
    return 128 / _time(_capture(compiled, inputs), seconds)


def measure_engine(model: CudaModel, seconds: float) -> dict[int, Rates]:
    """From NumPy to NumPy, by batch size, with as many threads as the engine has streams."""
    return {
        size: {f"{threads} in flight": rate_of(model, size, threads, seconds)}
        | {f"{threads} in flight, ms": 1000 * threads * size / rate_of(model, size, threads, 0.3)}
        for size in BATCH_SIZES
        for threads in (model.streams,)
    }


def rate_of(model: CudaModel, batch_size: int, threads: int, seconds: float) -> float:
    """Images a second with a batch in each of the threads, one after the other."""
    shape = (batch_size, 224, 224, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    end = time.perf_counter() + seconds
    start = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        counts = pool.map(lambda _: _predict_until(model, images, end), range(threads))
    return sum(counts) * batch_size / (time.perf_counter() - start)


def _predict_until(model: CudaModel, images: ImageBatch, end: float) -> int:
    count = 0
    while time.perf_counter() < end:
        model.predict(images)
        count += 1
    return count


def _capture(
    network: Callable[[torch.Tensor], torch.Tensor], inputs: torch.Tensor
) -> Callable[[], object]:
    stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    with torch.cuda.stream(stream):
        for _ in range(2):
            network(inputs)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        network(inputs)
    return graph.replay


def _time(call: Callable[[], object], seconds: float) -> float:
    """Seconds a call, by CUDA's events."""
    for _ in range(2):
        call()
    return median(_timings(call, seconds / REPEATS))


def _timings(call: Callable[[], object], seconds: float) -> Iterator[float]:
    for _ in range(REPEATS):
        event: Any = torch.cuda.Event
        first, last = event(enable_timing=True), event(enable_timing=True)
        start, count = time.perf_counter(), 0
        first.record()
        while not count or time.perf_counter() - start < seconds:
            call()
            count += 1
            if count % 8 == 0:  # else thousands of calls are queued
                torch.cuda.current_stream().synchronize()
        last.record()
        last.synchronize()
        yield first.elapsed_time(last) / 1000 / count
