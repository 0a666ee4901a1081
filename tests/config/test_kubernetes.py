"""The manifests for Kubernetes, against Kubernetes' own schemas and KubeRay's reference."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from deployments.common.runtime_env import RAY_ENV
from deployments.common.settings import Settings
from deployments.launcher.ray_cluster import SERVER_MARGIN_S
from testing.service import ROOT

KUBERNETES = "1.37"
KUBERAY = ROOT / "config/kuberay"
MANIFESTS = list(yaml.safe_load_all((KUBERAY / "rayservice.yaml").read_text()))
INGRESS, POLICY = yaml.safe_load_all((KUBERAY / "network.yaml").read_text())
SCHEMA = json.loads((ROOT / "tests/config/rayservice.schema.json").read_text())


def list_groups(service: dict[str, Any]) -> list[dict[str, Any]]:
    cluster = service["spec"]["rayClusterConfig"]
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


def list_containers(service: dict[str, Any]) -> list[dict[str, Any]]:
    """That of Ray in each group's pods."""
    return [group["template"]["spec"]["containers"][0] for group in list_groups(service)]


def read_config() -> dict[str, Any]:
    """What it hands to Ray Serve."""
    config: dict[str, Any] = yaml.safe_load(MANIFESTS[0]["spec"]["serveConfigV2"])
    return config


def check(service: dict[str, Any]) -> None:
    """Raises where KubeRay or Kubernetes would not have a RayService."""
    jsonschema.validate(service, SCHEMA)
    front = {"apiVersion": "v1", "kind": "Service", **service["spec"]["serveService"]}
    kubernetes_validate.validate(front, KUBERNETES, True)
    for group in list_groups(service):
        pod = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "pod"}}
        kubernetes_validate.validate({**pod, "template": group["template"]}, KUBERNETES, True)


def test_the_service_is_what_kuberay_reads() -> None:
    check(MANIFESTS[0])


def test_all_else_is_what_kubernetes_reads() -> None:
    for manifest in MANIFESTS[1:]:
        kubernetes_validate.validate(manifest, KUBERNETES, True)
    assert {each["kind"] for each in MANIFESTS[1:]} == {"PodDisruptionBudget"}


def test_what_leads_to_it_is_what_kubernetes_reads() -> None:
    kubernetes_validate.validate(INGRESS, KUBERNETES, True)
    kubernetes_validate.validate(POLICY, KUBERNETES, True)


@pytest.mark.parametrize(
    "damage",
    [
        lambda service: service["spec"].update(upgradeStrategy="NewCluster"),
        lambda service: service["spec"]["rayClusterConfig"].update(rayversion="2.60.0"),
        lambda service: service["spec"]["serveService"]["spec"].update(port=5000),
        lambda service: service["spec"]["rayClusterConfig"]["authOptions"].update(mode="on"),
        lambda service: list_groups(service)[0]["rayStartParams"].update({"num-cpus": 0}),
        lambda service: list_groups(service)[1].update(minReplica=1),
        lambda service: list_groups(service)[1]["template"]["spec"].update(toleration=[]),
        lambda service: list_containers(service)[2].update(readynessProbe={}),
    ],
)
def test_a_mistake_in_it_is_seen(damage: Any) -> None:
    service = yaml.safe_load(yaml.safe_dump(MANIFESTS[0]))
    damage(service)
    with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError)):
        check(service)


def test_every_pod_has_the_environment_that_the_service_wants() -> None:
    (application,) = read_config()["applications"]
    max_bytes = str(Settings.model_validate(application["args"]).limits.max_request_bytes)
    timeout_s = read_config()["http_options"]["request_timeout_s"]
    more = {
        "PYTHONPATH": "/app",
        "RAY_SERVE_GRPC_MAX_MESSAGE_SIZE": max_bytes,
        "RAY_SERVE_HAPROXY_BINARY_PATH": "/app/deployments/haproxy/haproxy.sh",
        "RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S": str(timeout_s + SERVER_MARGIN_S),
    }
    for container in list_containers(MANIFESTS[0]):
        found = {each["name"]: each["value"] for each in container["env"]}
        assert found == {**RAY_ENV, **more}


def test_every_pod_is_found_at_the_port_that_serve_listens_on() -> None:
    config = read_config()
    for container in list_containers(MANIFESTS[0]):
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert ports["serve"] == config["http_options"]["port"]
    service = MANIFESTS[0]["spec"]["serveService"]["spec"]
    assert {port["name"]: port["port"] for port in service["ports"]} == {
        "serve": config["http_options"]["port"],
        "grpc": config["grpc_options"]["port"],
    }


