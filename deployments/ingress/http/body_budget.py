"""How many bytes the requests of one process hold together, and who yields when too many."""

import asyncio
import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from deployments.common.errors import Overloaded

TRIM_PERIOD_S = 2.0
"""How often at most what was freed is given back to the system."""

Yield = Callable[[Overloaded], None]
"""Told that a request is given up for the sake of others."""


class Budget:
    """The bytes held; of one event loop."""

    def __init__(self) -> None:
        self._held_bytes = 0
        self._trimming: asyncio.TimerHandle | None = None
        self._shares: set[Share] = set()

    @contextmanager
    def share(self, give_up: Yield | None = None) -> Iterator["Share"]:
        """What one request holds, given back when it ends, or when it is given up."""
        share = Share(self, give_up)
        self._shares.add(share)
        try:
            yield share
        finally:
            self._shares.discard(share)
            self._held_bytes -= share.taken_bytes
            if share.taken_bytes and self._trimming is None:
                loop = asyncio.get_running_loop()
                self._trimming = loop.call_later(TRIM_PERIOD_S, self._trim)

    def take(self, share: "Share", num_bytes: int, max_bytes: int) -> None:
        while self._held_bytes + num_bytes > max_bytes:
            self._make_room(share)
        self._held_bytes += num_bytes
        share.taken_bytes += num_bytes

    def _make_room(self, asking: "Share") -> None:
        """The largest request yields: so a few huge ones do not shut out all the others."""
        error = Overloaded("the requests under way are too large together")
        largest = max(self._shares, key=lambda share: share.taken_bytes)
        if largest is asking or largest.give_up is None or not largest.taken_bytes:
            raise error
        largest.give_up(error)
        self._held_bytes -= largest.taken_bytes
        largest.taken_bytes = 0

    def _trim(self) -> None:
        """glibc keeps what was freed between pieces still in use: after large requests hundreds
        of megabytes, of which it gives none back by itself."""
        self._trimming = None
        if (malloc_trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
            malloc_trim(0)


class Share:
    """The bytes that one request holds."""

    def __init__(self, budget: Budget, give_up: Yield | None) -> None:
        self.taken_bytes = 0
        self.give_up = give_up
        self._budget = budget

    def take(self, num_bytes: int, max_bytes: int) -> None:
        """Hold so many more. Raises Overloaded where all requests then hold too many."""
        self._budget.take(self, num_bytes, max_bytes)
