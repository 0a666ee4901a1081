"""The service as its users start it: the launcher as a process, spoken to over HTTP."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import requests
import yaml
from ray.dashboard.modules.serve.sdk import ServeSubmissionClient

from deployments.launcher.guard import find_session
from testing.ports import find_free_port

ROOT = Path(__file__).parents[1]
LAUNCH = [sys.executable, "-m", "deployments"]
READY_WITHIN_S = 240.0
STOPPED_WITHIN_S = 120.0
NOWHERE = "http://127.0.0.1:9/densenet121.pth"
"""Tests download nothing, and what a start remembers of it says nothing of the real address."""


def write_config(folder: Path, port: int, **args: Any) -> Path:
    """`serve_config.yaml` on another port, with some of its `args` replaced."""
    config = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    config["http_options"]["port"] = port
    while (grpc_port := find_free_port()) == port:
        pass
    config["grpc_options"]["port"] = grpc_port
    config["applications"][0]["args"] |= {"weights_url": NOWHERE} | args
    # Tests share the machine: what waits here for longer than it should is no overload.
    config["applications"][0]["deployments"][1]["user_config"]["max_queue_wait_s"] = 60
    # Only the logs of this service, whatever else runs on the machine.
    config["applications"][0]["logging_config"]["logs_dir"] = str(folder / "logs")
    path = folder / f"config-{port}.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def write_stub_config(folder: Path) -> Path:
    """On a free port, with a model that costs little: what stands before it is tried."""
    config = write_config(folder, find_free_port())
    document = yaml.safe_load(config.read_text())
    document["applications"][0]["import_path"] = "testing.stub:build_fast"
    config.write_text(yaml.safe_dump(document))
    return config


HAPROXY = 0
"""In the place of a process id."""


class Service:
    """A running launcher, and what it has printed so far."""

    def __init__(self, config: Path, **environment: str) -> None:
        self.config = config
        document = yaml.safe_load(config.read_text())
        self.port: int = document["http_options"]["port"]
        self.grpc_port: int = document["grpc_options"]["port"]
        self.url = f"http://localhost:{self.port}"
        self.metrics_port = find_free_port()
        # A group of its own, so that a test can interrupt it as a terminal does.
        self.process = subprocess.Popen(
            [*LAUNCH, str(config), "--metrics-port", str(self.metrics_port)],
            cwd=ROOT,
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.launcher = wait_for_child(self.process)
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.append(line)
        self.process.stdout.close()

    @property
    def output(self) -> str:
        return "".join(self._lines)

    @property
    def dashboard(self) -> str:
        """The dashboard's address, as the launcher printed it."""
        return self.read_row("dashboard")

    def read_row(self, name: str) -> str:
        """What the launcher has said of it when it was ready."""
        match = re.search(rf"^  {name} +(\S+)$", self.output, re.MULTILINE)
        assert match, self.output
        return match[1]

    def read_metrics(self) -> str:
        """As Prometheus reads them."""
        url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        return requests.get(url, timeout=30).text

    def read_logs(self) -> list[dict[str, Any]]:
        """The structured log lines of its replicas, but for one that is still being written."""
        folder = self.config.parent / "logs"
        texts = [path.read_text() for path in folder.glob("*.log")]
        lines = [line for text in texts for line in text[: text.rfind("\n") + 1].splitlines()]
        return [json.loads(line) for line in lines]

    def replica_pids(self, deployment: str) -> set[int]:
        details = ServeSubmissionClient(self.dashboard).get_serve_details()
        deployments = details["applications"]["densenet"]["deployments"]
        return {replica["pid"] for replica in deployments[deployment]["replicas"]}

    def front_bytes(self) -> dict[int, int]:
        """By process, the private memory of what reads the bytes of clients; no shared memory.

        HAProxy has a new process after each reload, so all of its processes count as one.
        """
        ingresses = self.find("ray::ServeReplica:densenet:Ingress")
        haproxies = [pid for pid in self.processes() if _name(pid) == "haproxy"]
        return {pid: _private_bytes(pid) for pid in ingresses} | {
            HAPROXY: sum(map(_private_bytes, haproxies))
        }

    def wait_until_ready(self) -> None:
        give_up = time.monotonic() + READY_WITHIN_S
        while "  to change" not in self.output:  # the last line of what it says then
            assert self.process.poll() is None, f"the launcher ended\n{self.output}"
            assert time.monotonic() < give_up, f"not ready in time\n{self.output}"
            time.sleep(0.1)

    def wait(self) -> int:
        """Wait for the launcher to end; returns its exit status."""
        status = self.process.wait(STOPPED_WITHIN_S)
        self._reader.join(STOPPED_WITHIN_S)
        return status

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        self.process.send_signal(signal_number)
        return self.wait()

    def find(self, name: str) -> list[int]:
        """The ids of its processes whose names begin so."""
        return [pid for pid in self.processes() if _command_line(pid).startswith(name.encode())]

    def processes(self) -> list[int]:
        """The ids of all its processes that are still there, but for the guard's."""
        return find_session(self.launcher)


@contextmanager
def running(config: Path, **environment: str) -> Iterator[Service]:
    """A service that is ready; stopped at the end, and then really gone."""
    service = Service(config, **environment)
    try:
        service.wait_until_ready()
        yield service
    finally:
        if service.process.poll() is None:
            service.stop()


def wait_for_child(guard: "subprocess.Popen[str]") -> int:
    """The launcher, by whose session its processes are found."""
    while guard.poll() is None:
        if children := psutil.Process(guard.pid).children():
            return children[0].pid
        time.sleep(0.01)
    raise AssertionError("the guard ended without a launcher")


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""  # it has ended


def _private_bytes(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0  # it has ended
    return 1024 * sum(map(int, re.findall(r"^Pss_Anon: +(\d+) kB", text, re.MULTILINE)))


def deploy(
    service: Service, document: dict[str, Any], folder: Path, expect: str = "RUNNING"
) -> None:
    """`serve deploy` an edited configuration, and wait until its applications are as expected."""
    path = folder / "edited.yaml"
    path.write_text(yaml.safe_dump(document))
    command = [str(Path(sys.executable).with_name("serve")), "deploy", "-a", service.dashboard]
    subprocess.run([*command, str(path)], check=True, cwd=ROOT)
    wanted = {application["name"]: expect for application in document["applications"]}
    give_up = time.monotonic() + READY_WITHIN_S
    while (found := _application_statuses(service)) != wanted:
        assert time.monotonic() < give_up, found
        time.sleep(0.2)


def _application_statuses(service: Service) -> dict[str, str]:
    details = ServeSubmissionClient(service.dashboard).get_serve_details()
    return {name: str(app["status"]) for name, app in details["applications"].items()}
