"""The circuit breaker, on a clock of the test's own."""

import pytest

from deployments.common.errors import QueueFull
from deployments.ingress.rpc.circuit_breaker import CircuitBreaker


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_it_is_closed_until_a_queue_is_full() -> None:
    CircuitBreaker(Clock()).raise_if_open()


def test_it_rejects_for_a_moment_as_the_classifier_did() -> None:
    clock = Clock()
    breaker = CircuitBreaker(clock)
    breaker.record_rejection(QueueFull("full", 7))
    clock.now += 0.9 * QueueFull.open_for_s
    with pytest.raises(QueueFull, match="full") as rejection:
        breaker.raise_if_open()
    assert rejection.value.retry_after_s == 7
    clock.now += 0.2 * QueueFull.open_for_s
    breaker.raise_if_open()


def test_each_rejection_opens_it_anew() -> None:
    clock = Clock()
    breaker = CircuitBreaker(clock)
    for retry_after_s in (3, 5):
        breaker.record_rejection(QueueFull("full", retry_after_s))
        clock.now += 0.9 * QueueFull.open_for_s
    with pytest.raises(QueueFull) as rejection:
        breaker.raise_if_open()
    assert rejection.value.retry_after_s == 5


def test_no_two_requests_are_rejected_with_the_same_exception() -> None:
    breaker = CircuitBreaker(Clock())
    breaker.record_rejection(QueueFull("full"))
    raised = []
    for _ in range(2):
        with pytest.raises(QueueFull) as rejection:
            breaker.raise_if_open()
        raised.append(rejection.value)
    assert raised[0] is not raised[1]  # an exception gathers the traces of all who raise it
