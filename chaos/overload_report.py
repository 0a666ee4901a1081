"""What became of the service under overload: one Markdown page, one JSON line."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from testing.tables import write_table

P99_BOUND_MS = 2000.0
TIMES = 10
INTRODUCTION = f"""\
Made by `make overload`: one replica of each tier around a stub of 100 ms an image, one image a
request, {TIMES} times the knee in an open loop. Client and service share the machine."""


@dataclass(frozen=True)
class OverloadResult:
    """Rates in requests/s, memory in MB of all processes, before and at the end of the load.

    unanswered: requests that got neither an answer nor a rejection of ours.
    normal_after_s: from the end of the load to the first of ten answers in a row that took no
        longer than is normal.
    stolen_percent: of the cores' time, what other virtual machines took during the load: anyone who
        has no core for a moment answers nobody.
    """

    knee: float
    goodput_at_knee: float
    offered: float
    goodput: float
    answered_p99_ms: float
    rejected: int
    rejected_p50_ms: float
    rejected_p99_ms: float
    unanswered: int
    wrong: int
    normal_ms: float
    normal_after_s: float
    memory_before_mb: float
    memory_after_mb: float
    stolen_percent: float


def publish(machine: dict[str, str], found: OverloadResult, results: Path) -> None:
    parts = [
        "# Overload",
        INTRODUCTION,
        write_table(("what", "value"), _rows(found)),
        "## Machine",
        write_table(("what", "value"), list(machine.items())),
    ]
    page = "\n\n".join(parts) + "\n"
    line = json.dumps({"machine": machine, **asdict(found)})
    results.mkdir(parents=True, exist_ok=True)
    (results / "overload.md").write_text(page)
    (results / "overload.json").write_text(f"{line}\n")
    print(page)
    print(line)


def _rows(found: OverloadResult) -> list[tuple[str, str]]:
    return [
        (f"the knee: requests/s at a p99 of {P99_BOUND_MS:g} ms", f"{found.knee:.1f}"),
        ("answered at the knee, 1/s", f"{found.goodput_at_knee:.1f}"),
        ("offered, requests/s", f"{found.offered:.0f}"),
        ("answered, 1/s", f"{found.goodput:.1f}"),
        ("of what is answered at the knee", f"{found.goodput / found.goodput_at_knee:.2f}"),
        ("wrong answers", str(found.wrong)),
        ("p99 of the answered, ms", f"{found.answered_p99_ms:.0f}"),
        ("rejected requests", str(found.rejected)),
        (
            "p50 / p99 of a rejection, ms",
            f"{found.rejected_p50_ms:.0f} / {found.rejected_p99_ms:.0f}",
        ),
        ("neither answered nor rejected", str(found.unanswered)),
        (
            f"normal again (answers within {found.normal_ms:.0f} ms), s after the load's end",
            f"{found.normal_after_s:.1f}",
        ),
        (
            "memory of all processes before / after, MB",
            f"{found.memory_before_mb:.0f} / {found.memory_after_mb:.0f}",
        ),
        (
            "of the cores' time, taken by other virtual machines under the load, %",
            f"{found.stolen_percent:.0f}",
        ),
    ]
