"""What the launcher asks of a document beyond its schema, on whatever machine it runs."""

import importlib.util
import inspect
import ipaddress
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

from ray._common.utils import import_attr
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy, ProxyLocation
from ray.serve.schema import DeploymentSchema, ServeApplicationSchema, ServeDeploySchema

from deployments.common.settings import Settings
from deployments.launcher.schema_check import Problem, nearest

CLASSIFIER = "Classifier"
DEPLOYMENTS = ("Ingress", CLASSIFIER)


def check_rules(schema: ServeDeploySchema) -> list[Problem]:
    """Every rule that a document of valid keys and types breaks."""
    problems = [*_check_listeners(schema), *_check_timeouts(schema)]
    if not schema.applications:
        problems.append(Problem("applications", "is empty. Add one, as serve_config.yaml has it."))
    for application in schema.applications:
        path = f"applications[{application.name}]"
        problems += _check_application(application, path)
        problems += _check_access(application, schema.http_options.host, path)
        for deployment in application.deployments:
            where = f"{path}.deployments[{deployment.name}]"
            problems += _check_deployment(deployment, application, where)
    return problems


def is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _check_listeners(schema: ServeDeploySchema) -> Iterator[Problem]:
    http, grpc = schema.http_options, schema.grpc_options
    if http.host != "localhost" and not _is_address(http.host):
        yield Problem(
            "http_options.host",
            f"{http.host!r} is no address. Write an IP address of this machine without port and "
            "brackets, 0.0.0.0 for all of them, or localhost.",
        )
    for path, port in (("http_options.port", http.port), ("grpc_options.port", grpc.port)):
        if not 1 <= port <= 65535:
            yield Problem(path, f"{port} is no port. Ports are 1 to 65535.")
    if grpc.grpc_servicer_functions and http.port == grpc.port:
        yield Problem("grpc_options.port", f"{grpc.port} is http_options.port. Set another one.")
    if schema.proxy_location == ProxyLocation.Disabled:
        yield Problem("proxy_location", "Disabled starts no proxy. Use HeadOnly or EveryNode.")
    for path in grpc.grpc_servicer_functions:
        yield from _check_import_path(path, "grpc_options.grpc_servicer_functions")


def _check_timeouts(schema: ServeDeploySchema) -> Iterator[Problem]:
    for name in ("http_options", "grpc_options"):
        timeout_s = getattr(schema, name).request_timeout_s
        if timeout_s is not None and not 0 < timeout_s < math.inf:
            yield Problem(f"{name}.request_timeout_s", f"{timeout_s} is no time above 0 s.")


def _check_application(application: ServeApplicationSchema, path: str) -> Iterator[Problem]:
    prefix = application.route_prefix
    if prefix is None:
        yield Problem(f"{path}.route_prefix", "is empty, so no client could reach it. Remove it.")
    elif prefix != "/" and (not prefix.startswith("/") or prefix.endswith("/") or "{" in prefix):
        yield Problem(f"{path}.route_prefix", f"{prefix!r} is no prefix. Write one as '/photos'.")
    if not application.runtime_env:  # which may bring the module
        yield from _check_import_path(application.import_path, f"{path}.import_path")
    for name, count in Counter(each.name for each in application.deployments).items():
        if count > 1:
            yield Problem(f"{path}.deployments[{name}]", "stands twice. Remove one of them.")


def _check_import_path(import_path: str, path: str) -> Iterator[Problem]:
    """The module only: whether it has the name costs an import of it."""
    module = import_path.partition(":")[0] if ":" in import_path else import_path.rpartition(".")[0]
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        found = None
    if found is None:
        yield Problem(path, f"there is no module {module!r}. Correct {import_path!r}.")


def _check_access(application: ServeApplicationSchema, host: str, path: str) -> Iterator[Problem]:
    args = Settings.model_validate(application.args)
    is_open = _is_address(host) and not is_loopback(host)
    if is_open and args.api_keys_file is None and not args.allow_anonymous:
        yield Problem(
            f"{path}.args",
            f"http_options.host {host} lets other machines in. Set 'api_keys_file' to name the "
            "clients, or 'allow_anonymous: true' to answer all, or host 127.0.0.1.",
        )


def _check_deployment(
    deployment: DeploymentSchema, application: ServeApplicationSchema, path: str
) -> Iterator[Problem]:
    given = deployment.model_fields_set
    if deployment.name not in DEPLOYMENTS:
        yield Problem(path, f"there is no such deployment. The names are {', '.join(DEPLOYMENTS)}.")
    elif deployment.name == CLASSIFIER:
        if "ray_actor_options" in given:
            yield from _check_actor_options(application, f"{path}.ray_actor_options")
    elif "user_config" in given:
        yield Problem(f"{path}.user_config", "is for the Classifier only. Remove it.")
    if "autoscaling_config" in given and isinstance(deployment.autoscaling_config, dict):
        autoscaling = AutoscalingConfig.model_validate(deployment.autoscaling_config)
        yield from _check_autoscaling(autoscaling, f"{path}.autoscaling_config")


def _check_actor_options(application: ServeApplicationSchema, path: str) -> Iterator[Problem]:
    args = Settings.model_validate(application.args)
    if args.device != "cpu" and args.engine != "openvino":
        yield Problem(
            path,
            "replaces the share of a GPU that 'gpu_fraction' sets. Remove it, or set "
            "'device: cpu' in the application's args.",
        )


def _check_autoscaling(autoscaling: AutoscalingConfig, path: str) -> Iterator[Problem]:
    initial = autoscaling.initial_replicas
    if (autoscaling.min_replicas if initial is None else initial) == 0:
        yield Problem(path, "starts no replica, so nothing would be ready. Set initial_replicas.")
    yield from _check_policy(autoscaling.policy, f"{path}.policy.policy_kwargs")


def _check_policy(policy: AutoscalingPolicy, path: str) -> Iterator[Problem]:
    """What a policy that is a class is made with: Ray finds a mistake only in its controller."""
    made: Any = import_attr(str(policy.policy_function))
    if not inspect.isclass(made):
        return
    parameters = inspect.signature(made).parameters
    try:
        inspect.signature(made).bind(**policy.policy_kwargs)
    except TypeError:
        for key in policy.policy_kwargs.keys() - parameters.keys():
            yield Problem(f"{path}.{key}", f"unknown key. {nearest(key, parameters)}")
        for name, parameter in parameters.items():
            if parameter.default is parameter.empty and name not in policy.policy_kwargs:
                yield Problem(f"{path}.{name}", "is missing.")
