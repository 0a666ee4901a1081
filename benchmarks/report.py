"""The figures in words: one Markdown page."""

from collections.abc import Iterator
from statistics import median

from benchmarks.columns import spread, write_side_by_side
from benchmarks.floors import MIB
from benchmarks.records import Record
from benchmarks.run import Run
from testing.tables import write_table


def write_report(run: Run) -> str:
    """The page in `benchmarks/results`, whole."""
    return "\n\n".join(_parts(run)) + "\n"


def _parts(run: Run) -> Iterator[str]:
    yield "# Benchmark"
    yield f"Made by `{run.setting['command']}`, all of one run on one machine: quote the ratios."
    yield "## Side by side"
    yield write_side_by_side(run)
    yield from _legend(run)
    yield "## Floors"
    yield "\n".join(f"- {floor}" for floor in run.floors)
    yield "## Where the service's time goes"
    yield from _breakdown(run.service) if run.service else ["The service took no part."]
    if run.plan.open_s:
        yield "![Latency against rate](latency.png)"
    if run.baseline:
        yield "## The baseline, way by way"
        ways = [(way, spread(rates)) for way, rates in run.baseline.by_way.items()]
        yield write_table(("way", "images/s"), ways)
    yield "## Machine and setting"
    yield write_table(("what", "value"), [*run.machine.items(), *run.setting.items()])


def _legend(run: Run) -> Iterator[str]:
    yield (
        f"Medians of {run.plan.rounds} rounds (least to most), the systems taking turns. Singles: "
        f"closed loop, {run.plan.concurrency} images in flight, one a request; eights: eight "
        "images a request; lone: one request after another. CPU: of all the system's processes, "
        "for a request, without the load generator's. Memory: of all processes, shared pages "
        "counted once. Answers right: of all images of all responses, those with the right class."
    )
    if run.plan.open_s:
        yield (
            "Knee: the rate of Poisson arrivals at which the p99 passes "
            f"{run.plan.p99_bound_ms:g} ms. Each round offers fractions of its own rate of "
            "singles. The knee, and the latencies at fractions of it, lie between the medians over "
            "the rounds. "
            "Latencies are from the intended time of sending, and a failed request's is infinite."
        )
    generator = [ms for record in run.records for ms in record.singles.generator_cpu_ms]
    if generator:
        yield (
            f"The load generator itself used {median(generator):.2f} ms of CPU a single, "
            "on the same cores."
        )
    for record in run.records:
        if record.refused:
            yield f"**{record.title}**: {record.refused}"
        if record.errors:
            yield f"**{record.title}** failed requests: {dict(record.errors)}"


def _breakdown(service: Record) -> Iterator[str]:
    by_role = service.singles.cpu_ms_by_role
    yield "CPU time a request of each kind of process, and memory:"
    yield write_table(
        ("process", "how many", "ms a single", "of it", "ms an eight", "MB", "resident MB"),
        [
            _process_row(service, role)
            for role in sorted(by_role, key=by_role.__getitem__, reverse=True)
        ],
    )
    yield "Means of `Server-Timing` in ms a request; `total` is the client's latency:"
    names = dict.fromkeys(name for means in service.timings_ms.values() for name in means)
    timings = [
        (load, *(f"{means.get(name, 0):.1f}" for name in names))
        for load, means in service.timings_ms.items()
    ]
    yield write_table(("load", *names), timings)
    yield "![Breakdown](breakdown.png)"


def _process_row(service: Record, role: str) -> tuple[str, ...]:
    singles, eights = service.singles.cpu_ms_by_role, service.eights.cpu_ms_by_role
    row = (
        f"{singles[role]:.2f}",
        f"{singles[role] / sum(singles.values()):.0%}",
        f"{eights.get(role, 0):.2f}",
    )
    usage = service.memory.get(role)
    if usage is None:
        return (role, "", *row, "", "")
    memory = (f"{size / MIB:.0f}" for size in (usage.proportional_bytes, usage.resident_bytes))
    return (role, f"{usage.processes}", *row, *memory)
