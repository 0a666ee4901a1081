"""The changes to Ray's HAProxy configuration, made to what Ray's own code writes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from deployments.common import errors
from deployments.haproxy.adapt import ERRORS, NOT_DEPLOYED, NOT_FOUND, adapt
from deployments.haproxy.sections import UnexpectedConfig
from testing.haproxy import PROGRAM, write_config

HTTP_PORT, GRPC_PORT = 5000, 5001


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Of the configuration before one Ingress."""
    return write_config(tmp_path, [30000], HTTP_PORT, grpc_port=GRPC_PORT)


@pytest.mark.parametrize("servers", [[], [30000], [30000, 30001]])
@pytest.mark.parametrize("grpc_port", [0, GRPC_PORT])
def test_haproxy_accepts_it(tmp_path: Path, servers: list[int], grpc_port: int) -> None:
    config = write_config(tmp_path, servers, HTTP_PORT, grpc_port=grpc_port)
    checked = check(config)
    assert checked.returncode == 0, checked.stderr
    assert "ALERT" not in checked.stderr


def check(config: Path) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"DENSENET_PYTHON": sys.executable}
    command = [str(PROGRAM), "-c", "-f", str(config)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_nothing_listens_but_http_and_grpc_at_the_host_that_is_configured(path: Path) -> None:
    binds = re.findall(r"^ +bind (\S+)", adapt(path.read_text()), re.MULTILINE)
    assert binds == [f"127.0.0.1:{HTTP_PORT}", f"127.0.0.1:{GRPC_PORT}"]


def test_ingresses_learn_whom_a_request_came_from(path: Path) -> None:
    assert "option forwardfor" in adapt(path.read_text())


def test_only_its_user_may_command_it(path: Path) -> None:
    (mode,) = re.findall(r"stats socket \S+ mode (\d+)", adapt(path.read_text()))
    assert mode == "600"


@pytest.mark.parametrize(("max_files", "connections"), [(None, 4096), (20_000, 4096), (1024, 369)])
def test_it_has_no_more_connections_than_files(
    path: Path, max_files: int | None, connections: int
) -> None:
    adapted = adapt(path.read_text(), max_files=max_files)
    assert re.findall(r"^    maxconn (\d+)$", adapted, re.MULTILINE) == [f"{connections}"]


def test_before_anything_is_deployed_clients_are_told_to_come_back(tmp_path: Path) -> None:
    adapted = adapt(write_config(tmp_path, [], HTTP_PORT).read_text())
    assert NOT_DEPLOYED[1] in adapted
    assert NOT_FOUND[1] not in adapted


@pytest.mark.parametrize(
    "line",
    [
        "frontend prometheus",
        "listen stats",
        "backend default_backend",
        r"    timeout client \d+s",
        r"    stats socket .*",
        "    retry-on conn-failure",
        r"    tune.bufsize \d+",
        "    errorfile 502 .*",
    ],
)
def test_a_file_of_another_form_is_refused(path: Path, line: str) -> None:
    text, count = re.subn(f"^{line}$", "", path.read_text(), flags=re.MULTILINE)
    assert count == 1
    if line.startswith("    errorfile"):
        text = re.sub(" +errorfile .*", "", text)
    with pytest.raises(UnexpectedConfig):
        adapt(text)


def test_a_refused_file_ends_the_start_with_the_cause(path: Path) -> None:
    path.write_text(path.read_text().replace("listen stats", "listen statistics"))
    ended = check(path)
    assert ended.returncode == 1
    assert "it has 0 sections 'listen stats'" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_its_errors_are_those_of_the_service() -> None:
    classes = [each for each in vars(errors).values() if hasattr(each, "code")]
    codes = {each.code for each in classes}
    assert {code for code, _ in [*ERRORS.values(), NOT_FOUND, NOT_DEPLOYED]} <= codes


def test_its_errors_are_json(path: Path) -> None:
    bodies = re.findall(r"string '(.*?)'", adapt(path.read_text()))
    assert len(bodies) == len(ERRORS) + 1
    for body in bodies:
        assert json.loads(body)["error"].keys() == {"code", "message"}
