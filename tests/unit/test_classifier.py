"""The Classifier with a model that does as told, without Ray around it."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from deployments.classifier import Classifier
from deployments.messages import Images
from deployments.weights import Weights

pytestmark = pytest.mark.anyio


class StubModel:
    """One batch at a time; `before` is called with every batch once the model is warm."""

    streams = 1

    def __init__(self) -> None:
        self.seen = 0
        self.before: Callable[[Images], None] = lambda _: None

    def predict(self, images: Images) -> NDArray[np.float32]:
        self.before(images)
        self.seen += len(images)
        return np.eye(1000, dtype=np.float32)[: len(images)]


def make_classifier(image_s: float = 0.0) -> tuple[Classifier, StubModel]:
    """A Classifier that has learned already what an image takes."""
    model = StubModel()
    decorated = Classifier
    return decorated.func_or_class(Weights("file", "stub"), lambda: model), model


def make_images(count: int) -> Images:
    return np.zeros((count, 224, 224, 3), np.uint8)
