"""The service under load while faults are done to it: `make chaos`.

Prints a Markdown page and a JSON line, and keeps both in `--results` after each fault.
"""

import argparse
import asyncio
import math
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from chaos.faults import FAULTS, Fault
from chaos.report import Record, Report, Window, summarise
from testing.cluster import Service, serving, write_config
from testing.labelled_requests import Dataset, photo_data, synthetic_data
from testing.latency import poisson_arrivals
from testing.load_client import Client, LabelledRequest
from testing.log import log
from testing.machine import describe_machine
from testing.photos import answer_rightly, read_files, write_checkpoint
from testing.ports import find_free_port

RESULTS = Path(__file__).parent / "results"
LOAD = 0.5
"""Of the rate of a closed loop: what the service bears while a part of it is missing."""

BURST = 8
"""Requests that come together: some are under way, and some wait, whenever a fault strikes."""

COOLDOWN = 3.0
"""Of the time that the service was not healthy: how long it is then left in peace. What has waited
meanwhile is done after as long again, at half of what it can do."""


@dataclass(frozen=True)
class Mode:
    """What is asked of which application; `min_cooldown_s`, at least, is between two injections."""

    title: str
    dataset: Dataset
    images_a_request: int
    images_a_fault: int
    min_cooldown_s: float


def main() -> int:
    """Returns the exit status: 1 where an image was lost or wrong."""
    arguments = parse_arguments()
    report = Report(arguments.results, describe_machine())
    bad = False
    with tempfile.TemporaryDirectory() as name:
        for model in arguments.models:
            mode, config = prepare(model, Path(name), arguments)
            for record in try_all(mode, config, arguments.faults):
                report.add(mode.title, record)
                bad = bad or record.lost > 0 or record.wrong > 0
    print(report.page)
    print(report.line)
    return int(bad)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    names = [fault.name for fault in FAULTS]
    parser.add_argument("--models", nargs="+", choices=["stub", "real"], default=["stub", "real"])
    parser.add_argument("--faults", nargs="+", choices=names, default=names)
    parser.add_argument("--images", type=int, help="for each fault, if not 100,000 and 2,000")
    parser.add_argument("--quick", action="store_true", help="short: does it work?")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the results go")
    return parser.parse_args()


def prepare(model: str, folder: Path, arguments: argparse.Namespace) -> tuple[Mode, Path]:
    """The pictures and the configuration of one mode."""
    port = find_free_port()
    if model == "stub":
        images = arguments.images or (6_400 if arguments.quick else 100_000)
        mode = Mode("A stub for a model: 1 ms an image", synthetic_data(), 32, images, 5.0)
        return mode, write_config(folder, port, "testing.stub:build_fast")
    log("making a checkpoint that tells the photos apart")
    files, source = read_files()
    checkpoint = folder / "densenet121.pth"
    write_checkpoint(files, checkpoint)
    photos = answer_rightly(files, source, checkpoint)
    images = arguments.images or (200 if arguments.quick else 2_000)
    mode = Mode(f"DenseNet-121 in fp32, {source}", photo_data(photos), 4, images, 10.0)
    config = write_config(folder, port, "deployments.app:build_app", weights=str(checkpoint))
    return mode, config


def try_all(mode: Mode, config: Path, names: Sequence[str]) -> Iterator[Record]:
    """What comes of one fault after the other."""
    log(f"{mode.title}: starting three nodes")
    with serving(config) as service:
        service.wait_until_healthy()
        client = Client(service.url)
        to_send = mode.dataset.make_requests(mode.images_a_request)
        asyncio.run(client.measure_rate(to_send, 4, 5))  # warm
        rate = LOAD * asyncio.run(client.measure_rate(to_send, 4, 10))
        for fault in FAULTS:
            if fault.name in names:
                yield _try(mode, service, fault, rate)


def _try(mode: Mode, service: Service, fault: Fault, rate: float) -> Record:
    make_requests = (
        mode.dataset.make_requests if fault.inject else mode.dataset.make_poisoned_requests
    )
    count = math.ceil(mode.images_a_fault / mode.images_a_request)
    enough_s = (2 * count + 20 * BURST) / rate
    bursts_s = poisson_arrivals(rate / BURST, enough_s, seed=1)
    arrivals_s = [at for at in bursts_s for _ in range(BURST)][:count]
    log(f"{fault.what}: {count} requests in {arrivals_s[-1]:.0f} s")
    before = service.count_retries()
    client = Client(service.url)
    to_send = make_requests(mode.images_a_request)
    windows = _inject_repeatedly(client, service, fault, to_send, arrivals_s, mode.min_cooldown_s)
    retries = service.count_retries() - before
    return summarise(fault, rate, client.tally, windows, retries)


def _inject_repeatedly(
    client: Client,
    service: Service,
    fault: Fault,
    to_send: Sequence[LabelledRequest],
    arrivals_s: Sequence[float],
    min_cooldown_s: float,
) -> list[Window]:
    """Do it again and again while the client asks; says from when to when it was not healthy.

    The client asks from a thread: Ray starts nodes in the main one only.
    """
    windows: list[Window] = []
    with ThreadPoolExecutor(1) as thread:
        asking = thread.submit(lambda: asyncio.run(client.send(to_send, arrivals_s)))
        last = time.monotonic() + 0.9 * arrivals_s[-1]
        cooldown_s = min_cooldown_s
        while fault.inject:
            time.sleep(cooldown_s)
            if (start := time.monotonic()) > last:
                break
            fault.inject(service)
            windows.append((start, time.monotonic()))
            cooldown_s = max(min_cooldown_s, COOLDOWN * (windows[-1][1] - start))
        asking.result()
    return windows


if __name__ == "__main__":
    sys.exit(main())
