"""The ports that the local Ray gets, and a Ray that is to be joined."""

import socket
import time

import pytest

from deployments.common.errors import StartupError
from deployments.launcher import ray_cluster
from deployments.launcher.config import read_config
from deployments.launcher.ray_cluster import RayOptions, choose_metrics_port, join_ray
from testing.ports import find_free_port
from testing.service import ROOT


def options(metrics_port: int) -> RayOptions:
    return RayOptions("127.0.0.1", metrics_port, "127.0.0.1")


def test_a_free_metrics_port_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    port = find_free_port()
    assert choose_metrics_port(options(port)) == port
    assert capsys.readouterr().out == ""


def test_a_metrics_port_in_use_is_replaced_by_another_with_a_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        wanted = taken.getsockname()[1]
        port = choose_metrics_port(options(wanted))
    assert port != wanted
    line = f"The metrics port {wanted} is in use: metrics are at port {port}.\n"
    assert capsys.readouterr().out == line


def test_the_metrics_port_0_is_a_free_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert choose_metrics_port(options(0)) > 0
    assert capsys.readouterr().out == ""


def test_a_ray_that_does_not_start_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def time_out(**_: object) -> None:
        raise Exception("The current node timed out during startup.")  # as Ray does

    monkeypatch.setattr(ray_cluster, "init_ray", time_out)
    monkeypatch.setattr(ray_cluster, "stay_on_localhost", lambda: None)
    monkeypatch.setattr(ray_cluster, "bind_haproxy", lambda _: None)
    config = read_config(ROOT / "serve_config.yaml")
    with pytest.raises(StartupError, match="Ray did not start: The current node timed out"):
        ray_cluster.start_private_ray(config, options(0))
    assert capsys.readouterr().out == "Starting Ray (about 5 s) ...\n"


@pytest.mark.parametrize("address", [":1", "127.0.0.1:1", "127.0.0.1:port"])
def test_an_address_without_a_ray_is_told_at_once(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    began = time.monotonic()
    with pytest.raises(StartupError, match=f"no Ray at RAY_ADDRESS={address}. Start one there"):
        join_ray()
    assert time.monotonic() - began < 10
