"""The figures in words: one Markdown page, one JSON line."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from benchmarks.floors import MIB, Floor
from benchmarks.records import KNEE_FRACTIONS, BaselineRecord, Plan, Record
from testing.latency import Point
from testing.tables import write_table


def write_report(
    machine: Mapping[str, str],
    setting: Mapping[str, str],
    plan: Plan,
    baseline: BaselineRecord,
    records: Sequence[Record],
    floors: Sequence[Floor],
) -> str:
    """The page in `benchmarks/results`, whole."""
    return (
        "\n\n".join(
            [
                "# Benchmark",
                "Made by `make bench`, all of one run on one machine: quote the ratios.",
                "## Side by side",
                write_table(_HEADINGS, _rows(baseline, records)),
                _legend(plan, baseline, records),
                "## Floors",
                "\n".join(f"- {floor}" for floor in floors),
                "## Where the service's time goes",
                _breakdown(records),
                "![Latency against rate](latency.png)",
                "## The baseline, way by way",
                write_table(
                    ("way", "images/s"),
                    [(way, _spread(rates)) for way, rates in baseline.by_way.items()],
                ),
                "## Machine and setting",
                write_table(("what", "value"), [*machine.items(), *setting.items()]),
            ]
        )
        + "\n"
    )


def as_json(
    machine: Mapping[str, str],
    setting: Mapping[str, str],
    plan: Plan,
    baseline: BaselineRecord,
    records: Sequence[Record],
    floors: Sequence[Floor],
) -> dict[str, Any]:
    """What the JSON line holds; an infinite latency is null."""
    whole = {
        "machine": dict(machine),
        "setting": dict(setting),
        "plan": asdict(plan),
        "baseline": asdict(baseline),
        "systems": [_record_as_json(record) for record in records],
        "floors": [floor.as_json() for floor in floors],
    }
    finite: dict[str, Any] = _finite(whole)
    return finite


_HEADINGS = (
    "system",
    "images/s",
    "of the baseline",
    "images/s, eights",
    "knee, 1/s",
    *(f"p50 / p99 at {fraction:.0%}, ms" for fraction in KNEE_FRACTIONS),
    "memory, MB",
    "CPU, ms an image",
    "answers right",
)


def _rows(baseline: BaselineRecord, records: Sequence[Record]) -> list[tuple[str, ...]]:
    missing = ("",) * (len(_HEADINGS) - 4)
    first = ("the baseline: no server", f"{baseline.images_per_s:.1f}", "1.00", "", *missing)
    single = f"{median(baseline.single_ms):.0f} alone"
    rows = [(*first[:5], single, *first[6:-1], f"{baseline.right:.0%}")]
    for record in records:
        if not record.singles:
            rows.append((record.title, "refused", *("",) * (len(_HEADINGS) - 2)))
            continue
        rows.append(_row(baseline, record))
    return rows


def _row(baseline: BaselineRecord, record: Record) -> tuple[str, ...]:
    return (
        record.title,
        _spread(record.singles),
        f"{median(record.singles) / baseline.images_per_s:.2f}",
        _spread(record.eights),
        "-" if record.knee is None else f"{record.knee:.1f}",
        *(_latencies(record.point_at_knee(fraction)) for fraction in KNEE_FRACTIONS),
        f"{sum(usage.proportional_bytes for usage in record.memory.values()) / MIB:.0f}",
        f"{sum(record.cpu_ms_per_image.values()):.0f}",
        f"{record.right:.0%}",
    )


def _spread(values: Sequence[float]) -> str:
    if len(values) < 2:
        return "".join(f"{value:.1f}" for value in values)
    return f"{median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def _latencies(point: Point | None) -> str:
    return "-" if point is None else f"{_ms(point.p50_ms)} / {_ms(point.p99_ms)}"


def _ms(value_ms: float) -> str:
    return "failed" if math.isinf(value_ms) else f"{value_ms:.0f}"


def _legend(plan: Plan, baseline: BaselineRecord, records: Sequence[Record]) -> str:
    generator = [ms for record in records for ms in record.generator_cpu_ms]
    lines = [
        (
            f"Medians of {len(baseline.single_ms)} rounds (least to most), the systems taking "
            f"turns. Images/s: closed loop, {plan.concurrency} images in flight, one a request; "
            "eights: eight images a request. Knee: the rate of Poisson arrivals at which the p99 "
            f"passes {plan.p99_bound_ms:g} ms; latencies are from the intended time of sending, at "
            "these fractions of it, and a failed request's is infinite. Memory: of all processes, "
            "shared pages counted once. Answers right: the same best class as fp32 torch with "
            "torchvision's transforms."
        ),
    ]
    if generator:
        lines.append(
            f"The load generator itself used {median(generator):.2f} ms of CPU a request, "
            "on the same cores."
        )
    for record in records:
        if record.refused:
            lines.append(f"**{record.title}**: {record.refused}")
        if record.errors:
            lines.append(f"**{record.title}** failed requests: {dict(record.errors)}")
    return "\n\n".join(lines)


def _breakdown(records: Sequence[Record]) -> str:
    service = next((record for record in records if record.name == "service"), None)
    if service is None or not service.singles:
        return "The service took no part in this run."
    roles = service.cpu_ms_per_image
    cpu = [(role, f"{ms:.1f}", f"{_resident_mb(service, role):.0f}") for role, ms in roles.items()]
    names = list(dict.fromkeys(name for means in service.timings_ms.values() for name in means))
    timings = [
        (load, *(f"{means.get(name, 0):.1f}" for name in names))
        for load, means in service.timings_ms.items()
    ]
    return "\n\n".join(
        [
            "CPU time of each process at saturation, and its resident memory:",
            write_table(("process", "ms of CPU an image", "resident MB"), cpu),
            "Means of `Server-Timing` in ms; `total` is the client's latency:",
            write_table(("load", *names), timings),
            "![Breakdown](breakdown.png)",
        ]
    )


def _resident_mb(record: Record, role: str) -> float:
    return record.memory[role].resident_bytes / MIB if role in record.memory else 0.0


def _record_as_json(record: Record) -> dict[str, Any]:
    at_knee = {f"{f:g}": _point_as_json(record.point_at_knee(f)) for f in record.at_knee}
    sweep = [_point_as_json(point) for point in record.sweep]
    # asdict takes a Counter apart wrongly.
    errors = dict(record.errors)
    return asdict(record) | {"sweep": sweep, "at_knee": at_knee, "errors": errors}


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
