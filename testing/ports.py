"""Ports for what tests, chaos and benchmarks start."""

import contextlib
import random
import socket

CANDIDATES = range(2_048, 5_000)
"""Neither the system nor Ray nor the launcher gives these out by itself: one that it chose between
the look and the start of a server would be taken by another program now and then."""


def find_free_port() -> int:
    """A port that is free, with a free one above it (a server may want two)."""
    while True:
        port = random.choice(CANDIDATES)
        with socket.socket() as first, socket.socket() as second, contextlib.suppress(OSError):
            first.bind(("127.0.0.1", port))
            second.bind(("127.0.0.1", port + 1))
            return port
