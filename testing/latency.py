"""The arithmetic of latencies: percentiles, arrivals, the knee. Knows no network.

A request that failed or timed out has an infinite latency: it counts in every percentile.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


def percentile(latencies_ms: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile, one of the values given; infinite where there are none."""
    if not latencies_ms:
        return math.inf
    rank = math.ceil(percent / 100 * len(latencies_ms))
    return sorted(latencies_ms)[max(rank, 1) - 1]


def poisson_arrivals(rate: float, duration_s: float, seed: int) -> list[float]:
    """When requests are to be sent, in seconds from the start; `rate` is per second."""
    random = np.random.default_rng(seed)
    arrivals: list[float] = []
    at = random.exponential(1 / rate)
    while at < duration_s:
        arrivals.append(at)
        at += random.exponential(1 / rate)
    return arrivals


@dataclass(frozen=True)
class Point:
    """What came of one offered rate of requests a second."""

    rate: float
    latencies_ms: tuple[float, ...]

    @property
    def p50_ms(self) -> float:
        return percentile(self.latencies_ms, 50)

    @property
    def p99_ms(self) -> float:
        return percentile(self.latencies_ms, 99)

    @property
    def failed(self) -> int:
        return sum(math.isinf(latency_ms) for latency_ms in self.latencies_ms)


def find_knee(points: Sequence[Point], p99_bound_ms: float) -> float | None:
    """The rate at which the p99 passes the bound for good, per second.

    Between the highest rate that keeps it and the next one, on a straight line in the
    logarithm of the latency (latencies grow without limit there). None where no rate keeps
    it; the highest rate offered where that one does.
    """
    points = sorted(points, key=lambda point: point.rate)
    kept = [index for index, point in enumerate(points) if point.p99_ms <= p99_bound_ms]
    if not kept:
        return None
    if kept[-1] == len(points) - 1:
        return points[-1].rate
    return _crossing(points[kept[-1]], points[kept[-1] + 1], p99_bound_ms)


def _crossing(kept: Point, missed: Point, p99_bound_ms: float) -> float:
    if math.isinf(missed.p99_ms):
        return kept.rate
    way = math.log(p99_bound_ms / kept.p99_ms) / math.log(missed.p99_ms / kept.p99_ms)
    return kept.rate + way * (missed.rate - kept.rate)
