"""The launcher as its user meets it: what it says, when it ends, what it leaves behind."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
import torch
import yaml

from testing.pictures import encode, make_picture
from testing.ports import find_free_port
from testing.service import ROOT, Service, running, write_config, write_stub_config


def assert_gone(service: Service) -> None:
    give_up = time.monotonic() + 15
    while left := service.processes():
        assert time.monotonic() < give_up, [
            Path(f"/proc/{pid}/cmdline").read_text() for pid in left
        ]
        time.sleep(0.1)
    with pytest.raises(requests.ConnectionError):
        requests.get(service.url, timeout=5)


def edit(config: Path, **http_options: object) -> Path:
    document = yaml.safe_load(config.read_text())
    document["http_options"] |= http_options
    config.write_text(yaml.safe_dump(document))
    return config


@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM"])
def test_a_stop_finishes_what_is_in_flight_and_leaves_nothing(tmp_path: Path, how: str) -> None:
    answers: list[requests.Response] = []
    files = [("file", (str(i), encode(make_picture(i), "JPEG"))) for i in range(32)]

    def ask() -> None:
        answers.append(requests.post(f"{service.url}/predict", files=files, timeout=60))

    with running(write_config(tmp_path, find_free_port())) as service:
        slow = begin_to_send(service, PICTURE[:1000])
        asking = threading.Thread(target=ask)
        asking.start()
        time.sleep(1.5)  # the upload is in, and its 32 images may take longer than this
        if how == "Ctrl-C":
            os.killpg(service.process.pid, signal.SIGINT)
        else:
            service.process.send_signal(signal.SIGTERM)
        wait_until_it_takes_no_more(service)
        slow.send(PICTURE[1000:])
        assert slow.getresponse().status == 200
        slow.close()
        assert service.wait() == 0
        asking.join()
    assert [(answer.status_code, len(answer.json())) for answer in answers] == [(200, 32)]
    assert "Traceback" not in service.output
    assert_gone(service)


PICTURE = encode(make_picture(1), "JPEG")
HEADERS = {"Content-Type": "image/jpeg", "Content-Length": str(len(PICTURE))}


def begin_to_send(service: Service, data: bytes) -> http.client.HTTPConnection:
    """A request whose body is still coming."""
    connection = http.client.HTTPConnection("localhost", service.port, timeout=60)
    connection.putrequest("POST", "/predict")
    for header in HEADERS.items():
        connection.putheader(*header)
    connection.endheaders(data)
    return connection


def wait_until_it_takes_no_more(service: Service) -> None:
    give_up = time.monotonic() + 10
    url = f"{service.url}/predict"
    while (late := requests.post(url, PICTURE, headers=HEADERS, timeout=30)).ok:
        assert time.monotonic() < give_up
    assert (late.status_code, late.json()["error"]["code"]) == (503, "unavailable")


def test_before_it_is_ready_requests_are_refused_and_a_second_signal_ends_it_at_once(
    tmp_path: Path,
) -> None:
    config = write_config(tmp_path, find_free_port())
    document = yaml.safe_load(config.read_text())
    document["applications"][0]["import_path"] = "testing.stub:build_slow"
    config.write_text(yaml.safe_dump(document))
    service = Service(config)
    refused: list[requests.Response] = []
    while "Ready: " not in service.output:
        assert service.process.poll() is None, service.output
        try:
            response = requests.post(f"{service.url}/predict", b"x", timeout=0.5)
        except (requests.ConnectionError, requests.Timeout):
            continue  # the ingress is not up yet either
        if response.status_code == 503:
            refused.append(response)
        time.sleep(0.05)
    assert refused
    assert refused[0].json()["error"]["code"] == "unavailable"
    assert refused[0].headers["X-Model-Version"] == "unknown"
    assert int(refused[0].headers["Retry-After"]) >= 1
    assert requests.get(service.dashboard, timeout=10).ok
    assert_a_second_signal_ends_it_at_once(service)


def is_lost(asking: Future[requests.Response]) -> bool:
    """Whether a request ended without its response, or HAProxy said so."""
    if isinstance(asking.exception(), requests.ConnectionError):
        return True
    return asking.exception() is None and asking.result().status_code == 503


def assert_a_second_signal_ends_it_at_once(service: Service) -> None:
    files = [("file", (str(i), encode(make_picture(i), "JPEG"))) for i in range(32)]
    with ThreadPoolExecutor(8) as senders:
        asking = [
            senders.submit(requests.post, f"{service.url}/predict", files=files, timeout=60)
            for _ in range(8)  # more than can be answered in the time this takes
        ]
        time.sleep(1)
        service.process.terminate()
        while "Stopping: " not in service.output:
            time.sleep(0.1)
        time.sleep(0.5)
        service.stop()
    assert "Stopping at once" in service.output
    assert any(map(is_lost, asking))
    assert_gone(service)


def test_a_port_that_is_taken_ends_the_launcher_at_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        service = Service(write_config(tmp_path, port))
        assert service.wait() == 1
    assert f"port {port} of 127.0.0.1 is not free" in service.output
    assert "Traceback" not in service.output


def test_a_grpc_port_that_is_taken_ends_the_launcher_too(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = write_config(tmp_path, find_free_port())
        document = yaml.safe_load(config.read_text())
        document["grpc_options"]["port"] = port
        config.write_text(yaml.safe_dump(document))
        service = Service(config)
        assert service.wait() == 1
    assert f"port {port} of " in service.output
    assert "another 'grpc_options.port'" in service.output
    assert "Traceback" not in service.output


def test_it_is_ready_under_a_route_prefix_and_on_an_ipv6_address(tmp_path: Path) -> None:
    config = edit(write_config(tmp_path, find_free_port()), host="::1")
    document = yaml.safe_load(config.read_text())
    document["applications"][0] |= {
        "route_prefix": "/photos",
        "import_path": "testing.stub:build_fast",
    }
    config.write_text(yaml.safe_dump(document))
    with running(config) as service:
        url = f"http://[::1]:{service.port}/photos"
        assert f"Ready: {url}\n" in service.output
        assert requests.post(f"{url}/predict", PICTURE, headers=HEADERS, timeout=60).ok


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ({"weihgts": "auto"}, "weihgts"),
        ({"limits": {"max_images": 0}}, "max_images"),
        ({"weights_url": "file:///etc/passwd"}, "weights_url"),
    ],
)
def test_bad_settings_end_the_launcher_before_anything_starts(
    tmp_path: Path, args: dict[str, object], told: str
) -> None:
    service = Service(write_config(tmp_path, find_free_port(), **args))
    assert service.wait() == 1
    assert told in service.output
    assert "Starting Ray" not in service.output
    assert "Traceback" not in service.output


def test_a_configuration_that_is_not_there_ends_the_launcher() -> None:
    command = [sys.executable, "-m", "deployments", "nowhere.yaml"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "nowhere.yaml" in ended.stderr


def test_a_deployment_that_fails_ends_the_launcher_with_the_cause(tmp_path: Path) -> None:
    checkpoint = tmp_path / "lacking.pth"  # what the launcher looks at is right
    torch.save({"classifier.weight": torch.zeros(1000, 1024)}, checkpoint)
    service = Service(write_config(tmp_path, find_free_port(), weights=str(checkpoint)))
    assert service.wait() == 1
    _, failed, cause = service.output.partition("densenet-serve cannot start")
    assert failed
    assert "not a DenseNet-121 checkpoint" in cause
    assert_gone(service)


def test_when_ray_dies_the_launcher_ends_with_the_cause(tmp_path: Path) -> None:
    with running(write_config(tmp_path, find_free_port())) as service:
        (raylet,) = (
            child
            for child in psutil.Process(service.launcher).children()
            if child.name() == "raylet"
        )
        raylet.kill()
        assert service.wait() == 1
    assert "a process that Ray cannot do without has ended" in service.output
    assert_gone(service)


def test_two_services_on_one_machine_do_not_meet(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
    first, second = (write_stub_config(folder) for folder in folders)
    with running(first) as one, running(second) as other:
        for _ in range(4):
            assert ask_paint(one).ok
            assert ask_paint(other).ok
        one.stop()
        assert ask_paint(other).ok


def ask_paint(service: Service) -> requests.Response:
    return requests.post(f"{service.url}/predict", PICTURE, headers=HEADERS, timeout=30)


def test_only_its_own_ports_are_open_to_clients(tmp_path: Path) -> None:
    config = write_stub_config(tmp_path)
    with running(config) as service:
        wanted = {("127.0.0.1", service.port), ("127.0.0.1", service.grpc_port)}
        give_up = time.monotonic() + 30  # the newest one may have just been started
        while (found := find_listening(find_haproxy(service))) != wanted:
            assert time.monotonic() < give_up, found
            time.sleep(0.1)


def find_listening(pid: int) -> set[Any]:
    try:
        connections = psutil.Process(pid).net_connections("inet")
    except psutil.NoSuchProcess:
        return set()
    return {each.laddr for each in connections if each.status == psutil.CONN_LISTEN}


def find_haproxy(service: Service) -> int:
    """The one that takes requests: others finish what they have."""
    started_s: dict[int, float] = {}
    for pid in service.processes():
        with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
            process = psutil.Process(pid)
            if process.name() == "haproxy":
                started_s[pid] = process.create_time()
    return max(started_s, key=started_s.__getitem__)


def test_clients_notice_nothing_when_the_manager_of_haproxy_dies(tmp_path: Path) -> None:
    with running(write_stub_config(tmp_path)) as service:
        (manager,) = service.find("ray::HAProxyManager")
        haproxy = find_haproxy(service)
        psutil.Process(manager).kill()
        give_up = time.monotonic() + 60
        while find_haproxy(service) == haproxy:
            assert ask_paint(service).ok
            assert time.monotonic() < give_up
        assert ask_paint(service).ok


def test_a_haproxy_that_dies_is_replaced(tmp_path: Path) -> None:
    with running(write_stub_config(tmp_path)) as service:
        psutil.Process(find_haproxy(service)).kill()
        wait_until_answered(service.url)


def test_a_ray_that_runs_is_joined_again_and_again(tmp_path: Path) -> None:
    config = write_stub_config(tmp_path)
    with running(config) as host:
        for _ in range(2):
            joined = Service(
                config,
                RAY_ADDRESS=host.read_row("Ray"),
                RAY_AUTH_MODE="token",
                RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",
            )
            joined.wait_until_ready()
            assert ask_paint(joined).ok
            assert joined.stop() == 0
            assert ask_paint(host).status_code == 503


def test_a_version_that_cannot_be_built_leaves_the_one_that_serves(tmp_path: Path) -> None:
    config = write_stub_config(tmp_path)
    broken = tmp_path / "broken.yaml"
    broken.write_text(config.read_text().replace("build_fast", "build_broken"))
    with running(config) as host:
        joined = Service(
            broken,
            RAY_ADDRESS=host.read_row("Ray"),
            RAY_AUTH_MODE="token",
            RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",
        )
        assert joined.process.wait(timeout=120) == 1
        assert ask_paint(host).ok


def test_plain_serve_run_works_with_the_same_file(tmp_path: Path) -> None:
    config = write_config(tmp_path, find_free_port())
    port = yaml.safe_load(config.read_text())["http_options"]["port"]
    serve = subprocess.Popen(
        [str(Path(sys.executable).with_name("serve")), "run", str(config)],
        cwd=ROOT,
        env=os.environ | {"RAY_ADDRESS": "local"},  # without HAProxy: Ray's own proxy
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        response = wait_until_answered(f"http://localhost:{port}")
        assert list(response.json()["image"]) == ["class_id", "class_name"]
        assert "X-Request-ID" in response.headers
    finally:
        serve.send_signal(signal.SIGINT)
        serve.communicate(timeout=60)


def wait_until_answered(url: str) -> requests.Response:
    picture = encode(make_picture(1))
    headers = {"Content-Type": "image/png"}
    give_up = time.monotonic() + 120
    while time.monotonic() < give_up:
        try:
            response = requests.post(f"{url}/predict", picture, headers=headers, timeout=10)
            if response.ok:
                return response
        except (requests.ConnectionError, requests.Timeout):
            continue
        finally:
            time.sleep(0.3)
    raise AssertionError("no answer")
