"""The load generator: prebuilt bodies, sent in a closed loop or at given times.

It shares the cores with what it measures, so it does as little as it can (no body is built,
no answer parsed while it runs) and reports its own CPU time.
"""

import asyncio
import itertools
import math
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

from testing.encodings import Payload


@dataclass(frozen=True)
class Target:
    """Where requests go. A request is given up, and counts as failed, after `timeout_s`."""

    url: str
    timeout_s: float = 60.0


@dataclass
class Outcome:
    """What a run of the generator saw.

    latencies_ms: of every request sent; infinite for one that failed.
    images: answered within a window of `duration_s`; of a request under way at either end of
        it, the part of its time that lay within (else a slow server's rate would come in steps).
    errors: the kinds of failure and how often each came.
    server_timings: the `Server-Timing` of every answer that had one.
    responses: of every request that was answered, the indexes of its photos and the body.
    """

    duration_s: float
    latencies_ms: list[float] = field(default_factory=list)
    images: float = 0.0
    errors: dict[str, int] = field(default_factory=dict)
    server_timings: list[str] = field(default_factory=list)
    responses: list[tuple[tuple[int, ...], bytes]] = field(default_factory=list)
    generator_cpu_s: float = 0.0

    @property
    def images_per_s(self) -> float:
        return self.images / self.duration_s

    @property
    def generator_cpu_ms_per_request(self) -> float:
        return 1000 * self.generator_cpu_s / max(len(self.latencies_ms), 1)


async def fetch(target: Target, payload: Payload) -> bytes:
    """One answer's body, for looking at. Raises aiohttp.ClientError, TimeoutError."""
    async with (
        _session(target) as session,
        session.post(target.url, data=payload.body, headers=payload.headers) as response,
    ):
        response.raise_for_status()
        return await response.read()


async def closed_loop(
    target: Target,
    payloads: Sequence[Payload],
    concurrency: int,
    duration_s: float,
    margin_s: float = 0.0,
) -> Outcome:
    """Keep `concurrency` requests in flight; each is followed by the next one at once.

    The load begins `margin_s` before the window in which images are counted and lasts as long
    after it: a server that fills up from nothing has done less for what waits in it at the
    end than the time those requests have taken says.
    """
    queue = itertools.cycle(payloads)
    outcome = Outcome(duration_s)
    async with _session(target) as session:
        start = time.perf_counter() + margin_s
        window = (start, start + duration_s)

        async def worker() -> None:
            while (started := time.perf_counter()) < window[1] + margin_s:
                await _send(session, target, next(queue), started, window, outcome)

        cpu_before = time.process_time()
        await asyncio.gather(*(worker() for _ in range(concurrency)))
        outcome.generator_cpu_s = time.process_time() - cpu_before
    return outcome


async def open_loop(
    target: Target, payloads: Sequence[Payload], arrivals_s: Sequence[float], duration_s: float
) -> Outcome:
    """Send at the given times, whatever comes back; latency is from the intended time."""
    queue = itertools.cycle(payloads)
    outcome = Outcome(duration_s)
    async with _session(target) as session, asyncio.TaskGroup() as requests:
        cpu_before = time.process_time()
        start = time.perf_counter()
        window = (start, start + duration_s)
        for arrival_s in arrivals_s:
            intended = start + arrival_s
            await asyncio.sleep(intended - time.perf_counter())
            sending = _send(session, target, next(queue), intended, window, outcome)
            requests.create_task(sending)
    outcome.generator_cpu_s = time.process_time() - cpu_before
    return outcome


@asynccontextmanager
async def _session(target: Target) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=target.timeout_s)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        yield session


async def _send(
    session: aiohttp.ClientSession,
    target: Target,
    payload: Payload,
    intended: float,
    window: tuple[float, float],
    outcome: Outcome,
) -> None:
    """Send one request and note what came of it; `intended` and `window` as perf_counter()."""
    sent = time.perf_counter()
    try:
        async with session.post(target.url, data=payload.body, headers=payload.headers) as response:
            body = await response.read()
            failure = "" if response.ok else f"status {response.status}"
            timing = response.headers.get("Server-Timing")
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        failure, timing, body = type(error).__name__, None, b""
    now = time.perf_counter()
    if failure:
        outcome.errors[failure] = outcome.errors.get(failure, 0) + 1
        outcome.latencies_ms.append(math.inf)
        return
    outcome.latencies_ms.append(1000 * (now - intended))
    outcome.responses.append((payload.photos, body))
    within = max(min(now, window[1]) - max(sent, window[0]), 0.0)
    outcome.images += len(payload.photos) * within / (now - sent)
    if timing:
        outcome.server_timings.append(timing)
