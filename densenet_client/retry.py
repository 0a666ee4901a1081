"""How long to wait before a request is repeated, and until when.

Classification changes nothing on the server, so that a request may always be repeated.
"""

import email.utils
import random
import time
from collections.abc import Callable
from typing import TypeVar

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 20.0

Answer = TypeVar("Answer")


class RetryableError(Exception):
    """A request that may be answered when it is repeated.

    retry_after_s: what the server asked for, seconds; 0 where it said nothing.
    """

    def __init__(self, code: str, message: str, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after_s = retry_after_s


def retry(
    ask: Callable[[], Answer], max_retry_time_s: float, wait: Callable[[float], None]
) -> Answer:
    """Call `ask` until it succeeds; raise its last RetryableError after `max_retry_time_s`."""
    give_up = time.monotonic() + max_retry_time_s
    attempt = 0
    while True:
        try:
            return ask()
        except RetryableError as error:
            pause_s = choose_pause_s(attempt, error.retry_after_s)
            if time.monotonic() + pause_s > give_up:
                raise
            attempt += 1
        wait(pause_s)


def choose_pause_s(attempt: int, retry_after_s: float) -> float:
    """At least what the server asked for, plus a random part that doubles with each attempt.

    Random, so that clients that were turned away together do not come back together.
    """
    backoff_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0**attempt)
    return retry_after_s + backoff_s * random.uniform(0.5, 1)  # noqa: S311, no secret


def parse_retry_after_s(header: str | None) -> float:
    """Seconds from now that a `Retry-After` header asks for, in either of its two forms."""
    if header is None:
        return 0.0
    if header.strip().isdigit():
        return float(header)
    try:
        moment = email.utils.parsedate_to_datetime(header)
    except ValueError:
        return 0.0
    return max(0.0, moment.timestamp() - time.time())
