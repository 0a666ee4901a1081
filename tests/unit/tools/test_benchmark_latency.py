"""The benchmark's arithmetic: percentiles, arrivals, the knee."""

import itertools
import math

import pytest

from testing.latency import (
    Point,
    find_knee,
    latencies_at,
    median_point,
    percentile,
    poisson_arrivals,
)


def test_a_percentile_is_the_nearest_of_the_values_given() -> None:
    latencies_ms = [float(number) for number in range(100, 0, -1)]
    assert percentile(latencies_ms, 50) == 50
    assert percentile(latencies_ms, 99) == 99
    assert percentile([7.0], 50) == percentile([7.0], 99) == 7


def test_failed_requests_count_as_infinitely_late() -> None:
    latencies_ms = [10.0] * 98 + [math.inf] * 2
    assert percentile(latencies_ms, 98) == 10
    assert percentile(latencies_ms, 99) == math.inf
    assert Point.of(1, latencies_ms).failed == 2


def test_a_percentile_of_nothing_is_infinite_so_that_silence_is_no_success() -> None:
    assert percentile([], 50) == math.inf


def test_arrivals_come_at_the_rate_asked_for_and_within_the_time() -> None:
    arrivals_s = poisson_arrivals(rate=50, duration_s=100, seed=1)
    assert len(arrivals_s) == pytest.approx(5000, rel=0.05)
    assert arrivals_s[0] > 0
    assert arrivals_s == sorted(arrivals_s)
    assert arrivals_s[-1] < 100


def test_arrivals_are_memoryless_so_their_gaps_deviate_as_much_as_they_last() -> None:
    arrivals_s = poisson_arrivals(rate=50, duration_s=100, seed=2)
    gaps_s = [late - early for early, late in itertools.pairwise(arrivals_s)]
    mean_s = sum(gaps_s) / len(gaps_s)
    deviation_s = math.sqrt(sum((gap_s - mean_s) ** 2 for gap_s in gaps_s) / len(gaps_s))
    assert deviation_s == pytest.approx(mean_s, rel=0.1)


def test_arrivals_are_the_same_for_every_system_with_one_seed() -> None:
    assert poisson_arrivals(20, 5, seed=3) == poisson_arrivals(20, 5, seed=3)
    assert poisson_arrivals(20, 5, seed=3) != poisson_arrivals(20, 5, seed=4)


def _points(*pairs: tuple[float, float]) -> list[Point]:
    return [Point.of(rate, [p99_ms]) for rate, p99_ms in pairs]


def test_the_knee_lies_between_the_last_rate_that_holds_and_the_first_that_does_not() -> None:
    points = _points((30, 1000), (10, 10), (20, 100))
    assert find_knee(points, p99_bound_ms=100) == pytest.approx(20)
    assert find_knee(points, p99_bound_ms=math.sqrt(100 * 1000)) == pytest.approx(25)


def test_the_knee_is_the_last_good_rate_when_requests_fail_after_it() -> None:
    assert find_knee(_points((10, 10), (20, math.inf)), p99_bound_ms=100) == 10


def test_a_stall_at_a_low_rate_does_not_hide_the_knee_at_a_higher_one() -> None:
    points = _points((10, 1000), (20, 10), (30, 1000))
    assert find_knee(points, p99_bound_ms=100) == pytest.approx(25)


def test_there_is_no_knee_where_no_rate_holds_and_the_highest_rate_where_all_do() -> None:
    assert find_knee(_points((10, 200), (20, 300)), p99_bound_ms=100) is None
    assert find_knee(_points((10, 20), (20, 30)), p99_bound_ms=100) == 20
    assert find_knee([], p99_bound_ms=100) is None


def test_one_slow_round_of_three_does_not_move_the_median_point() -> None:
    rounds = [Point.of(10, [20.0, 30.0]), Point.of(11, [900.0, 9000.0]), Point.of(12, [22.0, 31.0])]
    assert median_point(rounds) == Point(11, 22.0, 31.0, requests=6, failed=0)


def test_latencies_between_two_rates_lie_on_a_line_in_their_logarithm() -> None:
    points = _points((20, 1000), (10, 10))
    assert latencies_at(points, 15) == pytest.approx((100, 100))
    assert latencies_at(points, 20) == (1000, 1000)


def test_there_are_no_latencies_outside_of_the_rates_that_were_offered() -> None:
    assert latencies_at(_points((10, 10), (20, 1000)), 9) is None
    assert latencies_at(_points((10, 10), (20, 1000)), 21) is None
    assert latencies_at([], 1) is None


def test_latencies_towards_a_rate_that_fails_are_infinite() -> None:
    assert latencies_at(_points((10, 10), (20, math.inf)), 15) == (math.inf, math.inf)
