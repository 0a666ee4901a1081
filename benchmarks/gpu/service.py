"""The service on a GPU over HTTP: photos and raw pixels, a few images a request and many."""

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import aiohttp
import numpy as np

from benchmarks.gpu.generators import send_closed, send_open
from benchmarks.load import Outcome, Target, fetch
from benchmarks.session import encode
from deployments.ingress.images.preprocess import preprocess
from testing.encodings import KEYED, Encoding, Numbered, Payload
from testing.latency import percentile
from testing.photos import Photos
from testing.processes import Server

READY_WITHIN_S = 90.0
OPEN_FRACTION = 0.7


@dataclass
class Case:
    """A kind of request, and what came of it. concurrency: requests in flight."""

    name: str
    images: int
    concurrency: int
    images_per_s: float = 0.0
    closed_p50_ms: float | None = None
    closed_p99_ms: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    gpu_percent: float = 0.0
    wrong: int = 0
    errors: dict[str, int] = field(default_factory=dict)


SIZES = ((1, 256), (8, 64), (32, 24))
"""Images a request, and requests in flight."""
CASES = tuple((name, *size) for name in ("JPEG", "pixels") for size in SIZES)
FEW_CASES = (("JPEG", 8, 64), ("pixels", 8, 64), ("pixels", 32, 24))


def _encode_pixels(photos: Numbered) -> Payload:
    tensor = np.stack([preprocess(data, 50_000_000) for _, data in photos]).tobytes()
    pixels = {
        "name": "pixels",
        "shape": [len(photos), 224, 224, 3],
        "datatype": "UINT8",
        "parameters": {"binary_data_size": len(tensor)},
    }
    head = json.dumps({"inputs": [pixels], "outputs": [{"name": "class_id"}]}).encode()
    headers = {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(len(head)),
    }
    return Payload(head + tensor, headers, tuple(number for number, _ in photos))


PIXELS = Encoding(
    "/v2/models/densenet121/infer",
    _encode_pixels,
    lambda body: list(json.loads(body)["outputs"][0]["data"]),
)
ENCODINGS = {"JPEG": KEYED, "pixels": PIXELS}


def measure_service(
    config: Path, port: int, photos: Photos, seconds: float, log: Path, in_full: bool
) -> list[dict[str, Any]]:
    """The cases against one start of the service, open loops only if `in_full`.

    Raises StartFailed.
    """
    command = [sys.executable, "-m", "deployments", str(config), "--metrics-port", "0"]
    server = Server(command, {}, log)
    try:
        asyncio.run(_wait_until_ready(server, f"http://127.0.0.1:{port}/readyz"))
        cases = CASES if in_full else FEW_CASES
        return [asdict(_measure(Case(*case), port, photos, seconds, in_full)) for case in cases]
    finally:
        server.stop()


async def _wait_until_ready(server: Server, url: str) -> None:
    give_up = time.monotonic() + READY_WITHIN_S
    async with aiohttp.ClientSession() as session:
        while time.monotonic() < give_up:
            server.check()
            try:
                async with session.get(url) as response:
                    if response.ok:
                        return
            except (aiohttp.ClientError, OSError):
                pass  # nothing listens there yet
            await asyncio.sleep(0.25)
    raise server.failure(f"it was not ready within {READY_WITHIN_S:g} s")


def _measure(case: Case, port: int, photos: Photos, seconds: float, openly: bool) -> Case:
    encoding = ENCODINGS[case.name]
    target = Target(f"http://127.0.0.1:{port}{encoding.path}")
    payloads = encode(encoding, photos, case.images)
    case.wrong = asyncio.run(_count_wrong(target, payloads[0], encoding, photos))
    with _gpu_load() as percent:
        outcomes = send_closed(target, payloads, case.concurrency, seconds)
    case.images_per_s = sum(each.images_per_s for each in outcomes)
    case.gpu_percent = fmean(percent) if percent else 0.0
    case.closed_p50_ms, case.closed_p99_ms = _percentiles(outcomes)
    case.errors = dict(sum((Counter(each.errors) for each in outcomes), Counter()))
    if openly and case.images_per_s:
        rate = OPEN_FRACTION * case.images_per_s / case.images
        outcomes = send_open(target, payloads, rate, seconds)
        case.p50_ms, case.p99_ms = _percentiles(outcomes)
    print(case, flush=True)
    return case


async def _count_wrong(target: Target, payload: Payload, encoding: Encoding, photos: Photos) -> int:
    found = encoding.read(await fetch(target, payload))
    expected = [photos.class_ids[photo] for photo in payload.photos]
    return sum(a != b for a, b in zip(found, expected, strict=True))


def _percentiles(outcomes: Sequence[Outcome]) -> tuple[float, float]:
    latencies_ms = [latency for each in outcomes for latency in each.latencies_ms]
    return percentile(latencies_ms, 50), percentile(latencies_ms, 99)


@contextmanager
def _gpu_load() -> Iterator[list[float]]:
    """Percent of the time in which the GPU computed, as nvidia-smi samples it."""
    query = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    percent: list[float] = []
    with subprocess.Popen([*query, "-lms", "200"], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield percent
        finally:
            process.terminate()
            output = process.communicate()[0]
    percent += [float(line) for line in output.split() if line.isdigit()][5:]
