"""What every answer carries, health, the API's description, the logs."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
import yaml
from PIL import Image

from testing.pictures import encode
from testing.service import Service, deploy


@pytest.fixture(scope="session")
def png(pictures: list[Image.Image]) -> bytes:
    return encode(pictures[0])


def get(service: Service, path: str, **headers: str) -> requests.Response:
    return requests.get(service.url + path, headers=headers, timeout=60)


def classify(service: Service, png: bytes, **headers: str) -> requests.Response:
    headers["Content-Type"] = "image/png"
    return requests.post(f"{service.url}/predict", png, headers=headers, timeout=60)


def test_health_and_readiness(service: Service) -> None:
    assert get(service, "/healthz").json() == {"status": "alive"}
    assert get(service, "/readyz").json() == {"status": "ready"}


def sent_ids(response: requests.Response) -> list[str]:
    return response.raw.headers.getlist("X-Request-ID")


@pytest.mark.parametrize("path", ["/readyz", "/nowhere", "/predict", "/docs"])
def test_every_answer_has_one_request_id_and_the_models_version(
    service: Service, path: str
) -> None:
    response = get(service, path, **{"X-Request-ID": "my-id_1.2"})
    assert sent_ids(response) == ["my-id_1.2"]
    assert re.fullmatch(r"sha256:[0-9a-f]{12}", response.headers["X-Model-Version"])


@pytest.mark.parametrize("bad", ["has space", "a" * 129, "semi;colon", ""])
def test_a_bad_request_id_is_replaced(service: Service, bad: str) -> None:
    (sent,) = sent_ids(get(service, "/healthz", **{"X-Request-ID": bad}))
    assert sent != bad
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,128}", sent)


def test_each_request_gets_an_id_of_its_own(service: Service) -> None:
    ids = {sent_ids(get(service, "/healthz"))[0] for _ in range(5)}
    assert len(ids) == 5


def test_server_timing_tells_where_the_time_went(service: Service, png: bytes) -> None:
    started = time.monotonic()
    timing = classify(service, png).headers["Server-Timing"]
    elapsed_ms = 1000 * (time.monotonic() - started)
    spent = {name: float(ms) for name, ms in re.findall(r"(\w+);dur=([\d.]+)", timing)}
    assert list(spent) == ["parse", "decode", "queue", "infer"]
    assert spent["infer"] > 0
    assert sum(spent.values()) < elapsed_ms


def test_nothing_is_timed_where_nothing_was_classified(service: Service) -> None:
    assert "Server-Timing" not in classify(service, b"no image").headers


@pytest.mark.parametrize(
    "header",
    ["x-request-timeout-seconds", "X-Request-Timeout-Seconds", "serve_multiplexed_model_id"],
)
def test_rays_control_headers_have_no_effect(service: Service, png: bytes, header: str) -> None:
    assert classify(service, png, **{header: "0.000001"}).status_code == 200


def test_docs_load_nothing_from_another_host(service: Service) -> None:
    page = get(service, "/docs").text
    assets = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert any(asset.endswith(".js") for asset in assets)
    for asset in assets:
        assert not asset.startswith(("http:", "https:", "//")), asset
        assert get(service, f"/{asset}").status_code == 200


def test_the_description_names_every_route_and_its_errors(service: Service) -> None:
    described = get(service, "/openapi.json").json()
    assert described["openapi"].startswith("3.")
    paths = described["paths"]
    assert {"/predict", "/run_inference", "/healthz", "/readyz"} <= set(paths)
    assert set(paths["/predict"]) == {"get", "post"}
    for operation in (*paths["/predict"].values(), paths["/run_inference"]["post"]):
        assert {"200", "400", "413", "415", "422", "500", "503", "504"} <= set(
            operation["responses"]
        )
        assert {parameter["name"] for parameter in operation["parameters"]} == {
            "top_k",
            "X-Deadline-Ms",
        }
        assert "multipart/form-data" in operation["requestBody"]["content"]


def test_the_access_log_is_structured_and_names_no_file(service: Service, png: bytes) -> None:
    files = {"file": ("private-name.png", png)}
    headers = {"X-Request-ID": "logged-request"}
    requests.post(f"{service.url}/predict", files=files, headers=headers, timeout=60)
    line = wait_for_line(service, "logged-request")
    assert line["message"] == "POST /predict 200"
    assert line["status"] == "200"
    assert line["images"] == 1
    assert line["duration_ms"] > 0
    assert "private-name" not in str(service.read_logs())


def wait_for_line(service: Service, request_id: str) -> dict[str, Any]:
    give_up = time.monotonic() + 10
    while time.monotonic() < give_up:
        for line in service.read_logs():
            if line.get("request_id") == request_id and "exc_text" not in line:
                return line
        time.sleep(0.1)
    raise AssertionError(f"{request_id} is not in the log")


@pytest.fixture
def faulty(service: Service, tmp_path: Path) -> Iterator[str]:
    """A second application in the same cluster, whose classifier fails on every image."""
    document = yaml.safe_load(service.config.read_text())
    (good,) = document["applications"]
    bad = {
        **good,
        "name": "faulty",
        "route_prefix": "/faulty",
        "import_path": "testing.faulty:build_app",
        "deployments": [{"name": "Ingress", "ray_actor_options": {"num_cpus": 0}}],
    }
    deploy(service, {**document, "applications": [good, bad]}, tmp_path)
    yield f"{service.url}/faulty/predict"
    deploy(service, document, tmp_path)


def test_an_unexpected_failure_is_told_in_our_words_and_traced_in_the_log(
    service: Service, faulty: str, png: bytes
) -> None:
    headers = {"Content-Type": "image/png", "X-Request-ID": "failing-request"}
    response = requests.post(faulty, png, headers=headers, timeout=60)
    assert response.status_code == 500
    assert response.json() == {
        "error": {"code": "internal", "message": "something went wrong on our side"}
    }
    traces = [
        str(line["exc_text"])
        for line in service.read_logs()
        if line.get("request_id") == "failing-request" and "exc_text" in line
    ]
    assert any("secret of 1 images" in trace for trace in traces)


def test_a_path_beside_the_application_is_not_found_in_our_form(
    service: Service, tmp_path: Path
) -> None:
    document = yaml.safe_load(service.config.read_text())
    (application,) = document["applications"]
    elsewhere = {**application, "route_prefix": "/elsewhere"}
    deploy(service, {**document, "applications": [elsewhere]}, tmp_path)
    response = get_with_status(service, "/readyz", 404)
    deploy(service, document, tmp_path)
    assert response.json()["error"]["code"] == "not_found"
    assert len(sent_ids(response)) == 1
    get_with_status(service, "/readyz", 200)


def get_with_status(service: Service, path: str, status: int) -> requests.Response:
    """Ask until the routes are HAProxy's as well: an application is RUNNING a little before."""
    give_up = time.monotonic() + 30
    while (response := get(service, path)).status_code != status:
        assert time.monotonic() < give_up, response.text
        time.sleep(0.2)
    return response


