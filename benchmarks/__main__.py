"""The benchmark: `python -m benchmarks`, or `make bench`.

Runs the baseline, the service and its peers by turns, writes the page, the JSON and the plots
into benchmarks/results, and ends with one JSON line. A missed floor is reported, not an error.
With `--model stub` all of them are around a model that costs nothing, and there is no baseline.
"""

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.floors import Floor, check_floors, check_stub_floors
from benchmarks.measure import measure_rounds
from benchmarks.plot import plot_breakdown, plot_latencies
from benchmarks.records import Plan
from benchmarks.report import write_report
from benchmarks.run import Run
from benchmarks.setup import (
    STUB,
    add_setup_arguments,
    describe_setup,
    prepare_setup,
    results_folder,
)
from benchmarks.systems import SYSTEMS, System
from testing.machine import describe_machine
from testing.processes import StartFailed

OPEN_WINDOWS = 3
"""How much longer an open-loop window is than a closed-loop one: a p99 wants many requests."""


def main() -> int:
    arguments = parse_arguments()
    results = results_folder(arguments)
    for run in measure(arguments, results):  # after each round: the next may be cut off
        save(run, results)
    print(write_report(run))
    announce(run.floors)
    print(as_line(run))
    return 0


def measure(arguments: argparse.Namespace, results: Path) -> Iterator[Run]:
    """What was measured so far, after each round."""
    plan = make_plan(arguments)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        photos, setup = prepare_setup(arguments, Path(folder))
        machine, setting = describe_machine(), describe_setup(setup, photos)
        systems = choose_systems(arguments.only, setup.model)
        for baseline, records in measure_rounds(systems, plan, setup, photos):
            if baseline is None:
                floors = check_stub_floors(records)
            else:
                scaling = read_scaling(results)
                floors = check_floors(
                    baseline, records, scaling, setup.precision, plan.p99_bound_ms
                )
            yield Run(machine, setting, plan, baseline, records, floors)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add_setup_arguments(parser)
    parser.add_argument("--quick", action="store_true", help="one short round: does it work?")
    parser.add_argument("--rounds", type=int, help="how often each system takes its turn")
    parser.add_argument("--seconds", type=float, help="of each closed-loop window")
    parser.add_argument("--concurrency", type=int, default=16, help="images in flight")
    parser.add_argument("--p99-bound-ms", type=float, default=500, help="what the knee keeps")
    names = [system.name for system in SYSTEMS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME")
    return parser.parse_args()


def make_plan(arguments: argparse.Namespace) -> Plan:
    rounds = arguments.rounds or (1 if arguments.quick else 3)
    window_s = arguments.seconds or (2.0 if arguments.quick else 5.0)
    return Plan(
        rounds=rounds,
        margin_s=1.0 if arguments.quick else 2.0,
        closed_s=window_s,
        open_s=0.0 if arguments.model == STUB else OPEN_WINDOWS * window_s,
        concurrency=arguments.concurrency,
        p99_bound_ms=arguments.p99_bound_ms,
    )


def choose_systems(names: Sequence[str], model: str) -> list[System]:
    return [system for system in SYSTEMS if system.name in names and model in system.models]


def read_scaling(results: Path) -> Mapping[str, Any] | None:
    path = results / "scaling.json"
    if not path.is_file():
        return None
    scaling: dict[str, Any] = json.loads(path.read_text())
    return scaling


def as_line(run: Run) -> str:
    return json.dumps(run.as_json(), allow_nan=False)


def save(run: Run, results: Path) -> None:
    (results / "README.md").write_text(write_report(run))
    (results / "results.json").write_text(f"{as_line(run)}\n")
    if run.baseline:
        plot_latencies(run.records, run.baseline, run.plan, results / "latency.png")
    if run.service:
        plot_breakdown(run.service, results / "breakdown.png")


def announce(floors: Sequence[Floor]) -> None:
    for floor in floors:
        print(floor)


if __name__ == "__main__":
    # So that what was started is stopped, as it is on Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(main())
    except StartFailed as error:
        sys.exit(f"the benchmark cannot go on: {error}")
