"""One system at a time: started, checked, warmed, loaded, stopped; round after round."""

import asyncio
import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import aiohttp

from benchmarks.environments import InstallRefused
from benchmarks.load import Outcome, Target, closed_loop, fetch, open_loop
from benchmarks.records import KNEE_FRACTIONS, BaselineRecord, Plan, Record
from benchmarks.setup import Setup
from benchmarks.systems import Launch, System, write_config
from testing.encodings import Encoding, Payload
from testing.latency import Point, find_knee, poisson_arrivals
from testing.log import log
from testing.photos import Photos
from testing.processes import ROOT, Server, StartFailed, find_free_port

READY_WITHIN_S = 180.0
IMAGES_A_LARGE_REQUEST = 8
SWEEP_FRACTIONS = (0.4, 0.6, 0.8, 0.95, 1.1)
"""Of the closed-loop rate of the same session."""


@contextmanager
def running(
    launch: Launch, encoding: Encoding, photos: Photos, port: int, log: Path
) -> Iterator[tuple[Server, Target]]:
    """A server that answers; gone at the end. Raises StartFailed."""
    server = Server(launch.command, launch.environment, log)
    try:
        target = Target(f"http://127.0.0.1:{port}{encoding.path}")
        asyncio.run(_wait_until_ready(server, target, encoding, photos))
        server.wait_until_at_rest()
        yield server, target
    finally:
        server.stop()


async def _wait_until_ready(
    server: Server, target: Target, encoding: Encoding, photos: Photos
) -> None:
    payload = encoding.encode([(0, photos.files[0])])
    give_up = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < give_up:
        server.check()
        try:
            await fetch(target, payload)
        except (aiohttp.ClientError, TimeoutError, OSError):
            await asyncio.sleep(0.25)
        else:
            return
    raise server.failure(f"it did not answer within {READY_WITHIN_S:g} s")


def encode(encoding: Encoding, photos: Photos, images: int) -> list[Payload]:
    """Requests of so many images each, all photos in turn."""
    numbered = list(enumerate(photos.files))
    starts = range(0, len(numbered) - images + 1, images)
    return [encoding.encode(numbered[start : start + images]) for start in starts]


