"""What is known of one request: its access log and its metrics are made of it."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from deployments.timings import Timings


@dataclass
class Record:
    """Filled in on the request's way, and complete when it has been answered.

    caller: whose key came; empty without access keys, and where none was let in.
    status: HTTP's, or gRPC's name for it; `cancelled` where the client went before an answer.
    refusal: the code of the error that refused the request as a whole, empty where none did.
    images: how many were sent; outcomes: how many of them were `classified`, or failed by
        themselves with which error code.
    """

    caller: str = ""
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
            "caller": self.caller,
            "status": self.status,
            "error": self.refusal,
            "bytes": self.received_bytes,
            "images": self.images,
            "classified": classified,
            "duration_ms": round(1000 * self.duration_s, 1),
            **{f"{stage}_ms": round(ms, 1) for stage, ms in self.timings.stages().items()},
            "batch_size": self.timings.batch_size,
        }


Observe = Callable[[Record], None]
"""Told of every request that is no probe, when it has been answered."""
