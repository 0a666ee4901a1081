"""Two Classifier replicas around a stub: one dies, clients go away."""

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import yaml

from testing.labelled_requests import synthetic_data
from testing.load_client import Client, LabelledRequest
from testing.service import Service, deploy


@contextlib.contextmanager
def deployed(service: Service, folder: Path, name: str, builder: str, **args: str) -> Iterator[str]:
    """Gives the URL of a second application in the same cluster, with two Classifiers."""
    document = yaml.safe_load(service.config.read_text())
    (good,) = document["applications"]
    ingress, classifier = good["deployments"]
    stub = {
        **good,
        "name": name,
        "route_prefix": f"/{name}",
        "import_path": f"testing.stub:{builder}",
        "args": good["args"] | args,
        "deployments": [
            {**ingress, "ray_actor_options": {"num_cpus": 0}},
            {**classifier, "num_replicas": 2},
        ],
    }
    deploy(service, {**document, "applications": [good, stub]}, folder)
    yield f"{service.url}/{name}"
    deploy(service, document, folder)


@pytest.fixture(scope="module")
def stubbed(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("stubbed")
    with deployed(service, folder, "stubbed", "build_medium") as url:
        yield url


def kill_classifier(service: Service, application: str) -> None:
    replicas = service.find(f"ray::ServeReplica:{application}:Classifier")
    assert len(replicas) == 2
    os.kill(replicas[0], signal.SIGKILL)


def test_a_classifier_that_dies_costs_no_image_and_makes_none_wrong(
    service: Service, stubbed: str
) -> None:
    client = Client(stubbed)
    arrivals_s = [0.0] * 8 + [1.0, 1.2, 1.4, 1.6]
    to_send = synthetic_data().make_requests(16)
    asking = threading.Thread(target=asyncio.run, args=[client.send(to_send, arrivals_s)])
    asking.start()
    time.sleep(0.7)
    kill_classifier(service, "stubbed")
    asking.join()
    assert client.tally.images == 192
    assert (client.tally.lost, client.tally.wrong) == (0, 0)
    assert client.tally.lost_at_once == 0, client.tally.failures


def post(
    url: str, request: LabelledRequest, timeout_s: float = 30, deadline_ms: int = 30_000
) -> requests.Response:
    headers = {**request.payload.headers, "X-Deadline-Ms": str(deadline_ms)}
    body = request.payload.body
    return requests.post(f"{url}/predict", body, headers=headers, timeout=timeout_s)


def post_and_go(url: str, request: LabelledRequest) -> None:
    with contextlib.suppress(requests.Timeout):  # those that came first may be answered
        post(url, request, timeout_s=6)


def test_images_of_clients_that_have_gone_are_dropped(stubbed: str) -> None:
    dataset = synthetic_data()
    small, large = dataset.make_requests(8)[0], dataset.make_requests(32)[0]
    for _ in range(4):
        assert post(stubbed, small).ok  # both replicas learn what an image takes
    # 13 s of work for the two, of which the clients wait for 6.
    going = [threading.Thread(target=post_and_go, args=[stubbed, large]) for _ in range(16)]
    for each in going:
        each.start()
    rejected = poll(stubbed, small, deadline_ms=1_500, until=503, within_s=5.5)
    assert rejected.json()["error"]["code"] == "overloaded"
    assert int(rejected.headers["Retry-After"]) >= 1
    for each in going:
        each.join()
    poll(stubbed, small, deadline_ms=2_000, until=200, within_s=4)


def poll(
    url: str, request: LabelledRequest, deadline_ms: int, until: int, within_s: float
) -> requests.Response:
    """Ask again until a request that was sent within that time is answered so."""
    give_up = time.monotonic() + within_s
    while (response := post(url, request, deadline_ms=deadline_ms)).status_code != until:
        assert time.monotonic() < give_up, response.text
        time.sleep(0.05)
    return response


def test_a_model_that_is_stuck_costs_no_request(service: Service, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    with deployed(service, tmp_path, "stuck", "build_hanging_once", weights=str(marker)) as url:
        request = synthetic_data().make_requests(1)[0]
        marker.touch()
        assert post(url, request).status_code == 200
        assert not marker.exists()
