"""The outputs of the model: what can be asked for, made from the probabilities of its images."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deployments.common.errors import MalformedRequest, ServiceError, UndecodableImage
from deployments.common.labels import load_classes, top_k_indices
from deployments.ingress.images.pipeline import Result
from deployments.ingress.v2.tensors import (
    ANY,
    RequestedOutput,
    Tensor,
    TensorSpec,
    Values,
    list_names,
)
from deployments.model.spec import SPEC

PROBABILITIES = TensorSpec("probabilities", "FP32", (ANY, SPEC.num_classes))
CLASS_ID = TensorSpec("class_id", "BYTES", (ANY,))
CLASS_NAME = TensorSpec("class_name", "BYTES", (ANY,))
OUTPUTS = {spec.name: spec for spec in (PROBABILITIES, CLASS_ID, CLASS_NAME)}


def check_outputs(requested: Sequence[RequestedOutput]) -> None:
    names = [output.name for output in requested]
    for output in requested:
        if output.name not in OUTPUTS:
            raise MalformedRequest(
                f"there is no output {output.name!r:.80}, only {list_names(OUTPUTS)}"
            )
        if output.classification and output.name != PROBABILITIES.name:
            raise MalformedRequest(f"'classification' is for {PROBABILITIES.name!r}")
    if len(set(names)) < len(names):
        raise MalformedRequest("an output is asked for twice")


def stack(results: Sequence[Result]) -> NDArray[np.float32]:
    for index, result in enumerate(results):
        if isinstance(result, ServiceError):
            raise type(result)(f"image {index}: {result.message}")
        if not np.isfinite(result).all():
            raise UndecodableImage(f"image {index}: its values lead to no finite probabilities")
    return np.stack([result for result in results if not isinstance(result, ServiceError)])


def encode_output(output: RequestedOutput, probabilities: NDArray[np.float32]) -> Tensor:
    if output.classification:
        return _classification(probabilities, min(output.classification, probabilities.shape[1]))
    if output.name == PROBABILITIES.name:
        return Tensor(PROBABILITIES, probabilities.shape, probabilities)
    top = [load_classes()[top_k_indices(row, 1)[0]] for row in probabilities]
    if output.name == CLASS_ID.name:
        return _text(CLASS_ID, [each.class_id for each in top])
    return _text(CLASS_NAME, [each.class_name for each in top])


def _text(spec: TensorSpec, texts: Sequence[str]) -> Tensor:
    values: Values = [text.encode() for text in texts]
    return Tensor(spec, (len(texts),), values)


def _classification(probabilities: NDArray[np.float32], top_k: int) -> Tensor:
    """The extension `classification`: `score:index:name` of the best classes, best first."""
    spec = TensorSpec(PROBABILITIES.name, "BYTES", (ANY, ANY))
    values = [
        f"{row[index]:f}:{index}:{load_classes()[index].class_name}".encode()
        for row in probabilities
        for index in top_k_indices(row, top_k)
    ]
    return Tensor(spec, (len(probabilities), top_k), values)
