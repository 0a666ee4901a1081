"""What the faults cost, in words: one Markdown page, one JSON line."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from chaos.faults import FAULTS, Fault
from testing.latency import percentile
from testing.load_client import Tally
from testing.tables import write_table

Window = tuple[float, float]
INTRODUCTION = """\
Made by `make chaos`: an open loop of requests, in bursts at random times, while faults are done
to the service, two replicas of each tier on three nodes of one machine. The client repeats what
was not answered or was answered with 503; every class is checked. A fault comes again when the
service has been healthy for some seconds. Retries by the service are those that the Ingresses
of the end have counted: at least so many, since an Ingress that is lost takes its count along."""


@dataclass(frozen=True)
class Record:
    """What came of one kind of fault.

    offered_per_s: requests.
    injections: how often it was done. healed_s: how long the service then took to be healthy, in
        the worst case.
    repeats: attempts after the first, by the client. retries: on another replica, by the
        service, as far as its metric outlived the fault.
    lost, wrong: images, for the client that repeats. lost_at_once: for one that does not.
    """

    fault: str
    offered_per_s: float
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


def summarise(
    fault: Fault, rate: float, tally: Tally, windows: Sequence[Window], retries: int
) -> Record:
    """`windows` say from when until when the service was not healthy."""
    first = windows[0][0] if windows else -math.inf
    during = [result for start, end in windows for result in tally.between(start, end).results]
    if fault.inject is None:
        during = tally.results
    known = {id(result) for result in during}
    calm = [result for result in tally.results if id(result) not in known]
    return Record(
        fault.what,
        rate,
        len(windows),
        max((end - start for start, end in windows), default=0.0),
        len(tally.results),
        tally.images,
        tally.repeats,
        max(0, retries),
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


class Report:
    """`faults.md` and `faults.json` in a folder, of all runs made there.

    A run replaces what it tries again, and leaves the rest.
    """

    def __init__(self, folder: Path, machine: Mapping[str, str]) -> None:
        self._folder = folder
        self._machine = machine
        self._sections = _read(folder / "faults.json")

    def add(self, title: str, record: Record) -> None:
        """Put a record among those of its section, and write the page and the line."""
        section = self._sections.setdefault(title, {})
        section[record.fault] = record
        order = [fault.what for fault in FAULTS]
        self._sections[title] = dict(sorted(section.items(), key=lambda each: order.index(each[0])))
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "faults.md").write_text(self.page)
        (self._folder / "faults.json").write_text(f"{self.line}\n")

    @property
    def page(self) -> str:
        machine = write_table(("what", "value"), list(self._machine.items()))
        tables = [_section(title, list(each.values())) for title, each in self._sections.items()]
        parts = ["# Faults", INTRODUCTION, *tables, "## Machine of the last run", machine]
        return "\n\n".join(parts) + "\n"

    @property
    def line(self) -> str:
        sections = {
            title: [_as_json(record) for record in each.values()]
            for title, each in self._sections.items()
        }
        return json.dumps({"machine": self._machine, "faults": sections}, allow_nan=False)


def _read(path: Path) -> dict[str, dict[str, Record]]:
    """The records of earlier runs, by section and fault."""
    if not path.exists():
        return {}
    found: dict[str, list[dict[str, Any]]] = json.loads(path.read_text())["faults"]
    return {
        title: {each["fault"]: _from_json(each) for each in records}
        for title, records in found.items()
    }


HEADINGS = (
    "fault",
    "requests/s",
    "times",
    "healthy again within, s",
    "requests",
    "images",
    "repeats by the client",
    "retries by the service",
    "lost",
    "wrong",
    "lost without repeating",
    "p99 before / during / after, ms",
)


def _section(title: str, records: Sequence[Record]) -> str:
    parts = [f"## {title}", write_table(HEADINGS, [_row(each) for each in records])]
    if reasons := list(_reasons(records)):
        parts += ["What the client met instead of an answer, and repeated:", "\n".join(reasons)]
    return "\n\n".join(parts)


def _reasons(records: Sequence[Record]) -> Iterator[str]:
    for each in records:
        if each.failures:
            counts = ", ".join(f"{count} x {what}" for what, count in each.failures.items())
            yield f"- {each.fault}: {counts}"


def _as_json(record: Record) -> dict[str, Any]:
    """A latency that is not there is null."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in asdict(record).items()
    }


def _from_json(values: Mapping[str, Any]) -> Record:
    fields: dict[str, Any] = {
        key: math.nan if value is None else value for key, value in values.items()
    }
    return Record(**fields)


def _row(record: Record) -> tuple[str, ...]:
    p99s = (record.p99_before_ms, record.p99_during_ms, record.p99_after_ms)
    return (
        record.fault,
        f"{record.offered_per_s:.1f}",
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
