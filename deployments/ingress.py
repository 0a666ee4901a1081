"""The Ingress deployment: the HTTP application in a replica of its own, without torch."""

from typing import Any

from ray import serve
from ray.serve.handle import DeploymentHandle
from starlette.types import ASGIApp

from deployments.api import create_api
from deployments.remote import RemoteClassifier
from deployments.settings import Limits


@serve.deployment
@serve.ingress()
class Ingress:
    """Parses uploads, decodes images, answers; holds no model."""

    def __init__(self, classifier: DeploymentHandle[Any], limits: Limits) -> None:
        self._classifier = RemoteClassifier(classifier)
        self._limits = limits

    def __serve_build_asgi_app__(self) -> ASGIApp:
        return create_api(self._classifier, self._limits)
