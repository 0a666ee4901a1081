"""Who takes part: the service and its peers, how each is started and asked."""

import os
import sys
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml

from benchmarks.environments import VENVS, ensure_environment
from benchmarks.floors import TWO_INGRESSES
from benchmarks.setup import DENSENET, STUB, Setup
from testing.encodings import KEYED, LISTED, MSGPACK, OPEN_INFERENCE, Encoding
from testing.processes import ROOT

CORES = len(os.sched_getaffinity(0))
INGRESSES = {"num_replicas": 2, "ray_actor_options": {"num_cpus": CORES / 8}}
"""A share of a core each, or Ray finds no room for two on a small machine."""


@dataclass(frozen=True)
class Launch:
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class System:
    """`prepare` installs what is needed (raises InstallRefused); `launch` says how to start.

    models: those it is measured with.
    """

    name: str
    title: str
    encoding: Encoding
    prepare: Callable[[Setup], object]
    launch: Callable[[int, Setup], Launch]
    models: Sequence[str] = (DENSENET, STUB)


def write_config(setup: Setup, port: int, **changes: Mapping[str, Any]) -> Path:
    """`serve_config.yaml` on other ports, with the setup's model, weights and precision.

    `changes` are for one deployment each, by its name; `args` for the application's.
    """
    config = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    config["http_options"]["port"] = port
    config["grpc_options"]["port"] = port + 1
    (application,) = config["applications"]
    if setup.model == STUB:
        application["import_path"] = "testing.stub:build_fast"
    else:
        application["args"] |= {"weights": str(setup.checkpoint), "precision": setup.precision}
    application["args"] |= changes.get("args", {})
    for deployment in application["deployments"]:
        deployment |= changes.get(deployment["name"], {})
    path = setup.folder / f"service-{port}.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def launch_service(port: int, setup: Setup, **changes: Mapping[str, Any]) -> Launch:
    config = write_config(setup, port, **changes)
    return Launch([sys.executable, "-m", "deployments", str(config), "--metrics-port", "0"])


def _peer(
    name: str,
    title: str,
    encoding: Encoding,
    command: Callable[[Path, int], Sequence[str]],
    environment: Mapping[str, str] | None = None,
    folder: str | None = None,
    models: Sequence[str] = (DENSENET, STUB),
) -> System:
    """A server of `benchmarks/peers/<folder>`; `command` gets its environment's `bin`."""
    folder = folder or name

    def prepare(setup: Setup) -> None:
        ensure_environment(folder, with_torch=setup.model == DENSENET)

    def launch(port: int, setup: Setup) -> Launch:
        binaries = VENVS / folder / "bin"
        shared = {"PATH": f"{binaries}:{os.environ['PATH']}", **_describe_model(setup)}
        return Launch(command(binaries, port), shared | dict(environment or {}))

    return System(name, title, encoding, prepare, launch, models)


def _describe_model(setup: Setup) -> dict[str, str]:
    """What `benchmarks/peers` reads from its environment."""
    on_gpu = setup.model == DENSENET and torch.cuda.is_available()
    return {
        "PEER_MODEL": setup.model,
        # As large as makes the model faster on this kind of hardware, and no larger.
        "PEER_BATCH_SIZE": "32" if on_gpu else "8",
        "PEER_CHECKPOINT": str(setup.checkpoint or ""),
        "PEER_PRECISION": setup.precision,
        "PEER_ENGINE": setup.peer_engine,
    }


def _module(folder: str) -> Callable[[Path, int], Sequence[str]]:
    def command(binaries: Path, port: int) -> Sequence[str]:
        return [str(binaries / "python"), "-m", f"benchmarks.peers.{folder}.server", str(port)]

    return command


def _gunicorn(binaries: Path, port: int) -> Sequence[str]:
    # "A starting value could be CPU * 2", says Flask's page on Gunicorn.
    workers = ["--workers", str(2 * CORES), "--timeout", "120"]
    app = "benchmarks.peers.flask.server:create_app()"
    return [str(binaries / "gunicorn"), *workers, "--bind", f"127.0.0.1:{port}", app]


def _bentoml(binaries: Path, port: int) -> Sequence[str]:
    service = "benchmarks.peers.bentoml.server:Classifier"
    return [str(binaries / "bentoml"), "serve", service, "--host", "127.0.0.1", "--port", str(port)]


def _mosec(binaries: Path, port: int) -> Sequence[str]:
    # It gives a request up after 3 s by itself; the load generator waits for longer.
    options = ["--address", "127.0.0.1", "--port", str(port), "--timeout", "60000"]
    server = [str(binaries / "python"), "-m", "benchmarks.peers.mosec.server"]
    return [*server, *options, "--log-level", "warning"]


def _no_preparation(_: Setup) -> None:
    """The service runs in the environment of the benchmark."""


SERVICE = System("service", "this service", KEYED, _no_preparation, launch_service)
SYSTEMS: tuple[System, ...] = (
    SERVICE,
    System(
        TWO_INGRESSES,
        "this service, two Ingress replicas",
        KEYED,
        _no_preparation,
        partial(launch_service, Ingress=INGRESSES),
        models=(STUB,),
    ),
    _peer(
        "flask",
        "Flask on Werkzeug, as it was: fp32, one image at a time",
        KEYED,
        _module("flask"),
        {"PEER_PRECISION": "fp32", "PEER_ENGINE": "torch"},
        models=(DENSENET,),
    ),
    _peer(
        "gunicorn",
        f"Flask under Gunicorn, {2 * CORES} workers",
        KEYED,
        _gunicorn,
        # One thread a worker, as torch's tuning guide says: more fight over the cores.
        {"PEER_CHANNELS_LAST": "1", "OMP_NUM_THREADS": "1"},
        folder="flask",
    ),
    _peer("ray_serve", "Ray Serve's example, `@serve.batch`", KEYED, _module("ray_serve")),
    _peer("litserve", "LitServe", KEYED, _module("litserve")),
    _peer("bentoml", "BentoML", LISTED, _bentoml, {"BENTOML_DO_NOT_TRACK": "True"}),
    _peer(
        "pytriton",
        "Triton, through PyTriton",
        OPEN_INFERENCE,
        _module("pytriton"),
        # PyTriton's backend links libpython; its installation page sets this for every
        # Python that is not the system's.
        {"LD_LIBRARY_PATH": str(sysconfig.get_config_var("LIBDIR"))},
    ),
    _peer("mosec", "mosec", MSGPACK, _mosec),
)
