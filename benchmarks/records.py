"""What is asked of a run, and what is found."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median

from testing.latency import Point, find_knee, latencies_at, median_point
from testing.processes import Usage

KNEE_FRACTIONS = (0.3, 0.7, 1.0)
"""Of the knee: where latencies are reported."""
IMAGES_A_LARGE_REQUEST = 8


@dataclass(frozen=True)
class Plan:
    """How long and how often. `concurrency` is in images; durations are of one window.

    open_s: 0 for no open loop, and so for no knee.
    """

    rounds: int
    margin_s: float
    closed_s: float
    open_s: float
    concurrency: int
    p99_bound_ms: float
    timeout_s: float = 10.0


@dataclass
class Load:
    """What closed loops of one kind gave, one value a round.

    images: in each request. cpu_ms: of a request, by role of process. generator_cpu_ms: of
    the load generator itself, a request.
    """

    images: int
    images_per_s: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    cpu_ms: list[Mapping[str, float]] = field(default_factory=list)
    generator_cpu_ms: list[float] = field(default_factory=list)

    @property
    def total_cpu_ms(self) -> float:
        """CPU of all the system's processes a request, ms."""
        return median(sum(by_role.values()) for by_role in self.cpu_ms)

    @property
    def cpu_ms_by_role(self) -> dict[str, float]:
        roles = dict.fromkeys(role for by_role in self.cpu_ms for role in by_role)
        return {role: median(each.get(role, 0.0) for each in self.cpu_ms) for role in roles}


@dataclass
class Record:
    """All that was measured of one system, over the rounds.

    refused: why it took no part. singles, eights: requests of one image and of eight, several
    in flight; lone: of one image, one after another. answers, right: images of all responses,
    and those whose class is the right one.
    sweep: by the fraction of the closed loop's rate of the same round, what came of it each round.
    timings_ms: means of `Server-Timing`, and of the latency itself as `total`, by load.
    """

    name: str
    title: str
    refused: str | None = None
    answers: int = 0
    right: int = 0
    ready_after_s: list[float] = field(default_factory=list)
    lone: Load = field(default_factory=lambda: Load(1))
    singles: Load = field(default_factory=lambda: Load(1))
    eights: Load = field(default_factory=lambda: Load(IMAGES_A_LARGE_REQUEST))
    sweep: dict[float, list[Point]] = field(default_factory=dict)
    memory: dict[str, Usage] = field(default_factory=dict)
    timings_ms: dict[str, dict[str, float]] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)

    @property
    def is_measured(self) -> bool:
        return bool(self.singles.images_per_s and self.eights.images_per_s)

    @property
    def accuracy(self) -> float:
        return self.right / self.answers if self.answers else 0.0

    @property
    def proportional_bytes(self) -> int:
        return sum(usage.proportional_bytes for usage in self.memory.values())

    @property
    def curve(self) -> list[Point]:
        """Medians over the rounds."""
        return [median_point(points) for points in self.sweep.values()]

    def knee(self, p99_bound_ms: float) -> float | None:
        """Requests a second at which the p99 passes the bound."""
        return find_knee(self.curve, p99_bound_ms)

    def latencies_at_knee(self, fraction: float, p99_bound_ms: float) -> tuple[float, float] | None:
        """The p50 and the p99 at this fraction of the knee, ms."""
        knee = self.knee(p99_bound_ms)
        return None if knee is None else latencies_at(self.curve, fraction * knee)


@dataclass
class BaselineRecord:
    """What decoder and model do with no server around them; one value a round.

    by_way: images/s.
    """

    by_way: dict[str, list[float]] = field(default_factory=dict)
    single_ms: list[float] = field(default_factory=list)
    accuracy: float = 0.0

    @property
    def images_per_s(self) -> float:
        """The best way's median: the best of each round would be that round's luck, too."""
        return max(median(rates) for rates in self.by_way.values())
