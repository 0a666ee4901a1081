"""What the clients of threads and of asyncio share: their parameters and how images are grouped."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from densenet_client.images import Image, ImageSource, chunk, name_images
from densenet_client.protocol import Protocol
from densenet_client.tls import Verify

TransportT = TypeVar("TransportT")


class BaseClient(ABC, Generic[TransportT]):
    """A connection to one service; `Client` has the meaning of the parameters."""

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
        verify: Verify = True,
    ) -> None:
        self._protocol = Protocol(url, api_key, timeout_s, max_retry_time_s)
        self._transport = self._connect(concurrency, verify)
        self._concurrency = concurrency
        self._images_per_request = images_per_request
        self._max_image_bytes = max_image_bytes

    @abstractmethod
    def _connect(self, concurrency: int, verify: Verify) -> TransportT:
        """Raises ClientError for a file of authorities that is none."""

    def _chunk(self, images: Image | Iterable[Image]) -> Iterator[list[ImageSource]]:
        """Named images in groups, each for one request."""
        return chunk(name_images(images), self._images_per_request)
