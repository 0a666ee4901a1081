"""What the launcher refuses in a document whose keys and types are right."""

from pathlib import Path

import pytest
from ray.serve.schema import ServeDeploySchema

from deployments.launcher.config import Config, find_problems
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


def policy(**keys: object) -> dict[str, object]:
    name = "deployments.autoscaling:ImagesInProgress"
    return {"policy_function": name, "policy_kwargs": keys}


def list_problems(document: Document, change: Change) -> list[str]:
    change(document)
    return [str(problem) for problem in find_problems(document)]


@pytest.mark.parametrize(
    ("change", "path", "told"),
    [
        (http(host="[::1]"), "http_options.host", "without port and brackets"),
        (http(host="localhost:5000"), "http_options.host", "is no address"),
        (http(host=""), "http_options.host", "is no address"),
        (http(host="256.0.0.1"), "http_options.host", "is no address"),
        (http(port=70_000), "http_options.port", "1 to 65535"),
        (http(port=0), "http_options.port", "1 to 65535"),
        (grpc(port=-1), "grpc_options.port", "1 to 65535"),
        (http(port=5001), "grpc_options.port", "Set another one"),
        (http(request_timeout_s=0), "http_options.request_timeout_s", "above 0 s"),
        (http(request_timeout_s=float("nan")), "http_options.request_timeout_s", "above 0 s"),
        (top(proxy_location="Disabled"), "proxy_location", "HeadOnly or EveryNode"),
        (top(applications=[]), "applications", "Add one"),
        (application(route_prefix="photos"), "route_prefix", "Write one as '/photos'"),
        (application(route_prefix="/photos/"), "route_prefix", "Write one as '/photos'"),
        (application(route_prefix=None), "route_prefix", "no client could reach it"),
        (application(import_path="deployments.ap:build_app"), "import_path", "deployments.ap"),
        (application(import_path="nowhere.app.build"), "import_path", "'nowhere.app'"),
        (
            grpc(grpc_servicer_functions=["deployments.v3.grpc:add"]),
            "grpc_servicer_functions",
            "deployments.v3.grpc",
        ),
        (classifier(name="Clasifier"), "deployments[Clasifier]", "Ingress, Classifier"),
        (classifier(name="Ingress", user_config=None), "deployments[Ingress]", "stands twice"),
        (ingress(user_config={"max_batch_size": 8}), "[Ingress].user_config", "Classifier only"),
        (classifier(ray_actor_options={"num_cpus": 1}), "ray_actor_options", "'device: cpu'"),
        (autoscaling(min_replicas=0), "autoscaling_config", "Set initial_replicas"),
        (
            autoscaling(policy=policy(images_per_replica=8, image_per_replica=8)),
            "policy.policy_kwargs.image_per_replica",
            "unknown key. Did you mean 'images_per_replica'?",
        ),
        (autoscaling(policy=policy()), "policy_kwargs.images_per_replica", "is missing"),
    ],
)
def test_what_could_not_serve_is_refused_by_name(
    document: Document, change: Change, path: str, told: str
) -> None:
    problem = list_problems(document, change)[0]
    where, _, words = problem.partition(": ")
    assert where.endswith(path)
    assert told in words


@pytest.mark.parametrize(
    "change",
    [
        application(runtime_env={"env_vars": {"A": "b"}}),
        both(args(device="cpu"), classifier(ray_actor_options={"num_cpus": 2})),
        autoscaling(min_replicas=0, initial_replicas=1),
        classifier(user_config=None),
        http(root_path="/behind"),
    ],
)
def test_what_serves_is_taken(document: Document, change: Change) -> None:
    assert list_problems(document, change) == []


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3"])  # noqa: S104, not bound
def test_listening_on_more_than_localhost_wants_a_decision(document: Document, host: str) -> None:
    (problem,) = list_problems(document, http(host=host))
    assert problem.startswith(f"applications[densenet].args: http_options.host {host} lets other")
    assert "'api_keys_file'" in problem
    assert "'allow_anonymous: true'" in problem
    assert list_problems(document, args(allow_anonymous=True)) == []
    del document["applications"][0]["args"]["allow_anonymous"]
    assert list_problems(document, args(api_keys_file="/etc/densenet/keys")) == []


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_listening_on_localhost_wants_none(document: Document, host: str) -> None:
    assert list_problems(document, http(host=host)) == []


def test_each_application_on_all_interfaces_decides_for_itself(document: Document) -> None:
    (first,) = document["applications"]
    second = {**first, "name": "candidate", "route_prefix": "/candidate", "args": {}}
    both(http(host="::"), args(allow_anonymous=True))(document)
    (problem,) = list_problems(document, lambda each: each["applications"].append(second))
    assert problem.startswith("applications[candidate].args: ")


def make_config(document: Document) -> Config:
    return Config(Path("x.yaml"), document, ServeDeploySchema.model_validate(document))


@pytest.mark.parametrize(
    ("host", "prefix", "url"),
    [
        ("127.0.0.1", "/", "http://localhost:5000"),
        ("0.0.0.0", "/", "http://localhost:5000"),  # noqa: S104, not bound
        ("::1", "/", "http://[::1]:5000"),
        ("10.1.2.3", "/", "http://10.1.2.3:5000"),
        ("127.0.0.1", "/photos", "http://localhost:5000/photos"),
    ],
)
def test_the_url_has_the_host_and_the_route_prefix(
    document: Document, host: str, prefix: str, url: str
) -> None:
    both(http(host=host), application(route_prefix=prefix))(document)
    assert make_config(document).url == url


def test_the_drain_lasts_as_long_as_the_slowest_deployment_may_take(document: Document) -> None:
    assert make_config(document).drain_s == 40
    classifier(graceful_shutdown_timeout_s=90)(document)
    assert make_config(document).drain_s == 90
    both(classifier(graceful_shutdown_timeout_s=5), ingress(graceful_shutdown_timeout_s=6))(
        document
    )
    assert make_config(document).drain_s == 6


def test_grpc_messages_are_limited_to_the_largest_request(document: Document) -> None:
    assert make_config(document).max_message_bytes == 64 * 2**20
    args(limits={"max_request_bytes": 1000})(document)
    assert make_config(document).max_message_bytes == 4 * 2**20
