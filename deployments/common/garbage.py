"""When Python collects garbage: not while a process starts.

Runs in: the launcher, workers of Ray, replicas. Must not import: anything but the standard library,
because `launcher.worker_setup` imports this before a worker imports Ray.
"""

import gc
import threading

START_S = 10.0
"""A start makes objects that stay. To look through them again and again took a tenth of it."""


def pause_collection() -> None:
    """Until START_S are over, or `resume_collection` is called."""
    gc.disable()
    timer = threading.Timer(START_S, gc.enable)
    timer.daemon = True
    timer.start()


def resume_collection() -> None:
    """A replica calls this when it is ready, because garbage can hold the bodies of requests."""
    gc.enable()
