"""Cost as the work grows, in words, as JSON and as a picture."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.columns import spread
from benchmarks.plot import plot_scaling
from testing.tables import write_table

MIB = 2**20
SIZES_IN_FLIGHT = 4
"""Requests; sixteen of 48 Mpx would ask how much memory there is."""
WINDOW = 0.1
"""Memory's medians over the second and the last such share of the samples are compared: caches
fill first, and what is freed is given back now and then."""


@dataclass(frozen=True)
class ReplicaRate:
    """images_per_s: one value a turn."""

    classifiers: int
    ingresses: int
    images_per_s: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class SizeRate:
    """file_bytes: of the image as it was sent. p50_ms: of a request, several in flight."""

    image_format: str
    megapixels: float
    file_bytes: int
    images_per_s: float
    p50_ms: float


@dataclass(frozen=True)
class Sample:
    """resident_bytes: by role, after so many requests."""

    requests: int
    resident_bytes: dict[str, int]


def settled_and_last(samples: Sequence[Sample]) -> dict[str, tuple[float, float]]:
    """By role, the bytes resident once the service had settled, and at the end."""
    size = math.ceil(WINDOW * len(samples))
    settled, last = _medians(samples[size:][:size] or samples), _medians(samples[-size:])
    return {role: (settled[role], last[role]) for role in settled if role in last}


def _medians(samples: Sequence[Sample]) -> dict[str, float]:
    """Resident bytes by role."""
    return {
        role: median(each.resident_bytes[role] for each in samples if role in each.resident_bytes)
        for role in samples[-1].resident_bytes
    }


def growth_percent(samples: Sequence[Sample]) -> dict[str, float]:
    """By role, how much more is resident at the end than once the service had settled."""
    return {
        role: 100 * (last / settled - 1)
        for role, (settled, last) in settled_and_last(samples).items()
    }


@dataclass
class Found:
    """All that was measured."""

    machine: Mapping[str, str] = field(default_factory=dict)
    replicas: Sequence[ReplicaRate] = ()
    sizes: Sequence[SizeRate] = ()
    samples: Sequence[Sample] = ()

    def as_json(self) -> dict[str, Any]:
        """`memory.growth_percent` is of the replica that grew most."""
        by_role = growth_percent(self.samples)
        return {
            "machine": dict(self.machine),
            "replicas": [asdict(each) for each in self.replicas],
            "sizes": [asdict(each) for each in self.sizes],
            "memory": {
                "requests": self.samples[-1].requests,
                "growth_percent": max(by_role.get(role, 0.0) for role in ("ingress", "classifier")),
                "growth_percent_by_process": by_role,
                "samples": [asdict(sample) for sample in self.samples],
            },
        }


def read_found(path: Path) -> Found:
    """What an earlier run has written."""
    found = json.loads(path.read_text())
    return Found(
        found["machine"],
        [ReplicaRate(**each) for each in found["replicas"]],
        [SizeRate(**each) for each in found["sizes"]],
        [Sample(**each) for each in found["memory"]["samples"]],
    )


def write_page(found: Found) -> str:
    """The page in `benchmarks/results`, whole."""
    parts = [
        "# Cost as the work grows",
        "Made by `make bench-scaling`, on the machine described at the end.",
        "## Replicas",
        (
            f"Medians (least to most) of {len(found.replicas[0].images_per_s)} turns of seconds, "
            "with all these services running at once. Compare them only with each other."
        ),
        write_table(
            ("Classifier replicas", "Ingress replicas", "images/s"),
            [
                (str(each.classifiers), str(each.ingresses), spread(each.images_per_s))
                for each in found.replicas
            ],
        ),
        "## Image size",
        write_table(
            (
                "format",
                "megapixels",
                "file, MB",
                "images/s",
                f"p50, ms, {SIZES_IN_FLIGHT} in flight",
            ),
            [_size_row(each) for each in found.sizes],
        ),
        f"## Memory over {found.samples[-1].requests} requests",
        write_table(
            ("process", "settled, MB", "at the end, MB", "growth"), _memory_rows(found.samples)
        ),
        "![Scaling](scaling.png)",
        write_table(("what", "value"), list(found.machine.items())),
    ]
    return "\n\n".join(parts) + "\n"


def _size_row(size: SizeRate) -> tuple[str, ...]:
    return (
        size.image_format,
        f"{size.megapixels:.1f}",
        f"{size.file_bytes / MIB:.2f}",
        f"{size.images_per_s:.1f}",
        f"{size.p50_ms:.0f}",
    )


def _memory_rows(samples: Sequence[Sample]) -> list[tuple[str, ...]]:
    percent = growth_percent(samples)
    return [
        (role, f"{settled / MIB:.0f}", f"{last / MIB:.0f}", f"{percent[role]:+.1f} %")
        for role, (settled, last) in settled_and_last(samples).items()
    ]


def draw(found: Found, path: Path) -> None:
    formats = dict.fromkeys(each.image_format for each in found.sizes)
    roles = ("ingress", "classifier", "haproxy")
    plot_scaling(
        {
            f"{each.classifiers} + {each.ingresses}": median(each.images_per_s)
            for each in found.replicas
        },
        {
            name: [
                (each.megapixels, each.images_per_s)
                for each in found.sizes
                if each.image_format == name
            ]
            for name in formats
        },
        {
            role: [
                (sample.requests, sample.resident_bytes[role] / MIB)
                for sample in found.samples
                if role in sample.resident_bytes
            ]
            for role in roles
        },
        path,
    )
