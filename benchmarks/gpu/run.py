"""The measurements of `make bench-gpu`, part by part; writes benchmarks/results/gpu."""

import argparse
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import torch

from benchmarks.gpu.model_only import measure_engine, measure_model
from benchmarks.gpu.report import write_page
from benchmarks.gpu.service import measure_service
from benchmarks.gpu.workers import decode_all_cores, share_gpu
from benchmarks.setup import DENSENET, RESULTS, Setup
from benchmarks.systems import write_config
from deployments.model.cuda.engine import CudaModel
from deployments.model.weights import Weights
from testing.log import log
from testing.machine import describe_machine
from testing.photos import Photos, answer_rightly, read_files, write_checkpoint
from testing.ports import find_free_port
from testing.processes import StartFailed

PARTS = ("model", "decode", "fractions", "service")
FRACTIONS = (1, 2, 4)
SIZES_OF_A_SHARE = (1, 8, 128)


def main() -> int:
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        photos, setup = prepare(Path(folder))
        results = (
            json.loads(arguments.results.joinpath("results.json").read_text())
            if (arguments.results / "results.json").exists()
            else {}
        )
        results |= {"machine": describe_machine(), "photos": photos.source}
        for part in arguments.parts:
            log(part)
            results |= MEASURE[part](arguments, photos, setup)
            save(arguments.results, results)
    print(write_page(results))
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each window")
    parser.add_argument("--compile", action="store_true", help="torch.compile too, a minute")
    parser.add_argument("--ingresses", type=int, default=10, help="replicas that decode")
    parser.add_argument("--classifiers", type=int, nargs="+", default=[1], help="on the GPU")
    parser.add_argument("--results", type=Path, default=RESULTS / "gpu")
    return parser.parse_args()


def prepare(folder: Path) -> tuple[Photos, Setup]:
    files, source = read_files()
    checkpoint = folder / "densenet121.pth"
    write_checkpoint(files, checkpoint)
    photos = answer_rightly(files, source, checkpoint)
    return photos, Setup(DENSENET, checkpoint, "auto", "torch", folder)


def weights_of(setup: Setup) -> Weights:
    return Weights("file", version="benchmark", path=str(setup.checkpoint))


def model(arguments: argparse.Namespace, _: Photos, setup: Setup) -> dict[str, Any]:
    seconds = arguments.seconds / 8
    rates = measure_model(weights_of(setup), seconds, arguments.compile)
    engine = measure_engine(CudaModel(weights_of(setup), "fp16"), seconds)
    torch.cuda.empty_cache()
    return {"model": rates, "engine": engine}


def decoding(arguments: argparse.Namespace, photos: Photos, _: Setup) -> dict[str, Any]:
    return {"decode_images_per_s": decode_all_cores(photos.files, arguments.seconds)}


def fractions(arguments: argparse.Namespace, _: Photos, setup: Setup) -> dict[str, Any]:
    seconds = arguments.seconds / 2
    rates = {
        count: share_gpu(weights_of(setup), count, SIZES_OF_A_SHARE, seconds) for count in FRACTIONS
    }
    return {"fractions": rates}


def service(arguments: argparse.Namespace, photos: Photos, setup: Setup) -> dict[str, Any]:
    """One Classifier in full; more of them with some closed loops alone."""
    found: dict[str, Any] = {}
    for classifiers in arguments.classifiers:
        port = find_free_port()
        config = write_config(setup, port, **changes(arguments, classifiers))
        log_path = arguments.results / f"service-{classifiers}.log"
        in_full = classifiers == 1
        try:
            found[f"service_{classifiers}"] = measure_service(
                config, port, photos, arguments.seconds, log_path, in_full
            )
        except (StartFailed, aiohttp.ClientError) as error:
            log(f"not measured with {classifiers} Classifiers: {error}")
    return found | {"ingresses": arguments.ingresses}


def changes(arguments: argparse.Namespace, classifiers: int) -> dict[str, Mapping[str, Any]]:
    tuning = {"max_batch_size": 128, "batch_wait_timeout_s": 0, "max_queue_wait_s": 15}
    return {
        "args": {"device": "cuda", "gpu_fraction": 1 / classifiers},
        "Ingress": {"num_replicas": arguments.ingresses, "ray_actor_options": {"num_cpus": 0.5}},
        "Classifier": {"num_replicas": classifiers, "user_config": tuning},
    }


def save(folder: Path, results: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=1)
    (folder / "results.json").write_text(text + "\n")
    (folder / "README.md").write_text(write_page(json.loads(text)))


MEASURE = {"model": model, "decode": decoding, "fractions": fractions, "service": service}
