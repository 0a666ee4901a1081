"""The Classifier across Ray: calls, retries and readiness.

The one place of the Ingress that knows what a deployment handle is.
"""

import asyncio
import logging
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from ray.serve.context import _unset_request_context
from ray.serve.handle import DeploymentHandle

from deployments.common.errors import (
    DeadlineExceeded,
    QueueFull,
    ReplicaLost,
    Unavailable,
)
from deployments.common.rpc_types import (
    BatchResult,
    CallResult,
    ClassifyCall,
    ImageBatch,
    ModelInfo,
)
from deployments.ingress import metrics
from deployments.ingress.rpc.call_batcher import CallBatcher
from deployments.ingress.rpc.circuit_breaker import CircuitBreaker
from deployments.ingress.rpc.ray_errors import Response, translate_ray_errors
from deployments.ingress.rpc.retry_budget import RetryBudget

HEALTH_CHECK_PERIOD_S = 2.0
RECOVERY_CHECK_PERIOD_S = 0.5
"""While no Classifier responds: requests get 503 until one is seen to."""
HEALTH_CHECK_TIMEOUT_S = 5.0
PROBE_TIMEOUT_S = 1.0
"""How long, after a replica was lost, the others have to show that they are there."""
STARTUP_TIMEOUT_S = 2.0
MAX_RETRIES = 3
"""Of one request: an image that kills every replica it is given to must not kill them all."""
BACKOFF_BASE_S = 0.05

UNKNOWN_MODEL = ModelInfo("unknown", "unknown", "unknown", "unknown")
"""Before a Classifier has responded."""

State = Literal["starting", "healthy", "lost"]

logger = logging.getLogger("ray.serve")


class RayClassifierClient:
    """All Classifier replicas, as one `pipeline.ClassifierClient`."""

    def __init__(self, handle: DeploymentHandle[Any]) -> None:
        self.model = UNKNOWN_MODEL
        # Plain pickle: the messages are our own types, and numpy's.
        self._handle = handle.options(
            request_serialization="pickle", response_serialization="pickle"
        )
        self._state: State = "starting"
        self._is_draining = False
        self._last_response = 0.0
        self._in_flight = 0
        self._retry_budget = RetryBudget()
        self._circuit_breaker = CircuitBreaker()
        self._batcher = CallBatcher(self._call)
        self._probe: asyncio.Task[None] | None = None

    @property
    def is_ready(self) -> bool:
        return self._state == "healthy" and not self._is_draining

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Raises Unavailable or Overloaded if a request would only be rejected later."""
        if self._is_draining:
            raise Unavailable("the service is being stopped")
        self._raise_if_unavailable()
        self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1

    def start_draining(self) -> int:
        """Admit no more. Returns how many requests are in flight."""
        self._is_draining = True
        return self._in_flight

    def _raise_if_unavailable(self) -> None:
        if self._state != "healthy":
            raise Unavailable("no classifier is ready")
        self._circuit_breaker.raise_if_open()

    async def classify(self, images: ImageBatch, timeout_s: float) -> BatchResult:
        """Call a replica; another one if that replica dies, within the budget and the time.

        Raises Unavailable, Overloaded or DeadlineExceeded.
        """
        deadline = time.monotonic() + timeout_s
        self._raise_if_unavailable()
        self._retry_budget.record_request()
        for retry in range(MAX_RETRIES + 1):
            try:
                # After a loss alone: of the requests that shared the call, one may be to blame.
                return await self._batcher.submit(images, deadline, alone=retry > 0)
            except QueueFull as rejection:
                self._circuit_breaker.record_rejection(rejection)
                raise
            except ReplicaLost:
                if retry == MAX_RETRIES or not self._retry_budget.try_acquire():
                    break
            metrics.count_retry("retried")
            await asyncio.sleep(BACKOFF_BASE_S * random.uniform(0, 2**retry))  # noqa: S311
        metrics.count_retry("rejected")
        raise Unavailable("the classifier was lost while it worked on the request")

    async def _call(self, call: ClassifyCall, timeout_s: float) -> CallResult:
        if len(call.sizes) > 1:
            # Ray would cancel the call with the request that it was made for; others share it.
            _unset_request_context()  # type: ignore[no-untyped-call]
        try:
            result: CallResult = await _with_timeout(
                timeout_s, self._handle.classify.remote(call.images, call.sizes, call.timeouts_s)
            )
        except ReplicaLost as error:
            logger.warning("a classifier replica was lost: %s", error)
            self._probe_replicas()
            raise
        self._mark_healthy(result.model)
        return result

    async def run_health_checks(self) -> None:
        """Call `describe` again and again: its response is the sign of readiness."""
        while True:
            await self._check_health(HEALTH_CHECK_TIMEOUT_S)
            is_healthy = self._state == "healthy"
            await asyncio.sleep(HEALTH_CHECK_PERIOD_S if is_healthy else RECOVERY_CHECK_PERIOD_S)

    async def wait_ready(self) -> None:
        """Wait a little for a first response, so that a new Ingress rejects no first request."""
        await self._check_health(STARTUP_TIMEOUT_S)

    def _probe_replicas(self) -> None:
        """Are there other replicas? Requests go on meanwhile: mostly there are."""
        if self._probe is None or self._probe.done():
            self._probe = asyncio.create_task(self._check_health(PROBE_TIMEOUT_S))

    async def _check_health(self, timeout_s: float) -> None:
        started = time.monotonic()
        try:
            model: ModelInfo = await _with_timeout(timeout_s, self._handle.describe.remote())
        except Exception as error:  # noqa: BLE001, after any error the next check must come
            logger.debug("no classifier responds: %r", error)
            # A call that returned meanwhile is as good a sign.
            if self._state == "healthy" and self._last_response < started:
                self._state = "lost"
        else:
            self._mark_healthy(model)

    def _mark_healthy(self, model: ModelInfo) -> None:
        self.model = model
        self._last_response = time.monotonic()
        self._state = "healthy"


async def _with_timeout(timeout_s: float, response: Response) -> Any:
    """Await a response; cancel the call when the time is up, or nobody wants it.

    Raises ServiceError, ReplicaLost, RayError.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await translate_ray_errors(response)
    except TimeoutError:
        response.cancel()  # type: ignore[no-untyped-call]
        raise DeadlineExceeded("the request's time is up") from None
    except asyncio.CancelledError:
        response.cancel()  # type: ignore[no-untyped-call]
        raise
