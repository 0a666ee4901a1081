"""The access log: a line for each request, formatted and written on a thread of its own.

Formatting and writing take as long as parsing a small upload: the event loop only notes what
to write. Ray buffers what a replica logs, so the thread also flushes that buffer.
"""

import logging
import threading
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from deployments.ingress.context import RequestContext

WRITE_PERIOD_S = 0.5
"""How long a line waits at most before it is in the file."""

logger = logging.getLogger("ray.serve")


@dataclass(frozen=True)
class Entry:
    """fields: those of `RequestContext.log_fields`, and the request's method, path and id."""

    level: int
    message: str
    fields: dict[str, object]


def describe_request(method: str, path: str, context: RequestContext, is_probe: bool) -> Entry:
    """A request's line in the access log; images are not logged."""
    level = logging.WARNING if context.is_server_error else logging.INFO
    fields = {"method": method, "path": path, **context.log_fields()}
    message = f"{method} {path} {context.status}"
    return Entry(logging.DEBUG if is_probe else level, message, fields)


class AccessLog:
    """Writes at once until it is started, and then every `WRITE_PERIOD_S`."""

    def __init__(self) -> None:
        self._entries: SimpleQueue[Entry] = SimpleQueue()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Write what is left."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def write(self, entry: Entry) -> None:
        if not logger.isEnabledFor(entry.level):
            return
        if self._thread is None:
            _emit(entry)
        else:
            self._entries.put(entry)

    def _run(self) -> None:
        while not self._stopping.wait(WRITE_PERIOD_S):
            self._drain()
        self._drain()

    def _drain(self) -> None:
        try:
            while True:
                _emit(self._entries.get_nowait())
        except Empty:
            for handler in logger.handlers:
                handler.flush()


def _emit(entry: Entry) -> None:
    logger.log(entry.level, entry.message, extra=entry.fields)
