"""What a run came to, in a line or three at its end."""

import time
from collections import Counter
from collections.abc import Iterator

from densenet_client.results import Failure, Result
from densenet_client.terminal import printable

NAMES_SHOWN = 10
"""More failures are in the results; a summary stays in sight."""


class Summary:
    """Counts results as they come; the clock starts when it is made."""

    def __init__(self) -> None:
        self.count = 0
        self.num_failed = 0
        self._started = time.monotonic()
        self._failed_names: list[str] = []

    def add(self, result: Result) -> None:
        self.count += 1
        if isinstance(result, Failure):
            self.num_failed += 1
            if self.num_failed <= NAMES_SHOWN:
                self._failed_names.append(f"{printable(result.name)} ({printable(result.code)})")

    def lines(self) -> Iterator[str]:
        images = count_of(self.count, "image")
        classified = self.count - self.num_failed
        rate = f" ({self._rate_per_s():.1f} images/s)" if classified else ""
        yield f"{images}, {classified} classified, {self.num_failed} failed{rate}"
        if self.num_failed:
            more = self.num_failed - len(self._failed_names)
            yield "failed: " + ", ".join(self._failed_names) + (f" and {more} more" if more else "")

    def _rate_per_s(self) -> float:
        return self.count / max(time.monotonic() - self._started, 1e-3)


def describe_unsupported(suffixes: Counter[str]) -> str:
    """A sentence about pictures that were left out, by suffix."""
    counts = ", ".join(f"{count} {suffix}" for suffix, count in suffixes.most_common())
    images = count_of(suffixes.total(), "image")
    return f"left out {images} with suffixes of formats that the service cannot read: {counts}"


def count_of(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
