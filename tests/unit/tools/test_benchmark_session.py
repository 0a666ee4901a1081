"""One system's turn: a small server that answers at once, and its made-up use of the CPU."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast

import pytest

from benchmarks.load import Target
from benchmarks.records import Plan, Record
from benchmarks.session import Session
from testing.encodings import KEYED
from testing.photos import Photos
from testing.processes import Server, Usage

PLAN = Plan(rounds=1, margin_s=0.1, closed_s=0.2, open_s=0, concurrency=4, p99_bound_ms=500)
PHOTOS = Photos(tuple(f"photo {n}".encode() for n in range(8)), ("n1",) * 8, "made up")


class Answer(BaseHTTPRequestHandler):
    """Gives every photo the class n1, but the one numbered 7 another."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        names = [name.decode() for name in re.findall(rb'filename="([^"]+)"', body)]
        answers = {name: {"class_id": "n2" if name == "00007.jpg" else "n1"} for name in names}
        content = json.dumps(answers).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Server-Timing", "decode;dur=2.0, infer;dur=1.0")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002, the base class's
        """Quiet."""


class Processes:
    """In place of a server's processes: a second more of CPU each time they are looked at."""

    def __init__(self) -> None:
        self._cpu_s = 0.0

    def usage(self) -> dict[str, Usage]:
        self._cpu_s += 1
        return {"ingress": Usage(self._cpu_s, 200, 100)}


@contextmanager
def serving() -> Iterator[Target]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield Target(f"http://127.0.0.1:{server.server_port}/predict")
        finally:
            server.shutdown()


@pytest.fixture(scope="module")
def record() -> Record:
    record = Record("service", "this service")
    with serving() as target:
        Session(record, PLAN, KEYED, PHOTOS).run(cast("Server", Processes()), target, 0)
    return record


def test_every_image_of_every_response_is_checked(record: Record) -> None:
    assert record.errors == {}
    assert record.answers > 100
    assert record.answers - record.right > 0
    assert record.accuracy == pytest.approx(7 / 8, abs=0.05)


def test_each_kind_of_load_has_a_rate_a_latency_and_a_cost(record: Record) -> None:
    for load in (record.lone, record.singles, record.eights):
        assert load.images_per_s[0] > 0
        assert load.p50_ms[0] > 0
        assert load.generator_cpu_ms[0] > 0
        assert load.total_cpu_ms == load.cpu_ms_by_role["ingress"] > 0


def test_what_the_server_timed_is_kept_for_each_kind_of_load(record: Record) -> None:
    assert record.timings_ms.keys() == {"lone", "singles", "eights"}
    assert record.timings_ms["singles"]["decode"] == pytest.approx(2)


def test_memory_is_that_of_all_processes(record: Record) -> None:
    assert record.proportional_bytes == 100
    assert record.is_measured
