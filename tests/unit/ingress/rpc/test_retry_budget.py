"""The retry budget, on a clock of the test's own."""

from deployments.ingress.rpc.retry_budget import FLOOR, RATIO, WINDOW_S, RetryBudget


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def take_all(budget: RetryBudget) -> int:
    taken = 0
    while budget.take_retry():
        taken += 1
    return taken


def test_a_quiet_service_may_retry_up_to_the_floor() -> None:
    assert take_all(RetryBudget(Clock())) == FLOOR


def test_a_busy_one_may_retry_a_fifth_of_its_requests_more() -> None:
    budget = RetryBudget(Clock())
    for _ in range(1000):
        budget.count_request()
    assert take_all(budget) == FLOOR + RATIO * 1000


def test_a_storm_of_failures_is_not_followed_by_a_storm_of_retries() -> None:
    clock = Clock()
    budget = RetryBudget(clock)
    retried = 0
    for _ in range(10_000):  # a hundred requests a second, each of which would be retried
        clock.now += 0.01
        budget.count_request()
        retried += budget.take_retry()
    assert retried < FLOOR + 10_000 * (RATIO + FLOOR / WINDOW_S / 100) + 1


def test_what_was_spent_comes_back_with_time() -> None:
    clock = Clock()
    budget = RetryBudget(clock)
    take_all(budget)
    assert not budget.take_retry()
    clock.now += WINDOW_S
    assert take_all(budget) > FLOOR / 2
