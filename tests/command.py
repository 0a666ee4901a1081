"""The command `classify` as its users start it: as a process, in a pipe or in a terminal."""

import os
import pty
import subprocess
import sys
import termios
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMMAND = (sys.executable, "-W", "error", "-m", "densenet_client")
ENDED_WITHIN_S = 60


def environment(**variables: str) -> dict[str, str]:
    """Ours without what colours or widens output, and with the package to be found."""
    kept = {
        name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS")
    }
    return kept | {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color"} | variables


def run(
    *arguments: str | Path, stdin: bytes = b"", **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run it in a pipe to its end."""
    result = subprocess.run(
        [*COMMAND, *arguments],
        input=stdin,
        capture_output=True,
        timeout=ENDED_WITHIN_S,
        env=environment(**variables),
        check=False,
    )
    return subprocess.CompletedProcess(
        result.args, result.returncode, result.stdout.decode(), result.stderr.decode()
    )


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    """Start it in a pipe."""
    return subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )


def run_in_terminal(*arguments: str | Path, columns: int = 100) -> str:
    """Run it in a terminal of so many columns; returns all that was painted."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, columns))
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=environment()
    )
    os.close(theirs)
    painted = b"".join(iter(lambda: _read(ours), b""))
    os.close(ours)
    process.wait(ENDED_WITHIN_S)
    return painted.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""  # Linux says so when the other end is closed
