"""Keys and types at every level that Ray parses: mistakes by name, in one line each."""

from typing import Any

import pytest

from deployments.launcher.schema_check import check_schema
from tests.unit.launcher.changes import (
    Change,
    Document,
    application,
    args,
    autoscaling,
    both,
    classifier,
    grpc,
    http,
    ingress,
    top,
)

APPLICATION = "applications[densenet]"
CLASSIFIER = f"{APPLICATION}.deployments[Classifier]"


@pytest.mark.parametrize(
    ("change", "path", "nearest"),
    [
        (top(http_option={}), "http_option", "http_options"),
        (http(prot=1), "http_options.prot", "port"),
        (grpc(request_timeout=1), "grpc_options.request_timeout", "request_timeout_s"),
        (top(logging_config={"log_levl": "INFO"}), "logging_config.log_levl", "log_level"),
        (top(tracing_config={"enable": True}), "tracing_config.enable", "enabled"),
        (application(arg={}), f"{APPLICATION}.arg", "args"),
        (application(route_prefx="/"), f"{APPLICATION}.route_prefx", "route_prefix"),
        (
            application(runtime_env={"env_var": {}}),
            f"{APPLICATION}.runtime_env.env_var",
            "env_vars",
        ),
        (
            application(logging_config={"encodin": "JSON"}),
            f"{APPLICATION}.logging_config.encodin",
            "encoding",
        ),
        (args(weihgts="auto"), f"{APPLICATION}.args.weihgts", "weights"),
        (args(limits={"max_image": 1}), f"{APPLICATION}.args.limits.max_image", "max_images"),
        (classifier(num_replica=3), f"{CLASSIFIER}.num_replica", "num_replicas"),
        (classifier(ray_actor_option={}), f"{CLASSIFIER}.ray_actor_option", "ray_actor_options"),
        (
            classifier(ray_actor_options={"num_cpu": 1}),
            f"{CLASSIFIER}.ray_actor_options.num_cpu",
            "num_cpus",
        ),
        (
            autoscaling(min_replica=1),
            f"{CLASSIFIER}.autoscaling_config.min_replica",
            "min_replicas",
        ),
        (
            autoscaling(policy={"policy_kwarg": {}}),
            f"{CLASSIFIER}.autoscaling_config.policy.policy_kwarg",
            "policy_kwargs",
        ),
        (
            classifier(user_config={"max_batchsize": 8}),
            f"{CLASSIFIER}.user_config.max_batchsize",
            "max_batch_size",
        ),
        (
            classifier(backpressure_config={"status_cod": 429}),
            f"{CLASSIFIER}.backpressure_config.status_cod",
            "status_code",
        ),
        (
            classifier(request_router_config={"initial_backof_s": 1}),
            f"{CLASSIFIER}.request_router_config.initial_backof_s",
            "initial_backoff_s",
        ),
    ],
)
def test_a_misspelt_key_is_named_with_the_nearest_one(
    document: Document, change: Change, path: str, nearest: str
) -> None:
    change(document)
    assert [str(problem) for problem in check_schema(document)] == [
        f"{path}: unknown key. Did you mean '{nearest}'?"
    ]


