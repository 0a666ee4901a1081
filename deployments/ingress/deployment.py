"""The Ingress deployment: the HTTP and gRPC faces in a replica of their own, without torch."""

from pathlib import Path
from typing import Any

from ray import serve
from ray.serve.handle import DeploymentHandle
from starlette.types import ASGIApp

from deployments.common.settings import Settings
from deployments.ingress import metrics
from deployments.ingress.application import create_api
from deployments.ingress.auth import ApiKeys
from deployments.ingress.rpc.classifier_client import RemoteClassifier
from deployments.ingress.v2.grpc import InferenceServicer
from deployments.ingress.v2.model import InferenceModel


@serve.deployment
@serve.ingress()
class Ingress(InferenceServicer):
    """Parses uploads, decodes images, answers; holds no model."""

    def __init__(self, classifier: DeploymentHandle[Any], settings: Settings) -> None:
        self._classifier = RemoteClassifier(classifier)
        self._limits = settings.limits
        path = settings.api_keys_file
        self._keys = ApiKeys(Path(path)) if path else None
        model = InferenceModel(self._classifier, self._limits)
        metrics.begin()
        super().__init__(model, settings.grpc_clients, self._keys, metrics.observe)

    async def drain(self) -> int:
        """Take no more requests. Returns how many still want the Classifier.

        The launcher asks before it stops: Serve would take the Classifiers from under them.
        """
        return self._classifier.close()

    def __serve_build_asgi_app__(self) -> ASGIApp:
        return create_api(self._classifier, self._limits, self._keys, metrics.observe)
