"""The baseline: the service's own decoding and model in one process, with no server.

`python -m benchmarks.baseline CONFIG PHOTO...` prints one JSON line. CONFIG is the service's,
so that weights, engine and precision are the same.
"""

import argparse
import json
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import yaml

from deployments.common.labels import load_classes
from deployments.common.rpc_types import ImageBatch
from deployments.common.settings import Device, Settings
from deployments.ingress.images.preprocess import preprocess
from deployments.model.base import Model, load_model, warm_up
from deployments.model.spec import SPEC
from deployments.model.weights import resolve

BATCH_SIZES = (1, 2, 4, 8)
AHEAD = 2
"""Batches decoded while the model runs, where decoding overlaps with it."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.baseline", description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each way measured")
    arguments = parser.parse_args()
    settings = read_settings(arguments.config)
    files = [photo.read_bytes() for photo in arguments.photos]
    baseline = Baseline(settings, files)
    print(json.dumps(baseline.measure(arguments.seconds)))
    return 0


def read_settings(config: Path) -> Settings:
    (application,) = yaml.safe_load(config.read_text())["applications"]
    return Settings.model_validate(application["args"])


class Baseline:
    """Photos through decoder and model as fast as one process can."""

    def __init__(self, settings: Settings, files: Sequence[bytes]) -> None:
        self._files = files
        self._max_pixels = settings.limits.max_image_pixels
        self._model = _load(settings)

    def measure(self, duration_s: float) -> dict[str, Any]:
        """Rates by way and batch size in images/s, and a lone image's latency."""
        class_ids = self._classify()
        ways: dict[str, Callable[[int], Iterator[ImageBatch]]] = {
            "in turn": self._decoded_in_turn,
            "overlapped": self._decoded_ahead,
        }
        rates = {
            f"batch {size}, {name}": self._rate(way, size, duration_s)
            for name, way in ways.items()
            for size in BATCH_SIZES
            if size <= self._model.max_batch_size
        }
        return {
            "by_way": rates,
            "single_ms": self._single_ms(duration_s),
            "class_ids": class_ids,
        }

    def _decode(self, file: bytes) -> Any:
        return preprocess(file, self._max_pixels)

    def _batch(self, files: Sequence[bytes]) -> ImageBatch:
        return np.stack([self._decode(file) for file in files])

    def _classify(self) -> list[str]:
        classes = load_classes()
        rows = [self._model.predict(self._batch([file]))[0] for file in self._files]
        return [classes[int(row.argmax())].class_id for row in rows]

    def _decoded_in_turn(self, size: int) -> Iterator[ImageBatch]:
        files = cycle(self._files)
        while True:
            yield self._batch(list(islice(files, size)))

    def _decoded_ahead(self, size: int) -> Iterator[ImageBatch]:
        files = cycle(self._files)
        waiting: deque[Future[ImageBatch]] = deque()
        with ThreadPoolExecutor(1) as decoder:
            while True:
                while len(waiting) <= AHEAD:
                    waiting.append(decoder.submit(self._batch, list(islice(files, size))))
                yield waiting.popleft().result()

    def _rate(
        self, way: Callable[[int], Iterator[ImageBatch]], size: int, duration_s: float
    ) -> float:
        """Images/s of all the model's streams, each fed from a thread of its own."""
        with ThreadPoolExecutor(self._model.streams) as streams:
            rates = [
                streams.submit(self._stream_rate, way(size), duration_s)
                for _ in range(self._model.streams)
            ]
        return sum(rate.result() for rate in rates)

    def _stream_rate(self, batches: Iterator[ImageBatch], duration_s: float) -> float:
        """Until the batch that is before the model at the end is done, and over that time."""
        images = 0
        started = time.perf_counter()
        while (passed_s := time.perf_counter() - started) < duration_s:
            images += len(self._model.predict(next(batches)))
        return images / passed_s

    def _single_ms(self, duration_s: float) -> float:
        times_ms = []
        files = cycle(self._files)
        end = time.perf_counter() + duration_s
        while (started := time.perf_counter()) < end:
            self._model.predict(self._batch([next(files)]))
            times_ms.append(1000 * (time.perf_counter() - started))
        return median(times_ms)


def _load(settings: Settings) -> Model:
    device: Device = "cuda" if settings.device != "cpu" and torch.cuda.is_available() else "cpu"
    weights = resolve(settings.weights, SPEC.official.at(settings.weights_url))
    model = load_model(weights, device, settings.engine, settings.precision)
    warm_up(model, model.max_batch_size)
    return model


if __name__ == "__main__":
    sys.exit(main())
