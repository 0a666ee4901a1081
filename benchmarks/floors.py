"""What the service promises, checked on what was measured. A missed floor is reported."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from benchmarks.records import BaselineRecord, Record

MIB = 2**20
PEERS_THAT_BATCH = ("ray_serve", "litserve", "bentoml", "pytriton")


@dataclass(frozen=True)
class Floor:
    """`value` is None where it was not measured."""

    name: str
    value: float | None
    bound: float
    at: Literal["least", "most"]

    @property
    def verdict(self) -> str:
        if self.value is None:
            return "not measured"
        met = self.value >= self.bound if self.at == "least" else self.value <= self.bound
        return "met" if met else "missed"

    def __str__(self) -> str:
        value = "-" if self.value is None else f"{self.value:.2f}"
        return f"{self.verdict}: {self.name}: {value} (at {self.at} {self.bound:g})"

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "value": self.value if self.value is None or math.isfinite(self.value) else None,
            "bound": self.bound,
            "at": self.at,
            "verdict": self.verdict,
        }


def check_floors(
    baseline: BaselineRecord, records: Sequence[Record], growth: Mapping[str, Any] | None
) -> list[Floor]:
    """`growth` is what `python -m benchmarks.growth` wrote, if it has been run."""
    by_name = {record.name: record for record in records}
    service = by_name.get("service")
    rates = {name: median(record.singles) for name, record in by_name.items() if record.singles}
    served = rates.get("service")
    best = max((rates[name] for name in PEERS_THAT_BATCH if name in rates), default=None)
    return [
        Floor("throughput over the baseline's", _over(served, baseline.images_per_s), 0.8, "least"),
        Floor("throughput over Flask's", _over(served, rates.get("flask")), 3, "least"),
        Floor("throughput over the best batching peer's", _over(served, best), 1.2, "least"),
        Floor(
            "p99 at 70 % of the knee over the baseline's latency of one image",
            _over(_p99_ms(service), median(baseline.single_ms)),
            5,
            "most",
        ),
        Floor("resident MB of an ingress replica", _ingress_mb(service), 250, "most"),
        Floor("growth of memory over the requests, %", _growth_percent(growth), 2, "most"),
    ]


def _over(value: float | None, of: float | None) -> float | None:
    return value / of if value is not None and of else None


def _p99_ms(service: Record | None) -> float | None:
    point = service.point_at_knee(0.7) if service else None
    return point.p99_ms if point else None


def _ingress_mb(service: Record | None) -> float | None:
    if service is None or "ingress" not in service.memory:
        return None
    return service.memory["ingress"].resident_bytes / MIB


def _growth_percent(growth: Mapping[str, Any] | None) -> float | None:
    return None if growth is None else float(growth["memory"]["growth_percent"])
