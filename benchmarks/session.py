"""One system's turn in one round: every load it is put under, and what came of it."""

import asyncio
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from statistics import fmean

from benchmarks.load import Outcome, Target, closed_loop, open_loop
from benchmarks.records import Load, Plan, Record
from testing.encodings import Encoding, Payload
from testing.latency import Point, percentile, poisson_arrivals
from testing.photos import Photos
from testing.processes import Server, Usage

SWEEP_FRACTIONS = (0.15, 0.4, 0.6, 0.8, 1.0)
"""Of the closed-loop rate of the same session: machines were seen to change their speed by a third
from one round to the next."""


def encode(encoding: Encoding, photos: Photos, images: int) -> list[Payload]:
    """Requests of so many images each, all photos in turn."""
    numbered = list(enumerate(photos.files))
    starts = range(0, len(numbered) - images + 1, images)
    return [encoding.encode(numbered[start : start + images]) for start in starts]


class Session:
    """One system's turn in one round."""

    def __init__(self, record: Record, plan: Plan, encoding: Encoding, photos: Photos) -> None:
        self._record = record
        self._plan = plan
        self._encoding = encoding
        self._photos = photos
        self._singles = encode(encoding, photos, 1)

    def run(self, server: Server, target: Target, number: int) -> None:
        """`number` is the round's, from 0: other arrivals each round, the same for all systems."""
        target = replace(target, timeout_s=self._plan.timeout_s)
        record, in_flight = self._record, self._plan.concurrency
        self._measure("lone", record.lone, server, target, 1)
        self._measure("singles", record.singles, server, target, in_flight)
        # Four requests at least, so that no server is idle between two of them.
        in_flight = max(in_flight // record.eights.images, 4)
        self._measure("eights", record.eights, server, target, in_flight)
        record.memory = server.usage()
        if self._plan.open_s:
            self._measure_openly(target, number)

    def _measure(
        self, name: str, load: Load, server: Server, target: Target, concurrency: int
    ) -> None:
        payloads, plan = encode(self._encoding, self._photos, load.images), self._plan
        before = server.usage()
        outcome = asyncio.run(
            closed_loop(target, payloads, concurrency, plan.closed_s, plan.margin_s)
        )
        load.cpu_ms.append(_cpu_ms(before, server.usage(), len(outcome.latencies_ms)))
        load.images_per_s.append(outcome.images_per_s)
        load.p50_ms.append(percentile(outcome.latencies_ms, 50))
        load.generator_cpu_ms.append(outcome.generator_cpu_ms_per_request)
        self._note(name, outcome)

    def _note(self, name: str, outcome: Outcome) -> None:
        """Check the class of every image of every response, and keep what the server timed."""
        self._record.errors.update(outcome.errors)
        self._record.timings_ms[name] = mean_timings(outcome)
        for photos, body in outcome.responses:
            found = self._encoding.read(body)
            expected = [self._photos.class_ids[photo] for photo in photos]
            self._record.answers += len(expected)
            self._record.right += sum(a == b for a, b in zip(found, expected, strict=True))

    def _measure_openly(self, target: Target, number: int) -> None:
        closed_rate = self._record.singles.images_per_s[-1]
        # If nothing was answered within the window, there is no rate to start from.
        for step, fraction in enumerate(SWEEP_FRACTIONS if closed_rate else ()):
            rate = fraction * closed_rate
            outcome = self._open(target, rate, seed=100 * number + step)
            point = Point.of(rate, outcome.latencies_ms)
            self._record.sweep.setdefault(fraction, []).append(point)
            self._note(f"open, {fraction:.0%} of singles", outcome)

    def _open(self, target: Target, rate: float, seed: int) -> Outcome:
        arrivals_s = poisson_arrivals(rate, self._plan.open_s, seed)
        return asyncio.run(open_loop(target, self._singles, arrivals_s, self._plan.open_s))


def _cpu_ms(
    before: Mapping[str, Usage], after: Mapping[str, Usage], requests: int
) -> dict[str, float]:
    """CPU a request by role, ms; of roles that were there before and after."""
    return {
        role: 1000 * (usage.cpu_s - before[role].cpu_s) / max(requests, 1)
        for role, usage in after.items()
        if role in before
    }


def mean_timings(outcome: Outcome) -> dict[str, float]:
    """Means of what `Server-Timing` says, ms, with the client's own as `total`."""
    if not outcome.server_timings:
        return {}
    sums: Counter[str] = Counter()
    for timing in outcome.server_timings:
        sums.update({name: float(ms) for name, ms in re.findall(r"(\w+);dur=([\d.]+)", timing)})
    answered = [ms for ms in outcome.latencies_ms if ms != float("inf")]
    means = {name: total / len(outcome.server_timings) for name, total in sums.items()}
    return means | {"total": fmean(answered)}