@pytest.mark.parametrize(
    ("change", "path", "level"),
    [
        (top(port=5000), "port", "'http_options' or 'grpc_options'"),
        (application(weights="auto"), f"{APPLICATION}.weights", "'args'"),
        (application(max_images=1), f"{APPLICATION}.max_images", "'limits'"),
        (args(num_replicas=2), f"{APPLICATION}.args.num_replicas", "'deployments'"),
        (classifier(num_cpus=1), f"{CLASSIFIER}.num_cpus", "'ray_actor_options'"),
        (classifier(max_batch_size=8), f"{CLASSIFIER}.max_batch_size", "'user_config'"),
        (classifier(min_replicas=1), f"{CLASSIFIER}.min_replicas", "'autoscaling_config'"),
    ],
)
def test_a_misplaced_key_is_told_where_it_belongs(
    document: Document, change: Change, path: str, level: str
) -> None:
    change(document)
    (problem,) = check_schema(document)
    assert str(problem).startswith(f"{path}: unknown key. It belongs under {level}")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (http(port="abc"), 'http_options.port: should be a valid integer, and is "abc".'),
        (http(port="5000"), 'http_options.port: should be a valid integer, and is "5000".'),
        (http(host=None), "http_options.host: should be a valid string, and is empty."),
        (top(http_options=None), "http_options: must be a mapping of keys, and is empty."),
        (top(applications=None), "applications: should be a valid array, and is empty."),
        (application(args=None), f"{APPLICATION}.args: must be a mapping of keys, and is empty."),
        (
            application(deployments=["Ingress"]),
            f'{APPLICATION}.deployments[0]: must be a mapping of keys, and is "Ingress".',
        ),
        (
            top(proxy_location="All"),
            "proxy_location: should be 'Disabled', 'HeadOnly' or 'EveryNode', and is \"All\".",
        ),
        (
            args(device="gpu"),
            f"{APPLICATION}.args.device: should be 'auto', 'cpu' or 'cuda', and is \"gpu\".",
        ),
        (
            args(limits={"max_images": 0}),
            f"{APPLICATION}.args.limits.max_images: should be greater than 0, and is 0.",
        ),
        (
            args(cors_origins=["https://a.example", "b.example"]),
            (
                f"{APPLICATION}.args.cors_origins[1]: 'b.example' is no origin. Write '*', or one "
                "such as https://example.org."
            ),
        ),
        (
            args(api_keys_file="keys", allow_anonymous=True),
            (
                f"{APPLICATION}.args: allow_anonymous: true contradicts api_keys_file, which "
                "rejects requests without a key. Remove one of them."
            ),
        ),
        (
            classifier(num_replicas=True),
            f"{CLASSIFIER}.num_replicas: should be a valid integer, and is true.",
        ),
        (
            classifier(user_config={"max_queue_wait_s": -1}),
            f"{CLASSIFIER}.user_config.max_queue_wait_s: should be greater than 0, and is -1.",
        ),
        (
            autoscaling(min_replicas="2"),
            f'{CLASSIFIER}.autoscaling_config.min_replicas: should be a valid integer, and is "2".',
        ),
        (
            autoscaling(policy={"policy_function": "deployments.autoscalin:Images"}),
            f"{CLASSIFIER}.autoscaling_config: No module named 'deployments.autoscalin'.",
        ),
    ],
)
def test_a_wrong_value_is_told_with_what_it_should_be(
    document: Document, change: Change, told: str
) -> None:
    change(document)
    assert [str(problem) for problem in check_schema(document)] == [told]


def test_a_key_that_is_missing_is_named(document: Document) -> None:
    del document["applications"][0]["import_path"]
    (problem,) = check_schema(document)
    assert str(problem) == f"{APPLICATION}.import_path: is missing."


def test_every_mistake_of_a_document_is_found(document: Document) -> None:
    both(http(prot=1), args(weihgts="auto"), classifier(num_replicas=0))(document)
    assert [problem.path for problem in check_schema(document)] == [
        "http_options.prot",
        f"{APPLICATION}.args.weihgts",
        f"{CLASSIFIER}.num_replicas",
    ]


@pytest.mark.parametrize("key", ["ssl_certfile", "ssl_keyfile", "ssl_ca_certs"])
def test_tls_is_refused_with_the_lines_for_caddy(document: Document, key: str) -> None:
    http(**{key: "/etc/file.pem"})(document)
    (problem,) = check_schema(document)
    assert problem.path == f"http_options.{key}"
    assert "Caddy" in problem.message
    assert "reverse_proxy localhost:5000" in problem.message


@pytest.mark.parametrize("deployment", [ingress, classifier])
def test_a_share_of_a_gpu_is_asked_for_by_gpu_fraction(document: Document, deployment: Any) -> None:
    deployment(ray_actor_options={"num_gpus": 0.5})(document)
    (problem,) = check_schema(document)
    assert problem.path.endswith("ray_actor_options.num_gpus")
    assert "'gpu_fraction' in the application's args" in problem.message
