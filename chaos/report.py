"""What the faults cost, in words: one Markdown page, one JSON line."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.latency import percentile
from benchmarks.report import write_table
from chaos.client import Tally
from chaos.faults import Fault

Window = tuple[float, float]


@dataclass(frozen=True)
class Record:
    """What came of one kind of fault.

    injections: how often it was done. healed_s: how long the service then took to be whole, in
        the worst case.
    repeats: attempts after the first, by the client. retries: on another replica, by the
        service, as far as its metric outlived the fault.
    lost, wrong: images, for the client that repeats. lost_at_once: for one that does not.
    """

    fault: str
    injections: int
    healed_s: float
    requests: int
    images: int
    repeats: int
    retries: int
    lost: int
    wrong: int
    lost_at_once: int
    p99_before_ms: float
    p99_during_ms: float
    p99_after_ms: float
    failures: Mapping[str, int]


def summarise(fault: Fault, tally: Tally, windows: Sequence[Window], retries: int) -> Record:
    """`windows` say from when until when the service was not whole."""
    first = windows[0][0] if windows else -math.inf
    during = [result for start, end in windows for result in tally.between(start, end).results]
    if fault.inject is None:
        during = tally.results
    known = {id(result) for result in during}
    calm = [result for result in tally.results if id(result) not in known]
    return Record(
        fault.what,
        len(windows),
        max((end - start for start, end in windows), default=0.0),
        len(tally.results),
        tally.images,
        tally.repeats,
        retries,
        tally.lost,
        tally.wrong,
        tally.lost_at_once,
        _p99([result.latency_ms for result in calm if result.intended < first]),
        _p99([result.latency_ms for result in during]),
        _p99([result.latency_ms for result in calm if result.intended >= first]),
        dict(tally.failures),
    )


def _p99(latencies_ms: Sequence[float]) -> float:
    return percentile(latencies_ms, 99) if latencies_ms else math.nan


HEADINGS = (
    "fault",
    "times",
    "whole again within, s",
    "requests",
    "images",
    "repeats by the client",
    "retries by the service",
    "lost",
    "wrong",
    "lost without repeating",
    "p99 before / during / after, ms",
)


def write_section(title: str, setting: str, records: Sequence[Record]) -> str:
    """One mode's table."""
    parts = [f"## {title}", setting, write_table(HEADINGS, [_row(each) for each in records])]
    reasons = [
        f"- {each.fault}: "
        + ", ".join(f"{count} x {what}" for what, count in each.failures.items())
        for each in records
        if each.failures
    ]
    if reasons:
        parts += ["What the client met instead of an answer, and repeated:", "\n".join(reasons)]
    return "\n\n".join(parts)


def as_json(record: Record) -> dict[str, Any]:
    """A latency that is not there is null."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in asdict(record).items()
    }


def _row(record: Record) -> tuple[str, ...]:
    p99s = (record.p99_before_ms, record.p99_during_ms, record.p99_after_ms)
    return (
        record.fault,
        str(record.injections) if record.injections else "",
        f"{record.healed_s:.0f}" if record.injections else "",
        str(record.requests),
        str(record.images),
        str(record.repeats),
        str(record.retries),
        str(record.lost),
        str(record.wrong),
        str(record.lost_at_once),
        " / ".join("" if math.isnan(p99_ms) else f"{p99_ms:.0f}" for p99_ms in p99s),
    )
