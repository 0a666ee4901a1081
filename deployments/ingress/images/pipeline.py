"""Uploads in, a result for each out: decode in threads, one call to the Classifier.

Knows nothing of HTTP or of Ray; the Classifier is any object that meets `ClassifierClient`.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from deployments.common import tracing
from deployments.common.errors import (
    DeadlineExceeded,
    ImageError,
    InternalError,
    ServiceError,
    UndecodableImage,
)
from deployments.common.rpc_types import BatchResult, ImageBatch, ModelInfo
from deployments.common.settings import Limits
from deployments.ingress.context import RequestContext
from deployments.ingress.images.decode_pool import DecodePool
from deployments.ingress.images.multipart import Upload

Result = NDArray[np.float32] | ServiceError
"""Of one image: its probabilities, float32 (1000,), or what is wrong with it."""


class ClassifierClient(Protocol):
    """The Classifier as the ingress sees it."""

    @property
    def model(self) -> ModelInfo:
        """`unknown` throughout before a Classifier has responded."""

    @property
    def is_ready(self) -> bool:
        """Whether a warmed-up Classifier responds."""

    def admit(self) -> AbstractContextManager[None]:
        """Around all that a request wants of the Classifier, from before its body is read.

        Raises Unavailable or Overloaded if it would be rejected later.
        """

    async def classify(self, images: ImageBatch, timeout_s: float) -> BatchResult:
        """Raises Unavailable, Overloaded or DeadlineExceeded."""

    async def wait_ready(self) -> None:
        """Wait a little for a first response."""

    async def run_health_checks(self) -> None:
        """Keep `is_ready` and `model` true until cancelled."""


@asynccontextmanager
async def deadline_scope(deadline: float) -> AsyncIterator[None]:
    """Give up what is inside at `deadline` (of `time.monotonic`). Raises DeadlineExceeded."""
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            yield
    except TimeoutError:
        raise DeadlineExceeded("the request's time is up") from None


def _stack(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Without a copy if it is one."""
    return images[0][np.newaxis] if len(images) == 1 else np.stack(images)


def _with_hint(error: ImageError, hint: str) -> ImageError:
    return UndecodableImage(error.message + hint) if isinstance(error, UndecodableImage) else error


class Pipeline:
    """The way of a request's images to the Classifier."""

    def __init__(
        self,
        classifier: ClassifierClient,
        limits: Limits,
        decode_pool: DecodePool | None = None,
    ) -> None:
        self.classifier = classifier
        self.limits = limits
        self._decode_pool = decode_pool or DecodePool.for_this_machine()

    @property
    def model(self) -> ModelInfo:
        return self.classifier.model

    @property
    def model_version(self) -> str:
        return self.model.weights

    @property
    def is_ready(self) -> bool:
        return self.classifier.is_ready

    def admit(self) -> AbstractContextManager[None]:
        """Around a request. Raises Unavailable or Overloaded if it would be rejected later."""
        return self.classifier.admit()

    async def run(
        self, uploads: Sequence[Upload], deadline: float, context: RequestContext
    ) -> dict[str, Result]:
        """Classify what can be decoded before `deadline` (of `time.monotonic`).

        Returns a result for each upload, by name, in their order; fills in `context`.
        Raises Overloaded at once while too many images that never end occupy the decoders.
        """
        started = time.monotonic()
        self._decode_pool.raise_if_saturated()
        with tracing.span("decode", images=len(uploads)):
            decoded = await asyncio.gather(*(self._decode(upload) for upload in uploads))
        context.timings.decode_ms = 1000 * (time.monotonic() - started)
        context.outcomes.update(item.code for item in decoded if isinstance(item, ImageError))
        images = [item for item in decoded if not isinstance(item, ImageError)]
        rows = iter(await self.classify(_stack(images), deadline, context) if images else [])
        results = [item if isinstance(item, ImageError) else next(rows) for item in decoded]
        return dict(zip((upload.name for upload in uploads), results, strict=True))

    async def _decode(self, upload: Upload) -> NDArray[np.uint8] | ImageError:
        if isinstance(upload.data, ImageError):
            return upload.data
        try:
            return await self._decode_pool.decode(upload.data, self.limits.max_image_pixels)
        except ImageError as error:
            # It is a result now: its trace would keep the upload, in a cycle.
            return _with_hint(error.with_traceback(None), upload.hint)

    async def classify(
        self, images: ImageBatch, deadline: float, context: RequestContext
    ) -> list[Result]:
        """Classify images that are decoded already; a result for each, in their order."""
        answer = await self.classifier.classify(images, deadline - time.monotonic())
        context.timings.queue_ms = answer.queue_ms
        context.timings.infer_ms = answer.infer_ms
        context.timings.batch_size = answer.batch_size
        context.outcomes.update(
            InternalError.code if index in answer.failed else "classified"
            for index in range(len(images))
        )
        return [
            InternalError("the model failed on this image") if index in answer.failed else row
            for index, row in enumerate(answer.probabilities)
        ]
