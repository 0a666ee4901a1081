"""What the application is built for, by what the cluster has."""

from typing import Any

import pytest

from deployments import app
from deployments.common.errors import StartupError
from deployments.common.settings import Settings


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """The resources of the cluster, for the test to change."""
    resources: dict[str, float] = {"CPU": 2.0}
    monkeypatch.setattr("deployments.app.ray.cluster_resources", lambda: resources)
    return resources


@pytest.mark.parametrize(
    ("gpus", "args", "device"),
    [
        (0, {}, "cpu"),
        (1, {}, "cuda"),
        (1, {"device": "cpu"}, "cpu"),
        (1, {"device": "cuda"}, "cuda"),
        (1, {"engine": "openvino"}, "cpu"),
    ],
)
def test_a_gpu_is_taken_where_the_cluster_has_one(
    cluster: dict[str, float], gpus: int, args: dict[str, Any], device: str
) -> None:
    cluster["GPU"] = gpus
    assert app.choose_device(Settings(**args)) == device


@pytest.mark.usefixtures("cluster")
def test_cuda_without_a_gpu_names_the_ways_out() -> None:
    with pytest.raises(StartupError, match=r"gpu_wait_s.*device: auto"):
        app.choose_device(Settings(device="cuda"))


def test_cuda_waits_for_a_node_with_a_gpu(
    cluster: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployments.app.time.sleep", lambda _: cluster.update(GPU=1))
    assert app.choose_device(Settings(device="cuda", gpu_wait_s=60)) == "cuda"


def test_openvino_is_not_for_cuda() -> None:
    with pytest.raises(ValueError, match="openvino runs on the CPU"):
        Settings(engine="openvino", device="cuda")
