"""Ports for what tests, chaos and benchmarks start."""

import contextlib
import os
import random
import socket

CANDIDATES = range(2_048, 5_000)
"""Neither the system nor Ray nor the launcher gives these out by itself: one that it chose between
the look and the start of a server would be taken by another program now and then."""
_given: set[int] = set()
"""Of this process: what a port was given to may not listen yet."""


def find_free_port() -> int:
    """A port that is free, with a free one above it (a server may want two).

    Never the same twice in a process, and never that of another process of one test run.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    while True:
        port = random.choice(CANDIDATES[2 * (worker % 2) :: 4])
        with socket.socket() as first, socket.socket() as second, contextlib.suppress(OSError):
            first.bind(("127.0.0.1", port))
            second.bind(("127.0.0.1", port + 1))
            if port not in _given:
                _given.add(port)
                return port
