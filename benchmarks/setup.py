"""What is the same for every system: photos, weights, precision."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from testing.log import log
from testing.photos import Photos, answer_rightly, read_files, write_checkpoint

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Setup:
    """folder: a temporary one, for configurations and logs."""

    checkpoint: Path
    precision: str
    peer_engine: str
    folder: Path


def add_setup_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--weights", type=Path, help="a checkpoint; else one is made for this")
    parser.add_argument(
        "--precision",
        choices=["fp32", "bf16"],
        default="fp32",  # what the service takes on a CPU by itself
        help="of all but Flask as it was",
    )
    parser.add_argument(
        "--peer-engine",
        choices=["torch", "openvino"],
        default="torch",
        help="torch, as the peers' documentation does it, or the engine the service uses",
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the results go")


def prepare_setup(arguments: argparse.Namespace, folder: Path) -> tuple[Photos, Setup]:
    """The photos with their right answers, and what is the same for every system."""
    files, source = read_files()
    checkpoint = arguments.weights
    if checkpoint is None:
        log("making a checkpoint that tells the photos apart")
        checkpoint = folder / "densenet121.pth"
        write_checkpoint(files, checkpoint)
    photos = answer_rightly(files, source, checkpoint)
    return photos, Setup(checkpoint.resolve(), arguments.precision, arguments.peer_engine, folder)


def describe_setup(setup: Setup, photos: Photos) -> dict[str, str]:
    return {
        "precision": setup.precision,
        "peers' engine": setup.peer_engine,
        "photos": photos.source,
    }
