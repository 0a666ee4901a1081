"""Builds the application from its settings: the only place that binds deployments.

Ray reads the annotation of `build_app` at run time to validate `args`; it must stay a class
and not become a string.
"""

import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast

import ray
from ray.serve import Application, Deployment

from deployments.classifier.deployment import Classifier
from deployments.common.errors import StartupError
from deployments.common.settings import Device, Settings
from deployments.ingress.auth import read_keys
from deployments.ingress.deployment import Ingress
from deployments.model import weights
from deployments.model.base import Model, load_model
from deployments.model.spec import SPEC, OfficialFile
from deployments.model.weights import Weights

logger = logging.getLogger("ray.serve")


def build_app(args: Settings) -> Application:
    """Decide device and weights once for all replicas, and bind the deployments.

    Raises StartupError when the settings ask for what is not there.
    """
    return build(args, SPEC.official)


def build(args: Settings, official: OfficialFile) -> Application:
    """`build_app`, given the official file."""
    if args.api_keys_file is not None:
        read_keys(Path(args.api_keys_file))  # rejected here, and not by every replica
    device = choose_device(args)
    chosen = weights.resolve(args.weights, official.at(args.weights_url))
    if chosen.source == "stand_in":
        logger.warning(weights.explain_stand_in(chosen.reason))
    num_gpus = args.gpu_fraction if device == "cuda" else 0
    load = partial(load_model, chosen, device, args.engine, args.precision, args.gpu_fraction)
    return bind(args, chosen, load, num_gpus)


def bind(
    args: Settings, weights: Weights, load: Callable[[], Model], num_gpus: float
) -> Application:
    """The deployments around a model that each Classifier replica loads by itself."""
    classifier = _deployment(Classifier)
    actor_options = {**(classifier.ray_actor_options or {}), "num_gpus": num_gpus}
    classifier = classifier.options(ray_actor_options=actor_options)
    return _deployment(Ingress).bind(classifier.bind(weights, load), args)


def _deployment(decorated: type) -> Deployment:
    """What `@serve.deployment` made of a class; its annotation still says the class."""
    return cast("Deployment", decorated)


def choose_device(args: Settings) -> Device:
    """`auto`: a GPU where the cluster has one. `cuda`: wait `gpu_wait_s`, then StartupError."""
    if args.device == "cpu" or args.engine == "openvino":
        return "cpu"
    patience_s = args.gpu_wait_s if args.device == "cuda" else 0.0
    found = _wait_for_gpu(patience_s)
    if args.device == "cuda" and not found:
        raise StartupError(
            "device: cuda, but the cluster has no GPU. Add one, or set 'gpu_wait_s' to wait "
            "for a node that has, or use 'device: auto'."
        )
    device: Device = "cuda" if found else "cpu"
    logger.info("device: %s", device)
    return device


def _wait_for_gpu(patience_s: float) -> bool:
    give_up = time.monotonic() + patience_s
    while ray.cluster_resources().get("GPU", 0) <= 0:  # type: ignore[no-untyped-call]
        if time.monotonic() >= give_up:
            return False
        time.sleep(1)
    return True
