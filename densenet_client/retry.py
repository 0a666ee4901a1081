"""How long to wait before a request is sent again, and until when. Does no I/O.

Classification changes nothing on the server, so that a request may always be repeated.
"""

import email.utils
import random
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeVar

from densenet_client.messages import HttpRequest, Reply

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 20.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Step:
    """What a flow wants done: wait `pause_s` seconds, then send `request`."""

    request: HttpRequest
    pause_s: float = 0.0


Flow = Generator[Step, Reply, T]
"""Yields what is to be sent, is given each reply, and returns a T.

The caller does the I/O, with threads or with asyncio.
"""


class RetryableError(Exception):
    """A request that may succeed when it is sent again.

    retry_after_s: what the server asked for, seconds; 0 if it said nothing.
    """

    def __init__(self, code: str, message: str, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after_s = retry_after_s


def retry(request: HttpRequest, read: Callable[[Reply], T], max_retry_time_s: float) -> Flow[T]:
    """Send `request` until `read` takes the reply.

    Raises the last RetryableError of `read` after `max_retry_time_s` seconds.
    """
    give_up = time.monotonic() + max_retry_time_s
    pause_s = 0.0
    attempt = 0
    while True:
        reply = yield Step(request, pause_s)
        try:
            return read(reply)
        except RetryableError as error:
            pause_s = choose_pause_s(attempt, error.retry_after_s)
            if time.monotonic() + pause_s > give_up:
                raise
            attempt += 1


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
