"""A joined Ray that has ended ends the launcher, but not one whose GCS restarts."""

import socket

import pytest

from deployments.common.errors import RayDied
from deployments.launcher import ray_watch
from deployments.launcher.ray_watch import RayWatch, connect


def test_a_joined_ray_is_gone_when_nothing_listens_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gcs:
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{gcs.getsockname()[1]}")
        watch = RayWatch()
        watch.check()
    watch.check()
    monkeypatch.setattr(ray_watch, "GONE_AFTER_S", 0.0)
    with pytest.raises(RayDied, match="the Ray that it joined has ended"):
        watch.check()


def test_an_address_of_ipv6_is_reached() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as gcs:
        connect(f"[::1]:{gcs.getsockname()[1]}")


def test_a_joined_ray_without_an_address_of_its_own_is_not_watched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    monkeypatch.setattr(ray_watch, "GONE_AFTER_S", 0.0)
    RayWatch().check()
