"""The client: images in, a result for each out, in order, several requests at a time."""

import itertools
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Self

from densenet_client.errors import ServerUnreachable
from densenet_client.images import Image, ImageSource, chunk, name_images
from densenet_client.results import Failure, Result, Status
from densenet_client.retry import RetryableError, retry
from densenet_client.transport import HttpTransport, RequestRejected

CHUNK_BYTES = 4 * 2**20
"""Enough for a request's own cost not to matter, and small enough to come back soon."""


class Client:
    """A connection to one service; threads may share it.

    url: where the service listens, such as `http://localhost:5000`.
    api_key: sent as `Authorization: Bearer` where given.
    concurrency: requests in flight at the same time.
    images_per_request: small images travel together, up to so many. A request that is too
        large for the server, or too much for its time limit, is halved.
    max_image_bytes: a larger image is not sent, and is a Failure.
    timeout_s: for one request to be answered, seconds.
    max_retry_time_s: for how long a request that goes unanswered is repeated, seconds. Repeated
        are lost connections, time-outs and the statuses 429, 502, 503 and 504, with pauses
        that grow and are never shorter than the server's `Retry-After`.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        *,
        concurrency: int = 4,
        images_per_request: int = 8,
        max_image_bytes: int = 32 * 2**20,
        timeout_s: float = 60.0,
        max_retry_time_s: float = 120.0,
    ) -> None:
        self._transport = HttpTransport(url, api_key, concurrency, timeout_s)
        self._concurrency = concurrency
        self._images_per_request = images_per_request
        self._max_image_bytes = max_image_bytes
        self._max_retry_time_s = max_retry_time_s

    def classify(self, images: Image | Iterable[Image], top_k: int = 1) -> list[Result]:
        """Classify one image or many.

        images: paths, encoded images (JPEG, PNG, WebP, GIF, BMP) as bytes, or pairs of a
            name and bytes.
        top_k: how many classes to name for each, 1 to 1000.

        Returns a Classification or a Failure for each image, in the order given. Raises
        ServerUnreachable, Unauthorized or InvalidResponse when no image can be classified,
        and ValueError for a bad `top_k`.
        """
        return list(self.stream(images, top_k))

    def stream(self, images: Image | Iterable[Image], top_k: int = 1) -> Iterator[Result]:
        """As `classify`, each result as soon as it and all before it are there.

        `images` may be endless: of them only those in flight are held in memory.
        """
        if not 1 <= top_k <= 1000:
            raise ValueError(f"top_k is 1 to 1000, not {top_k}")
        self.status()
        return self._stream(images, top_k)

    def status(self) -> Status:
        """Ask the service how it is, once. Raises ServerUnreachable or InvalidResponse."""
        return self._transport.status()

    def close(self) -> None:
        """Close the connections; `with Client(...)` does so by itself."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.close()

    def _stream(self, images: Image | Iterable[Image], top_k: int) -> Iterator[Result]:
        stopped = threading.Event()
        ask = partial(self._classify_chunk, top_k=top_k, stopped=stopped)
        groups = chunk(name_images(images), self._images_per_request, CHUNK_BYTES)
        pool = ThreadPoolExecutor(self._concurrency, thread_name_prefix="densenet-client")
        try:
            # One group waits for each that is sent: a slow one holds up its order only.
            ahead = 2 * self._concurrency
            pending = deque(pool.submit(ask, items) for items in itertools.islice(groups, ahead))
            while pending:
                results = pending.popleft().result()
                pending.extend(pool.submit(ask, items) for items in itertools.islice(groups, 1))
                yield from results
        finally:
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)

    def _classify_chunk(
        self, items: list[ImageSource], top_k: int, stopped: threading.Event
    ) -> list[Result]:
        """A result for each item."""
        read = [(item, item.read(self._max_image_bytes)) for item in items]
        sent = [(item.name, data) for item, data in read if isinstance(data, bytes)]
        answers = iter(self._ask(sent, top_k, stopped) if sent else [])
        return [data if isinstance(data, Failure) else next(answers) for _, data in read]

    def _ask(
        self, images: list[tuple[str, bytes]], top_k: int, stopped: threading.Event
    ) -> list[Result]:
        try:
            return retry(
                partial(self._transport.classify, images, top_k),
                self._max_retry_time_s,
                wait=partial(_pause, stopped=stopped),
            )
        except RequestRejected as refused:
            if len(images) == 1 or not refused.is_too_much:
                return [Failure(name, refused.code, str(refused)) for name, _ in images]
            middle = len(images) // 2
            halves = (images[:middle], images[middle:])
            return [result for half in halves for result in self._ask(half, top_k, stopped)]
        except RetryableError as error:
            # Is it this request that cannot be answered, or is the server gone?
            if not self.status().is_ready:
                raise ServerUnreachable(f"the service has not been ready: {error}") from error
            return [Failure(name, error.code, str(error)) for name, _ in images]


def _pause(pause_s: float, stopped: threading.Event) -> None:
    if stopped.wait(pause_s):
        raise CancelledError
