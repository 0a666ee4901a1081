"""The image files that the command's arguments name."""

import functools
import glob
import os
import stat
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from densenet_client.images import Image
from densenet_client.suffixes import PHOTO_SUFFIXES, SYSTEM_FOLDERS, UNSUPPORTED_SUFFIXES

STANDARD_INPUT = "-"


def find_names(arguments: Iterable[str], unsupported: Counter[str] | None = None) -> Iterator[str]:
    """Files, patterns and folders as the names of files, each file once.

    Folders are walked in the order of their names. A file or folder that is named itself is
    taken whatever it is; what a folder or a pattern holds, only if it is no hidden file, no
    pipe and no device. What does not exist is kept, so that it is reported in its place.

    unsupported: counts, by suffix, the pictures left out because of their format.
    """
    search = _Search(Counter() if unsupported is None else unsupported)
    taken = _Files()
    for argument in arguments:
        yield from filter(taken.add, search.find(argument))


class _Files:
    """A set of files, each known by its folder and its name.

    A link to a file is a file of its own; a link to a folder leads to the same files.
    """

    def __init__(self) -> None:
        self._keys: set[tuple[str, str]] = set()
        self._resolve = functools.lru_cache(maxsize=16)(os.path.realpath)

    def add(self, name: str) -> bool:
        """Whether the file is new."""
        folder, file = os.path.split(name)
        count = len(self._keys)
        self._keys.add((self._resolve(folder), file))
        return len(self._keys) > count


class _Search:
    """Finds the files of arguments, some more than once."""

    def __init__(self, unsupported: Counter[str]) -> None:
        self._unsupported = unsupported
        self._left_out = _Files()

    def find(self, argument: str) -> Iterator[str]:
        if argument == STANDARD_INPUT or os.path.lexists(argument):
            yield from self._take(argument)
            return
        matches = sorted(glob.iglob(argument, recursive=True))  # noqa: PTH207, names as given
        if not matches:
            yield argument
        suffix = os.path.splitext(argument)[1]  # noqa: PTH122, Path has none for `.*`
        for match in matches:
            yield from self._take_match(
                match, any_suffix=bool(suffix) and not glob.has_magic(suffix)
            )

    def _take(self, name: str) -> Iterator[str]:
        if name == STANDARD_INPUT or not Path(name).is_dir():
            yield name
        else:
            yield from self._walk(name)

    def _take_match(self, name: str, any_suffix: bool) -> Iterator[str]:
        if not SYSTEM_FOLDERS.isdisjoint(Path(name).parts):
            return
        if Path(name).is_dir():
            yield from self._walk(name)
        elif any_suffix and _is_file(name):
            yield name
        elif not any_suffix:
            yield from self._take_photo(name)

    def _walk(self, name: str) -> Iterator[str]:
        unreadable: list[OSError] = []
        for folder, folders, files in os.walk(name, onerror=unreadable.append):
            folders[:] = sorted(each for each in folders if not _is_hidden(each))
            for file in sorted(each for each in files if not _is_hidden(each)):
                # Path would drop a leading ./
                yield from self._take_photo(os.path.join(folder, file))  # noqa: PTH118
        # Each is reported where its photos would stand: it cannot be read as a file either.
        yield from (os.fspath(error.filename) for error in unreadable)

    def _take_photo(self, name: str) -> Iterator[str]:
        suffix = Path(name).suffix.lower()
        if suffix in PHOTO_SUFFIXES and _is_file(name):
            yield name
        elif suffix in UNSUPPORTED_SUFFIXES and self._left_out.add(name):
            self._unsupported[suffix] += 1


def _is_hidden(name: str) -> bool:
    """Also macOS' AppleDouble twins, `._IMG_1.JPG`."""
    return name.startswith(".") or name in SYSTEM_FOLDERS


def _is_file(name: str) -> bool:
    """No pipe, socket or device, which might be waited for without end.

    A link that leads nowhere counts as a file, so that it is reported.
    """
    try:
        return stat.S_ISREG(os.stat(name).st_mode)  # noqa: PTH116
    except OSError:
        return True


def load(name: str) -> Image:
    """What the client is to send for a name: the path, or what stands on standard input."""
    return (name, sys.stdin.buffer.read()) if name == STANDARD_INPUT else name
