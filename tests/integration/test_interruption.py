"""Ctrl-C and SIGKILL at any moment of the launcher's life: a line, an end, nothing left."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from testing.service import Service, running, write_stub_config

ENDS_WITHIN_S = 15.0
"""It takes one or two; the machine may be busy with other tests."""


def has_printed(words: str) -> Callable[[Service], bool]:
    return lambda service: words in service.output


def has_process(name: str) -> Callable[[Service], bool]:
    return lambda service: any(name in read_title(pid) for pid in service.processes())


def read_title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:  # it has ended meanwhile
        return ""


MOMENTS = {
    "Ray begins to start": has_printed("Starting Ray"),
    "its raylet runs": has_process("raylet/raylet"),
    "the model is to be loaded": has_printed("Loading the model"),
    "the controller runs": has_process("ray::ServeController"),
    "a Classifier runs": has_process("ray::ServeReplica:densenet:Classifier"),
    "HAProxy listens": lambda service: is_answered(service.url),
}


def is_answered(url: str) -> bool:
    try:
        return bool(requests.get(f"{url}/healthz", timeout=1).status_code)
    except (requests.ConnectionError, requests.Timeout):
        return False


@pytest.fixture
def starting(tmp_path: Path) -> Iterator[Service]:
    """A service that has just been started."""
    service = Service(write_stub_config(tmp_path))
    yield service
    if service.process.poll() is None:
        service.process.kill()
        service.wait()


@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_ends_the_start_in_seconds_with_a_line(starting: Service, moment: str) -> None:
    wait_for(starting, MOMENTS[moment])
    os.killpg(starting.process.pid, signal.SIGINT)
    began = time.monotonic()
    status = starting.wait()
    if "Ready: " not in starting.output:  # which it may have become just before
        assert status == 130
        assert starting.output.splitlines()[-1] == "Stopped before the service was ready."
    assert time.monotonic() - began < ENDS_WITHIN_S
    assert "Traceback" not in starting.output
    assert starting.processes() == []


def wait_for(service: Service, moment: Callable[[Service], bool]) -> None:
    give_up = time.monotonic() + 120
    while not moment(service):
        assert service.process.poll() is None, service.output
        assert time.monotonic() < give_up, service.output
        time.sleep(0.02)


def test_sigterm_ends_the_start_too(starting: Service) -> None:
    wait_for(starting, has_process("raylet/raylet"))
    began = time.monotonic()
    assert starting.stop(signal.SIGTERM) == 130
    assert time.monotonic() - began < ENDS_WITHIN_S
    assert starting.processes() == []


@pytest.mark.parametrize("process", ["dashboard/dashboard.py", "ray-dashboard-"])
def test_ctrl_c_while_the_dashboard_starts_stops_the_service(tmp_path: Path, process: str) -> None:
    with running(write_stub_config(tmp_path)) as service:
        assert not has_process("dashboard/dashboard.py")(service)  # nobody has asked for it
        asking = threading.Thread(target=is_answered, args=[service.dashboard])
        asking.start()
        wait_for(service, has_process(process))
        began = time.monotonic()
        os.killpg(service.process.pid, signal.SIGINT)
        assert service.wait() == 0
        assert time.monotonic() - began < ENDS_WITHIN_S
        assert service.output.splitlines()[-1] == "Stopped."
        assert service.processes() == []
        asking.join()


@pytest.mark.parametrize("moment", ["its raylet runs", "the controller runs"])
def test_a_service_that_is_killed_in_its_start_leaves_nothing(
    starting: Service, moment: str
) -> None:
    wait_for(starting, MOMENTS[moment])
    kill(starting.process.pid, starting)


@pytest.mark.parametrize("which", ["the process that was started", "the launcher, its child"])
def test_a_service_that_is_killed_leaves_nothing(tmp_path: Path, which: str) -> None:
    with running(write_stub_config(tmp_path)) as service:
        is_child = which == "the launcher, its child"
        kill(service.launcher if is_child else service.process.pid, service)
        with pytest.raises(requests.ConnectionError):
            requests.get(service.url, timeout=5)


def kill(pid: int, service: Service) -> None:
    os.kill(pid, signal.SIGKILL)
    give_up = time.monotonic() + ENDS_WITHIN_S
    while left := service.processes():
        assert time.monotonic() < give_up, left
        time.sleep(0.05)
    assert service.wait() in (-signal.SIGKILL, 128 + signal.SIGKILL)


def test_an_idle_service_stops_within_seconds(tmp_path: Path) -> None:
    with running(write_stub_config(tmp_path)) as service:
        os.killpg(service.process.pid, signal.SIGINT)
        began = time.monotonic()
        assert service.wait() == 0
        assert time.monotonic() - began < ENDS_WITHIN_S
    assert service.output.splitlines()[-2:] == [
        "Stopping: requests in flight are finished first.",
        "Stopped.",
    ]
    assert service.processes() == []
