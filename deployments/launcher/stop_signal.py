"""SIGINT and SIGTERM."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignal:
    """Set by SIGINT and SIGTERM, from `catch` on."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def catch(self) -> None:
        """Take the signals over; after `ray.init`, which puts its own handlers there."""
        for number in SIGNALS:
            signal.signal(number, self._on_signal)

    def _on_signal(self, _: int, __: FrameType | None) -> None:
        self._event.set()

    def wait(self, timeout_s: float) -> bool:
        return self._event.wait(timeout_s)

    @contextmanager
    def interrupting(self, timeout_s: float) -> Iterator[None]:
        """Break off what is inside when another signal comes, and after `timeout_s`.

        Raises KeyboardInterrupt, the only exception that Ray lets out of a wait of its own.
        """
        for number in (*SIGNALS, signal.SIGALRM):
            signal.signal(number, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, timeout_s)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            for number in SIGNALS:
                signal.signal(number, signal.SIG_IGN)  # the rest takes no time
