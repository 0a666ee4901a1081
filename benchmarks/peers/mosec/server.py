"""mosec, in stages and batches as its example of image recognition teaches.

`python -m benchmarks.peers.mosec.server --port PORT` (mosec reads its own options). A stage
of several processes decodes; the one with the model gets what waited, as a batch. A request
may carry several images, so the second stage joins and parts them.
"""

import os
from itertools import chain, islice
from typing import Any

from mosec import Server, Worker
from mosec.mixin import MsgpackMixin

from benchmarks.peers.network import MAX_BATCH_SIZE, Network, Prediction, Prepared


class Decode(MsgpackMixin, Worker):
    def __init__(self) -> None:
        self.network = Network()

    def forward(self, data: Any) -> list[Prepared]:
        return [self.network.prepare(image) for image in data["images"]]


class Classify(MsgpackMixin, Worker):
    def __init__(self) -> None:
        self.network = Network()

    def forward(self, data: Any) -> list[list[Prediction]]:
        predictions = iter(self.network.classify(list(chain.from_iterable(data))))
        return [list(islice(predictions, len(images))) for images in data]


if __name__ == "__main__":
    server = Server()
    server.append_worker(Decode, num=os.cpu_count() or 1)
    server.append_worker(Classify, max_batch_size=MAX_BATCH_SIZE)
    server.run()
