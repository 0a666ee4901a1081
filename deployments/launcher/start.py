"""The launcher below its guard, with a folder for HAProxy."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from deployments.launcher.cli import main
from deployments.launcher.guard import run_guarded
from deployments.launcher.haproxy import describe_paths


def start() -> int:
    """Returns the exit status.

    By default all services of a machine share one folder of HAProxy; other users may not read
    this one. Below it Ray makes a folder named by the node's id of 56 characters, and the path of a
    socket has at most 107: so it is in /tmp, as Ray's own is.
    """
    with TemporaryDirectory(prefix="dn-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        os.environ |= describe_paths(Path(folder))
        # The dashboard's start forks beside gRPC's threads, which would print a line about it.
        os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
        return run_guarded(main)
