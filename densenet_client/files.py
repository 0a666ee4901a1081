"""The image files that the command's arguments name."""

import glob
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from densenet_client.images import Image

STANDARD_INPUT = "-"
SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp"})
"""What is taken from a directory; a file that is named itself is sent whatever it is."""


def find_names(arguments: Iterable[str]) -> Iterator[str]:
    """Files, patterns and directories as the names of files, one by one.

    Directories are walked in the order of their names, without hidden ones. What does not
    exist is kept, so that it is reported where its result would stand.
    """
    for argument in arguments:
        if argument == STANDARD_INPUT or Path(argument).exists():
            yield from _walk(argument)
            continue
        matches = sorted(glob.iglob(argument, recursive=True))  # noqa: PTH207, names as given
        for match in matches or [argument]:
            yield from _walk(match)


def _walk(name: str) -> Iterator[str]:
    if name == STANDARD_INPUT or not Path(name).is_dir():
        yield name
        return
    for folder, folders, files in os.walk(name):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        for file in sorted(files):
            if Path(file).suffix.lower() in SUFFIXES:
                yield os.path.join(folder, file)  # noqa: PTH118, Path would drop a leading ./


def load(name: str) -> Image:
    """What the client is to send for a name: the path, or what stands on standard input."""
    return (name, sys.stdin.buffer.read()) if name == STANDARD_INPUT else name
