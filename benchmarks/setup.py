"""What is the same for every system: model, photos, weights, precision."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from testing.log import log
from testing.photos import Photos, answer_rightly, paint_photos, read_files, write_checkpoint

RESULTS = Path(__file__).parent / "results"
DENSENET, STUB = "densenet", "stub"


@dataclass(frozen=True)
class Setup:
    """model: DENSENET or STUB, which has no checkpoint, and neither precision nor engine.

    folder: a temporary one, for configurations and logs.
    """

    model: str
    checkpoint: Path | None
    precision: str
    peer_engine: str
    folder: Path


def add_setup_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        choices=[DENSENET, STUB],
        default=DENSENET,
        help="stub: 1 ms an image, so that what is around the model is measured",
    )
    parser.add_argument("--weights", type=Path, help="a checkpoint; else one is made for this")
    parser.add_argument(
        "--precision",
        choices=["fp32", "bf16"],
        default="fp32",  # bf16 is native to some CPUs only
        help="of all but Flask as it was",
    )
    parser.add_argument(
        "--peer-engine",
        choices=["torch", "openvino"],
        default="torch",
        help="torch, as the peers' documentation does it, or the engine the service uses",
    )
    parser.add_argument("--results", type=Path, help="where the results go")


def results_folder(arguments: argparse.Namespace) -> Path:
    """Where the results go, made if need be: those of the stub beside the others."""
    default = RESULTS / STUB if arguments.model == STUB else RESULTS
    folder: Path = arguments.results or default
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def prepare_setup(arguments: argparse.Namespace, folder: Path) -> tuple[Photos, Setup]:
    """The photos with their right answers, and what is the same for every system."""
    if arguments.model == STUB:
        photos, checkpoint = paint_photos(), None
    else:
        photos, checkpoint = _prepare_checkpoint(arguments.weights, folder)
    precision, engine = arguments.precision, arguments.peer_engine
    return photos, Setup(arguments.model, checkpoint, precision, engine, folder)


def _prepare_checkpoint(given: Path | None, folder: Path) -> tuple[Photos, Path]:
    files, source = read_files()
    checkpoint = given or folder / "densenet121.pth"
    if given is None:
        log("making a checkpoint that tells the photos apart")
        write_checkpoint(files, checkpoint)
    return answer_rightly(files, source, checkpoint), checkpoint.resolve()


def describe_setup(setup: Setup, photos: Photos) -> dict[str, str]:
    if setup.model == STUB:
        command = "make bench ARGS='--model stub'"
        return {"command": command, "model": "a stub, 1 ms an image", "photos": photos.source}
    return {
        "command": "make bench",
        "model": "DenseNet-121",
        "precision": setup.precision,
        "peers' engine": setup.peer_engine,
        "photos": photos.source,
    }
