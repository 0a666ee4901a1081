"""All of one run: what was measured, where and how, and the same as JSON."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.floors import Floor
from benchmarks.records import KNEE_FRACTIONS, BaselineRecord, Plan, Record


@dataclass(frozen=True)
class Run:
    """baseline: None where the model is a stub."""

    machine: Mapping[str, str]
    setting: Mapping[str, str]
    plan: Plan
    baseline: BaselineRecord | None
    records: Sequence[Record]
    floors: Sequence[Floor]

    @property
    def service(self) -> Record | None:
        """The service itself, if it was measured."""
        measured = (record for record in self.records if record.is_measured)
        return next((record for record in measured if record.name == "service"), None)

    def as_json(self) -> dict[str, Any]:
        """What results.json holds; an infinite latency is null."""
        whole = {
            "machine": dict(self.machine),
            "setting": dict(self.setting),
            "plan": asdict(self.plan),
            "baseline": self.baseline and asdict(self.baseline),
            "systems": [_record_as_json(record, self.plan) for record in self.records],
            "floors": [floor.as_json() for floor in self.floors],
        }
        finite: dict[str, Any] = _finite(whole)
        return finite


def _record_as_json(record: Record, plan: Plan) -> dict[str, Any]:
    found = {
        fraction: record.latencies_at_knee(fraction, plan.p99_bound_ms)
        for fraction in KNEE_FRACTIONS
    }
    return asdict(record) | {
        "accuracy": record.accuracy,
        "knee": record.knee(plan.p99_bound_ms),
        "at_knee": {
            f"{fraction:g}": found_ms and dict(zip(("p50_ms", "p99_ms"), found_ms, strict=True))
            for fraction, found_ms in found.items()
        },
        "errors": dict(record.errors),  # asdict takes a Counter apart wrongly
    }


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    return value
