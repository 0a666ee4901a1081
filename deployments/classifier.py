"""The Classifier deployment: the model on its thread, batches across requests."""

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from ray import serve
from ray.util.metrics import Histogram

from deployments.batcher import Batcher, Job, Outcome
from deployments.classes import load_classes
from deployments.errors import Internal, Overloaded
from deployments.messages import Classification, Images
from deployments.settings import Device, Precision, Tuning
from deployments.weights import Weights, fetch

STUCK_AFTER_S = 60.0
"""A forward pass that takes longer than this is held to be stuck for ever."""

logger = logging.getLogger("ray.serve")


@serve.deployment
class Classifier:
    """One model on a share of a GPU, or on the CPU."""

    def __init__(self, weights: Weights, device: Device, precision: Precision) -> None:
        # Imported here, so that building the application costs no torch.
        from deployments.model import load_model

        if weights.source == "untrained":
            logger.warning("serving UNTRAINED weights: %s", weights.reason)
        self.model_version = weights.version
        self._model = load_model(fetch(weights), device, precision)
        self._model.warm_up()
        # One thread of its own: torch called inline would stop routing and health checks.
        self._model_thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._batch_started: float | None = None
        self._batcher = Batcher(self._predict, Tuning().max_batch_size)
        self._batch_size = Histogram(
            "densenet_batch_size",
            description="Images in each batch put before the model.",
            boundaries=[1, 2, 4, 8, 16, 32, 64, 128],
        )

    def reconfigure(self, user_config: dict[str, object]) -> None:
        """Take a new Tuning, live. Raises pydantic.ValidationError for a bad one."""
        tuning = Tuning.model_validate(user_config)
        self._batcher.max_batch_size = tuning.max_batch_size
        self._gather.set_max_batch_size(tuning.max_batch_size)  # type: ignore[attr-defined]
        self._gather.set_batch_wait_timeout_s(tuning.batch_wait_s)  # type: ignore[attr-defined]

    async def version(self) -> str:
        """What `X-Model-Version` says; answering it shows that the replica is warm."""
        return self.model_version

    async def classify(self, images: Images, timeout_s: float) -> Classification:
        """Classify n images within `timeout_s` seconds.

        Raises Overloaded at once when they would wait for longer, DeadlineExceeded when
        they did.
        """
        wait_s = self._batcher.estimate_wait_s()
        if wait_s > timeout_s:
            raise Overloaded("too many images are waiting", retry_after_s=round(wait_s) or 1)
        deadline = time.monotonic() + timeout_s
        jobs = [Job(image, deadline, position) for position, image in enumerate(images)]
        await asyncio.gather(*(self._gather(job) for job in jobs))
        outcomes = await asyncio.gather(*(job.outcome for job in jobs), return_exceptions=True)
        return summarise(outcomes, self.model_version)

    @serve.batch(max_batch_size=1, batch_wait_timeout_s=0)
    async def _gather(self, jobs: list[Job]) -> list[None]:
        """Let images of all requests wait for company (`batch_wait_s`), then queue them."""
        self._batcher.put(jobs)
        return [None] * len(jobs)

    async def _predict(self, images: Images) -> NDArray[np.float32]:
        self._batch_size.observe(len(images))
        self._batch_started = time.monotonic()
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._model_thread, self._model.predict, images)
        finally:
            self._batch_started = None

    def check_health(self) -> None:
        """Called by Ray, which replaces the replica when this raises."""
        if self._batch_started and time.monotonic() - self._batch_started > STUCK_AFTER_S:
            raise RuntimeError(f"the model has not answered for {STUCK_AFTER_S:g} s")


def summarise(outcomes: Sequence[Outcome | BaseException], model_version: str) -> Classification:
    """One answer for the images of one request.

    Raises what any of them raised, but for Internal, which is that image's own.
    """
    probabilities = np.zeros((len(outcomes), len(load_classes())), np.float32)
    done: list[Outcome] = []
    failed: set[int] = set()
    for index, outcome in enumerate(outcomes):
        if isinstance(outcome, Outcome):
            probabilities[index] = outcome.probabilities
            done.append(outcome)
        elif isinstance(outcome, Internal):
            failed.add(index)
        else:
            raise outcome
    return Classification(
        probabilities,
        frozenset(failed),
        model_version,
        queue_ms=max((outcome.queue_ms for outcome in done), default=0.0),
        infer_ms=max((outcome.infer_ms for outcome in done), default=0.0),
        batch_size=max((outcome.batch_size for outcome in done), default=0),
    )
