"""What the service promises, checked on what was measured. A missed floor is reported."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import truediv
from statistics import median
from typing import Any, Literal

from benchmarks.records import BaselineRecord, Load, Record

MIB = 2**20
PEERS_THAT_BATCH = ("ray_serve", "litserve", "bentoml", "pytriton", "mosec")
TWO_INGRESSES = "service_two"
"""The service with its Ingress pinned to two replicas."""
REPLICAS = ("ingress", "classifier")
"""The roles of the processes that do the work; all others carry it."""


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
    baseline: BaselineRecord,
    records: Sequence[Record],
    scaling: Mapping[str, Any] | None,
    precision: str = "fp32",
    p99_bound_ms: float = 500,
) -> list[Floor]:
    """`scaling` is what `python -m benchmarks.scaling` wrote, if it has been run.

    precision: in bf16 the model takes less of a request, so the rest weighs more.
    """
    by_name = _measured(records)
    service = by_name.get("service")
    rates = {name: _rate(record.singles) for name, record in by_name.items()}
    served = rates.get("service")
    best = max((rates[name] for name in PEERS_THAT_BATCH if name in rates), default=None)
    return [
        Floor(
            "throughput over the baseline's",
            _over(served, baseline.images_per_s),
            0.8 if precision == "bf16" else 0.9,
            "least",
        ),
        Floor(
            "throughput over Gunicorn's with four workers",
            _over(served, rates.get("gunicorn")),
            1.25,
            "least",
        ),
        Floor("throughput over the best batching peer's", _over(served, best), 1.5, "least"),
        Floor(
            "p99 at 70 % of the knee over the baseline's latency of one image",
            _over(_p99_ms(service, p99_bound_ms), median(baseline.single_ms)),
            5,
            "most",
        ),
        Floor("resident MB of an Ingress replica", _ingress_mb(service), 250, "most"),
        Floor("growth of memory over the requests, %", _growth_percent(scaling), 2, "most"),
        Floor("slowdown by more replicas", _replica_slowdown(scaling), 1.05, "most"),
    ]


def check_stub_floors(records: Sequence[Record]) -> list[Floor]:
    """What the path of a request may cost, beside LitServe's around the same stub."""
    by_name = _measured(records)
    service, peer = by_name.get("service"), by_name.get("litserve")

    def over_peer(figure: Callable[[Record], float]) -> float | None:
        return figure(service) / figure(peer) if service and peer else None

    return [
        Floor("CPU a request over LitServe's", over_peer(_cpu_of_one), 1.6, "most"),
        Floor("CPU a request of eight over LitServe's", over_peer(_cpu_of_eight), 1.5, "most"),
        Floor("requests/s over LitServe's", over_peer(_rate_of_one), 0.8, "least"),
        Floor("lone p50 over LitServe's", over_peer(_lone_p50_ms), 1.3, "most"),
        Floor(
            "cost of a second Ingress: the worst of requests/s, eights/s and lone p50",
            _slowdown(service, by_name.get(TWO_INGRESSES)),
            1.05,
            "most",
        ),
        Floor(
            "share of the CPU of the costliest process that is no replica of ours, %",
            _largest_share(service),
            15,
            "most",
        ),
        Floor("resident MB of an Ingress replica", _ingress_mb(service), 200, "most"),
    ]


def _measured(records: Sequence[Record]) -> dict[str, Record]:
    return {record.name: record for record in records if record.is_measured}


def _rate(load: Load) -> float:
    return median(load.images_per_s)


def _rate_of_one(record: Record) -> float:
    return _rate(record.singles)


def _cpu_of_one(record: Record) -> float:
    return record.singles.total_cpu_ms


def _cpu_of_eight(record: Record) -> float:
    return record.eights.total_cpu_ms


def _lone_p50_ms(record: Record) -> float:
    return median(record.lone.p50_ms)


def _slowdown(one: Record | None, two: Record | None) -> float | None:
    """How many times slower the second is in what it is slowest in."""
    if one is None or two is None:
        return None
    return max(
        _rate(one.singles) / _rate(two.singles),
        _rate(one.eights) / _rate(two.eights),
        _lone_p50_ms(two) / _lone_p50_ms(one),
    )


def _largest_share(service: Record | None) -> float | None:
    """In percent, of all that a request of one image costs."""
    if service is None:
        return None
    by_role = service.singles.cpu_ms_by_role
    others = [ms for role, ms in by_role.items() if role not in REPLICAS]
    return 100 * max(others, default=0.0) / sum(by_role.values())


def _over(value: float | None, of: float | None) -> float | None:
    return value / of if value is not None and of else None


def _p99_ms(service: Record | None, p99_bound_ms: float) -> float | None:
    found = service.latencies_at_knee(0.7, p99_bound_ms) if service else None
    return found[1] if found else None


def _ingress_mb(service: Record | None) -> float | None:
    if service is None or "ingress" not in service.memory:
        return None
    usage = service.memory["ingress"]
    return usage.resident_bytes / usage.processes / MIB


def _growth_percent(scaling: Mapping[str, Any] | None) -> float | None:
    return None if scaling is None else float(scaling["memory"]["growth_percent"])


def _replica_slowdown(scaling: Mapping[str, Any] | None) -> float | None:
    """How many times slower the worst number of replicas is than one that it exceeds.

    The median over the turns: the machine's speed changes between them.
    """
    if scaling is None:
        return None
    runs: Sequence[Mapping[str, Any]] = scaling["replicas"]
    return max(
        float(median(map(truediv, few["images_per_s"], many["images_per_s"])))
        for few in runs
        for many in runs
        if few["classifiers"] <= many["classifiers"] and few["ingresses"] <= many["ingresses"]
    )
