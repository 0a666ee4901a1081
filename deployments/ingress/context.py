"""What is known of one request: its access log and its metrics are made of it."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field


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
        """`Server-Timing`, where images were classified."""
        if not self.batch_size:
            return {}
        stages = ", ".join(f"{stage};dur={ms:.1f}" for stage, ms in self.stages().items())
        return {"Server-Timing": f'{stages};desc="batch of {self.batch_size}"'}


@dataclass
class RequestContext:
    """Filled in on the request's way, and complete when it has been answered.

    client: whose key came; empty without access keys, and where none was let in.
    status: HTTP's, or gRPC's name for it; `cancelled` where the client went before an answer.
    refusal: the code of the error that refused the request as a whole, empty where none did.
    images: how many were sent; outcomes: how many of them were `classified`, or failed by
        themselves with which error code.
    """

    client: str = ""
    status: str = "cancelled"
    refusal: str = ""
    received_bytes: int = 0
    images: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    timings: Timings = field(default_factory=Timings)
    started: float = field(default_factory=time.monotonic)

    @property
    def duration_s(self) -> float:
        """Until now."""
        return time.monotonic() - self.started

    def describe(self) -> dict[str, object]:
        """The fields of its line in the access log."""
        classified = self.outcomes["classified"]
        return {
            "client": self.client,
            "status": self.status,
            "error": self.refusal,
            "bytes": self.received_bytes,
            "images": self.images,
            "classified": classified,
            "duration_ms": round(1000 * self.duration_s, 1),
            **{f"{stage}_ms": round(ms, 1) for stage, ms in self.timings.stages().items()},
            "batch_size": self.timings.batch_size,
        }


OnRequestEnd = Callable[[RequestContext], None]
"""Told of every request that is no probe, when it has been answered."""
