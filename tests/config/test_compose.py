"""docker-compose.yml: what bounds its containers, and what they wait for."""

import re
from typing import Any

import pytest
import yaml

from testing.service import ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


@pytest.mark.parametrize("name", SERVICES)
def test_memory_logs_and_rights_of_every_container_are_bounded(name: str) -> None:
    service = SERVICES[name]
    assert service["mem_limit"]
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]


def test_every_image_of_others_has_a_version() -> None:
    for name, service in SERVICES.items():
        if "build" not in service:
            assert re.fullmatch(r"[\w/-]+:v?\d+\.\d+\.\d+(-\w+)?", service["image"]), name


def test_caddy_waits_until_what_it_leads_to_is_ready() -> None:
    awaited = SERVICES["caddy"]["depends_on"]
    assert {name: each["condition"] for name, each in awaited.items()} == {
        "densenet": "service_healthy",
        "densenet-gpu": "service_healthy",
    }
    for name, each in awaited.items():  # one of a profile is not always there
        assert each.get("required", True) is ("profiles" not in SERVICES[name])
    assert "HEALTHCHECK" in (ROOT / "Dockerfile").read_text()


def test_every_file_that_a_container_mounts_is_there_and_every_volume_declared() -> None:
    mounts = [mount for service in SERVICES.values() for mount in service.get("volumes", [])]
    sources = {mount.split(":")[0] for mount in mounts}
    paths = {source for source in sources if source.startswith("./")} - {"./keys"}
    assert all((ROOT / path).exists() for path in paths)
    assert {source for source in sources if not source.startswith("./")} == COMPOSE[
        "volumes"
    ].keys()


def test_prometheus_and_alertmanager_find_each_other() -> None:
    prometheus = yaml.safe_load((ROOT / "config/monitoring/prometheus.yml").read_text())
    (manager,) = prometheus["alerting"]["alertmanagers"]
    (target,) = manager["static_configs"][0]["targets"]
    name, _, port = target.partition(":")
    assert SERVICES[name]["ports"] == [f"127.0.0.1:{port}:{port}"]
    jobs = {job["job_name"] for job in prometheus["scrape_configs"]}
    assert jobs == {name for name, service in SERVICES.items() if "build" in service}
