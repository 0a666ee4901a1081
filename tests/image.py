"""The image as its user meets it: `make image` builds it, and this runs it.

Any command that runs it in the foreground will do, and need not be Docker's.
"""

import argparse
import shlex
import subprocess
import sys
import time
from pathlib import Path

import requests

from testing.pictures import encode, make_picture

URL = "http://localhost:5000"
READY_WITHIN_S = 180.0
STOPPED_WITHIN_S = 90.0


def main() -> int:
    """Returns the exit status: 0 where it was ready and classified every photo.

    With what status the command ends is its own way to say that it was interrupted.
    """
    arguments = parse_arguments()
    files = {path.name: path.read_bytes() for path in arguments.photos}
    files = files or {f"{seed}.png": encode(make_picture(seed)) for seed in range(3)}
    started = time.monotonic()
    process = subprocess.Popen(shlex.split(arguments.run))
    try:
        wait_until_ready(process)
        print(f"ready after {time.monotonic() - started:.1f} s", flush=True)
        classify(files)
    finally:
        process.terminate()
        stopped = time.monotonic()
        status = process.wait(STOPPED_WITHIN_S)
    print(f"stopped after {time.monotonic() - stopped:.1f} s, status {status}")
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.image", description=__doc__)
    parser.add_argument("run", help="the command that runs the image, on port 5000 of localhost")
    parser.add_argument("photos", nargs="*", type=Path)
    return parser.parse_args()


def wait_until_ready(process: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + READY_WITHIN_S
    while not is_ready():
        if process.poll() is not None:
            sys.exit("the container has ended")
        if time.monotonic() > give_up:
            sys.exit(f"it was not ready within {READY_WITHIN_S:g} s")
        time.sleep(0.2)


def is_ready() -> bool:
    try:
        return requests.get(f"{URL}/readyz", timeout=5).ok
    except requests.RequestException:
        return False


def classify(files: dict[str, bytes]) -> None:
    parts = [("file", each) for each in files.items()]
    response = requests.post(f"{URL}/predict", files=parts, timeout=60)
    print(f"HTTP {response.status_code}, {response.headers['X-Model-Version']}: {response.text}")
    if not response.ok or list(response.json()) != list(files):
        sys.exit("it did not classify every photo")


if __name__ == "__main__":
    sys.exit(main())
