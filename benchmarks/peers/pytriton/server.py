"""NVIDIA Triton through PyTriton, batching as its page "Binding configuration" teaches.

`@batch` gives the whole batch that Triton's dynamic batcher made of what waited; by
default that batcher adds no delay. Images travel encoded, as BYTES tensors.
"""

import logging
import sys

import numpy as np
from numpy.typing import NDArray
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

from benchmarks.peers.network import MAX_BATCH_SIZE, Network

network = Network()


@batch
def classify(image: NDArray[np.object_]) -> dict[str, NDArray[np.object_]]:
    """Encoded images (n, 1) to the WordNet ids of their best classes (n, 1)."""
    predictions = network.classify([network.prepare(data) for (data,) in image])
    ids = [[prediction["class_id"].encode()] for prediction in predictions]
    return {"class_id": np.array(ids, dtype=np.object_)}


def main(port: int) -> None:
    config = TritonConfig(
        http_address="127.0.0.1",
        http_port=port,
        grpc_port=port + 1,
        allow_metrics=False,
        allow_gpu_metrics=False,
    )
    with Triton(config=config) as triton:
        triton.bind(
            model_name="densenet",
            infer_func=classify,
            inputs=[Tensor(name="image", dtype=bytes, shape=(1,))],
            outputs=[Tensor(name="class_id", dtype=bytes, shape=(1,))],
            config=ModelConfig(max_batch_size=MAX_BATCH_SIZE, batcher=DynamicBatcher()),
        )
        triton.serve()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    main(int(sys.argv[1]))
