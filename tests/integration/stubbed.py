"""The application around a stub of 50 ms an image: long enough to have many under way."""

from functools import partial

from ray.serve import Application

from chaos.stub import StubModel
from deployments.app import bind
from deployments.common.settings import Settings
from deployments.model.weights import Weights


def build_app(args: Settings) -> Application:
    return bind(args, Weights("file", "stub"), partial(StubModel, 0.05), num_gpus=0)
