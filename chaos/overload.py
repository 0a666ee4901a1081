"""The service at ten times what it can do: `make overload`.

One replica of each tier, around a stub of 100 ms an image, so that one machine can make the
load. Prints a Markdown page and a JSON line, and keeps both in `--results`.
"""

import argparse
import asyncio
import math
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import yaml

from chaos.overload_report import P99_BOUND_MS, TIMES, OverloadResult, publish
from testing.cluster import wait_until_ready
from testing.labelled_requests import synthetic_data
from testing.latency import Point, find_knee, percentile, poisson_arrivals
from testing.load_client import Client, LabelledRequest, Tally
from testing.log import log
from testing.machine import describe_machine
from testing.ports import find_free_port
from testing.processes import ROOT, Server

RESULTS = Path(__file__).parent / "results"
CAPACITY = 10.0
"""Requests of one image a second, by the stub's own time."""
SWEEP = (0.5, 0.7, 0.8, 0.9, 1.0)
NORMAL = 1.5
"""Times the p99 at half of the capacity: so long an answer takes where all is normal again."""


def main() -> int:
    arguments = parse_arguments()
    machine = describe_machine()
    with tempfile.TemporaryDirectory() as name, serving(Path(name)) as (server, url):
        found = Overload(server, url, arguments.seconds).measure()
    machine["load average at end"] = f"{os.getloadavg()[0]:.1f}"
    publish(machine, found, arguments.results)
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m chaos.overload", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short: does it work?")
    parser.add_argument("--seconds", type=float, help="of each window of load")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the results go")
    arguments = parser.parse_args()
    arguments.seconds = arguments.seconds or (8.0 if arguments.quick else 30.0)
    return arguments


@contextmanager
def serving(folder: Path) -> Iterator[tuple[Server, str]]:
    """The service as the launcher starts it, with the slow stub."""
    document = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    port = find_free_port()
    document["http_options"]["port"] = port
    del document["grpc_options"]
    document["applications"][0]["import_path"] = "testing.stub:build_slow"
    config = folder / "overload.yaml"
    config.write_text(yaml.safe_dump(document))
    url = f"http://127.0.0.1:{port}"
    launch = [sys.executable, "-m", "deployments", str(config), "--metrics-port", "0"]
    server = Server(launch, {}, folder / "log")
    try:
        wait_until_ready(server, url)
        server.wait_until_at_rest()
        yield server, url
    finally:
        server.stop()


class Overload:
    """The knee, ten times the knee, and what comes after."""

    def __init__(self, server: Server, url: str, window_s: float) -> None:
        self._server = server
        self._url = url
        self._window_s = window_s
        self._requests: Sequence[LabelledRequest] = synthetic_data().make_requests(1)

    def measure(self) -> OverloadResult:
        self._load(0.5 * CAPACITY)  # warm
        normal_ms = NORMAL * percentile(self._load(0.5 * CAPACITY).latencies_ms, 99)
        knee = self._find_knee()
        at_knee = self._goodput(self._load(knee))
        before_mb = self._memory_mb()
        offered = TIMES * knee
        log(f"{offered:.0f} requests/s for {self._window_s:g} s")
        psutil.cpu_times_percent()  # the next one counts from here
        over, normal_after_s = self._overload(offered, normal_ms)
        stolen_percent = getattr(psutil.cpu_times_percent(), "steal", 0.0)  # Linux knows it
        rejected_ms = [
            each.latency_ms for each in over.results if each.failures == ["503 overloaded"]
        ]
        answered_ms = [each.latency_ms for each in over.results if not each.failures]
        return OverloadResult(
            knee,
            at_knee,
            offered,
            self._goodput(over),
            percentile(answered_ms, 99),
            len(rejected_ms),
            percentile(rejected_ms, 50),
            percentile(rejected_ms, 99),
            len(over.results) - len(rejected_ms) - len(answered_ms),
            over.wrong,
            normal_ms,
            normal_after_s,
            before_mb,
            self._memory_mb(),
            stolen_percent,
        )

    def _find_knee(self) -> float:
        points = []
        for fraction in SWEEP:
            rate = fraction * CAPACITY
            point = Point.of(rate, _latencies_ms(self._load(rate)))
            log(f"{rate:.0f} requests/s: p99 {point.p99_ms:.0f} ms")
            points.append(point)
        knee = find_knee(points, P99_BOUND_MS)
        if knee is None:
            raise RuntimeError(f"no rate keeps a p99 of {P99_BOUND_MS:g} ms: is the machine busy?")
        return knee

    def _load(self, rate: float) -> Tally:
        """An open loop of requests that are not repeated, until all are answered."""
        client = Client(self._url, patience_s=0)
        asyncio.run(client.send(self._requests, poisson_arrivals(rate, self._window_s, seed=1)))
        return client.tally

    def _overload(self, rate: float, normal_ms: float) -> tuple[Tally, float]:
        """What came of the load, and how long after its end all was normal, seconds."""
        with ThreadPoolExecutor(1) as thread:
            end = time.monotonic() + self._window_s
            loading = thread.submit(self._load, rate)
            time.sleep(self._window_s)
            normal_at = self._wait_until_normal(normal_ms)
            return loading.result(), normal_at - end

    def _wait_until_normal(self, normal_ms: float) -> float:
        """When the first of ten normal answers in a row was there."""
        since: list[float] = []
        give_up = time.monotonic() + 60
        while len(since) < 10 and time.monotonic() < give_up:
            client = Client(self._url, patience_s=0)
            asyncio.run(client.send(self._requests, [0.0]))
            (result,) = client.tally.results
            good = not result.failures and result.latency_ms <= normal_ms
            since = [*since, result.done] if good else []
            time.sleep(0.1)
        return since[0] if since else math.inf

    def _goodput(self, tally: Tally) -> float:
        """Answers a second within the window."""
        end = min(each.intended for each in tally.results) + self._window_s
        answered = [each for each in tally.results if not each.failures and each.done <= end]
        return len(answered) / self._window_s

    def _memory_mb(self) -> float:
        usage = self._server.usage()
        return sum(each.proportional_bytes for each in usage.values()) / 2**20


def _latencies_ms(tally: Tally) -> list[float]:
    return [math.inf if each.failures else each.latency_ms for each in tally.results]


if __name__ == "__main__":
    sys.exit(main())
