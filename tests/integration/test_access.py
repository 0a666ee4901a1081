"""Keys at a real service: who is let in, by which way, and what is told of it."""

import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import requests
import tritonclient.grpc as triton_grpc
from PIL import Image
from tritonclient.utils import InferenceServerException

from densenet_client import Classification, Client, Unauthorized
from deployments.ingress.auth import generate_api_key
from testing.pictures import encode
from testing.ports import find_free_port
from testing.service import Service, running, write_config

ALICE, ALICES_LINE = generate_api_key("alice")
BOB, BOBS_LINE = generate_api_key("bob")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the keys' file."""
    folder = tmp_path_factory.mktemp("access")
    (folder / "keys").write_text(ALICES_LINE)
    return folder


@pytest.fixture(scope="module")
def guarded(folder: Path) -> Iterator[Service]:
    """A service that wants keys."""
    config = write_config(folder, find_free_port(), api_keys_file=str(folder / "keys"))
    with running(config) as service:
        yield service


@pytest.fixture
def url(guarded: Service) -> str:
    return guarded.url


def test_only_clients_with_a_key_are_answered(
    url: str, guarded: Service, pictures: list[Image.Image]
) -> None:
    assert f"Ready: {url}" in guarded.output
    image = encode(pictures[3])
    for headers in ({}, {"X-API-Key": "wrong"}):
        refused = requests.post(f"{url}/predict", image, headers=headers, timeout=30)
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "unauthorized")
    with Client(url, ALICE) as client:
        (result,) = client.classify([("a.png", image)])
    assert isinstance(result, Classification)
    with Client(url, "wrong") as client, pytest.raises(Unauthorized):
        client.classify([("a.png", image)])
    assert requests.get(f"{url}/readyz", timeout=30).ok


def test_a_body_without_a_key_is_not_taken_in(url: str) -> None:
    refused = requests.post(f"{url}/predict", bytes(60 * 2**20), timeout=30)
    assert refused.status_code == 401


def test_keys_are_for_grpc_too(guarded: Service) -> None:
    with triton_grpc.InferenceServerClient(f"localhost:{guarded.grpc_port}") as client:
        assert client.is_server_ready()
        with pytest.raises(InferenceServerException) as refused:
            client.get_model_metadata("densenet121")
        assert refused.value.status() == str(grpc.StatusCode.UNAUTHENTICATED)
        for headers in ({"x-api-key": ALICE}, {"authorization": f"Bearer {ALICE}"}):
            assert client.get_model_metadata("densenet121", headers=headers).name == "densenet121"


def test_a_key_that_is_added_or_taken_away_counts_without_a_restart(url: str, folder: Path) -> None:
    def status(key: str) -> int:
        response = requests.post(f"{url}/predict", headers={"X-API-Key": key}, timeout=30)
        return response.status_code

    (folder / "keys").write_text(BOBS_LINE)
    time.sleep(1.1)  # how long a change may go unnoticed
    assert (status(ALICE), status(BOB)) == (401, 400)
    (folder / "keys").write_text(f"{ALICES_LINE}\n{BOBS_LINE}\n")
    time.sleep(1.1)
    assert (status(ALICE), status(BOB)) == (400, 400)


def test_the_log_and_the_metrics_name_the_caller_and_never_the_key(
    url: str, guarded: Service
) -> None:
    refused = requests.post(f"{url}/predict", headers={"X-API-Key": ALICE}, timeout=30)
    assert refused.status_code == 400
    assert "alice" in {line.get("client") for line in guarded.read_logs()}
    assert ALICE not in guarded.output + str(guarded.read_logs())
    wanted = 'client="alice"'
    give_up = time.monotonic() + 30
    while wanted not in (metrics := guarded.read_metrics()):
        assert time.monotonic() < give_up
        time.sleep(0.5)
    assert ALICE not in metrics


def test_rays_own_interface_wants_its_token(guarded: Service) -> None:
    refused = requests.get(f"{guarded.dashboard}/api/serve/applications/", timeout=30)
    assert refused.status_code in (401, 403)
