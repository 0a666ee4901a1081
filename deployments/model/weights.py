"""Which weights an application serves: torch's cache, a download, a file, or the stand-in.

Knows nothing of torch, so that deciding costs no import of it.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deployments.common.errors import StartupError
from deployments.model.cache import (
    checkpoint_path,
    forget_failure,
    recall_failure,
    remember_failure,
)
from deployments.model.download import DownloadFailed, download, sha256
from deployments.model.spec import SPEC, OfficialFile

logger = logging.getLogger("ray.serve")


@dataclass(frozen=True)
class Weights:
    """Which weights an application serves; decided once, so that all replicas answer alike.

    source: `official` (torch's cache, else the download), `file`, or `stand_in`, another
    network that answers while the official file is missing.
    version: what `X-Model-Version` says.
    official: which file `official` is. path: of `file`.
    reason: why the stand-in answers; empty otherwise.
    """

    source: Literal["official", "file", "stand_in"]
    version: str
    official: OfficialFile = SPEC.official
    path: str = ""
    reason: str = ""


def resolve(choice: str, official: OfficialFile = SPEC.official) -> Weights:
    """Turn the setting `weights` into a decision.

    `auto` falls back to the stand-in when the official file is neither in torch's cache nor
    comes from its URL. `imagenet` and a path raise StartupError instead, with the ways out.
    """
    if choice == "auto":
        return _official_or_stand_in(official)
    if choice == "imagenet":
        return _official(official)
    return _file(Path(choice).expanduser(), official)


def fetch_checkpoint(weights: Weights) -> Path:
    """The checkpoint of official weights or of a file, on this machine. Raises StartupError."""
    if weights.source == "file":
        return Path(weights.path)
    _require_official(weights.official)
    return checkpoint_path(weights.official.name)


def explain_stand_in(reason: str, official: OfficialFile = SPEC.official) -> str:
    """What the stand-in is, why, and what brings the official weights: for the operator."""
    return (
        f"{SPEC.stand_in.title} stands in for {SPEC.title}: the official weights are not on this "
        f"machine.\n  Reason: {reason}\n  On a machine with internet: curl -O {official.url}\n"
        f"  Put the file into {checkpoint_path(official.name).parent}, then start the service "
        "again."
    )


def _official_or_stand_in(official: OfficialFile) -> Weights:
    if _is_cached(official):
        return Weights("official", official.version, official)
    reason = recall_failure(official.url)
    if reason is None:
        reason = _try_download(official)
    if reason is None:
        return Weights("official", official.version, official)
    return Weights("stand_in", SPEC.stand_in.version, reason=f"{official.url}: {reason}")


def _try_download(official: OfficialFile) -> str | None:
    """Why the file did not come, which a later start remembers; None when it did."""
    try:
        download(official.url, checkpoint_path(official.name), official.sha256_prefix)
    except DownloadFailed as error:
        remember_failure(official.url, str(error))
        return str(error)
    forget_failure()
    return None


def _official(official: OfficialFile) -> Weights:
    _require_official(official)
    return Weights("official", official.version, official)


def _require_official(official: OfficialFile) -> None:
    """Raises StartupError, with the reason and the ways out."""
    path = checkpoint_path(official.name)
    if _is_cached(official):
        return
    try:
        download(official.url, path, official.sha256_prefix)
    except DownloadFailed as error:
        raise StartupError(
            f"weights: the official file did not come from {official.url} ({error}). Put "
            f"{official.name} into {path.parent}; or set 'weights' to the path of a checkpoint, "
            f"or 'weights_url' to a mirror, or 'weights' to 'auto', with which "
            f"{SPEC.stand_in.title} stands in."
        ) from error


def _is_cached(official: OfficialFile) -> bool:
    """Whether the whole official file is there. A bad one is removed: torch must not load it."""
    path = checkpoint_path(official.name)
    if not path.is_file():
        return False
    if sha256(path).startswith(official.sha256_prefix):
        return True
    logger.warning("removing %s: its SHA-256 is not that of the official weights", path)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        logger.warning("the bad file stays, and is not loaded: %s", error)
    return False


def _file(path: Path, official: OfficialFile) -> Weights:
    if not path.is_file():
        raise StartupError(
            f"weights: there is no file {str(path)!r}. Give the path of a {SPEC.title} "
            "checkpoint, or 'imagenet' for the official one, or 'auto'."
        )
    digest = sha256(path)
    if digest.startswith(official.sha256_prefix):
        return Weights("file", official.version, path=str(path))
    return Weights("file", f"sha256:{digest[:12]}", path=str(path))
