"""The arithmetic of latencies: percentiles, arrivals, the knee. Knows no network.

A request that failed or timed out has an infinite latency: it counts in every percentile.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Self

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
    p50_ms: float
    p99_ms: float
    requests: int
    failed: int

    @classmethod
    def of(cls, rate: float, latencies_ms: Sequence[float]) -> Self:
        return cls(
            rate,
            percentile(latencies_ms, 50),
            percentile(latencies_ms, 99),
            len(latencies_ms),
            sum(map(math.isinf, latencies_ms)),
        )


def median_point(points: Sequence[Point]) -> Point:
    """Medians of all but the requests, which are counted together."""
    return Point(
        median(point.rate for point in points),
        median(point.p50_ms for point in points),
        median(point.p99_ms for point in points),
        sum(point.requests for point in points),
        sum(point.failed for point in points),
    )


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


def latencies_at(points: Sequence[Point], rate: float) -> tuple[float, float] | None:
    """The p50 and the p99 at a rate between two that were offered, ms. None outside of them.

    On straight lines in the logarithm of the latency.
    """
    for below, above in pairwise(sorted(points, key=lambda point: point.rate)):
        if below.rate <= rate <= above.rate:
            way = (rate - below.rate) / (above.rate - below.rate)
            return (
                _between(below.p50_ms, above.p50_ms, way),
                _between(below.p99_ms, above.p99_ms, way),
            )
    return None


def _between(low_ms: float, high_ms: float, way: float) -> float:
    """Infinite if one of them is, and lies on the way."""
    if way in (0, 1):
        return high_ms if way else low_ms
    return math.exp((1 - way) * math.log(low_ms) + way * math.log(high_ms))
