"""LitServe, batching as its guide "Speed up serving by 200x" does.

A batch size, `batch_timeout=0.01`, and a pool of threads that decodes a batch's images. A
request may carry several images, so `batch` and `unbatch` join and part them.
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from typing import cast

import litserve
from fastapi import Request
from starlette.datastructures import FormData, UploadFile

from benchmarks.peers.network import MAX_BATCH_SIZE, Network, Prediction, Prepared

Files = dict[str, bytes]
Batch = tuple[list[Files], list[Prepared]]
Answer = dict[str, Prediction]


class Classifier(litserve.LitAPI):
    def setup(self, device: str) -> None:  # noqa: ARG002, the network chooses as all peers do
        self.network = Network()
        self.decoders = ThreadPoolExecutor(os.cpu_count())

    def decode_request(self, request: Request) -> Files:
        # LitServe takes the annotation as the word for "any kind of body", and hands a form over.
        form = cast("FormData", request)
        files = [file for file in form.getlist("file") if isinstance(file, UploadFile)]
        return {file.filename or "file": file.file.read() for file in files}

    def batch(self, inputs: list[Files]) -> Batch:
        files = chain.from_iterable(request.values() for request in inputs)
        return inputs, list(self.decoders.map(self.network.prepare, files))

    def predict(self, x: Batch) -> list[Answer]:
        requests, images = x
        predictions = iter(self.network.classify(images))
        return [
            dict(zip(files, islice(predictions, len(files)), strict=True)) for files in requests
        ]

    def unbatch(self, output: list[Answer]) -> list[Answer]:
        return output


if __name__ == "__main__":
    api = Classifier(max_batch_size=MAX_BATCH_SIZE, batch_timeout=0.01)
    litserve.LitServer(api).run(
        host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning"
    )
