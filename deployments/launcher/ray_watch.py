"""Whether Ray is still there while the service runs."""

import os
import socket
import time

import psutil

from deployments.common.errors import RayDied
from deployments.launcher.haproxy import is_private

ANSWER_WITHIN_S = 5.0
GONE_AFTER_S = 30.0
"""Before, the GCS of a joined Ray may only be restarting."""


class RayWatch:
    """Of a private Ray it watches the processes, of one that was joined the address."""

    def __init__(self) -> None:
        self._core = [] if not is_private() else find_core()
        self._answered = time.monotonic()

    def check(self) -> None:
        """Raises RayDied."""
        if not all(map(is_alive, self._core)):
            raise RayDied("a process that Ray cannot do without has ended; see its logs")
        if not is_private():
            self._check_joined()

    def _check_joined(self) -> None:
        try:
            connect(os.environ["RAY_ADDRESS"])
        except OSError as error:
            if time.monotonic() - self._answered > GONE_AFTER_S:
                raise RayDied(
                    "the Ray that it joined has ended. Start that Ray, then this service"
                ) from error
        else:
            self._answered = time.monotonic()


def connect(address: str) -> None:
    """Try whether something listens there. Raises OSError or ValueError."""
    host, separator, port = address.rpartition(":")
    if separator and "://" not in address:  # not `auto`
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_WITHIN_S).close()


def find_core() -> list[psutil.Process]:
    """The processes that a local Ray cannot do without."""
    children = psutil.Process().children()
    return [child for child in children if child.name() in ("gcs_server", "raylet")]


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
