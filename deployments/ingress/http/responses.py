"""The bodies of answers, as they are sent and as `/openapi.json` describes them."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from typing_extensions import NotRequired, TypedDict

from deployments.common.errors import ServiceError
from deployments.common.labels import load_classes


class Prediction(TypedDict):
    class_id: Annotated[str, Field(description="WordNet id", examples=["n02124075"])]
    class_name: Annotated[str, Field(examples=["Egyptian_cat"])]
    probability: Annotated[float, Field(ge=0, le=1)]


class ImageResult(TypedDict):
    class_id: Annotated[str, Field(description="WordNet id", examples=["n02124075"])]
    class_name: Annotated[str, Field(examples=["Egyptian_cat"])]
    predictions: NotRequired[
        Annotated[list[Prediction], Field(description="best first; with `top_k` only")]
    ]


class ErrorDetail(TypedDict):
    code: Annotated[str, Field(examples=["undecodable_image"])]
    message: str


class ErrorBody(TypedDict):
    error: ErrorDetail


class Status(TypedDict):
    status: Annotated[str, Field(examples=["ready"])]


def describe_error(error: ServiceError) -> ErrorBody:
    return {"error": {"code": error.code, "message": error.message}}


def describe_v2_error(error: ServiceError) -> dict[str, str]:
    """An error as the Open Inference Protocol has it."""
    return {"error": error.message}


def describe_image(probabilities: NDArray[np.float32], top_k: int | None) -> ImageResult:
    """The answer for one image: float32 (1000,) probabilities and the `top_k` asked for."""
    best = rank(probabilities, top_k or 1)
    classes = load_classes()
    top = classes[best[0]]
    result: ImageResult = {"class_id": top.class_id, "class_name": top.class_name}
    if top_k is not None:
        result["predictions"] = [
            {
                "class_id": classes[index].class_id,
                "class_name": classes[index].class_name,
                "probability": float(probabilities[index]),
            }
            for index in best
        ]
    return result


def rank(probabilities: NDArray[np.float32], top_k: int) -> Sequence[int]:
    """The indexes of the `top_k` largest, best first; among equals the lower index."""
    if top_k == 1:
        return [int(probabilities.argmax())]
    order: list[int] = np.argsort(-probabilities, kind="stable")[:top_k].tolist()
    return order
