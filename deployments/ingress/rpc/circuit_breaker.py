"""Rejects requests in the Ingress for a moment after a Classifier's queue was full."""

import time
from collections.abc import Callable

from deployments.common.errors import QueueFull


class CircuitBreaker:
    """Open for `QueueFull.open_for_s` after each rejection, closed otherwise."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._open_until = 0.0
        self._rejection: QueueFull | None = None

    def record_rejection(self, rejection: QueueFull) -> None:
        self._open_until = self._clock() + rejection.open_for_s
        self._rejection = rejection

    def raise_if_open(self) -> None:
        """Raises QueueFull, as the Classifier said it."""
        if self._rejection is None or self._clock() >= self._open_until:
            return
        raise QueueFull(self._rejection.message, self._rejection.retry_after_s)
