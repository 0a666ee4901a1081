"""The retry budget: bounds the retries of an Ingress while Classifier replicas die."""

import math
import time
from collections.abc import Callable

WINDOW_S = 10.0
RETRY_RATIO = 0.2
MIN_RETRIES = 100.0


class RetryBudget:
    """Retries for a fifth of the recent requests, and 100 more, so that a quiet service has some.

    Recent is what the last ten seconds brought: both counts decay with that time constant.
    The minimum is as much as a burst may take at once; it comes back at ten a second at first.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counted = clock()
        self._requests = 0.0
        self._retries = 0.0

    def record_request(self) -> None:
        self._decay()
        self._requests += 1

    def try_acquire(self) -> bool:
        """Whether one more retry is within the budget; it is taken from it then."""
        self._decay()
        if self._retries + 1 > MIN_RETRIES + RETRY_RATIO * self._requests:
            return False
        self._retries += 1
        return True

    def _decay(self) -> None:
        now = self._clock()
        left = math.exp((self._counted - now) / WINDOW_S)
        self._requests *= left
        self._retries *= left
        self._counted = now