class Session:
    """One system's turn in one round."""

    def __init__(self, record: Record, plan: Plan, encoding: Encoding, photos: Photos) -> None:
        self._record = record
        self._plan = plan
        self._encoding = encoding
        self._photos = photos
        self._singles = encode(encoding, photos, 1)

    def run(self, server: Server, target: Target, number: int) -> None:
        """`number` is the round's, from 0. The first finds the knee, the others use it."""
        self._check(target)
        target = replace(target, timeout_s=self._plan.timeout_s)
        rate = self._measure_singles(server, target)
        self._measure_eights(target)
        self._record.memory = server.usage()
        if number == 0:
            self._find_knee(target, rate)
        if number > 0 or self._plan.rounds == 1:
            self._measure_at_knee(target, number)

    def _check(self, target: Target) -> None:
        """Do all photos, in requests of several, get the right answers in the right order?"""
        payloads = encode(self._encoding, self._photos, IMAGES_A_LARGE_REQUEST)
        bodies = [asyncio.run(fetch(target, payload)) for payload in payloads]
        answers = [class_id for body in bodies for class_id in self._encoding.read(body)]
        expected = self._photos.class_ids[: len(answers)]
        same = sum(a == b for a, b in zip(answers, expected, strict=True))
        self._record.right = same / len(answers)

    def _measure_singles(self, server: Server, target: Target) -> float:
        before = server.usage()
        outcome = self._closed(target, self._singles)
        after = server.usage()
        self._record.singles.append(outcome.images_per_s)
        images = max(len(outcome.latencies_ms), 1)
        self._record.cpu_ms_per_image = {
            role: 1000 * (usage.cpu_s - before[role].cpu_s) / images
            for role, usage in after.items()
            if role in before
        }
        self._record.generator_cpu_ms.append(outcome.generator_cpu_ms_per_request)
        self._record.timings_ms["saturated"] = mean_timings(outcome)
        return outcome.images_per_s

    def _measure_eights(self, target: Target) -> None:
        payloads = encode(self._encoding, self._photos, IMAGES_A_LARGE_REQUEST)
        outcome = self._closed(target, payloads)
        self._record.eights.append(outcome.images_per_s)

    def _closed(self, target: Target, payloads: Sequence[Payload]) -> Outcome:
        images = len(payloads[0].photos)
        # Four requests at least, lest a server be idle between two of them.
        concurrency = max(self._plan.concurrency // images, 4)
        plan = self._plan
        outcome = asyncio.run(
            closed_loop(target, payloads, concurrency, plan.closed_s, plan.margin_s)
        )
        self._record.errors.update(outcome.errors)
        return outcome

    def _find_knee(self, target: Target, closed_rate: float) -> None:
        if not closed_rate:
            return  # nothing was answered within the window: there is no rate to start from
        for step, fraction in enumerate(SWEEP_FRACTIONS):
            rate = fraction * closed_rate
            outcome = self._open(target, rate, seed=step)
            self._record.sweep.append(Point(rate, tuple(outcome.latencies_ms)))
        self._record.knee = find_knee(self._record.sweep, self._plan.p99_bound_ms)

    def _measure_at_knee(self, target: Target, number: int) -> None:
        for fraction in KNEE_FRACTIONS if self._record.knee else ():
            rate = fraction * (self._record.knee or 0)
            outcome = self._open(target, rate, seed=100 * number + round(10 * fraction))
            self._record.at_knee.setdefault(fraction, []).extend(outcome.latencies_ms)
            self._record.errors.update(outcome.errors)
            self._record.timings_ms[f"{fraction:.0%} of the knee"] = mean_timings(outcome)

    def _open(self, target: Target, rate: float, seed: int) -> Outcome:
        arrivals_s = poisson_arrivals(rate, self._plan.open_s, seed)
        return asyncio.run(open_loop(target, self._singles, arrivals_s, self._plan.open_s))


def mean_timings(outcome: Outcome) -> dict[str, float]:
    """Means of what `Server-Timing` says, ms, with the client's own as `total`."""
    if not outcome.server_timings:
        return {}
    sums: Counter[str] = Counter()
    for timing in outcome.server_timings:
        sums.update({name: float(ms) for name, ms in re.findall(r"(\w+);dur=([\d.]+)", timing)})
    answered = [ms for ms in outcome.latencies_ms if ms != float("inf")]
    means = {name: total / len(outcome.server_timings) for name, total in sums.items()}
    return means | {"total": fmean(answered)}


def measure_baseline(record: BaselineRecord, plan: Plan, setup: Setup, photos: Photos) -> None:
    """Run benchmarks.baseline with the service's configuration. Raises StartFailed."""
    config = write_config(setup, find_free_port())
    paths = _write_photos(photos, setup.folder)
    command = [sys.executable, "-m", "benchmarks.baseline", str(config), *map(str, paths)]
    seconds = ["--seconds", str(plan.closed_s / 3)]
    done = subprocess.run([*command, *seconds], cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        raise StartFailed(done.stderr[-2000:])
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    record.single_ms.append(found["single_ms"])
    for way, rate in found["by_way"].items():
        record.by_way.setdefault(way, []).append(rate)
    same = sum(a == b for a, b in zip(found["class_ids"], photos.class_ids, strict=True))
    record.right = same / len(photos.class_ids)


def _write_photos(photos: Photos, folder: Path) -> list[Path]:
    paths = [folder / f"photo-{number:02}" for number in range(len(photos.files))]
    for path, file in zip(paths, photos.files, strict=True):
        path.write_bytes(file)
    return paths


def measure_all(
    systems: Sequence[System],
    plan: Plan,
    setup: Setup,
    photos: Photos,
) -> tuple[BaselineRecord, list[Record]]:
    """Every system once a round, the first one another each round. Raises StartFailed
    when the baseline itself cannot be measured."""
    baseline = BaselineRecord()
    records = {each.name: _prepare(each) for each in systems}
    for number in range(plan.rounds):
        log(f"round {number + 1} of {plan.rounds}: the baseline")
        measure_baseline(baseline, plan, setup, photos)
        for system in [*systems[number:], *systems[:number]]:
            record = records[system.name]
            if record.refused is None:
                log(f"round {number + 1} of {plan.rounds}: {system.title}")
                _take_turn(system, record, plan, setup, photos, number)
    return baseline, list(records.values())


def _prepare(system: System) -> Record:
    record = Record(system.name, system.title)
    try:
        system.prepare()
    except InstallRefused as error:
        record.refused = f"could not be installed: {error}"
    return record


def _take_turn(
    system: System, record: Record, plan: Plan, setup: Setup, photos: Photos, number: int
) -> None:
    port = find_free_port()
    log = setup.folder / f"{system.name}.log"
    started = time.monotonic()
    try:
        launch = system.launch(port, setup)
        with running(launch, system.encoding, photos, port, log) as (server, target):
            record.ready_after_s.append(time.monotonic() - started)
            Session(record, plan, system.encoding, photos).run(server, target, number)
    except (StartFailed, aiohttp.ClientError, TimeoutError) as error:
        record.refused = f"gave up in round {number + 1}: {error!r}"
