"""Where the time of one request went, and how that is told."""

from dataclasses import dataclass


@dataclass
class Timings:
    """Milliseconds of each stage, and how full the batch was: 0 when nothing was classified."""

    parse_ms: float = 0.0
    decode_ms: float = 0.0
    queue_ms: float = 0.0
    infer_ms: float = 0.0
    batch_size: int = 0

    def headers(self) -> dict[str, str]:
        """`Server-Timing`, where images were classified."""
        if not self.batch_size:
            return {}
        return {
            "Server-Timing": f"parse;dur={self.parse_ms:.1f}, decode;dur={self.decode_ms:.1f}, "
            f"queue;dur={self.queue_ms:.1f}, "
            f'infer;dur={self.infer_ms:.1f};desc="batch of {self.batch_size}"'
        }
