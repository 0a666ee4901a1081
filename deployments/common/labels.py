"""The 1000 ImageNet classes, in the order of the model's outputs."""

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class ImageClass(NamedTuple):
    class_id: str
    """WordNet id, such as `n02124075`."""
    class_name: str


@cache
def load_classes() -> tuple[ImageClass, ...]:
    """Read `imagenet_class_index.json`: `{"0": ["n01440764", "tench"], ...}`."""
    text = files("deployments.common").joinpath("imagenet_class_index.json").read_text("utf-8")
    index: dict[str, list[str]] = json.loads(text)
    return tuple(ImageClass(*index[str(i)]) for i in range(len(index)))


def top_k_indices(probabilities: NDArray[np.float32], top_k: int) -> Sequence[int]:
    """The indexes of the `top_k` largest, best first; among equals the lower index.

    probabilities: float32 (1000,).
    """
    if top_k == 1:
        return [int(probabilities.argmax())]
    order: list[int] = np.argsort(-probabilities, kind="stable")[:top_k].tolist()
    return order
