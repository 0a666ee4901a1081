"""What the launcher prints from its start to its end, in a pipe: these lines and no other."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import requests
import yaml

from testing.pictures import encode, make_picture
from testing.service import ROOT, Service, running, write_stub_config
from tests.integration.test_readme import list_commands

PICTURE = encode(make_picture(1), "JPEG")
HEADERS = {"Content-Type": "image/jpeg"}
LINES = [
    r"Starting Ray \(about 5 s\) \.\.\.",
    r"Loading the model \(longer the first time\) \.\.\.",
    r"Ready: http://localhost:\d+",
    r"  weights    stub",
    r"  model      none on cpu \(stub\)",
    r"  gRPC       port \d+",
    r"  metrics    http://127\.0\.0\.1:\d+/metrics",
    r"  dashboard  http://127\.0\.0\.1:\d+",
    r"  Ray        127\.0\.0\.1:\d+",
    r"  logs       /\S+",
    r"  to change  RAY_AUTH_MODE=token PYTHONPATH=\S+ \S+/serve deploy /\S+\.yaml -a http://127\.0\.0\.1:\d+",
    r"\d\d:\d\d:\d\d Classifier: a replica was lost; Ray starts what is missing\.",
    r"\d\d:\d\d:\d\d Classifier: the replica runs again\.",
    r"Stopping: requests in flight are finished first\.",
    r"Stopped\.",
]


def ask(service: Service) -> requests.Response:
    return requests.post(f"{service.url}/predict", PICTURE, headers=HEADERS, timeout=60)


def test_a_run_with_requests_and_a_lost_replica_prints_these_lines(tmp_path: Path) -> None:
    with running(write_stub_config(tmp_path)) as service:
        for _ in range(8):
            assert ask(service).ok
        (classifier,) = service.find("ray::ServeReplica:densenet:Classifier")
        os.kill(classifier, signal.SIGKILL)
        give_up = time.monotonic() + 60
        while "was lost" not in service.output:
            assert time.monotonic() < give_up, service.output
            time.sleep(0.1)
        while not ask(service).ok or "runs again" not in service.output:
            assert time.monotonic() < give_up, service.output
            time.sleep(0.1)
        service.stop()
    printed = service.output.splitlines()
    assert len(printed) == len(LINES), service.output
    for line, expected in zip(printed, LINES, strict=True):
        assert re.fullmatch(expected, line), line


def test_replicas_that_no_node_has_room_for_are_told(tmp_path: Path) -> None:
    config = write_stub_config(tmp_path)
    document = yaml.safe_load(config.read_text())
    _, classifier = document["applications"][0]["deployments"]
    classifier["num_replicas"] = 2 * len(os.sched_getaffinity(0))  # and one Ingress, too many
    config.write_text(yaml.safe_dump(document))
    service = Service(config)
    try:
        give_up = time.monotonic() + 120
        while "replicas wait, as no node has CPU 0.5 free." not in service.output:
            assert time.monotonic() < give_up, service.output
            time.sleep(0.1)
    finally:
        service.stop()


def test_ray_s_own_commands_work_as_the_documents_say(service: Service) -> None:
    commands = [line for line, _ in list_commands() if "AUTH_MODE" in line and "deploy" not in line]
    assert len(commands) == 3
    for command in commands:
        here = command.replace("127.0.0.1:6379", service.read_row("Ray"))
        here = here.replace("http://127.0.0.1:8265", service.dashboard)
        here = here.replace(".venv/bin", str(Path(sys.executable).parent))
        ran = subprocess.run(
            ["bash", "-c", here], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stderr
        assert any(word in ran.stdout for word in ("CPU", "ServeController", "HEALTHY"))
