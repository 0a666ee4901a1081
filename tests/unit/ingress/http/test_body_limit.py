"""What is refused before it is read, and how much of what is read may be held."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from deployments.common.errors import Overloaded
from deployments.common.settings import Limits
from deployments.ingress.application import create_application
from deployments.ingress.body_budget import BodyBudget, Reservation
from deployments.ingress.images.pipeline import Pipeline
from testing.fake_classifier import FakeClassifier
from tests.unit.ingress.test_application import JPEG, error_of

pytestmark = pytest.mark.anyio

LIMITS = Limits(max_request_bytes=2000, max_buffered_bytes=3000)


async def post(body: Any, api: Any = None, **headers: str) -> httpx.Response:
    sent = {"Content-Type": "image/jpeg"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    transport = httpx.ASGITransport(api or create_application(Pipeline(FakeClassifier(), LIMITS)))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.post("/predict", content=body, headers=sent)


async def unread() -> AsyncIterator[bytes]:
    raise AssertionError("read the body")
    yield b""


async def test_a_declared_length_over_the_limit_is_refused_unread() -> None:
    response = await post(unread(), Content_Length="2001")
    assert error_of(response) == (413, "request_too_large")


async def test_an_undeclared_length_is_refused_as_soon_as_it_passes_the_limit() -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * 1000
        raise AssertionError("read on after the limit")

    assert error_of(await post(endless())) == (413, "request_too_large")


async def test_the_largest_request_is_rejected_until_others_end() -> None:
    api = create_application(Pipeline(FakeClassifier(), LIMITS))
    held, done = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"x" * 1450
        held.set()
        await done.wait()

    async def larger() -> AsyncIterator[bytes]:
        for _ in range(19):
            yield b"x" * 100

    first = asyncio.create_task(post(slow(), api))
    await held.wait()
    assert error_of(await post(larger(), api)) == (503, "overloaded")
    done.set()
    assert (await first).status_code == 415  # it was no image, and it was read
    assert (await post(larger(), api)).status_code == 415


async def test_the_largest_request_is_evicted_for_the_others() -> None:
    api = create_application(Pipeline(FakeClassifier(), LIMITS))
    held = asyncio.Event()

    async def large() -> AsyncIterator[bytes]:
        yield b"x" * 2000
        held.set()
        await asyncio.Event().wait()

    async def small() -> AsyncIterator[bytes]:
        for _ in range(3):  # never larger than the large one, but too much beside it
            yield b"x" * 500

    first = asyncio.create_task(post(large(), api))
    await held.wait()
    assert (await post(small(), api)).status_code == 415  # it was no image, and it was read
    assert error_of(await first) == (503, "overloaded")


async def test_a_request_that_is_evicted_while_it_is_classified_ends() -> None:
    classifier = FakeClassifier(delay_s=60)
    limits = Limits(max_request_bytes=3 * len(JPEG), max_buffered_bytes=3 * len(JPEG))
    api = create_application(Pipeline(classifier, limits))
    waiting = asyncio.create_task(post(JPEG + bytes(len(JPEG)), api))
    await asyncio.wait_for(classifier.called.wait(), 10)

    async def small() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * (len(JPEG) // 2)

    assert (await post(small(), api)).status_code == 415
    assert error_of(await asyncio.wait_for(waiting, 10)) == (503, "overloaded")


async def test_what_is_evicted_is_free_at_once_and_takes_no_more() -> None:
    budget = BodyBudget(100)
    with budget.reservation() as large, budget.reservation() as small:
        large.add(70)
        small.add(30)
        small.add(30)
        assert (large.held_bytes, small.held_bytes) == (0, 60)
        with pytest.raises(Overloaded):
            large.add(1)
        with pytest.raises(Overloaded):
            small.add(41)


async def test_what_a_request_held_is_free_when_it_ends() -> None:
    budget = BodyBudget(100)
    for _ in range(3):
        with budget.reservation() as reservation:
            reservation.add(100)
    with budget.reservation() as reservation, pytest.raises(Overloaded):
        add_in_parts(reservation)


def add_in_parts(reservation: Reservation) -> None:
    for _ in range(11):
        reservation.add(10)


async def test_one_request_must_fit_into_what_all_may_hold() -> None:
    with pytest.raises(ValueError, match="max_buffered_bytes is less than max_request_bytes"):
        Limits(max_request_bytes=2, max_buffered_bytes=1)
