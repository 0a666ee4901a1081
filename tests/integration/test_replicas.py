"""Two tiers in replicas of their own, tuned while they serve."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import yaml
from PIL import Image

from testing.pictures import encode
from testing.ports import find_free_port
from testing.service import Service, deploy, running, write_config
from testing.stub_model import StubModel


@pytest.fixture(scope="module")
def batching(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service around a stub that takes eight images at once."""
    config = write_config(tmp_path_factory.mktemp("batching"), find_free_port())
    document = yaml.safe_load(config.read_text())
    document["applications"][0]["import_path"] = "testing.stub:build_medium"
    config.write_text(yaml.safe_dump(document))
    with running(config) as service:
        yield service


def largest_batch(service: Service, pictures: list[Image.Image]) -> int:
    """The largest batch that the images of one upload were in."""
    files = [("file", (f"{i}.png", encode(pictures[i]))) for i in range(32)]
    response = requests.post(f"{service.url}/predict", files=files, timeout=60)
    match = re.search(r"batch of (\d+)", response.headers["Server-Timing"])
    assert match
    return int(match[1])


def test_the_ingress_imports_no_torch(service: Service) -> None:
    (ingress,) = service.replica_pids("Ingress")
    (classifier,) = service.replica_pids("Classifier")
    assert "libtorch" not in Path(f"/proc/{ingress}/maps").read_text()
    assert "libopenvino" in Path(f"/proc/{classifier}/maps").read_text()


def test_images_go_to_openvino_one_by_one(service: Service, pictures: list[Image.Image]) -> None:
    assert largest_batch(service, pictures) == 1


def test_images_go_to_torch_in_batches(tmp_path: Path, pictures: list[Image.Image]) -> None:
    with running(write_config(tmp_path, find_free_port(), engine="torch")) as service:
        assert largest_batch(service, pictures) == 8


def test_a_new_batch_size_is_live_without_a_restart(
    batching: Service, pictures: list[Image.Image], tmp_path: Path
) -> None:
    before = batching.replica_pids("Classifier") | batching.replica_pids("Ingress")
    document = yaml.safe_load(batching.config.read_text())
    tuning = document["applications"][0]["deployments"][1]["user_config"]
    assert largest_batch(batching, pictures) == StubModel.max_batch_size
    tuning["max_batch_size"] = 3
    deploy(batching, document, tmp_path)
    assert largest_batch(batching, pictures) == 3
    assert batching.replica_pids("Classifier") | batching.replica_pids("Ingress") == before
    deploy(batching, yaml.safe_load(batching.config.read_text()), tmp_path)
    assert largest_batch(batching, pictures) == StubModel.max_batch_size


def test_a_mistake_in_a_live_user_config_keeps_the_old_values_and_the_replicas(
    batching: Service, pictures: list[Image.Image], tmp_path: Path
) -> None:
    before = batching.replica_pids("Classifier")
    document = yaml.safe_load(batching.config.read_text())
    document["applications"][0]["deployments"][1]["user_config"] = {"max_batch": 4}
    deploy(batching, document, tmp_path)
    assert largest_batch(batching, pictures) == StubModel.max_batch_size
    assert batching.replica_pids("Classifier") == before
    (line,) = (line for line in batching.read_logs() if "The replica keeps" in str(line))
    assert "max_batch: " in str(line)
