"""How many bytes the requests of one process hold together."""

from collections.abc import Iterator
from contextlib import contextmanager

from deployments.errors import Overloaded


class Budget:
    """The bytes held; of one thread."""

    def __init__(self) -> None:
        self.held_bytes = 0

    @contextmanager
    def share(self) -> Iterator["Share"]:
        """What one request holds, given back when it ends."""
        share = Share(self)
        try:
            yield share
        finally:
            self.held_bytes -= share.taken_bytes


class Share:
    """The bytes that one request holds."""

    def __init__(self, budget: Budget) -> None:
        self.taken_bytes = 0
        self._budget = budget

    def take(self, num_bytes: int, max_bytes: int) -> None:
        """Hold so many more. Raises Overloaded where all requests then hold too many."""
        if self._budget.held_bytes + num_bytes > max_bytes:
            raise Overloaded("the requests under way are too large together")
        self._budget.held_bytes += num_bytes
        self.taken_bytes += num_bytes
