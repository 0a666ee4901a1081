"""How long and how large a connection to Ray's HTTP proxy may be.

Uvicorn reads headers of any size for any time, and goes on reading a body whose answer it
has sent. Ray hands none of uvicorn's options through, so this is the protocol class that
uvicorn is to use; `deployments.ingress.http.edge` puts it there.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_WITHIN_S = 10.0
"""How long a client may take for the request line and headers."""

MAX_HEAD_BYTES = 64 * 2**10
LINGER_S = 5.0
"""How long a client that has its answer may go on sending, so that it comes to read it."""


class BoundedProtocol(HttpToolsProtocol):
    """Closes connections that send headers slowly or for ever, or do not stop sending."""

    _timer: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _reads_head = True

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._close_after(HEAD_WITHIN_S)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._reads_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.send_400_response("The request's headers are too large.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._reads_head, self._head_bytes = True, 0
        self._close_after(HEAD_WITHIN_S)

    def on_headers_complete(self) -> None:
        self._reads_head = False
        self._stop_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._stop_timer()
        if self.cycle is not None and self.cycle.response_complete:
            self._close_after(self.timeout_keep_alive)  # uvicorn's own timer does not run then
        super().on_message_complete()

    def on_response_complete(self) -> None:
        if self.cycle.response_complete and self.cycle.more_body:
            self._close_after(LINGER_S)
        super().on_response_complete()

    def _close_after(self, delay_s: float) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(delay_s, self.transport.close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
