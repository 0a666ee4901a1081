"""The Ingress deployment: the HTTP and gRPC faces in a replica of their own, without torch."""

from typing import Any

from ray import serve
from ray.serve.handle import DeploymentHandle
from starlette.types import ASGIApp

from deployments.api import create_api
from deployments.remote import RemoteClassifier
from deployments.settings import GrpcClients, Limits
from deployments.v2.grpc import InferenceServicer
from deployments.v2.inference import InferenceModel


@serve.deployment
@serve.ingress()
class Ingress(InferenceServicer):
    """Parses uploads, decodes images, answers; holds no model."""

    def __init__(
        self, classifier: DeploymentHandle[Any], limits: Limits, grpc_clients: GrpcClients
    ) -> None:
        self._classifier = RemoteClassifier(classifier)
        self._limits = limits
        super().__init__(InferenceModel(self._classifier, limits), grpc_clients)

    def __serve_build_asgi_app__(self) -> ASGIApp:
        return create_api(self._classifier, self._limits)
