"""A Ray Serve YAML, read and validated before anything starts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic
import yaml
from ray.serve.schema import ServeDeploySchema

from deployments.common.errors import StartupError
from deployments.common.settings import Settings


@dataclass(frozen=True)
class Config:
    """A YAML that has been found good, and what the launcher needs of it."""

    document: dict[str, Any]
    schema: ServeDeploySchema

    @property
    def url(self) -> str:
        options = self.schema.http_options
        everywhere = ("0.0.0.0", "127.0.0.1", "::")  # noqa: S104, compared and not bound
        host = "localhost" if options.host in everywhere else options.host
        scheme = "https" if options.ssl_certfile else "http"
        return f"{scheme}://{host}:{options.port}"

    @property
    def serves_grpc(self) -> bool:
        return bool(self.schema.grpc_options.grpc_servicer_functions)

    @property
    def drain_s(self) -> float:
        """The longest that any replica may work on what is in flight when it is stopped."""
        deployments = [each for app in self.schema.applications for each in app.deployments]
        drains = [each.graceful_shutdown_timeout_s for each in deployments]
        return max((drain for drain in drains if isinstance(drain, (int, float))), default=20.0)

    @property
    def max_message_bytes(self) -> int:
        """The largest gRPC message Ray's proxy is to take, where its own default is 2 GiB.

        At least gRPC's default, which is enough for every answer.
        """
        settings = [Settings.model_validate(each.args) for each in self.schema.applications]
        return max([4 * 2**20, *(each.limits.max_request_bytes for each in settings)])


def read_config(path: Path) -> Config:
    """Read and validate a configuration before anything is started. Raises StartupError."""
    try:
        document = yaml.safe_load(path.read_text())
        schema = ServeDeploySchema.model_validate(document)
        for application in schema.applications:
            Settings.model_validate(application.args)
    except (OSError, yaml.YAMLError, pydantic.ValidationError) as error:
        raise StartupError(f"{path}: {error}") from error
    return Config(document, schema)
