"""Measurements that take several processes: decoding on all cores, models that share a GPU."""

import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from multiprocessing.synchronize import Barrier
from typing import Any

from deployments.model.weights import Weights

START_WITHIN_S = 120.0


def run_together(worker: Callable[..., Any], count: int, *arguments: object) -> list[Any]:
    """What each of `count` processes returns; they begin to measure at the same time."""
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager:
        barrier = manager.Barrier(count)
        with context.Pool(count) as pool:
            return pool.starmap(worker, [(barrier, *arguments)] * count, chunksize=1)


def decode_all_cores(files: Sequence[bytes], seconds: float) -> float:
    """Images a second, with a process on each core."""
    rates: list[float] = run_together(_decode, len(os.sched_getaffinity(0)), list(files), seconds)
    return sum(rates)


def _decode(barrier: Barrier, files: list[bytes], seconds: float) -> float:
    from deployments.ingress.images.preprocess import preprocess

    for file in files:
        preprocess(file, 50_000_000)
    barrier.wait(START_WITHIN_S)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        preprocess(files[count % len(files)], 50_000_000)
        count += 1
    return count / (time.perf_counter() - start)


def share_gpu(
    weights: Weights, processes: int, batch_sizes: Sequence[int], seconds: float
) -> dict[int, float]:
    """Images a second of all processes together, each with its part of the memory."""
    rates = run_together(_predict, processes, weights, 1 / processes, batch_sizes, seconds)
    return {size: sum(rate[size] for rate in rates) for size in batch_sizes}


def _predict(
    barrier: Barrier,
    weights: Weights,
    gpu_fraction: float,
    batch_sizes: Sequence[int],
    seconds: float,
) -> dict[int, float]:
    from benchmarks.gpu.model_only import rate_of
    from deployments.model.cuda.engine import CudaModel

    model = CudaModel(weights, "fp16", gpu_fraction)
    rates: dict[int, float] = {}
    for size in batch_sizes:
        rate_of(model, size, model.streams, 0.2)
        barrier.wait(START_WITHIN_S)
        rates[size] = rate_of(model, size, model.streams, seconds)
    return rates
