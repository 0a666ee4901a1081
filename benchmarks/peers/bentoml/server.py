"""BentoML, batching as its page "Adaptive batching" teaches.

A `batchable` API takes a list and answers a list; the dispatcher joins the lists of several
requests, up to `max_batch_size`, and learns by itself how long to wait.
"""

from pathlib import Path
from typing import Annotated

import bentoml
from bentoml.validators import ContentType

from benchmarks.peers.network import MAX_BATCH_SIZE, Network, Prediction

Photo = Annotated[Path, ContentType("image/jpeg")]


@bentoml.service(workers=1, traffic={"timeout": 60})
class Classifier:
    def __init__(self) -> None:
        self.network = Network()

    @bentoml.api(route="/predict", batchable=True, max_batch_size=MAX_BATCH_SIZE)
    def predict(self, file: list[Photo]) -> list[Prediction]:
        return self.network.classify([self.network.prepare(path.read_bytes()) for path in file])
