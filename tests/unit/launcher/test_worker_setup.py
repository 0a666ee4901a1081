"""What the raylet runs as each worker at first, as a process."""

import json
import os
import subprocess
import sys
from pathlib import Path

from deployments.common.runtime_env import SOURCE
from deployments.launcher import worker_setup

CONTEXT = worker_setup.CONTEXT


def run(folder: Path, *arguments: str) -> list[str]:
    """With programs in the place of Ray's two; each prints its name and arguments."""
    for name in ("default_worker.py", "setup_worker.py"):
        (folder / name).write_text(f"import sys; print('{name}', *sys.argv[1:], sep='\\n')")
    return start(folder, *arguments)


def start(folder: Path, *arguments: str) -> list[str]:
    """As the raylet does, with the PYTHONPATH that the launcher gives it. Returns the output."""
    done = subprocess.run(
        [sys.executable, worker_setup.__file__, str(folder / "default_worker.py"), *arguments],
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_without_a_runtime_env_it_becomes_the_worker(tmp_path: Path) -> None:
    arguments = ["--node-id=a b", "--language=PYTHON"]
    assert run(tmp_path, *arguments) == ["default_worker.py", "--node-id=a b"]
    context = CONTEXT + json.dumps({"py_executable": sys.executable, "env_vars": {}})
    assert run(tmp_path, *arguments, context) == ["default_worker.py", "--node-id=a b"]


def test_the_worker_runs_as_ray_would_run_it(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("")
    (tmp_path / "default_worker.py").write_text(
        "import gc, helper, sys\n"
        "print(__name__, helper.__file__, sys.path[0], gc.isenabled(), sep='\\n')"
    )
    assert start(tmp_path, "--language=PYTHON") == [
        "__main__",
        str(tmp_path / "helper.py"),
        str(tmp_path),
        "False",
    ]


def test_a_runtime_env_is_set_up_by_rays_own_program(tmp_path: Path) -> None:
    for content in ({"env_vars": {"A": "b"}}, {"py_executable": "/usr/bin/other"}):
        arguments = ["--language=PYTHON", CONTEXT + json.dumps(content)]
        expected = ["setup_worker.py", str(tmp_path / "default_worker.py"), *arguments]
        assert run(tmp_path, *arguments) == expected


def test_a_worker_of_another_language_is_set_up_by_rays_own_program(tmp_path: Path) -> None:
    assert run(tmp_path, "--language=JAVA")[0] == "setup_worker.py"
