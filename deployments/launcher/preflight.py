"""Whether this machine has what a configuration names: files, weights, a GPU, cores.

Asked for a Ray that the launcher starts here; one that is joined may have other machines.
"""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ray._private.accelerators.nvidia_gpu import NvidiaGPUAcceleratorManager

from deployments.common.errors import StartupError
from deployments.common.settings import Settings
from deployments.ingress.auth import read_keys
from deployments.launcher.config import Config
from deployments.model import download, weights
from deployments.model.checkpoint_file import check_checkpoint
from deployments.model.spec import SPEC

BUILDER = "deployments.app:build_app"


def check_machine(config: Config) -> None:
    """Raises StartupError for the first thing that is not here."""
    for settings in config.settings:
        if settings.api_keys_file is not None:
            read_keys(Path(settings.api_keys_file))
        check_device(settings)
        check_weights(settings)
    check_cores(config, len(os.sched_getaffinity(0)))


def check_device(settings: Settings) -> None:
    """With `gpu_wait_s`, a node with a GPU may still join. Raises StartupError."""
    if settings.device == "cuda" and settings.gpu_wait_s == 0 and count_gpus() == 0:
        raise StartupError(
            "device: cuda, but this machine has no GPU that its driver reports (see nvidia-smi). "
            "Use 'device: auto' or 'cpu', or set 'gpu_wait_s' to wait for a node that has one."
        )


def count_gpus() -> int:
    """As Ray counts them for `ray.init`, CUDA_VISIBLE_DEVICES included."""
    manager = NvidiaGPUAcceleratorManager
    found = manager.get_current_node_num_accelerators()
    visible = manager.get_current_process_visible_accelerator_ids()
    return found if visible is None else min(found, len(visible))


def check_weights(settings: Settings) -> None:
    """`imagenet` is downloaded here, once for all replicas. Raises StartupError."""
    if settings.weights != "auto":
        chosen = resolve_weights(settings)
        if chosen.source == "file":
            check_checkpoint(Path(chosen.path))


def fetch_weights(config: Config) -> None:
    """Download what is not here, so that its progress is shown; `auto` may do without.

    An application of another builder has weights of its own.
    """
    for application, settings in zip(config.schema.applications, config.settings, strict=True):
        if application.import_path == BUILDER:
            resolve_weights(settings)


def resolve_weights(settings: Settings) -> weights.Weights:
    """Raises StartupError."""
    official = SPEC.official.at(settings.weights_url)
    with progress_shown():
        return weights.resolve(settings.weights, official)


@contextmanager
def progress_shown() -> Iterator[None]:
    """What `download` logs stands on the terminal, without the time and the process."""
    handler, logger = logging.StreamHandler(sys.stdout), download.logger
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = True


def check_cores(config: Config, cores: int) -> None:
    """A replica that wants more than the machine has would never start. Raises StartupError."""
    for application in config.schema.applications:
        for deployment in application.deployments:
            if "ray_actor_options" not in deployment.model_fields_set:
                continue
            wanted = deployment.ray_actor_options.num_cpus
            if wanted is not None and wanted > cores:
                raise StartupError(
                    f"{deployment.name}: ray_actor_options.num_cpus is {wanted:g}, and this "
                    f"machine has {cores} cores. Set at most {cores}."
                )
