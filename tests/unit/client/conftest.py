"""Both clients behind one interface, so that what holds for one is tested on the other."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self

import pytest

from densenet_client import AsyncClient, Client, Image, Result, Status

Connect = Callable[..., Client]


class BlockingAsyncClient:
    """An AsyncClient as a Client: an event loop runs while one of its methods does."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._client = AsyncClient(*args, **options)
        self._runner = asyncio.Runner()

    def classify(self, images: Image | Iterable[Image], top_k: int = 1) -> list[Result]:
        return self._runner.run(self._client.classify(images, top_k))

    def stream(self, images: Image | Iterable[Image], top_k: int = 1) -> Iterator[Result]:
        stream = self._client.stream(images, top_k)

        async def receive() -> Result | None:
            return await anext(stream, None)

        while (result := self._runner.run(receive())) is not None:
            yield result

    def status(self) -> Status:
        return self._runner.run(self._client.status())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._client.close())
        self._runner.close()


@pytest.fixture(params=[Client, BlockingAsyncClient], ids=["sync", "async"])
def connect(request: pytest.FixtureRequest) -> Connect:
    """Makes a client of either kind."""
    connect: Connect = request.param
    return connect
