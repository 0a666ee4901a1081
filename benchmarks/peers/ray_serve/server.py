"""A plain Ray Serve application, batching as "Dynamic request batching" of its guides teaches.

One deployment, `@serve.batch` with a power of two as its size and the default wait of 10 ms,
and `max_ongoing_requests` above the batch size, so that batches fill.
"""

import asyncio
import signal
import sys
from typing import cast

import ray
from ray import serve
from ray.serve import Deployment
from starlette.datastructures import UploadFile
from starlette.requests import Request

from benchmarks.peers.network import MAX_BATCH_SIZE, Network, Prediction


@serve.deployment(max_ongoing_requests=16 * MAX_BATCH_SIZE)
class Classifier:
    def __init__(self) -> None:
        self.network = Network()

    @serve.batch(max_batch_size=MAX_BATCH_SIZE, batch_wait_timeout_s=0.01)
    async def classify(self, images: list[bytes]) -> list[Prediction]:
        return self.network.classify([self.network.prepare(image) for image in images])

    async def __call__(self, request: Request) -> dict[str, Prediction]:
        form = await request.form()
        files = [file for file in form.getlist("file") if isinstance(file, UploadFile)]
        answers = [self.classify(await file.read()) for file in files]
        names = [file.filename or "file" for file in files]
        return dict(zip(names, await asyncio.gather(*answers), strict=True))


def main(port: int) -> None:
    ray.init(address="local", include_dashboard=False)
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(cast("Deployment", Classifier).bind(), route_prefix="/predict")
    signal.sigwait([signal.SIGTERM, signal.SIGINT])


if __name__ == "__main__":
    main(int(sys.argv[1]))
