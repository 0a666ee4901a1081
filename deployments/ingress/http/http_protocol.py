"""HTTP/1.x as uvicorn is to read it: strict about where a request ends, bounded in time and size.

By itself uvicorn takes the body of a request that offers an upgrade for the next request
(github.com/Kludex/uvicorn/issues/2722, github.com/MagicStack/httptools/issues/124), reads headers
of any size for any time, and goes on reading a body whose answer it has sent. Ray hands none of
uvicorn's options through; `deployments.ingress.http.edge` puts this class into its place.

Uvicorn's h11 protocol ignores offers, too. But h11 accepts folded lines, bare LF and repeated
lengths, and costs 0.1 ms more a request and 13 us more a chunk.
"""

import asyncio
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from deployments.common.errors import Forbidden, MalformedRequest, ServiceError
from deployments.ingress.http.framing import check_framing
from deployments.ingress.http.responses import render_error

HEAD_WITHIN_S = 10.0
"""How long a client may take for the request line and headers."""

MAX_HEAD_BYTES = 64 * 2**10
LINGER_S = 5.0
"""How long a client that has its answer may go on sending, so that it comes to read it."""


class HttpProtocol(HttpToolsProtocol):
    """Ignores offers to upgrade, rejects unclear requests, closes slow and endless ones."""

    url = b""
    _timer: asyncio.TimerHandle | None = None
    _num_requests = 0
    _head_bytes = 0
    _in_head = False
    _in_body = False
    _keeps_alive = True
    _is_rejected = False

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._close_after(HEAD_WITHIN_S)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        self._keeps_alive = False
        super().shutdown()

    def data_received(self, data: bytes) -> None:
        if self._is_rejected:
            return
        self._unset_keepalive_if_required()
        try:
            self._parse(data)
        except ServiceError as error:
            self._reject(error)

    def _parse(self, data: bytes) -> None:
        """Raises MalformedRequest, or Forbidden for a WebSocket."""
        rest, begun_at = memoryview(data), (self._num_requests, self._in_body)
        try:
            while rest:
                rest = rest[self._feed(rest) :]
        except httptools.HttpParserError as error:
            if isinstance(error.__context__, MalformedRequest):
                raise error.__context__ from None
            raise MalformedRequest("the request is not valid HTTP/1.1") from error
        if begun_at == (self._num_requests, False) and not self._in_body:
            self._head_bytes += len(data)  # all of it is of the same head, or blank lines
            self._check_head_size()
        if self._in_head and self._timer is None:
            self._close_after(HEAD_WITHIN_S)

    def _feed(self, data: memoryview) -> int:
        """Parse, up to the end of a head that offers an upgrade. Returns how many bytes."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            num_bytes: int = upgrade.args[0]
            self._reread_head()
            return num_bytes
        return len(data)

    def _reread_head(self) -> None:
        """Read the head again without its offer: llhttp then reads the body, too.

        A server may ignore an offer (RFC 9110, 7.8). llhttp does not let it, and `httptools` does
        not tell llhttp otherwise.
        """
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        if method == b"CONNECT":  # for llhttp an upgrade, too
            raise MalformedRequest("this is no proxy; send GET or POST")
        if any(b"websocket" in value.lower() for name, value in self.headers if name == b"upgrade"):
            raise Forbidden("WebSockets are not supported; send an HTTP request")
        kept = [b"%b: %b\r\n" % header for header in self.headers if header[0] != b"upgrade"]
        head = b"%b %b HTTP/%b\r\n%b\r\n" % (method, self.url, version, b"".join(kept))
        self.parser = httptools.HttpRequestParser(self)
        self.parser.feed_data(head)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._num_requests += 1
        self._in_head, self._head_bytes = True, 0
        self._stop_timer()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # a trailer is none of the headers that the application has seen
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            return  # it comes again, without the offer
        self._head_bytes = sum(len(name) + len(value) for name, value in self.headers)
        self._head_bytes += len(self.url)
        self._check_head_size()
        check_framing(self.parser.get_http_version(), self.headers)
        self._in_head, self._in_body = False, True
        self._stop_timer()
        super().on_headers_complete()
        self._keeps_alive = self.cycle.keep_alive
        if self.expect_100_continue:  # a rejected client may send the body, or the next request
            self.cycle.keep_alive = False

    def _check_head_size(self) -> None:
        if self._head_bytes > MAX_HEAD_BYTES:
            raise MalformedRequest(f"the headers are larger than {MAX_HEAD_BYTES} bytes")

    def on_body(self, body: bytes) -> None:
        if not self.cycle.response_started:
            self.cycle.keep_alive = self._keeps_alive
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self._in_body, self._head_bytes = False, 0
        self._stop_timer()
        if self.cycle.response_complete:
            self._close_after(self.timeout_keep_alive)  # uvicorn's own timer does not run then
        super().on_message_complete()

    def on_response_complete(self) -> None:
        if self.cycle.response_complete and self.cycle.more_body:
            self._close_after(LINGER_S)
        super().on_response_complete()

    def _reject(self, error: ServiceError) -> None:
        """Close the connection: after the answer to an earlier request, else with one to this."""
        self.logger.info("a request was rejected: %s", error.message)
        self._is_rejected = True
        self._stop_timer()
        cycle = self.cycle
        if not self._in_body:
            if cycle is None or cycle.response_complete:
                self._respond(error)
            else:
                cycle.keep_alive = False
        elif self.pipeline or cycle.response_started:
            self.transport.close()
        else:
            cycle.disconnected = True
            cycle.message_event.set()
            self._respond(error)

    def _respond(self, error: ServiceError) -> None:
        """Answer in the application's form. What the client still sends is dropped."""
        response = render_error(error, self.url.decode("latin-1"), {"Connection": "close"})
        lines = [b"%b: %b\r\n" % header for header in response.raw_headers]
        status_line = STATUS_LINE[response.status_code]
        self.transport.write(b"".join([status_line, *lines, b"\r\n", bytes(response.body)]))
        if self.transport.can_write_eof():  # not over TLS
            self.transport.write_eof()
        self.flow.resume_reading()
        self._close_after(LINGER_S)

    def _close_after(self, delay_s: float) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(delay_s, self.transport.close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