def test_every_pod_has_the_keys_that_the_application_is_built_with() -> None:
    (application,) = read_config()["applications"]
    folder = str(Path(application["args"]["api_keys_file"]).parent)
    for container in list_containers(MANIFESTS[0]):
        assert folder in {mount["mountPath"] for mount in container["volumeMounts"]}


def test_a_node_can_be_drained_while_one_pod_of_each_group_stays() -> None:
    groups = {group["groupName"]: group for group in list_groups(MANIFESTS[0])[1:]}
    budgets = {
        each["spec"]["selector"]["matchLabels"]["ray.io/group"]: each for each in MANIFESTS[1:]
    }
    assert budgets.keys() == groups.keys()
    for name, budget in budgets.items():
        assert 1 == budget["spec"]["minAvailable"] < groups[name]["minReplicas"]


def test_clients_reach_the_port_that_serve_listens_on() -> None:
    ports = MANIFESTS[0]["spec"]["serveService"]["spec"]["ports"]
    (rule,) = INGRESS["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    service = path["backend"]["service"]
    assert service["name"] == f"{MANIFESTS[0]['metadata']['name']}-serve-svc"  # KubeRay's name
    assert service["port"]["number"] in {port["port"] for port in ports}
    open_to_all = [each for each in POLICY["spec"]["ingress"] if "from" not in each]
    assert [port["port"] for port in open_to_all[0]["ports"]] == [port["port"] for port in ports]
    assert len(open_to_all) == 1


def test_the_policy_and_the_monitor_select_every_pod_and_name_its_ports() -> None:
    monitor = yaml.safe_load((KUBERAY / "monitoring.yaml").read_text())
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    policy_ports = {
        port["port"] for each in POLICY["spec"]["ingress"] for port in each.get("ports", [])
    }
    for group in list_groups(MANIFESTS[0]):
        labels = group["template"]["metadata"]["labels"]
        assert labels == POLICY["spec"]["podSelector"]["matchLabels"]
        assert labels == monitor["spec"]["selector"]["matchLabels"]
        assert labels[monitor["spec"]["jobLabel"]].startswith("densenet")
        ports = {
            port["name"]: port["containerPort"]
            for port in group["template"]["spec"]["containers"][0]["ports"]
        }
        assert ports[endpoint["port"]] in policy_ports


def test_the_monitor_keeps_what_prometheus_keeps() -> None:
    prometheus = yaml.safe_load((ROOT / "config/monitoring/prometheus.yml").read_text())
    monitor = yaml.safe_load((KUBERAY / "monitoring.yaml").read_text())
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    (theirs,) = endpoint["metricRelabelings"]
    (ours,) = prometheus["scrape_configs"][0]["metric_relabel_configs"]
    assert (theirs["regex"], theirs["action"]) == (ours["regex"], ours["action"])
    assert endpoint["interval"] == prometheus["global"]["scrape_interval"]


def test_an_incremental_upgrade_is_what_kuberay_reads() -> None:
    service = yaml.safe_load(yaml.safe_dump(MANIFESTS[0]))
    patch = yaml.safe_load((KUBERAY / "incremental-upgrade.yaml").read_text())
    service["spec"]["upgradeStrategy"] |= patch["spec"].pop("upgradeStrategy")
    assert patch == {"spec": {}}
    check(service)
    assert service["spec"]["rayClusterConfig"]["enableInTreeAutoscaling"]  # KubeRay wants it


def test_the_logs_of_every_pod_go_to_its_standard_output_and_are_bounded() -> None:
    for group in list_groups(MANIFESTS[0]):
        spec = group["template"]["spec"]
        (sidecar,) = spec["initContainers"]
        assert sidecar["restartPolicy"] == "Always"
        (mount,) = sidecar["volumeMounts"]
        mounts = spec["containers"][0]["volumeMounts"]
        shared = {each["name"]: each["mountPath"] for each in mounts}
        assert shared[mount["name"]] == mount["mountPath"] == "/tmp/ray"  # noqa: S108, Ray's folder
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        assert "sizeLimit" in volumes[mount["name"]]["emptyDir"]
        resources = spec["containers"][0]["resources"]
        assert all("ephemeral-storage" in resources[kind] for kind in ("requests", "limits"))
