"""The command line: mistakes told before Ray starts, briefly and soon."""

import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deployments.launcher import cli, lifecycle, preflight
from testing.ports import find_free_port
from testing.service import LAUNCH, NOWHERE, ROOT
from tests.unit.launcher.changes import (
    Change,
    application,
    args,
    both,
    classifier,
    grpc,
    http,
    top,
)

TOLD_WITHIN_S = 1.0
"""CPU time over that of importing Ray, which is 2 of the 3 s that a user waits for a word."""
MAX_LINES = 8
Save = Callable[[Change], Path]


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What would have been started. No Ray is, and none is joined."""
    calls: list[str] = []
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(lifecycle, "start_ray", lambda *_: calls.append("Ray"))
    monkeypatch.setattr(lifecycle, "launch", lambda *_: calls.append("service"))
    monkeypatch.setattr(preflight, "count_gpus", lambda: 0)
    return calls


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["deployments", *map(str, arguments)])
    return cli.main()


MISTAKES: list[tuple[Change, str]] = [
    (top(http_option={}), "http_option: unknown key. Did you mean 'http_options'?"),
    (classifier(user_config={"max_batchsize": 8}), "Did you mean 'max_batch_size'?"),
    (classifier(ray_actor_options={"num_gpus": 1}), "'gpu_fraction'"),
    (http(host="0.0.0.0"), "'allow_anonymous: true'"),  # noqa: S104, not bound
    (http(ssl_certfile="cert.pem", ssl_keyfile="key.pem"), "reverse_proxy localhost:5000"),
    (http(port=70_000), "70000 is no port"),
    (top(applications=[]), "applications: is empty"),
    (application(import_path="deployments.ap:build_app"), "deployments.ap"),
    (args(weights="/nowhere/model.pth"), "there is no file '/nowhere/model.pth'"),
    (args(weights=str(ROOT / "README.md")), "is not a readable PyTorch checkpoint"),
    (args(device="cuda"), "this machine has no GPU"),
    (args(api_keys_file="/nowhere/keys"), "api_keys_file: /nowhere/keys cannot be read"),
    (
        both(args(device="cpu"), classifier(ray_actor_options={"num_cpus": 4096})),
        "ray_actor_options.num_cpus is 4096",
    ),
]


@pytest.mark.parametrize("option", [[], ["--check"]], ids=["start", "check"])
@pytest.mark.parametrize(("change", "told"), MISTAKES)
def test_a_mistake_ends_the_launcher_before_ray_with_what_to_do(
    save: Save,
    change: Change,
    told: str,
    option: list[str],
    started: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    begun = time.process_time()
    assert run(monkeypatch, *option, save(change)) == 1
    output = capsys.readouterr()
    assert output.err.startswith("densenet-serve cannot start: ")
    assert told in output.err
    assert len((output.out + output.err).splitlines()) <= MAX_LINES
    assert started == []
    assert time.process_time() - begun < TOLD_WITHIN_S


def test_many_mistakes_are_told_in_eight_lines(
    save: Save, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, save(top(**{f"key{number}": 1 for number in range(20)}))) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == MAX_LINES
    assert lines[0].endswith("has 20 mistakes:")
    assert lines[-1] == "  and 14 more."


def test_a_key_file_with_a_bad_line_is_told(
    save: Save,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "keys").write_text("alice: secret")
    assert run(monkeypatch, save(args(api_keys_file=str(tmp_path / "keys")))) == 1
    assert "api_keys_file: line 1 of" in capsys.readouterr().err


def test_the_official_weights_are_asked_for_before_ray_starts(
    save: Save,
    tmp_path: Path,
    started: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    url = f"http://127.0.0.1:{find_free_port()}/weights.pth"
    assert run(monkeypatch, save(args(weights="imagenet", weights_url=url))) == 1
    assert url in capsys.readouterr().err
    assert started == []


def test_a_good_configuration_is_launched(
    save: Save, started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    free = both(http(port=find_free_port()), grpc(port=find_free_port()))
    assert run(monkeypatch, save(both(free, args(weights_url=NOWHERE)))) == 0
    assert started == ["service"]


def test_check_says_that_a_configuration_is_valid_and_starts_nothing(
    save: Save,
    started: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = save(lambda _: None)
    assert run(monkeypatch, "--check", path) == 0
    assert capsys.readouterr().out == f"{path} is valid.\n"
    assert started == []


def test_with_a_ray_to_join_this_machine_is_not_asked(
    save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    change = args(device="cuda", weights="/elsewhere/model.pth", api_keys_file="/elsewhere/keys")
    assert run(monkeypatch, "--check", save(change)) == 0


def test_a_gpu_that_may_join_later_is_waited_for(
    save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(monkeypatch, "--check", save(args(device="cuda", gpu_wait_s=600))) == 0


def test_a_port_of_the_command_line_moves_both_of_the_file(
    save: Save, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save(http(port=5000))
    assert run(monkeypatch, "--check", "--port", "5100", path) == 0
    assert run(monkeypatch, "--check", "--port", "65535", path) == 1
    assert "grpc_options.port: 65536 is no port" in capsys.readouterr().err


@pytest.mark.parametrize("port", ["70000", "-1", "http"])
def test_a_metrics_port_that_is_none_is_refused(
    port: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "serve_config.yaml", f"--metrics-port={port}")
    assert ended.value.code == 2
    assert "is no port: 0 to 65535" in capsys.readouterr().err


def costs_less_than(share: float, *command: object) -> bool:
    """Whether it takes less CPU time than so many imports of Ray's schemas.

    Measured side by side, three times at most: the machine's speed may change in between.
    """
    ray = (sys.executable, "-c", "import ray.serve.schema")
    return any(measure(*command)[1] < share * measure(*ray)[1] for _ in range(3))


def measure(*command: object) -> tuple[subprocess.CompletedProcess[str], float]:
    """Run a command. Returns how it ended, and its seconds of CPU time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = subprocess.run(
        [*map(str, command)],
        cwd=ROOT,
        env={key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"},
        capture_output=True,
        text=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_explains_the_options_with_their_defaults_at_once() -> None:
    ended, _ = measure(*LAUNCH, "--help")
    assert ended.returncode == 0
    assert "--check" in ended.stdout
    for default in ("127.0.0.1", "8080"):
        assert f"(default: {default})" in " ".join(ended.stdout.split())
    assert costs_less_than(0.5, *LAUNCH, "--help")


def test_a_port_that_is_taken_is_told_soon(save: Save) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        path = save(both(http(port=port), grpc(port=find_free_port())))
        ended, _ = measure(*LAUNCH, path, "--metrics-port", 0)
        assert costs_less_than(1.5, *LAUNCH, path, "--metrics-port", 0)
    assert ended.returncode == 1
    assert f"port {port}" in ended.stderr
    assert len(ended.stderr.splitlines()) <= MAX_LINES
    assert ended.stdout == ""


def test_a_bad_weights_file_is_told_soon(save: Save) -> None:
    command = (*LAUNCH, "--check", save(args(weights=str(ROOT / "README.md"))))
    ended, _ = measure(*command)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert costs_less_than(1.5, *command)
