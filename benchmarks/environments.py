"""The peers' environments: a venv for each, made when first needed.

Their pins clash with ours and with each other's, so none is installed beside the service.
torch alone is lent to all of them (see peers/torch.txt).
"""

import hashlib
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parent
VENVS = BENCHMARKS / ".venvs"
PEERS = BENCHMARKS / "peers"
_STAMP = ".installed"


class InstallRefused(Exception):
    """A peer's environment could not be made; says what the installer said."""


def ensure_environment(peer: str) -> Path:
    """The venv of a peer, installed. Raises InstallRefused."""
    torch = _ensure(VENVS / "torch", [PEERS / "torch.txt"], lender=None)
    return _ensure(VENVS / peer, [PEERS / peer / "requirements.txt"], lender=torch)


def _ensure(venv: Path, requirements: list[Path], lender: Path | None) -> Path:
    wanted = hashlib.sha256(b"".join(file.read_bytes() for file in requirements)).hexdigest()
    stamp = venv / _STAMP
    if stamp.is_file() and stamp.read_text() == wanted:
        return venv
    print(f"Installing {venv.name} for the benchmark ...", file=sys.stderr, flush=True)
    _run([sys.executable, "-m", "venv", "--clear", str(venv)])
    if lender is not None:
        (_site_packages(venv) / "lent.pth").write_text(f"{_site_packages(lender)}\n")
    pip = [str(venv / "bin" / "pip"), "--disable-pip-version-check", "install", "--quiet"]
    _run([*pip, *(part for file in requirements for part in ("-r", str(file)))])
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
