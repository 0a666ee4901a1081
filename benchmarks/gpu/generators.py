"""Load from several processes: one asyncio client does not saturate a GPU. Imports no torch."""

import asyncio
import multiprocessing
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.load import Outcome, Target, closed_loop, open_loop
from testing.encodings import Payload
from testing.latency import poisson_arrivals

GENERATORS = 4


def send_closed(
    target: Target, payloads: Sequence[Payload], concurrency: int, seconds: float
) -> list[Outcome]:
    """Keep `concurrency` requests in flight, all processes together."""
    return _send_from_all(_closed, target, payloads, concurrency // GENERATORS, seconds)


def send_open(
    target: Target, payloads: Sequence[Payload], rate: float, seconds: float
) -> list[Outcome]:
    """Send `rate` requests a second, all processes together, at random times."""
    return _send_from_all(_open, target, payloads, rate / GENERATORS, seconds)


def _send_from_all(send: Callable[..., Outcome], *arguments: Any) -> list[Outcome]:
    context = multiprocessing.get_context("spawn")
    with context.Pool(GENERATORS) as pool:
        jobs = [(number, *arguments) for number in range(GENERATORS)]
        return pool.starmap(send, jobs, chunksize=1)


def _closed(
    number: int, target: Target, payloads: Sequence[Payload], concurrency: int, seconds: float
) -> Outcome:
    own = [*payloads[number:], *payloads[:number]]
    return _lighten(asyncio.run(closed_loop(target, own, concurrency, seconds, margin_s=0.5)))


def _open(
    number: int, target: Target, payloads: Sequence[Payload], rate: float, seconds: float
) -> Outcome:
    arrivals_s = poisson_arrivals(rate, seconds, number)
    return _lighten(asyncio.run(open_loop(target, payloads, arrivals_s, seconds)))


def _lighten(outcome: Outcome) -> Outcome:
    """Without the bodies, which would travel between processes for nothing."""
    outcome.responses.clear()
    outcome.server_timings.clear()
    return outcome
