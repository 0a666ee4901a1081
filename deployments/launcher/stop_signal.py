"""SIGINT and SIGTERM."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import ray._private.utils

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignal:
    """Set by SIGINT and SIGTERM."""

    def __init__(self) -> None:
        self._event = threading.Event()
        # `ray.init` would put handlers there that end Ray at once.
        ray._private.utils.set_sigterm_handler = lambda _: None
        for number in SIGNALS:
            signal.signal(number, self._on_signal)

    def _on_signal(self, _: int, __: FrameType | None) -> None:
        self._event.set()

    def _interrupt(self, _: int, __: FrameType | None) -> NoReturn:
        self._event.set()
        raise KeyboardInterrupt

    def wait(self, timeout_s: float) -> bool:
        return self._event.wait(timeout_s)

    def check(self) -> None:
        """Raise KeyboardInterrupt if a signal came whose exception was lost.

        Python prints and forgets what is raised in a destructor or a callback.
        """
        if self._event.is_set():
            raise KeyboardInterrupt

    @contextmanager
    def interrupting(self, timeout_s: float = 0) -> Iterator[None]:
        """Break off what is inside when a signal comes, and after `timeout_s` if it is not 0.

        Raises KeyboardInterrupt, the only exception that Ray lets out of a wait of its own.
        """
        for number in (*SIGNALS, signal.SIGALRM):
            signal.signal(number, self._interrupt)
        signal.setitimer(signal.ITIMER_REAL, timeout_s)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            for number in SIGNALS:
                signal.signal(number, self._on_signal)

    @staticmethod
    def ignore() -> None:
        """The end itself takes no time to speak of, and is not to be broken off."""
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
