"""Traces; the dashboard and the alerts, by a real Prometheus, over a service with its troubles."""

import asyncio
import json
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from testing import spans
from testing.labelled_requests import synthetic_data
from testing.load_client import Client
from testing.ports import find_free_port
from testing.service import ROOT, Service, running, write_config
from tests.integration.test_faults import kill_classifier

MONITORING = ROOT / "config" / "monitoring"
SCRAPE_S = 2
VARIABLES = {
    "$__rate_interval": "15s",
    "$job": "densenet.*",
    "$instance": ".*",
    "$application": ".*",
}
"""Of the dashboard's queries, as Grafana would set them."""

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="Prometheus is not installed"
)


@needs_prometheus
def test_every_alert_comes_when_it_should_and_only_then() -> None:
    rules = ROOT / "tests" / "config" / "alerts.test.yml"
    done = subprocess.run(
        ["promtool", "test", "rules", rules], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@needs_prometheus
def test_prometheus_accepts_its_configuration() -> None:
    command = ["promtool", "check", "config", str(MONITORING / "prometheus.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the service's spans go."""
    return tmp_path_factory.mktemp("watched")


@pytest.fixture(scope="module")
def watched(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service around a stub that can be poisoned, two Classifiers, exporting every second."""
    config = write_config(tmp_path_factory.mktemp("config"), find_free_port())
    document = yaml.safe_load(config.read_text())
    exporter = "testing.spans:export_to_files"
    document["tracing_config"] = {
        "enabled": True,
        "sampling_ratio": 0,
        "exporter_import_path": exporter,
    }
    (application,) = document["applications"]
    application["import_path"] = "testing.stub:build_medium"
    application["deployments"][1]["num_replicas"] = 2
    application["deployments"][1]["user_config"]["max_queue_wait_s"] = 0.5
    config.write_text(yaml.safe_dump(document))
    environment = {"RAY_metrics_report_interval_ms": "1000", spans.FOLDER: str(folder)}
    with running(config, **environment) as service:
        yield service


@pytest.fixture(scope="module")
def calm(watched: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Prometheus with our configuration, but for where and how often it looks."""
    folder = tmp_path_factory.mktemp("prometheus")
    document = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    document["global"] = {"scrape_interval": f"{SCRAPE_S}s", "evaluation_interval": f"{SCRAPE_S}s"}
    document["scrape_configs"] = document["scrape_configs"][:1]
    target = f"127.0.0.1:{watched.metrics_port}"
    document["scrape_configs"][0]["static_configs"] = [{"targets": [target]}]
    document["rule_files"] = [str(MONITORING / "alerts.yml")]
    del document["alerting"]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(document))
    address = f"127.0.0.1:{find_free_port()}"
    with running_prometheus(folder, address):
        yield f"http://{address}"


@pytest.fixture(scope="module")
def prometheus(calm: str, watched: Service) -> str:
    """The same, when there has been trouble."""
    make_trouble(watched)
    return calm


@contextmanager
def running_prometheus(folder: Path, address: str) -> Iterator[None]:
    command = ["prometheus", f"--config.file={folder / 'prometheus.yml'}"]
    command += [f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={address}"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stderr=log)
    try:
        give_up = time.monotonic() + 30
        while not is_up(f"http://{address}/-/ready"):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < give_up
            time.sleep(0.2)
        yield
    finally:
        process.terminate()
        process.wait()


def is_up(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except (requests.ConnectionError, requests.Timeout):
        return False


def make_trouble(service: Service) -> None:
    """All that a panel shows, again: a counter's first value is no increase to Prometheus."""
    for _ in range(2):
        wait_for_classifiers(service, 2)
        ask_badly(service)
        ask_much_and_lose_a_replica(service)
        time.sleep(2 * SCRAPE_S)


def wait_for_classifiers(service: Service, count: int) -> None:
    give_up = time.monotonic() + 60
    while len(service.find("ray::ServeReplica:densenet:Classifier")) != count:
        assert time.monotonic() < give_up
        time.sleep(0.2)


def ask_badly(service: Service) -> None:
    url = f"{service.url}/predict"
    assert requests.get(url, timeout=30).status_code == 400
    files = [
        ("file", ("a.png", synthetic_data().pictures[0].file)),
        ("file", ("b.png", b"no image")),
    ]
    assert requests.post(url, files=files, timeout=30).ok
    poison = {"file": ("poison.png", synthetic_data().poison.file)}
    for _ in range(5):
        assert requests.post(url, files=poison, timeout=30).status_code == 500


def ask_much_and_lose_a_replica(service: Service) -> None:
    """More than can be done in time, a poisoned image in a hundred, and a replica lost."""
    client = Client(service.url)
    to_send = synthetic_data().make_poisoned_requests(16)
    arrivals_s = [0.0] * 8 + [1.0, 1.2, 1.4, 1.6]
    asking = threading.Thread(target=asyncio.run, args=[client.send(to_send, arrivals_s)])
    asking.start()
    time.sleep(0.7)
    payload = to_send[0].payload
    headers = {**payload.headers, "X-Deadline-Ms": "200"}
    url = f"{service.url}/predict"
    for _ in range(5):  # the first by the ingress, the next by the proxy
        rejected = requests.post(url, payload.body, headers=headers, timeout=30)
        assert rejected.status_code in (503, 504)
    kill_classifier(service, "densenet")
    asking.join()
    assert (client.tally.lost, client.tally.wrong) == (0, 0)


def list_alerts(prometheus: str) -> set[str]:
    """Those that have been raised, or were about to be; but for one that a busy machine raises:
    metrics that come too late once."""
    params = {"query": "count by (alertname) (max_over_time(ALERTS[5m]))"}
    answer = requests.get(f"{prometheus}/api/v1/query", params=params, timeout=30).json()
    return {each["metric"]["alertname"] for each in answer["data"]["result"]} - {"DensenetDown"}


@needs_prometheus
def test_a_service_that_is_well_raises_no_alert(calm: str, watched: Service) -> None:
    picture = {"file": synthetic_data().pictures[0].file}
    assert requests.post(f"{watched.url}/predict", files=picture, timeout=30).ok
    give_up = time.monotonic() + 30
    while query(calm, "sum(ray_densenet_stage_duration_seconds_count)") != [4]:
        assert time.monotonic() < give_up
        time.sleep(SCRAPE_S)
    assert query(calm, 'sum(ray_densenet_images_total{outcome="classified"})') == [1]
    assert list_alerts(calm) == set()


def list_queries() -> list[tuple[str, str]]:
    """Every query of the dashboard, with its panel's title."""
    dashboard = json.loads((MONITORING / "densenet.json").read_text())
    return [
        (panel["title"], target["expr"])
        for panel in dashboard["panels"]
        for target in panel.get("targets", [])
    ]


def query(prometheus: str, expression: str) -> list[float]:
    """The values of an expression, now."""
    for variable, value in VARIABLES.items():
        expression = expression.replace(variable, value)
    params = {"query": expression}
    answer: dict[str, Any] = requests.get(
        f"{prometheus}/api/v1/query", params=params, timeout=30
    ).json()
    assert answer["status"] == "success", answer
    return [float(each["value"][1]) for each in answer["data"]["result"]]


@needs_prometheus
@pytest.mark.parametrize(
    ("title", "expression"), [each for each in list_queries() if each[0] != "GPU"]
)
def test_every_panel_shows_what_happened(prometheus: str, title: str, expression: str) -> None:
    shown = query(prometheus, f"max_over_time(({expression})[5m:{SCRAPE_S}s])")
    assert any(value > 0 for value in shown), title


@needs_prometheus
def test_the_panel_of_gpus_is_empty_where_there_is_none(prometheus: str) -> None:
    (expression,) = (expression for title, expression in list_queries() if title == "GPU")
    assert query(prometheus, expression) == []


@needs_prometheus
def test_every_kind_of_trouble_is_told_apart(prometheus: str) -> None:
    def count(metric: str, label: str) -> set[str]:
        # A series that was only created has the smallest number there is.
        params = {"query": f"sum by ({label}) (ray_densenet_{metric}) > 0.5"}
        answer = requests.get(f"{prometheus}/api/v1/query", params=params, timeout=30).json()
        return {each["metric"][label] for each in answer["data"]["result"]}

    outcomes = {"classified", "internal", "unsupported_media_type", "rejected"}
    assert outcomes <= count("images_total", "outcome")
    assert "no_image" in count("rejections_total", "reason")
    assert count("rejections_total", "reason") & {"overloaded", "deadline_exceeded"}
    assert count("model_info", "engine") == {"stub"}


@needs_prometheus
def test_what_went_wrong_raises_its_alerts(prometheus: str) -> None:
    raised = list_alerts(prometheus)
    assert {"DensenetReplicasDie", "DensenetFailing", "DensenetOverloaded"} <= raised
    assert not raised & {"DensenetSlow", "DensenetServesStandIn"}


@needs_prometheus
def test_what_is_observed_costs_no_request(prometheus: str, watched: Service) -> None:
    assert query(prometheus, "max_over_time(up[1m])") == [1]
    lines = [line for line in watched.read_logs() if line.get("deployment") == "densenet_Ingress"]
    assert lines
    assert not [line for line in lines if "Request failed" in line["message"]]


def read_spans(folder: Path, trace_id: str) -> dict[str, dict[str, Any]]:
    """Those of one trace, by name; ours have no name of Ray's."""
    lines = [line for path in folder.iterdir() for line in path.read_text().splitlines()]
    found = [json.loads(line) for line in lines]
    return {each["name"]: each for each in found if each["context"]["trace_id"] == f"0x{trace_id}"}


def wait_for_trace(folder: Path, trace_id: str, caller_id: str) -> dict[str, dict[str, Any]]:
    """Each process writes a span when the span ends, so a parent comes after its children."""
    give_up = time.monotonic() + 10
    while True:
        found = read_spans(folder, trace_id)
        missing = {"parse", "decode", "queue", "infer"} - found.keys()
        known = {span["context"]["span_id"] for span in found.values()} | {caller_id}
        orphans = [name for name, span in found.items() if span["parent_id"] not in known]
        if not missing and not orphans:
            return found
        assert time.monotonic() < give_up, (missing, orphans)
        time.sleep(0.2)


def test_one_trace_leads_through_ingress_queue_batch_and_model(
    watched: Service, folder: Path
) -> None:
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    files = [
        ("file", (f"{index}.png", synthetic_data().pictures[index].file)) for index in range(3)
    ]
    traced = {"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"}
    headers = {**traced, "X-Request-ID": "traced", "X-Forwarded-For": "192.0.2.7"}
    assert requests.post(f"{watched.url}/predict", files=files, headers=headers, timeout=30).ok
    found = wait_for_trace(folder, trace_id, "0xb7ad6b7169203331")
    order = ("parse", "decode", "queue", "infer")
    times = [found[name][end] for name in order for end in ("start_time", "end_time")]
    assert times == sorted(times)
    assert found["decode"]["attributes"]["images"] == 3
    assert found["infer"]["attributes"]["batch_size"] >= 1
    root = found["replica_handle_request Ingress __call__"]
    assert root["attributes"]["request_id"] == "traced"
    (line,) = find_log_lines(watched, "traced")
    assert line["trace_id"] == trace_id
    assert line["client_address"] == "192.0.2.7, 127.0.0.1"  # the second is what HAProxy saw


def find_log_lines(service: Service, request_id: str) -> list[dict[str, Any]]:
    """Of the access log; waits for the first."""
    give_up = time.monotonic() + 10
    while not (found := [x for x in service.read_logs() if x.get("request_id") == request_id]):
        assert time.monotonic() < give_up
        time.sleep(0.2)
    return found


def test_what_is_not_sampled_leaves_no_trace(watched: Service, folder: Path) -> None:
    picture = synthetic_data().pictures[0].file
    assert requests.post(f"{watched.url}/predict", files={"file": picture}, timeout=30).ok
    time.sleep(1)
    lines = [line for path in folder.iterdir() for line in path.read_text().splitlines()]
    assert all("0x0af7651916cd43dd8448eb211c80319c" in line for line in lines)
