"""The retry budget: a cluster that is dying is not stormed by its own ingress."""

import math
import time
from collections.abc import Callable

WINDOW_S = 10.0
RATIO = 0.2
FLOOR = 100.0


class RetryBudget:
    """Retries for a fifth of the recent requests, and 100 more, lest a quiet service have none.

    Recent is what the last ten seconds brought: both counts fade with that time constant.
    The floor is as much as a burst may take at once; it comes back at ten a second at first.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counted = clock()
        self._requests = 0.0
        self._retries = 0.0

    def count_request(self) -> None:
        self._fade()
        self._requests += 1

    def take_retry(self) -> bool:
        """Whether one more retry is within the budget; it is taken from it then."""
        self._fade()
        if self._retries + 1 > FLOOR + RATIO * self._requests:
            return False
        self._retries += 1
        return True

    def _fade(self) -> None:
        now = self._clock()
        left = math.exp((self._counted - now) / WINDOW_S)
        self._requests *= left
        self._retries *= left
        self._counted = now
