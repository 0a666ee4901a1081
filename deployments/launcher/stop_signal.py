"""SIGINT and SIGTERM."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignal:
    """Set by SIGINT and SIGTERM, from `catch` on."""

    def __init__(self) -> None:
        # A handler may interrupt itself, or `wait`: `put` can, `threading.Event.set` deadlocks.
        self._signals: SimpleQueue[int] = SimpleQueue()
        self._came = False

    def catch(self) -> None:
        """Take the signals over; after `ray.init`, which puts its own handlers there."""
        for number in SIGNALS:
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        self._came = True
        self._signals.put(number)

    def wait(self, timeout_s: float) -> bool:
        """True once a signal has come; waits for one, for `timeout_s` at most."""
        if not self._came:
            with suppress(Empty):
                self._signals.get(timeout=timeout_s)
        return self._came

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