def test_no_worker_stays_without_work(service: Service) -> None:
    """Each would take memory, and wake up a hundred times a second."""
    give_up = time.monotonic() + 30
    while service.find("ray::IDLE"):
        assert time.monotonic() < give_up
        time.sleep(0.5)


def test_ray_s_ports_are_for_this_machine_alone_but_for_those_it_has_no_option_for(
    service: Service,
) -> None:
    replicas = set(service.find("ray::ServeReplica"))  # of a former version, too
    listening: list[Any] = [
        each for each in psutil.net_connections("inet") if each.status == psutil.CONN_LISTEN
    ]
    others = set(service.processes()) - replicas
    loopback = ("127.", "::1", "::ffff:127.")
    open_to_all = {
        each.laddr.port
        for each in listening
        if each.pid in others and not each.laddr.ip.startswith(loopback)
    }
    # Ray's own proxy, which stands behind HAProxy while there is no Ingress: its gRPC.
    (proxy,) = service.find("ray::ProxyActor")
    assert open_to_all == {
        each.laddr.port
        for each in listening
        if each.pid == proxy and not each.laddr.ip.startswith(loopback)
    }
    assert len(open_to_all) == 1
    metrics = {each.laddr.ip for each in listening if each.laddr.port == service.metrics_port}
    assert metrics == {"127.0.0.1"}
