"""The client for asyncio: the same results and retries as `Client`, without threads of its own.

Needs aiohttp: `pip install 'densenet-client[async]'`.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from types import TracebackType
from typing import Self, TypeVar

from densenet_client.async_transport import AsyncHttpTransport
from densenet_client.base import BaseClient
from densenet_client.images import Image, ImageSource, check_top_k, read_all
from densenet_client.messages import HttpRequest, Reply
from densenet_client.results import Result, Status
from densenet_client.retry import Flow
from densenet_client.tls import Verify

T = TypeVar("T")


class AsyncClient(BaseClient[AsyncHttpTransport]):
    """A connection to one service, within one event loop. The parameters are those of `Client`."""

    def _connect(self, concurrency: int, verify: Verify) -> AsyncHttpTransport:
        return AsyncHttpTransport(self._protocol.url, concurrency, verify)

    async def classify(self, images: Image | Iterable[Image], top_k: int = 1) -> list[Result]:
        """Classify one image or many; see `Client.classify`."""
        return [result async for result in self.stream(images, top_k)]

    def stream(self, images: Image | Iterable[Image], top_k: int = 1) -> AsyncGenerator[Result]:
        """As `classify`, each result as soon as it and all before it are there.

        `images` may be endless: of them only those in flight are held in memory. Files are
        read in a thread, so that a slow disk does not hold up the event loop.
        """
        check_top_k(top_k)
        return self._stream(images, top_k)

    async def status(self) -> Status:
        """Ask the service how it is, once. Raises ServerUnreachable or InvalidResponse."""
        return await run(self._protocol.status(), self._transport.send)

    async def close(self) -> None:
        """Close the connections; `async with AsyncClient(...)` does so by itself."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        await self.close()

    async def _stream(self, images: Image | Iterable[Image], top_k: int) -> AsyncGenerator[Result]:
        await self.status()
        slots = asyncio.Semaphore(self._concurrency)
        chunks = self._chunk(images)
        pending: deque[asyncio.Task[list[Result]]] = deque()

        def submit(count: int) -> None:
            for sources in itertools.islice(chunks, count):
                pending.append(asyncio.create_task(self._classify_chunk(sources, top_k, slots)))

        try:
            # One chunk waits for each that is sent: a slow one holds up its order only.
            submit(2 * self._concurrency)
            while pending:
                results = await pending[0]
                pending.popleft()
                submit(1)
                for result in results:
                    yield result
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    async def _classify_chunk(
        self, sources: list[ImageSource], top_k: int, slots: asyncio.Semaphore
    ) -> list[Result]:
        """A result for each image."""
        async with slots:
            read = await asyncio.to_thread(read_all, sources, self._max_image_bytes)
            return await run(self._protocol.classify(read, top_k), self._transport.send)


async def run(flow: Flow[T], send: Callable[[HttpRequest], Awaitable[Reply]]) -> T:
    """Do a flow's waiting and sending. Returns its result, raises what it raises."""
    try:
        step = next(flow)
        while True:
            await asyncio.sleep(step.pause_s)
            step = flow.send(await send(step.request))
    except StopIteration as end:
        result: T = end.value
        return result
