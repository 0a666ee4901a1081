"""SIGINT and SIGTERM reach the launcher, however many come and whenever they do."""

import subprocess
import sys

STORM = """
import os, signal, time
from deployments.launcher.stop_signal import StopSignal

StopSignal().catch()
launcher = os.getpid()
end = time.monotonic() + 2
if os.fork() == 0:
    while time.monotonic() < end + 3:
        os.kill(launcher, signal.SIGINT)
        os.kill(launcher, signal.SIGTERM)
    os._exit(0)
while time.monotonic() < end:
    stop = StopSignal()
    stop.catch()
    stop.wait(60)
os.write(1, b"stopped")
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.wait()
"""
ONE = """
import os, signal, threading
from deployments.launcher.stop_signal import StopSignal

stop = StopSignal()
stop.catch()
assert not stop.wait(0.001)
threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()
assert stop.wait(60) and stop.wait(60) and stop.wait(0)
"""


def test_signals_that_interrupt_each_others_handlers_do_not_hang_the_launcher() -> None:
    assert run(STORM).stdout == "stopped"


def test_a_signal_ends_the_wait_at_once_and_is_remembered() -> None:
    assert run(ONE).returncode == 0


def run(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False
    )
