"""What is refused before it is read, and how much of what is read may be held."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from deployments.common.errors import Overloaded
from deployments.common.settings import Limits
from deployments.ingress.application import create_application
from deployments.ingress.http.body_budget import Budget, Share
from testing.fake_classifier import FakeClassifier
from tests.unit.ingress.test_application import error_of

pytestmark = pytest.mark.anyio

LIMITS = Limits(max_request_bytes=2000, max_buffered_bytes=3000)


async def post(body: Any, api: Any = None, **headers: str) -> httpx.Response:
    sent = {"Content-Type": "image/jpeg"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    transport = httpx.ASGITransport(api or create_application(FakeClassifier(), LIMITS))
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


async def test_requests_that_are_too_large_together_are_refused_until_some_end() -> None:
    api = create_application(FakeClassifier(), LIMITS)
    held, done = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"x" * 2000
        held.set()
        await done.wait()

    first = asyncio.create_task(post(slow(), api))
    await held.wait()
    assert error_of(await post(b"x" * 1500, api)) == (503, "overloaded")
    done.set()
    assert (await first).status_code == 415  # it was no image, and it was read
    assert (await post(b"x" * 1500, api)).status_code == 415


async def test_the_largest_request_yields_to_the_others() -> None:
    budget, given_up = Budget(), []

    def give_up(name: str) -> Any:
        return lambda error: given_up.append((name, error.code))

    with budget.share(give_up("large")) as large, budget.share(give_up("small")) as small:
        large.take(70, 100)
        small.take(30, 100)
        small.take(30, 100)
        assert given_up == [("large", "overloaded")]
        assert (large.taken_bytes, small.taken_bytes) == (0, 60)
        with pytest.raises(Overloaded):
            small.take(41, 100)


async def test_what_a_request_held_is_free_when_it_ends() -> None:
    budget = Budget()
    for _ in range(3):
        with budget.share() as share:
            share.take(100, 100)
    with budget.share() as share, pytest.raises(Overloaded):
        take_in_parts(share)


def take_in_parts(share: Share) -> None:
    for _ in range(11):
        share.take(10, 100)


async def test_one_request_must_fit_into_what_all_may_hold() -> None:
    with pytest.raises(ValueError, match="max_buffered_bytes is less than max_request_bytes"):
        Limits(max_request_bytes=2, max_buffered_bytes=1)
