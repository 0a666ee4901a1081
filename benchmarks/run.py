"""All of one run: what was measured, where and how, and the same as JSON."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.floors import Floor
from benchmarks.records import BaselineRecord, Plan, Record
from testing.latency import Point


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
            "systems": [_record_as_json(record) for record in self.records],
            "floors": [floor.as_json() for floor in self.floors],
        }
        finite: dict[str, Any] = _finite(whole)
        return finite


def _record_as_json(record: Record) -> dict[str, Any]:
    return asdict(record) | {
        "accuracy": record.accuracy,
        "sweep": [_point_as_json(point) for point in record.sweep],
        "at_knee": {f"{f:g}": _point_as_json(record.point_at_knee(f)) for f in record.at_knee},
        "errors": dict(record.errors),  # asdict takes a Counter apart wrongly
    }


def _point_as_json(point: Point | None) -> dict[str, float] | None:
    if point is None:
        return None
    return {
        "rate": point.rate,
        "p50_ms": point.p50_ms,
        "p99_ms": point.p99_ms,
        "requests": len(point.latencies_ms),
        "failed": point.failed,
    }


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    return value
