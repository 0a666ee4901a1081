"""How many bytes of bodies the requests of one Ingress hold together."""

import asyncio
import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

from deployments.common.errors import Overloaded

TRIM_PERIOD_S = 2.0
"""How often at most what was freed is given back to the system."""


class BodyBudget:
    """The bytes held, of one event loop; the largest request is evicted when they are too many.

    So a few huge requests do not shut out all the others.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held_bytes = 0
        self._trimming: asyncio.TimerHandle | None = None
        self._reservations: set[Reservation] = set()

    @contextmanager
    def reservation(self) -> Iterator["Reservation"]:
        """What one request holds; given back when it ends."""
        reservation = Reservation(self)
        self._reservations.add(reservation)
        try:
            yield reservation
        finally:
            self._reservations.discard(reservation)
            self._held_bytes -= reservation.held_bytes
            if reservation.held_bytes:
                self._trim_later()

    def reserve(self, reservation: "Reservation", num_bytes: int) -> None:
        """Raises Overloaded if the request that asks is itself the largest."""
        while self._held_bytes + num_bytes > self._max_bytes:
            largest = max(self._reservations, key=lambda each: each.held_bytes)
            if largest is reservation or not largest.held_bytes:
                raise Overloaded("the requests in flight are too large together")
            self._held_bytes -= largest.evict()
        self._held_bytes += num_bytes
        reservation.held_bytes += num_bytes

    def _trim_later(self) -> None:
        if self._trimming is None:
            self._trimming = asyncio.get_running_loop().call_later(TRIM_PERIOD_S, self._trim)

    def _trim(self) -> None:
        """glibc keeps what was freed between pieces still in use: after large requests hundreds
        of megabytes, of which it gives none back by itself."""
        self._trimming = None
        if (malloc_trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
            malloc_trim(0)


class Reservation:
    """The bytes that one request holds, and the task that reads its body."""

    def __init__(self, budget: BodyBudget) -> None:
        self.held_bytes = 0
        self.reader: asyncio.Task[object] | None = None
        self._budget = budget
        self.is_evicted = False

    def add(self, num_bytes: int) -> None:
        """Hold so many more. Raises Overloaded if this request is evicted or the largest."""
        self.raise_if_evicted()
        if num_bytes:
            self._budget.reserve(self, num_bytes)

    def evict(self) -> int:
        """Interrupt the reader. Returns how many bytes the request held."""
        self.is_evicted = True
        if self.reader is not None:
            self.reader.cancel()
        evicted_bytes, self.held_bytes = self.held_bytes, 0
        return evicted_bytes

    def raise_if_evicted(self) -> None:
        """Raises Overloaded."""
        if self.is_evicted:
            raise Overloaded("the requests in flight are too large together")
