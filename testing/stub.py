"""The application around the stub model, in several speeds."""

from functools import partial
from pathlib import Path

from ray.serve import Application

from deployments.app import bind
from deployments.common.settings import Settings
from deployments.model.weights import Weights
from testing.stub_model import HangingOnce, StubModel

_WEIGHTS = Weights("file", "stub")


def build_fast(args: Settings) -> Application:
    """A millisecond an image: the rest of the service is what is tried."""
    return bind(args, _WEIGHTS, partial(StubModel, 0.001), num_gpus=0)


def build_slow(args: Settings) -> Application:
    """100 ms an image: so slow that two cores can make ten times the load."""
    return bind(args, _WEIGHTS, partial(StubModel, 0.1), num_gpus=0)


def build_broken(_: Settings) -> Application:
    """A version that cannot be deployed."""
    raise ValueError("this version cannot be built")


def build_hanging_once(args: Settings) -> Application:
    """Hangs for ever at an image if the file `weights` is there, which it removes."""
    return bind(args, _WEIGHTS, partial(HangingOnce, Path(args.weights)), num_gpus=0)


def build_medium(args: Settings) -> Application:
    """50 ms an image: long enough to have many in flight."""
    return bind(args, _WEIGHTS, partial(StubModel, 0.05), num_gpus=0)
