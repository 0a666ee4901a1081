"""Every Serve configuration in the repository, validated as the launcher does before a start."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from deployments.classifier.deployment import Classifier
from deployments.common.settings import BatchingConfig, Settings
from deployments.ingress.deployment import Ingress
from deployments.launcher.config import find_problems
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


def list_repeated_defaults(model: type[BaseModel], data: dict[str, Any]) -> list[str]:
    fields = model.model_fields
    return [key for key, value in data.items() if fields[key].default == value]


@pytest.mark.parametrize("path", list_configs(), ids=lambda path: path.name)
def test_every_configuration_is_one_that_the_launcher_takes(path: Path) -> None:
    assert find_problems(read_config(path)) == []


@pytest.mark.parametrize("path", list_configs(), ids=lambda path: path.name)
def test_no_configuration_repeats_a_default(path: Path) -> None:
    decorated: dict[str, Any] = {"Ingress": Ingress, "Classifier": Classifier}
    for application in read_config(path)["applications"]:
        assert list_repeated_defaults(Settings, application["args"]) == []
        for deployment in application["deployments"]:
            tuning = deployment.get("user_config", {})
            assert list_repeated_defaults(BatchingConfig, tuning) == []
            shared = decorated[deployment["name"]]
            assert deployment.get("ray_actor_options") != shared.ray_actor_options


def test_every_known_configuration_is_among_them() -> None:
    names = ("container", "container-auth", "cluster", "kuberay/rayservice")
    known = {ROOT / "serve_config.yaml", *(ROOT / f"config/{name}.yaml" for name in names)}
    assert known <= set(list_configs())


def test_the_container_differs_in_the_clients_it_answers() -> None:
    expected = read_config(ROOT / "serve_config.yaml")
    expected["http_options"]["host"] = "0.0.0.0"  # noqa: S104, compared and not bound
    expected["applications"][0]["args"] = {"allow_anonymous": True}
    assert read_config(ROOT / "config/container.yaml") == expected
    expected["applications"][0]["args"] = {"api_keys_file": "/etc/densenet/keys"}
    assert read_config(ROOT / "config/container-auth.yaml") == expected


def test_kubernetes_serves_the_cluster_s_configuration_to_clients_with_a_key() -> None:
    expected = read_config(ROOT / "config/cluster.yaml")
    del expected["applications"][0]["args"]["allow_anonymous"]
    expected["applications"][0]["args"]["api_keys_file"] = "/etc/densenet/keys"
    assert read_config(ROOT / "config/kuberay/rayservice.yaml") == expected
