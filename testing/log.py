"""Progress of a long run, on standard error."""

import sys
import time


def log(message: str) -> None:
    """Print a message with the time of day."""
    print(f"{time.strftime('%H:%M:%S')} {message}", file=sys.stderr, flush=True)
