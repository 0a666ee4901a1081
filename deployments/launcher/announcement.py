"""What the launcher says when the service is ready."""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from ray import serve

from deployments.common.runtime_env import SOURCE
from deployments.launcher.config import Config
from deployments.launcher.handle import usable
from deployments.launcher.ray_cluster import StartedRay
from deployments.launcher.readiness import ask_ready
from deployments.launcher.rules import CLASSIFIER
from deployments.model.cache import recall_failure
from deployments.model.spec import SPEC
from deployments.model.weights import explain_stand_in

ANSWER_WITHIN_S = 10.0


def announce(config: Config, started: StartedRay, dashboard: str) -> None:
    """dashboard: host and port."""
    versions = [ask_ready(url).headers.get("X-Model-Version", "unknown") for url in config.urls]
    if SPEC.stand_in.version in versions:
        print(f"WARNING: {explain_stand_in(find_download_failure(config))}")
    rows = [*describe_models(config, versions), *describe_addresses(config, started, dashboard)]
    lines = [f"Ready: {config.url}", *(f"  {name:<10} {value}" for name, value in rows)]
    print("\n".join(lines), flush=True)


def describe_models(config: Config, versions: Sequence[str]) -> list[tuple[str, str]]:
    """Rows with weights and model. Several applications get one row each."""
    names = [application.name for application in config.schema.applications]
    models = [ask_classifier(name) for name in names]
    if len(names) == 1:
        return [("weights", versions[0]), ("model", models[0])]
    rows = zip(names, config.urls, versions, models, strict=True)
    return [(name, f"{url}, {version}, {model}") for name, url, version, model in rows]


def describe_addresses(
    config: Config, started: StartedRay, dashboard: str
) -> Iterator[tuple[str, str]]:
    """Rows with what a user needs next."""
    if config.serves_grpc:
        yield "gRPC", f"port {config.schema.grpc_options.port}"
    if started.metrics is not None:
        yield "metrics", f"http://{started.metrics}/metrics"
    yield "dashboard", f"http://{dashboard}"
    yield "Ray", started.address
    yield "logs", find_logs(config, started)
    yield "to change", f"{find_serve()} deploy {config.path} -a http://{dashboard}"


def ask_classifier(application: str) -> str:
    """Its precision, device and engine, which `auto` leaves to its node."""
    handle = usable(serve.get_deployment_handle(CLASSIFIER, application))
    answer = str(handle.describe.remote().result(timeout_s=ANSWER_WITHIN_S))
    handle.shutdown()  # its router would wake up ten times a second
    return answer


def find_logs(config: Config, started: StartedRay) -> str:
    """The folder of the replicas' logs."""
    logging = config.schema.applications[0].logging_config
    return (logging and logging.logs_dir) or f"{started.session_dir}/logs/serve"


def find_serve() -> str:
    """The `serve` of this interpreter, as a shell in this folder names it, and what it needs.

    `serve deploy` imports the policy of an autoscaled deployment.
    """
    variables = f"RAY_AUTH_MODE=token PYTHONPATH={os.path.relpath(SOURCE)}"
    serve_program = Path(sys.executable).with_name("serve")
    here = Path.cwd()
    is_here = serve_program.is_relative_to(here)
    return f"{variables} {os.path.relpath(serve_program) if is_here else serve_program}"


def find_download_failure(config: Config) -> str:
    """Why the official weights are missing, as the application noted it on this machine."""
    for application in config.schema.applications:
        url = SPEC.official.at(application.args.get("weights_url")).url
        if (failure := recall_failure(url)) is not None:
            return f"{url}: {failure}"
    return "see the log of the application's build"
