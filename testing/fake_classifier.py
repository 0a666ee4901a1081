"""A Classifier without Ray or a model, at the seam that the Ingress calls."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from deployments.common.errors import Unavailable
from deployments.common.rpc_types import BatchResult, ImageBatch, ModelInfo

TEST_MODEL = ModelInfo("test", "fake", "cpu", "fp32")


class FakeClassifier:
    """Answers class k for the k-th image, or does what it is told instead."""

    model = TEST_MODEL

    def __init__(
        self,
        error: Exception | None = None,
        failed: frozenset[int] = frozenset(),
        probability: float = 1.0,
        is_ready: bool = True,
        delay_s: float = 0.0,
    ) -> None:
        self.is_ready = is_ready
        self.delay_s = delay_s
        self.calls = 0
        self.called = asyncio.Event()
        self.is_cancelled = False
        self.images: ImageBatch = np.zeros((0,), np.uint8)
        self._error = error
        self._failed = failed
        self._probability = probability

    async def classify(self, images: ImageBatch, timeout_s: float) -> BatchResult:
        self.calls += 1
        self.images = images
        self.called.set()
        try:
            await asyncio.sleep(self.delay_s)
        except asyncio.CancelledError:
            self.is_cancelled = True
            raise
        if self._error:
            raise self._error
        rows = self._probability * np.eye(1000, dtype=np.float32)[: len(images)]
        return BatchResult(rows, self._failed, 1.0, 2.0, len(images))

    @contextmanager
    def admit(self) -> Iterator[None]:
        if not self.is_ready:
            raise Unavailable("no classifier is ready")
        yield

    async def wait_ready(self) -> None:
        """It is there."""

    async def run_health_checks(self) -> None:
        """Nothing changes."""
