"""A Ray Serve YAML, read and validated before anything starts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray.serve.schema import ServeApplicationSchema, ServeDeploySchema

from deployments.common.errors import StartupError
from deployments.common.settings import DRAIN_TIMEOUT_S, Settings
from deployments.launcher.document import read_document
from deployments.launcher.rules import DEPLOYMENTS, check_rules
from deployments.launcher.schema_check import Problem, check_schema

MAX_LINES = 8
"""Of a message, so that the first mistake is in sight."""


@dataclass(frozen=True)
class Config:
    """A YAML that has been found good, and what the launcher needs of it."""

    path: Path
    document: dict[str, Any]
    schema: ServeDeploySchema

    @property
    def names(self) -> set[str]:
        """Those of the applications."""
        return {application.name for application in self.schema.applications}

    @property
    def url(self) -> str:
        """Where the first application answers on this machine, its route prefix included."""
        return self.urls[0]

    @property
    def urls(self) -> list[str]:
        """Where each application answers on this machine, without a slash at the end."""
        prefixes = [(app.route_prefix or "").rstrip("/") for app in self.schema.applications]
        return [self.proxy_url + prefix for prefix in prefixes]

    @property
    def proxy_url(self) -> str:
        """What clients on this machine connect to, without a slash at the end."""
        options = self.schema.http_options
        everywhere = ("0.0.0.0", "127.0.0.1", "::")  # noqa: S104, compared and not bound
        host = "localhost" if options.host in everywhere else options.host
        return f"http://[{host}]:{options.port}" if ":" in host else f"http://{host}:{options.port}"

    @property
    def settings(self) -> list[Settings]:
        return [Settings.model_validate(each.args) for each in self.schema.applications]

    @property
    def serves_grpc(self) -> bool:
        return bool(self.schema.grpc_options.grpc_servicer_functions)

    @property
    def drain_s(self) -> float:
        """The longest that any replica may work on what is in flight when it is stopped."""
        return max(_drain_s(app, name) for app in self.schema.applications for name in DEPLOYMENTS)

    @property
    def max_message_bytes(self) -> int:
        """The largest gRPC message that Ray's gRPC servers take, bytes; Ray's default is 2 GiB.

        At least gRPC's own default, 4 MiB, which is enough for every response.
        """
        return max([4 * 2**20, *(each.limits.max_request_bytes for each in self.settings)])


def _drain_s(application: ServeApplicationSchema, name: str) -> float:
    """What the YAML says of a deployment, else what its decorator does."""
    given = {
        each.name: each.graceful_shutdown_timeout_s
        for each in application.deployments
        if "graceful_shutdown_timeout_s" in each.model_fields_set
    }
    return given.get(name, DRAIN_TIMEOUT_S)


def read_config(path: Path, port: int | None = None) -> Config:
    """Read and validate a configuration before anything is started. Raises StartupError.

    port: takes the place of `http_options.port`; `grpc_options.port` moves along with it.
    """
    document = read_document(path)
    if port is not None:
        move_ports(document, port)
    if problems := find_problems(document):
        raise StartupError(describe(problems, path))
    return Config(path, document, ServeDeploySchema.model_validate(document))


def move_ports(document: dict[str, Any], port: int) -> None:
    """A second service on the machine needs both ports to itself."""
    http, grpc = (document.setdefault(each, {}) for each in ("http_options", "grpc_options"))
    if not isinstance(http, dict) or not isinstance(grpc, dict):
        return  # a mistake that `find_problems` tells
    former, grpc_port = http.get("port"), grpc.get("port")
    http["port"] = port
    if type(former) is int and type(grpc_port) is int:
        grpc["port"] = grpc_port + port - former


def find_problems(document: dict[str, Any]) -> list[Problem]:
    """Every mistake in a document: rules are checked when its keys and types are right."""
    return check_schema(document) or check_rules(ServeDeploySchema.model_validate(document))


def describe(problems: list[Problem], path: Path) -> str:
    """One line for each problem, in at most MAX_LINES lines."""
    if len(problems) == 1:
        return f"{path}: {problems[0]}"
    shown = [f"  {problem}" for problem in problems[: MAX_LINES - 2]]
    more = len(problems) - len(shown)
    rest = [f"  and {more} more."] if more else []
    return "\n".join([f"{path} has {len(problems)} mistakes:", *shown, *rest])
