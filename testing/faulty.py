"""The application with a Classifier that fails as told by an image's first pixel."""

from collections.abc import Sequence
from typing import cast

from ray import serve
from ray.serve import Application, Deployment

from deployments.common.rpc_types import CallResult, ImageBatch, ModelInfo
from deployments.common.settings import Settings
from deployments.ingress.deployment import Ingress


@serve.deployment
class FaultyClassifier:
    """Says that it is ready, and then it is not what it said."""

    async def describe(self) -> ModelInfo:
        return ModelInfo("faulty", "none", "cpu", "none")

    async def classify(
        self, images: ImageBatch, sizes: Sequence[int], timeouts_s: Sequence[float]
    ) -> CallResult:
        raise RuntimeError(f"secret of {len(images)} images")


def build_app(args: Settings) -> Application:
    classifier = cast("Deployment", FaultyClassifier).bind()
    return cast("Deployment", Ingress).bind(classifier, args)
