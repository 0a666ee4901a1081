"""Every Serve configuration in the repository, linted: Ray ignores unknown keys in silence."""

import subprocess
import typing
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel
from ray.serve.schema import ServeDeploySchema

from deployments.common.settings import BatchingConfig, Settings
from testing.service import ROOT


def list_configs() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "*.yaml", "*.yml"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    paths = [ROOT / name for name in listed.stdout.split()]
    return [path for path in paths if "applications:" in path.read_text()]


def read_config(path: Path) -> dict[str, Any]:
    """What a file hands to Ray Serve; a RayService of Kubernetes has it as a text within."""
    document: dict[str, Any] = next(iter(yaml.safe_load_all(path.read_text())))
    if document.get("kind") == "RayService":
        document = yaml.safe_load(document["spec"]["serveConfigV2"])
    return document


def unknown_keys(model: type[BaseModel], data: Any, where: str = "") -> list[str]:
    """The keys of `data`, at any depth, that no field of `model` stands for."""
    if not isinstance(data, dict):
        return []
    unknown = [f"{where}.{key}" for key in data if key not in model.model_fields]
    for key, field in model.model_fields.items():
        for nested in nested_models(field.annotation):
            values = data.get(key)
            for value in values if isinstance(values, list) else [values]:
                unknown += unknown_keys(nested, value, f"{where}.{key}")
    return unknown


def nested_models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in typing.get_args(annotation) for model in nested_models(part)]


def lint(document: dict[str, Any]) -> None:
    """Raises where Ray, our models or a rule of ours would not have the configuration."""
    ServeDeploySchema.model_validate(document)
    assert unknown_keys(ServeDeploySchema, document) == []
    for application in document["applications"]:
        Settings.model_validate(application["args"])
        by_name = {deployment["name"]: deployment for deployment in application["deployments"]}
        assert by_name.keys() == {"Ingress", "Classifier"}
        lint_classifier(by_name["Classifier"])


def lint_classifier(deployment: dict[str, Any]) -> None:
    # `args.gpu_fraction` owns the share of a GPU; actor options here would replace it.
    assert "ray_actor_options" not in deployment
    tuning = BatchingConfig.model_validate(deployment["user_config"])
    assert deployment["max_ongoing_requests"] >= 2 * tuning.max_batch_size


@pytest.mark.parametrize("path", list_configs(), ids=lambda path: path.name)
def test_every_configuration_is_sound(path: Path) -> None:
    lint(read_config(path))


def test_every_known_configuration_is_among_them() -> None:
    names = ("container", "guarded", "cluster", "kuberay/rayservice")
    known = {ROOT / "serve_config.yaml", *(ROOT / f"config/{name}.yaml" for name in names)}
    assert known <= set(list_configs())


def test_the_container_differs_in_who_is_listened_to() -> None:
    expected = read_config(ROOT / "serve_config.yaml")
    expected["http_options"]["host"] = "0.0.0.0"  # noqa: S104, compared and not bound
    expected["applications"][0]["args"]["grpc_clients"] = "any"
    assert read_config(ROOT / "config/container.yaml") == expected
    expected["applications"][0]["args"]["api_keys_file"] = "/etc/densenet/keys"
    assert read_config(ROOT / "config/guarded.yaml") == expected


def test_kubernetes_serves_the_cluster_s_configuration_to_those_who_have_a_key() -> None:
    expected = read_config(ROOT / "config/cluster.yaml")
    expected["applications"][0]["args"]["api_keys_file"] = "/etc/densenet/keys"
    assert read_config(ROOT / "config/kuberay/rayservice.yaml") == expected


@pytest.mark.parametrize(
    "damage",
    [
        lambda config: config.update(htp_options={}),
        lambda config: config["http_options"].update(prot=1),
        lambda config: config["applications"][0].update(route_prefx="/"),
        lambda config: config["applications"][0]["args"].update(weight="auto"),
        lambda config: config["applications"][0]["args"]["limits"].update(max_image=1),
        lambda config: config["applications"][0]["deployments"][0].update(max_ongoing_request=64),
        lambda config: config["applications"][0]["deployments"][0].update(
            autoscaling_config={"min_replica": 1}
        ),
        lambda config: config["applications"][0]["deployments"][0].update(name="Igress"),
        lambda config: config["applications"][0]["deployments"][1].update(max_ongoing_requests=8),
        lambda config: config["applications"][0]["deployments"][1].update(
            ray_actor_options={"num_gpus": 1}
        ),
        lambda config: config["applications"][0]["deployments"][1]["user_config"].update(size=8),
    ],
)
def test_the_lint_sees_what_ray_ignores(damage: Any) -> None:
    config = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    damage(config)
    with pytest.raises((AssertionError, ValueError)):
        lint(config)
