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
