"""What is known of one request: filled in on its way, complete when it has its response."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

from deployments.common.errors import ClientClosedRequest


@dataclass
class Timings:
    """Milliseconds of each stage, and how full the batch was: 0 when nothing was classified."""

    parse_ms: float = 0.0
    decode_ms: float = 0.0
    queue_ms: float = 0.0
    infer_ms: float = 0.0
    batch_size: int = 0

    def stages(self) -> dict[str, float]:
        """Milliseconds by the stage's name, in the order in which they follow."""
        return {
            "parse": self.parse_ms,
            "decode": self.decode_ms,
            "queue": self.queue_ms,
            "infer": self.infer_ms,
        }

    def headers(self) -> dict[str, str]:
        """`Server-Timing`, if images were classified."""
        if not self.batch_size:
            return {}
        stages = ", ".join(f"{stage};dur={ms:.1f}" for stage, ms in self.stages().items())
        return {"Server-Timing": f'{stages};desc="batch of {self.batch_size}"'}


MAX_ADDRESS_CHARS = 200
MAX_USER_AGENT_CHARS = 200
CANCELLED = "cancelled"
"""The status of a request whose client left before a response began."""


@dataclass
class RequestContext:
    """One request over HTTP or gRPC.

    client: the name of the key that came; empty without API keys.
    client_address: see `describe_address`.
    trace_id: of the sampled trace that it is part of, in hexadecimal digits; else empty.
    status: HTTP's, or gRPC's name for it.
    error_code: the code of the error that ended the request as a whole, else empty.
    images: how many were sent; outcomes: how many of them were `classified`, or failed by
        themselves with which error code.
    started: on the clock of `time.monotonic`, seconds.
    """

    request_id: str = ""
    client: str = ""
    client_address: str = ""
    user_agent: str = ""
    trace_id: str = ""
    status: str = CANCELLED
    error_code: str = ""
    received_bytes: int = 0
    images: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    timings: Timings = field(default_factory=Timings)
    started: float = field(default_factory=time.monotonic)

    @property
    def duration_s(self) -> float:
        """Until now."""
        return time.monotonic() - self.started

    @property
    def is_server_error(self) -> bool:
        """Whether HTTP's status is one of 500 to 599, or gRPC's name stands for one."""
        if self.status.isdigit():
            return int(self.status) >= HTTPStatus.INTERNAL_SERVER_ERROR
        return self.status in ("INTERNAL", "UNAVAILABLE", "DEADLINE_EXCEEDED")

    @property
    def has_left(self) -> bool:
        """Whether the client left before its response began."""
        return self.status in (CANCELLED, str(ClientClosedRequest.status))

    def log_fields(self) -> dict[str, object]:
        """The fields of its line in the access log."""
        timings = self.timings
        return {
            "request_id": self.request_id,
            "client": self.client,
            "client_address": self.client_address,
            "user_agent": self.user_agent,
            "trace_id": self.trace_id,
            "status": self.status,
            "error": self.error_code,
            "bytes": self.received_bytes,
            "images": self.images,
            "classified": self.outcomes["classified"],
            "duration_ms": round(1000 * self.duration_s, 1),
            "parse_ms": round(timings.parse_ms, 1),
            "decode_ms": round(timings.decode_ms, 1),
            "queue_ms": round(timings.queue_ms, 1),
            "infer_ms": round(timings.infer_ms, 1),
            "batch_size": timings.batch_size,
        }


def describe_address(forwarded_for: Sequence[str], peer: str) -> str:
    """The addresses that the proxies on the way saw, the nearest proxy's last; else the peer's.

    HAProxy adds the last one, so a client can forge only those before it.
    """
    return ", ".join(forwarded_for)[-MAX_ADDRESS_CHARS:] or peer


OnRequestEnd = Callable[[RequestContext], None]
"""Called with every request that is no probe, after its response."""
