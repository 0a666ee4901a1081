"""A system's processes: started together, looked at, and all ended.

A server's processes are found by a variable in their environment, which children inherit:
some servers (Ray's, Triton's) do not keep theirs in one process group.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
ROLES = {
    "ingress": "ray::ServeReplica:densenet:Ingress",
    "classifier": "ray::ServeReplica:densenet:Classifier",
    "haproxy_manager": "ray::HAProxyManager",
    "python_proxy": "ray::ProxyActor",
    "controller": "ray::ServeController",
}
"""How the processes of each role of the service begin to name themselves."""
RAY_PROGRAMS = ("-packages/ray/", "ray::", "'ray'")
"""What stands in the command lines of the rest of Ray."""
STOPPED_WITHIN_S = 60.0
AT_REST_WITHIN_S = 60.0
AT_REST_CORES = 0.25
"""What a server with nothing to do may use; Ray's own processes use some."""
_MARK = "BENCHMARK_SYSTEM"


@dataclass(frozen=True)
class Usage:
    """What one role's processes (`ingress`, `classifier`, ...) use, all of them together.

    cpu_s: since they started. resident_bytes: shared pages counted in each process that has
    them. proportional_bytes: shared pages divided among those that have them.
    """

    cpu_s: float
    resident_bytes: int
    proportional_bytes: int
    processes: int = 1

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.cpu_s + other.cpu_s,
            self.resident_bytes + other.resident_bytes,
            self.proportional_bytes + other.proportional_bytes,
            self.processes + other.processes,
        )


class StartFailed(Exception):
    """A system did not come up; says what it printed last."""


def find_marked(variable: str, value: str) -> Iterator[psutil.Process]:
    """The processes with a variable of that value in their environment, which is inherited."""
    for process in psutil.process_iter():
        try:
            if process.environ().get(variable) == value:
                yield process
        except psutil.Error:
            continue  # it has ended, or it is not ours


class Server:
    """A system that has been started."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self._mark = f"{os.getpid()}-{time.monotonic_ns()}"
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT), **environment, _MARK: self._mark},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def check(self) -> None:
        """Raises StartFailed when it has ended."""
        if self._process.poll() is not None:
            raise self.failure(f"it ended with status {self._process.returncode}")

    def failure(self, what: str) -> StartFailed:
        lines = self._log.read_text(errors="replace").replace(str(ROOT), ".").splitlines()
        return StartFailed("\n".join([what, *lines[-15:]]))

    def processes(self) -> Iterator[psutil.Process]:
        return find_marked(_MARK, self._mark)

    def usage(self) -> dict[str, Usage]:
        """What the processes of each role use."""
        total: dict[str, Usage] = {}
        for process in self.processes():
            try:
                role, usage = find_role(process.cmdline()), _usage(process)
            except psutil.Error:
                continue
            total[role] = total[role] + usage if role in total else usage
        return total

    def wait_until_at_rest(self) -> None:
        """Some servers answer when their first worker is up, and go on loading others."""
        give_up = time.monotonic() + AT_REST_WITHIN_S
        before_s = self._cpu_s()
        while time.monotonic() < give_up:
            time.sleep(1)
            now_s = self._cpu_s()
            if now_s - before_s < AT_REST_CORES:
                return
            before_s = now_s

    def _cpu_s(self) -> float:
        return sum(usage.cpu_s for usage in self.usage().values())

    def stop(self) -> None:
        """Ask it to end, and end what is left."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOPPED_WITHIN_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
        give_up = time.monotonic() + STOPPED_WITHIN_S
        while time.monotonic() < give_up and (left := list(self.processes())):
            for process in left:
                _kill(process)
            time.sleep(0.1)


def find_role(command: Sequence[str]) -> str:
    """The role of a process by its command line; `rest` for what is neither ours nor Ray's."""
    line = " ".join(command)
    for role, title in ROLES.items():
        if line.startswith(title):
            return role
    if command and Path(command[0]).name == "haproxy":
        return "haproxy"
    if any(program in line for program in RAY_PROGRAMS):
        return "ray"
    return "launcher" if "-m deployments" in line else "rest"


def _usage(process: psutil.Process) -> Usage:
    times = process.cpu_times()
    memory = process.memory_full_info()
    return Usage(times.user + times.system, memory.rss, memory.pss)


def _kill(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):  # it may have ended by itself in between
        process.kill()
