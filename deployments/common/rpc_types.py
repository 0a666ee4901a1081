"""The messages between Ingress and Classifier; importable without torch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deployments.common.errors import ServiceError

ImageBatch = NDArray[np.uint8 | np.float32]
"""uint8 RGB of shape (n, 224, 224, 3), or float32 normalised already, (n, 3, 224, 224)."""


@dataclass(frozen=True)
class ClassifyCall:
    """The images of one or more requests.

    images: of all requests, one after the other.
    sizes: how many images each request has. timeouts_s: how long each may still take.
    """

    images: ImageBatch
    sizes: Sequence[int]
    timeouts_s: Sequence[float]


@dataclass(frozen=True)
class BatchResult:
    """The Classifier's result for the n images of one request.

    probabilities: float32 (n, 1000), each row a softmax; zeros where the model failed.
    failed: the indexes of the images the model failed on.
    queue_ms: the longest that one of the images waited for the model.
    infer_ms: the longest that a batch with one of the images took.
    batch_size: the number of images in the largest of those batches.
    """

    probabilities: NDArray[np.float32]
    failed: frozenset[int]
    queue_ms: float
    infer_ms: float
    batch_size: int


@dataclass(frozen=True)
class ModelInfo:
    """What a Classifier serves, and what computes it.

    weights: as `X-Model-Version` says it. precision: the one in effect, never `auto`.
    """

    weights: str
    engine: str
    device: str
    precision: str

    def __str__(self) -> str:
        """For people, beside the weights."""
        return f"{self.precision} on {self.device} ({self.engine})"


@dataclass(frozen=True)
class CallResult:
    """The Classifier's results for a call, one for each request, in their order.

    preferred_images: how many images the Classifier would have liked in a call: enough for
        all streams of its model.
    """

    results: Sequence[BatchResult | ServiceError]
    model: ModelInfo
    preferred_images: int
