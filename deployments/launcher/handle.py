"""Handles of deployments for a process without an event loop."""

from typing import Any


def usable(handle: Any) -> Any:
    """The handle, with a router on a thread of its own.

    Where the environment is that of replicas, a handle would look for their event loop.
    """
    if not handle.is_initialized:
        handle._init(_run_router_in_separate_loop=True)
    return handle
