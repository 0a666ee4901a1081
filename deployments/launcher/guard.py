"""The process that a user starts: it takes signals, and leaves nothing behind.

Runs in: a process of its own, the parent of the launcher. Must not import: anything but the
standard library, for the sake of its memory.

Ray's processes are in no one process group, some overwrite their environment, and some outlive
the launcher by minutes if it is killed. All of them are in the launcher's session.
"""

import contextlib
import mmap
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)
GIVE_UP_AFTER_S = 30.0
"""A process that waits for a disk ends late; one that never ends is not waited for."""
PERIOD_S = 0.05
INTERRUPTED = 130
"""The exit status that a shell expects after Ctrl-C."""
TELL_WITHIN_S = 1.0
GUARD_KILLED = "densenet-serve stopped, because its guard process was killed.\n"
_takes_signals = mmap.mmap(-1, 1)
"""Shared by both processes."""


def take_signals() -> None:
    """Called by the launcher: from now on it ends by itself when SIGINT or SIGTERM comes.

    Before, there is nothing to finish, and Ray's start may wait for half a minute in code that
    no signal interrupts: the guard ends it.
    """
    _takes_signals[0] = 1


def run_guarded(work: Callable[[], int]) -> int:
    """Run `work` in a child with a session of its own. Returns its exit status.

    Once one of the two processes has ended, however it did, the session is ended as well. A
    terminal's Ctrl-C reaches this process alone, and none of Ray's.
    """
    reader, writer = os.pipe()
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # until each process can take them
    launcher = os.fork()
    if launcher == 0:
        os.close(writer)
        os.setsid()
        threading.Thread(target=end_with_guard, args=[reader], daemon=True).start()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        _work_and_exit(work)
    os.close(reader)
    return _supervise(launcher)


def _work_and_exit(work: Callable[[], int]) -> NoReturn:
    """At a regular exit Ray's threads would wait for the Ray that has ended."""
    status = 1
    try:
        status = work()
    except SystemExit as end:  # of argparse
        status = int(end.code or 0)
    except BaseException:  # noqa: BLE001, shown, and the end of this process
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def end_with_guard(reader: int) -> None:
    """Wait for the end of the guard, which holds the other end of the pipe."""
    os.read(reader, 1)
    # Before the end: Ray ends this process with its raylet. What is written may wait for ever.
    telling = threading.Thread(target=_tell_end, daemon=True)
    telling.start()
    telling.join(TELL_WITHIN_S)
    end_session(os.getpid())
    os._exit(1)


def _tell_end() -> None:
    """The guard ends before the launcher only if something kills it, perhaps with the terminal."""
    with contextlib.suppress(OSError):
        os.write(sys.stderr.fileno(), GUARD_KILLED.encode())


def _supervise(launcher: int) -> int:
    received: list[int] = []

    def react(number: int, _: FrameType | None) -> None:
        received.append(number)
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.kill(launcher, number if _takes_signals[0] else signal.SIGKILL)

    for each in SIGNALS:
        signal.signal(each, react)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    status = os.waitstatus_to_exitcode(os.waitpid(launcher, 0)[1])
    end_session(launcher)
    if status >= 0:
        return status
    if received:
        print("Stopped before the service was ready.", flush=True)
        return INTERRUPTED
    print(f"densenet-serve was ended by signal {-status}.", file=sys.stderr)
    return 128 - status


def end_session(session: int) -> None:
    """Kill every other process of a session until there is none."""
    give_up = time.monotonic() + GIVE_UP_AFTER_S
    while (pids := find_session(session)) and time.monotonic() < give_up:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
                os.kill(pid, signal.SIGKILL)
        time.sleep(PERIOD_S)


def find_session(session: int) -> list[int]:
    """The ids of its processes, but for this one and for zombies."""
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [pid for pid in pids if pid != os.getpid() and _session_of(pid) == session]


def _session_of(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")  # names are cut to 15 bytes
    except OSError:
        return None  # it has ended
    state, _, _, session = stat.rpartition(")")[2].split()[:4]  # after the name, in brackets
    return None if state == "Z" else int(session)
