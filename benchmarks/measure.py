"""One system at a time: started, loaded, stopped; round after round."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.environments import InstallRefused
from benchmarks.load import Target, fetch
from benchmarks.records import BaselineRecord, Plan, Record
from benchmarks.session import Session
from benchmarks.setup import DENSENET, Setup
from benchmarks.systems import Launch, System, write_config
from testing.encodings import Encoding
from testing.log import log
from testing.photos import Photos
from testing.ports import find_free_port
from testing.processes import ROOT, Server, StartFailed

READY_WITHIN_S = 180.0


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
    record.accuracy = same / len(photos.class_ids)


def _write_photos(photos: Photos, folder: Path) -> list[Path]:
    paths = [folder / f"photo-{number:02}" for number in range(len(photos.files))]
    for path, file in zip(paths, photos.files, strict=True):
        path.write_bytes(file)
    return paths


def measure_rounds(
    systems: Sequence[System],
    plan: Plan,
    setup: Setup,
    photos: Photos,
) -> Iterator[tuple[BaselineRecord | None, list[Record]]]:
    """Every system once a round, the first one another each round; no baseline of the stub.

    Yields all that was measured so far, after each round.
    Raises StartFailed if the baseline itself cannot be measured.
    """
    baseline = BaselineRecord() if setup.model == DENSENET else None
    records = {each.name: _prepare(each, setup) for each in systems}
    for number in range(plan.rounds):
        if baseline:
            log(f"round {number + 1} of {plan.rounds}: the baseline")
            measure_baseline(baseline, plan, setup, photos)
        for system in [*systems[number:], *systems[:number]]:
            record = records[system.name]
            if record.refused is None:
                log(f"round {number + 1} of {plan.rounds}: {system.title}")
                _take_turn(system, record, plan, setup, photos, number)
        yield baseline, list(records.values())


def _prepare(system: System, setup: Setup) -> Record:
    record = Record(system.name, system.title)
    try:
        system.prepare(setup)
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
