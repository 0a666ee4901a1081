"""The table of all systems side by side: what stands in each column."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

from benchmarks.floors import MIB
from benchmarks.records import KNEE_FRACTIONS, BaselineRecord, Record
from benchmarks.run import Run
from testing.tables import write_table


@dataclass(frozen=True)
class Column:
    """`show` is for a system that was measured, `show_baseline` for the baseline's row."""

    heading: str
    show: Callable[[Record], str]
    show_baseline: Callable[[BaselineRecord], str] = lambda _: ""


def write_side_by_side(run: Run) -> str:
    columns = list(_columns(run))
    rows: list[list[str]] = []
    if run.baseline:
        rows.append([column.show_baseline(run.baseline) for column in columns])
    rows += [_row(columns, record) for record in run.records]
    return write_table([column.heading for column in columns], rows)


def _row(columns: Sequence[Column], record: Record) -> list[str]:
    if record.is_measured:
        return [column.show(record) for column in columns]
    return [record.title, "refused", *("",) * (len(columns) - 2)]


def _columns(run: Run) -> Iterator[Column]:
    """A run without a baseline has no column for it, nor one without open loops for the knee."""
    yield Column("system", lambda record: record.title, lambda _: "the baseline: no server")
    yield Column(
        "images/s, singles",
        lambda record: spread(record.singles.images_per_s),
        lambda baseline: f"{baseline.images_per_s:.1f}",
    )
    if baseline := run.baseline:
        yield Column(
            "of the baseline",
            lambda record: f"{median(record.singles.images_per_s) / baseline.images_per_s:.2f}",
            lambda _: "1.00",
        )
    yield Column("images/s, eights", lambda record: spread(record.eights.images_per_s))
    yield Column("CPU, ms a single", lambda record: f"{record.singles.total_cpu_ms:.1f}")
    yield Column("CPU, ms an eight", lambda record: f"{record.eights.total_cpu_ms:.1f}")
    yield Column(
        "lone p50, ms",
        lambda record: spread(record.lone.p50_ms),
        lambda baseline: f"{median(baseline.single_ms):.1f}",
    )
    if run.plan.open_s:
        yield from _knee_columns(run.plan.p99_bound_ms)
    yield Column("memory, MB", lambda record: f"{record.proportional_bytes / MIB:.0f}")
    yield Column(
        "answers right",
        lambda record: _percent(record.accuracy),
        lambda baseline: _percent(baseline.accuracy),
    )


def _knee_columns(p99_bound_ms: float) -> Iterator[Column]:
    yield Column("knee, 1/s", partial(_knee, p99_bound_ms=p99_bound_ms))
    for fraction in KNEE_FRACTIONS:
        heading = f"p50 / p99 at {fraction:.0%}, ms"
        at_knee = partial(_latencies_at_knee, fraction=fraction, p99_bound_ms=p99_bound_ms)
        yield Column(heading, at_knee)


def _knee(record: Record, p99_bound_ms: float) -> str:
    knee = record.knee(p99_bound_ms)
    return "-" if knee is None else f"{knee:.1f}"


def _latencies_at_knee(record: Record, fraction: float, p99_bound_ms: float) -> str:
    found = record.latencies_at_knee(fraction, p99_bound_ms)
    return " / ".join(map(_ms, found)) if found else "-"


def spread(values: Sequence[float]) -> str:
    """The median, and the least and the most if there are several."""
    if len(values) < 2:
        return "".join(f"{value:.1f}" for value in values)
    return f"{median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def _percent(share: float) -> str:
    """Rounded down: 100 % is said of all answers only."""
    return f"{math.floor(1000 * share) / 10:g}%"


def _ms(value_ms: float) -> str:
    return "failed" if math.isinf(value_ms) else f"{value_ms:.0f}"
