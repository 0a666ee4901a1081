"""The guard, with work that costs nothing in the place of the launcher."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from testing.service import ROOT

ENDS_WITHIN_S = 20.0

WORK = """
import signal, subprocess, sys, threading, time
from deployments.launcher.guard import run_guarded, take_signals

def work():
    # In a group of its own and without a parent, as much of what Ray starts is in the end.
    child = "import os, time; os.fork() and os._exit(0); os.setpgid(0, 0); {name}; time.sleep(600)"
    subprocess.run([sys.executable, "-c", child], env={{}})
    {body}

sys.exit(run_guarded(work))
"""
NAME = "open('/proc/self/comm', 'wb').write(bytes([0xC3]))"
"""A name that is cut off within a character."""
NEVER_ENDS = 'print("waiting", flush=True); time.sleep(600); return 0'
TAKES_SIGNALS = """
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    take_signals()
    print("waiting", flush=True)
    stop.wait()
    print("finished", flush=True)
    return 0
"""


class Guarded:
    """A guard with its work, in a terminal's process group of its own."""

    def __init__(self, body: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORK.format(body=body, name=NAME)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        self.first_line = self.process.stdout.readline()
        (self.launcher,) = psutil.Process(self.process.pid).children()
        self.orphan = find_orphan(self.launcher.pid)

    def wait(self) -> tuple[int, str]:
        """Returns the exit status and what was printed after the first line."""
        printed, _ = self.process.communicate(timeout=ENDS_WITHIN_S)
        return self.process.returncode, printed

    def assert_gone(self) -> None:
        wait_until(lambda: not self.orphan.is_running() and not self.launcher.is_running())


def find_orphan(session: int) -> psutil.Process:
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    found = [pid for pid in pids if pid != session and is_in(pid, session)]
    (orphan,) = found
    return psutil.Process(orphan)


def is_in(pid: int, session: int) -> bool:
    try:
        return os.getsid(pid) == session and psutil.Process(pid).status() != "zombie"
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False


def wait_until(is_so: Callable[[], bool]) -> None:
    give_up = time.monotonic() + ENDS_WITHIN_S
    while not is_so():
        assert time.monotonic() < give_up
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_before_the_work_takes_signals_one_of_them_ends_everything(number: int) -> None:
    guarded = Guarded(NEVER_ENDS)
    os.killpg(guarded.process.pid, number)
    assert guarded.wait() == (130, "Stopped before the service was ready.\n")
    guarded.assert_gone()


def test_work_that_takes_signals_ends_by_itself() -> None:
    guarded = Guarded(TAKES_SIGNALS)
    guarded.process.terminate()
    assert guarded.wait() == (0, "finished\n")
    guarded.assert_gone()


def test_a_guard_that_is_killed_leaves_nothing() -> None:
    guarded = Guarded(TAKES_SIGNALS)
    guarded.process.kill()
    told = "densenet-serve stopped, because its guard process was killed.\n"
    assert guarded.wait() == (-signal.SIGKILL, told)
    guarded.assert_gone()


def test_a_guard_that_is_killed_with_its_terminal_leaves_nothing() -> None:
    guarded = Guarded(TAKES_SIGNALS)
    assert guarded.process.stdout is not None
    guarded.process.stdout.close()
    guarded.process.kill()
    guarded.assert_gone()
    guarded.process.wait(ENDS_WITHIN_S)


def test_work_that_is_killed_leaves_nothing_and_is_told() -> None:
    guarded = Guarded(TAKES_SIGNALS)
    guarded.launcher.kill()
    assert guarded.wait() == (137, "densenet-serve was ended by signal 9.\n")
    guarded.assert_gone()


@pytest.mark.parametrize(
    ("body", "status"), [("return 7", 7), ("sys.exit(2)", 2), ("raise OSError('broken')", 1)]
)
def test_the_status_of_the_work_is_the_guard_s(body: str, status: int) -> None:
    guarded = subprocess.run(
        [sys.executable, "-c", WORK.format(body=body, name=NAME)],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    assert guarded.returncode == status
    assert (b"broken" in guarded.stderr) == (status == 1)
