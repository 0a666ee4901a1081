"""What is asked of a run, and what is found."""

from collections import Counter
from dataclasses import dataclass, field
from statistics import median

from testing.latency import Point
from testing.processes import Usage

KNEE_FRACTIONS = (0.3, 0.7, 1.0)


@dataclass(frozen=True)
class Plan:
    """How long and how often. `concurrency` is in images; durations are of one window."""

    rounds: int
    margin_s: float
    closed_s: float
    open_s: float
    concurrency: int
    p99_bound_ms: float
    timeout_s: float = 10.0


@dataclass
class Record:
    """All that was measured of one system, over the rounds.

    refused: why it took no part. right: the share of photos answered as fp32 torch does.
    singles, eights: images/s of each round, by requests of one image and of eight.
    at_knee: latencies by the fraction of the knee that was offered.
    timings_ms: means of `Server-Timing`, and of the latency itself as `total`, by load.
    """

    name: str
    title: str
    refused: str | None = None
    right: float = 0.0
    ready_after_s: list[float] = field(default_factory=list)
    singles: list[float] = field(default_factory=list)
    eights: list[float] = field(default_factory=list)
    sweep: list[Point] = field(default_factory=list)
    knee: float | None = None
    at_knee: dict[float, list[float]] = field(default_factory=dict)
    cpu_ms_per_image: dict[str, float] = field(default_factory=dict)
    memory: dict[str, Usage] = field(default_factory=dict)
    timings_ms: dict[str, dict[str, float]] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)
    generator_cpu_ms: list[float] = field(default_factory=list)

    def point_at_knee(self, fraction: float) -> Point | None:
        if self.knee is None or fraction not in self.at_knee:
            return None
        return Point(fraction * self.knee, tuple(self.at_knee[fraction]))


@dataclass
class BaselineRecord:
    """What decoder and model do with no server around them; one value a round.

    by_way: images/s.
    """

    by_way: dict[str, list[float]] = field(default_factory=dict)
    single_ms: list[float] = field(default_factory=list)
    right: float = 0.0

    @property
    def images_per_s(self) -> float:
        """The best way's median: the best of each round would be that round's luck, too."""
        return max(median(rates) for rates in self.by_way.values())
