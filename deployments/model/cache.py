"""What is kept on disk between starts: checkpoints, converted graphs, a failed download.

All of it may be lost, and none of it has to be writable.
"""

import json
import logging
import os
import time
from pathlib import Path

RETRY_AFTER_S = 600.0
"""While a failure is this young, a start does not wait for the same host again."""

logger = logging.getLogger("ray.serve")


def checkpoint_path(name: str) -> Path:
    """Where torch.hub keeps a checkpoint ($TORCH_HOME, else ~/.cache/torch)."""
    torch_home = os.environ.get("TORCH_HOME") or _cache_home() / "torch"
    return Path(torch_home).expanduser() / "hub" / "checkpoints" / name


def own_folder() -> Path:
    return _cache_home() / "densenet-serve"


def _cache_home() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()


def remember_failure(url: str, reason: str) -> None:
    """Remember that `url` gave no file, and why."""
    stamp = _stamp()
    try:
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.write_text(json.dumps({"url": url, "reason": reason, "time": time.time()}))
    except OSError as error:
        logger.warning("the next start will try the download again: %s", error)


def recall_failure(url: str) -> str | None:
    """Why `url` gave no file less than RETRY_AFTER_S ago; None when it is worth a try."""
    try:
        failure = json.loads(_stamp().read_text())
        age_s = time.time() - float(failure["time"])
        # A clock that was set back makes a stamp of the future, which says nothing.
        if failure["url"] == url and 0 <= age_s < RETRY_AFTER_S:
            return str(failure["reason"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # there is none, or another program wrote it
    return None


def forget_failure() -> None:
    _stamp().unlink(missing_ok=True)


def _stamp() -> Path:
    return own_folder() / "download-failed.json"
