"""Cost as the work grows: `python -m benchmarks.scaling`, or `make bench-scaling`.

Throughput of the service against replicas and against the size and format of its images,
and the memory of each replica against requests served. Writes scaling.md, scaling.json and
scaling.png into benchmarks/results, and ends with one JSON line.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.load import Outcome, Target, closed_loop
from benchmarks.measure import running
from benchmarks.scaling_report import (
    MIB,
    SIZES_IN_FLIGHT,
    Found,
    ReplicaRate,
    Sample,
    SizeRate,
    draw,
    read_found,
    write_page,
)
from benchmarks.session import encode
from benchmarks.setup import Setup, add_setup_arguments, prepare_setup, results_folder
from benchmarks.systems import CORES, SERVICE, launch_service
from testing.encodings import Payload
from testing.latency import percentile
from testing.log import log
from testing.machine import describe_machine
from testing.photos import Photos, make_mosaic
from testing.pictures import encode as encode_picture
from testing.ports import find_free_port
from testing.processes import Server, StartFailed

PARTS = ("replicas", "sizes", "memory")
REPLICAS = ((1, 1), (1, 2), (2, 1), (2, 2))
"""Of the Classifier and of the Ingress."""
TURNS = 16
TURN_S = 4.0
SIZES = (
    ("JPEG", 367, 275),
    ("JPEG", 1152, 864),
    ("JPEG", 4000, 3000),
    ("JPEG", 8000, 6000),
    ("PNG", 367, 275),
    ("PNG", 1152, 864),
    ("PNG", 4000, 3000),
)
"""Format, width and height: 0.1, 1, 12 and 48 megapixels."""
ROOMY = {"limits": {"max_image_bytes": 128 * MIB, "max_request_bytes": 512 * MIB}}
"""A 12 Mpx PNG of a photo is over the default limit; here its cost is asked, not its right."""


def main() -> int:
    arguments = parse_arguments()
    results = results_folder(arguments)
    found = read_found(results / "scaling.json") if arguments.only else Found()
    wanted = arguments.only or PARTS
    with tempfile.TemporaryDirectory(prefix="scaling-") as folder:
        photos, setup = prepare_setup(arguments, Path(folder))
        found.machine = describe_machine()
        service = Scaling(setup, photos, arguments.concurrency, arguments.seconds)
        if "replicas" in wanted:
            turns = 2 if arguments.quick else TURNS
            found.replicas = service.measure_replicas(turns)
        if "sizes" in wanted:
            found.sizes = service.measure_sizes()
        if "memory" in wanted:
            found.samples = service.measure_memory(arguments.requests)
    line = json.dumps(found.as_json(), allow_nan=False)
    page = write_page(found)
    (results / "scaling.md").write_text(page)
    (results / "scaling.json").write_text(f"{line}\n")
    draw(found, results / "scaling.png")
    print(page)
    print(line)
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    add_setup_arguments(parser)
    parser.add_argument("--quick", action="store_true", help="short: does it work?")
    parser.add_argument("--seconds", type=float, help="of each window of load")
    parser.add_argument("--requests", type=int, help="served while memory is watched")
    parser.add_argument("--concurrency", type=int, default=16, help="images in flight")
    parser.add_argument(
        "--only", nargs="+", choices=PARTS, metavar="PART", help="keep the other parts' results"
    )
    arguments = parser.parse_args()
    arguments.seconds = arguments.seconds or (2.0 if arguments.quick else 8.0)
    arguments.requests = arguments.requests or (200 if arguments.quick else 10_000)
    return arguments


class Scaling:
    """The service, started anew for each question."""

    def __init__(self, setup: Setup, photos: Photos, concurrency: int, window_s: float) -> None:
        self._setup = setup
        self._photos = photos
        self._concurrency = concurrency
        self._window_s = window_s
        self._singles = encode(SERVICE.encoding, photos, 1)

    @contextmanager
    def _service(self, **changes: Mapping[str, Any]) -> Iterator[tuple[Server, Target]]:
        port = find_free_port()
        launch = launch_service(port, self._setup, **changes)
        log = self._setup.folder / "scaling.log"
        with running(launch, SERVICE.encoding, self._photos, port, log) as started:
            yield started

    def measure_replicas(self, turns: int) -> list[ReplicaRate]:
        """All services run at once and are loaded in turns of seconds, every other turn backwards.

        The speed of a machine was seen to change by a third within a minute, which is more than
        replicas make up.
        """
        rates = [ReplicaRate(*each) for each in REPLICAS]
        with ExitStack() as services:
            targets = [self._start(services, rate.classifiers, rate.ingresses) for rate in rates]
            for turn in range(turns):
                log(f"replicas, turn {turn + 1} of {turns}")
                for rate, target in [*zip(rates, targets, strict=True)][:: -1 if turn % 2 else 1]:
                    outcome = self._load(target, self._singles, TURN_S, TURN_S / 4)
                    rate.images_per_s.append(outcome.images_per_s)
        return rates

    def _start(self, services: ExitStack, classifiers: int, ingresses: int) -> Target:
        log(f"{classifiers} Classifier and {ingresses} Ingress replicas")
        # A share of a core each, so that Ray finds room for them on a small machine.
        share = {"ray_actor_options": {"num_cpus": CORES / 8}}
        changes: dict[str, Mapping[str, Any]] = {
            "Classifier": {"num_replicas": classifiers},
            "Ingress": {"num_replicas": ingresses} | share,
        }
        _, target = services.enter_context(self._service(**changes))
        return target

    def measure_sizes(self) -> list[SizeRate]:
        with self._service(args=ROOMY) as (_, target):
            return [self._measure_size(target, *size) for size in SIZES]

    def _measure_size(self, target: Target, image_format: str, width: int, height: int) -> SizeRate:
        log(f"{image_format} of {width}x{height}")
        options = {"quality": 90} if image_format == "JPEG" else {}
        picture = make_mosaic(self._photos.files, width, height)
        file = encode_picture(picture, image_format, **options)
        payloads = [SERVICE.encoding.encode([(0, file)])]
        margin_s = self._window_s / 4
        outcome = self._load(target, payloads, self._window_s, margin_s, SIZES_IN_FLIGHT)
        return SizeRate(
            image_format,
            width * height / 1e6,
            len(file),
            outcome.images_per_s,
            percentile(outcome.latencies_ms, 50),
        )

    def measure_memory(self, requests: int) -> list[Sample]:
        """Ten samples and more while so many requests are served."""
        log(f"memory over {requests} requests")
        samples: list[Sample] = []
        served = 0
        with self._service() as (server, target):
            while served < requests:
                outcome = self._load(target, self._singles, self._window_s / 4)
                served += len(outcome.latencies_ms)
                usage = server.usage()
                resident = {role: used.resident_bytes for role, used in usage.items()}
                samples.append(Sample(served, resident))
        return samples

    def _load(
        self,
        target: Target,
        payloads: Sequence[Payload],
        duration_s: float,
        margin_s: float = 0.0,
        concurrency: int | None = None,
    ) -> Outcome:
        in_flight = concurrency or self._concurrency
        return asyncio.run(closed_loop(target, payloads, in_flight, duration_s, margin_s))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except StartFailed as error:
        sys.exit(f"the benchmark cannot go on: {error}")
