"""The Ingress deployment: HTTP and gRPC in a replica of their own, without torch."""

from pathlib import Path
from typing import Any

from ray import serve
from ray.serve.handle import DeploymentHandle
from starlette.types import ASGIApp

from deployments.common.garbage import resume_collection
from deployments.common.replica import application_name, survive_a_full_disk
from deployments.common.settings import DRAIN_TIMEOUT_S, Settings
from deployments.ingress import metrics
from deployments.ingress.access_log import AccessLog
from deployments.ingress.application import create_application
from deployments.ingress.auth import ApiKeys
from deployments.ingress.images.pipeline import Pipeline
from deployments.ingress.rpc.classifier_client import RayClassifierClient
from deployments.ingress.v2.grpc import InferenceServicer
from deployments.ingress.v2.model import InferenceModel


@serve.deployment(
    max_ongoing_requests=2048,  # requests whose bodies are still coming included
    max_queued_requests=256,
    backpressure_config={"status_code": 429},  # unlike the 503 of an Ingress that is not there
    health_check_period_s=2,
    graceful_shutdown_timeout_s=DRAIN_TIMEOUT_S,
    ray_actor_options={"num_cpus": 0.5},
)
@serve.ingress()
class Ingress(InferenceServicer):
    """Parses uploads, decodes images, responds; holds no model."""

    def __init__(self, classifier: DeploymentHandle[Any], settings: Settings) -> None:
        survive_a_full_disk()
        self._access_log = AccessLog()  # first: `__del__` wants it whatever fails after it
        self._classifier = RayClassifierClient(classifier)
        self._pipeline = Pipeline(self._classifier, settings.limits)
        path = settings.api_keys_file
        self._cors_origins = settings.cors_origins
        self._keys = ApiKeys(Path(path)) if path else None
        metrics.create_series(application_name())
        model = InferenceModel(self._pipeline)
        self._access_log.start()
        local_only = self._keys is None and not settings.allow_anonymous
        super().__init__(model, self._keys, self._access_log, metrics.record_request, local_only)
        resume_collection()

    def __del__(self) -> None:
        """Called by Ray when the replica stops."""
        self._access_log.stop()

    async def drain(self) -> int:
        """Take no more requests. Returns how many still want the Classifier.

        The launcher calls this before it stops, because Serve would stop the Classifiers while the
        Ingress still needs them.
        """
        return self._classifier.start_draining()

    def __serve_build_asgi_app__(self) -> ASGIApp:
        return create_application(
            self._pipeline,
            self._keys,
            self._access_log,
            metrics.record_request,
            self._cors_origins,
        )
