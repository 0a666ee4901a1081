"""The figures as pictures."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import LogFormatter, StrMethodFormatter

from benchmarks.records import BaselineRecord, Plan, Record

mpl.use("Agg")

PLAIN = LogFormatter(minor_thresholds=(2, 0.5))
"""200 and not 2 x 10^2, and only where there is room."""


def plot_latencies(
    records: Sequence[Record], baseline: BaselineRecord, plan: Plan, path: Path
) -> None:
    """p50 and p99 against the rate of Poisson arrivals, all systems."""
    figure, axes = plt.subplots(figsize=(9, 5.5), layout="constrained")
    for number, record in enumerate(record for record in records if record.sweep):
        points = [point for point in record.curve if math.isfinite(point.p99_ms)]
        rates = [point.rate for point in points]
        colour = f"C{number}"
        p99s_ms = [point.p99_ms for point in points]
        axes.plot(rates, p99s_ms, "o-", color=colour, label=record.title)
        axes.plot(rates, [point.p50_ms for point in points], ":", color=colour)
    axes.axhline(plan.p99_bound_ms, color="grey", linewidth=0.8)
    axes.axvline(baseline.images_per_s, color="black", linestyle="--", label="the baseline")
    axes.set(yscale="log", xlabel="images a second offered, Poisson", ylabel="latency, ms")
    axes.set_title("Latency from the intended time of sending: p99 solid, p50 dotted")
    axes.set_xlim(left=0)
    axes.yaxis.set_major_formatter(PLAIN)
    axes.yaxis.set_minor_formatter(PLAIN)
    axes.grid(visible=True, which="both", alpha=0.2)
    figure.legend(loc="outside lower center", ncols=2, fontsize="small")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def plot_breakdown(service: Record, path: Path) -> None:
    """Where a request's time goes by load, and the CPU time a single of each kind of process."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    _plot_timings(left, service)
    roles = sorted(service.singles.cpu_ms_by_role.items(), key=lambda item: -item[1])
    bars = right.barh([role for role, _ in roles], [ms for _, ms in roles])
    right.bar_label(bars, fmt="%.1f", padding=3)
    right.margins(x=0.1)
    right.invert_yaxis()
    right.set(xlabel="ms of CPU a single", title="CPU by process, singles")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def plot_scaling(
    rates_by_replicas: Mapping[str, float],
    rates_by_megapixels: Mapping[str, Sequence[tuple[float, float]]],
    resident_mb_by_requests: Mapping[str, Sequence[tuple[int, float]]],
    path: Path,
) -> None:
    """Throughput by replicas, by size and format of the image; memory by requests served."""
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(14, 4), layout="constrained")
    bars = left.bar(list(rates_by_replicas), list(rates_by_replicas.values()))
    left.bar_label(bars, fmt="%.1f")
    left.set(xlabel="Classifier + Ingress replicas", ylabel="images/s")
    for name, points in rates_by_megapixels.items():
        middle.plot(*zip(*points, strict=True), "o-", label=name)
    middle.set(xscale="log", xlabel="megapixels", ylabel="images/s")
    middle.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    middle.set_ylim(bottom=0)
    middle.legend()
    for name, samples in resident_mb_by_requests.items():
        if samples:
            right.plot(*zip(*samples, strict=True), label=name)
    right.set(xlabel="requests served", ylabel="resident MB")
    right.set_ylim(0, 1.2 * right.get_ylim()[1])
    right.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _plot_timings(axes: Axes, service: Record) -> None:
    loads = [load for load, means in service.timings_ms.items() if means]
    names = [n for n in service.timings_ms[loads[0]] if n != "total"] if loads else []
    bases = [0.0] * len(loads)
    for name in [*names, "elsewhere"]:
        widths = [_part_ms(service.timings_ms[load], name) for load in loads]
        axes.barh(loads, widths, left=bases, label=name)
        bases = [base + width for base, width in zip(bases, widths, strict=True)]
    axes.invert_yaxis()
    axes.set(xlabel="ms of a request", title="Latency by Server-Timing")
    axes.legend(loc="lower right", fontsize="small")


def _part_ms(means: dict[str, float], name: str) -> float:
    """`elsewhere` is what the client saw and no part of the server's own account."""
    if name != "elsewhere":
        return means.get(name, 0.0)
    known = sum(ms for part, ms in means.items() if part != "total")
    return max(means["total"] - known, 0.0)
