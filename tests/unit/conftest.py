"""Coroutine tests run on asyncio, by anyio's pytest plugin; clients meet a server that fails."""

from collections.abc import Iterator

import pytest

from testing.fake_service import FakeService, running_fake


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def fake() -> Iterator[FakeService]:
    """A service that fails as it is told to; one for each test."""
    with running_fake() as service:
        yield service
