"""The retry budget, on a clock of the test's own."""

from deployments.ingress.rpc.retry_budget import MIN_RETRIES, RETRY_RATIO, WINDOW_S, RetryBudget


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def take_all(budget: RetryBudget) -> int:
    taken = 0
    while budget.try_acquire():
        taken += 1
    return taken


def test_a_quiet_service_may_retry_up_to_the_minimum() -> None:
    assert take_all(RetryBudget(Clock())) == MIN_RETRIES


def test_a_busy_one_may_retry_a_fifth_of_its_requests_more() -> None:
    budget = RetryBudget(Clock())
    for _ in range(1000):
        budget.record_request()
    assert take_all(budget) == MIN_RETRIES + RETRY_RATIO * 1000


def test_a_storm_of_failures_is_not_followed_by_a_storm_of_retries() -> None:
    clock = Clock()
    budget = RetryBudget(clock)
    retried = 0
    for _ in range(10_000):  # a hundred requests a second, each of which would be retried
        clock.now += 0.01
        budget.record_request()
        retried += budget.try_acquire()
    assert retried < MIN_RETRIES + 10_000 * (RETRY_RATIO + MIN_RETRIES / WINDOW_S / 100) + 1


def test_what_was_spent_comes_back_with_time() -> None:
    clock = Clock()
    budget = RetryBudget(clock)
    take_all(budget)
    assert not budget.try_acquire()
    clock.now += WINDOW_S
    assert take_all(budget) > MIN_RETRIES / 2
