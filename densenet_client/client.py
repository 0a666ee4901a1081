"""The client: images in, a result for each out, in order, several requests at a time."""

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

from densenet_client.base import BaseClient
from densenet_client.images import Image, ImageSource, check_top_k, read_all
from densenet_client.messages import HttpRequest, Reply
from densenet_client.results import Result, Status
from densenet_client.retry import Flow
from densenet_client.tls import Verify
from densenet_client.transport import HttpTransport

T = TypeVar("T")


class Client(BaseClient[HttpTransport]):
    """A connection to one service; threads may share it.

    url: where the service listens, such as `http://localhost:5000`.
    api_key: sent as `Authorization: Bearer` if given.
    concurrency: requests in flight at the same time.
    images_per_request: small images travel together, up to so many. A request that is too
        large for the server, or too much for its time limit, is halved.
    max_image_bytes: a larger image is not sent, and is a Failure.
    timeout_s: for one request to be answered, seconds.
    max_retry_time_s: for how long a request without a response is sent again, seconds. Sent
        again are requests with lost connections, time-outs and the statuses 429, 502, 503 and
        504, with pauses that grow and are never shorter than the server's `Retry-After`.
    verify: how a certificate is checked: True, False or the path of a PEM file of authorities.

    Raises ClientError for a URL or a file of authorities that is none.
    """

    def _connect(self, concurrency: int, verify: Verify) -> HttpTransport:
        return HttpTransport(self._protocol.url, concurrency, verify)

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
        check_top_k(top_k)
        self.status()
        return self._stream(images, top_k)

    def status(self) -> Status:
        """Ask the service how it is, once. Raises ServerUnreachable or InvalidResponse."""
        return run(self._protocol.status(), self._transport.send, wait=lambda _: None)

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
        classify = partial(self._classify_chunk, top_k=top_k, stopped=stopped)
        chunks = self._chunk(images)
        pool = ThreadPoolExecutor(self._concurrency, thread_name_prefix="densenet-client")
        try:
            # One chunk waits for each that is sent: a slow one holds up its order only.
            ahead = 2 * self._concurrency
            pending = deque(pool.submit(classify, each) for each in itertools.islice(chunks, ahead))
            while pending:
                results = pending.popleft().result()
                pending.extend(pool.submit(classify, each) for each in itertools.islice(chunks, 1))
                yield from results
        finally:
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)

    def _classify_chunk(
        self, sources: list[ImageSource], top_k: int, stopped: threading.Event
    ) -> list[Result]:
        """A result for each image."""
        flow = self._protocol.classify(read_all(sources, self._max_image_bytes), top_k)
        return run(flow, self._transport.send, wait=partial(_pause, stopped=stopped))


def run(flow: Flow[T], send: Callable[[HttpRequest], Reply], wait: Callable[[float], None]) -> T:
    """Do a flow's waiting and sending. Returns its result, raises what it raises."""
    try:
        step = next(flow)
        while True:
            wait(step.pause_s)
            step = flow.send(send(step.request))
    except StopIteration as end:
        result: T = end.value
        return result


def _pause(pause_s: float, stopped: threading.Event) -> None:
    if stopped.wait(pause_s):
        raise CancelledError
