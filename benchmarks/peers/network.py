"""The model behind every peer, chosen by its environment: one command line sets all alike.

PEER_MODEL: densenet or stub. PEER_BATCH_SIZE: the largest batch that gains anything.
Runs in every peer's environment: needs numpy and Pillow, and no Ray.
"""

import importlib
import json
import os
from pathlib import Path
from typing import Any, Protocol

from typing_extensions import TypedDict  # BentoML reads it with pydantic

CLASSES_PATH = Path(__file__).parents[2] / "deployments" / "common" / "imagenet_class_index.json"
MAX_BATCH_SIZE = int(os.environ.get("PEER_BATCH_SIZE", "8"))

Prepared = Any
"""What a model makes of one image file: pixels or a tensor; both can go to another process."""


class Prediction(TypedDict):
    class_id: str
    class_name: str


class Model(Protocol):
    """Calls may come from several threads."""

    def prepare(self, data: bytes) -> Prepared:
        """Decode an image file and make it 224 by 224 pixels."""

    def best(self, images: list[Prepared]) -> list[int]:
        """Return the number of the best class of each of some prepared images, in one pass."""


class Network:
    """A model and the names of its classes."""

    def __init__(self, channels_last: bool = True) -> None:
        name = os.environ.get("PEER_MODEL", "densenet")
        module = importlib.import_module(f"benchmarks.peers.{name}")  # torch is not always there
        self._model: Model = module.load(channels_last)
        index: dict[str, list[str]] = json.loads(CLASSES_PATH.read_text())
        self._classes = [index[str(number)] for number in range(len(index))]
        self.prepare = self._model.prepare

    def classify(self, images: list[Prepared]) -> list[Prediction]:
        """The best class of each of some prepared images, in one pass."""
        classes = [self._classes[number] for number in self._model.best(images)]
        return [Prediction(class_id=id_, class_name=name) for id_, name in classes]
