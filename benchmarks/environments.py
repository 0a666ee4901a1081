"""The peers' environments: a venv for each, made when first needed.

Their pins clash with ours and with each other's, so none is installed beside the service.
torch alone is lent to all of them (see peers/torch.txt).
"""

import hashlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

BENCHMARKS = Path(__file__).parent
VENVS = BENCHMARKS / ".venvs"
PEERS = BENCHMARKS / "peers"
COMMON = PEERS / "common.txt"
TORCH = "torch"
_STAMP = ".installed"


class InstallRefused(Exception):
    """A peer's environment could not be made; says what the installer said."""


def ensure_environment(peer: str, with_torch: bool) -> Path:
    """Return a peer's venv, installed; torch in it only if asked for. Raises InstallRefused."""
    if with_torch:
        _ensure(VENVS / TORCH, [COMMON, PEERS / "torch.txt"])
    venv = _ensure(VENVS / peer, [COMMON, PEERS / peer / "requirements.txt"])
    # A path that does not exist is skipped: there is no torch until a run has wanted it.
    site_packages = _site_packages(venv)
    (site_packages / "lent.pth").write_text(f"{VENVS / TORCH / site_packages.relative_to(venv)}\n")
    return venv


def _ensure(venv: Path, requirements: Sequence[Path]) -> Path:
    wanted = hashlib.sha256(b"".join(file.read_bytes() for file in requirements)).hexdigest()
    stamp = venv / _STAMP
    if stamp.is_file() and stamp.read_text() == wanted:
        return venv
    print(f"Installing {venv.name} for the benchmark ...", file=sys.stderr, flush=True)
    _run([sys.executable, "-m", "venv", "--clear", str(venv)])
    pip = [str(venv / "bin" / "pip"), "--disable-pip-version-check", "install", "--quiet"]
    for file in requirements:  # one after another: what a later one wants instead, it gets
        _run([*pip, "-r", str(file)])
    stamp.write_text(wanted)
    return venv


def _site_packages(venv: Path) -> Path:
    (folder,) = venv.glob("lib/python3*/site-packages")
    return folder


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if "ERROR" in line]
        raise InstallRefused("; ".join(map(_shorten, errors)) or _shorten(done.stderr.strip()))


def _shorten(message: str, length: int = 160) -> str:
    return message if len(message) <= length else message[: length - 3] + "..."
