"""Who takes part: the service and its peers, how each is started and asked."""

import os
import sys
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from benchmarks.environments import ensure_environment
from benchmarks.setup import Setup
from testing.encodings import KEYED, LISTED, OPEN_INFERENCE, Encoding
from testing.processes import ROOT

CORES = len(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Launch:
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class System:
    """`prepare` installs what is needed (raises InstallRefused); `launch` says how to start."""

    name: str
    title: str
    encoding: Encoding
    prepare: Callable[[], object]
    launch: Callable[[int, Setup], Launch]


def write_config(setup: Setup, port: int, **changes: Mapping[str, Any]) -> Path:
    """`serve_config.yaml` on another port, with the setup's weights and precision.

    `changes` are for one deployment each, by its name; `args` for the application's.
    """
    config = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    config["http_options"]["port"] = port
    (application,) = config["applications"]
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
) -> System:
    """A server of `benchmarks/peers/<folder>`; `command` gets its environment's `bin`."""
    folder = folder or name

    def launch(port: int, setup: Setup) -> Launch:
        binaries = ensure_environment(folder) / "bin"
        shared = {
            "PATH": f"{binaries}:{os.environ['PATH']}",
            "PEER_CHECKPOINT": str(setup.checkpoint),
            "PEER_PRECISION": setup.precision,
            "PEER_ENGINE": setup.peer_engine,
        }
        return Launch(command(binaries, port), shared | dict(environment or {}))

    return System(name, title, encoding, lambda: ensure_environment(folder), launch)


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


SERVICE = System("service", "this service", KEYED, lambda: None, launch_service)
FLASK = _peer(
    "flask",
    "Flask on Werkzeug, as it was: fp32, one image at a time",
    KEYED,
    _module("flask"),
    {"PEER_PRECISION": "fp32", "PEER_ENGINE": "torch"},
)
SYSTEMS: tuple[System, ...] = (
    SERVICE,
    FLASK,
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
)
