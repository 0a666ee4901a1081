"""Where results go, one by one: the terminal, a pipe or a file."""

import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from rich.console import Console
from rich.text import Text

from densenet_client.errors import StartupError
from densenet_client.result_formats import Format, open_results
from densenet_client.results import Result
from densenet_client.terminal import Table, measure, printable

Write = Callable[[Result], None]


@contextmanager
def open_output(path: Path | None, resume: bool, header: str) -> Iterator[IO[str]]:
    """Standard output, or a file that is new or to be gone on with. Raises StartupError."""
    if path is None:
        stdout = cast("io.TextIOWrapper", sys.stdout)
        stdout.reconfigure(errors="surrogateescape")
        stdout.write(header)
        yield stdout
        return
    with _open_file(path, resume) as file:
        if file.tell() == 0:
            file.write(header)
        yield file


def _open_file(path: Path, resume: bool) -> IO[str]:
    try:
        return open_results(path, "a" if resume else "x")
    except FileExistsError:
        raise StartupError(f"{path} is there already: give --resume or another name") from None
    except OSError as error:
        raise StartupError(f"{path}: {error.strerror}") from error


def make_write(
    file: IO[str],
    results_format: Format | None,
    screen: Console,
    names: Callable[[], Iterator[str]],
) -> Write:
    """What writes one result; without a format as a table for people, as wide as `names`."""
    if results_format is None:
        table = Table(screen, 0 if screen.is_terminal else measure(names()))
        return lambda result: screen.print(table.render(result), soft_wrap=True)
    render = results_format.render
    if screen.is_terminal:
        return lambda result: screen.print(Text(printable(render(result)[:-1])), soft_wrap=True)

    def write(result: Result) -> None:
        file.write(render(result))
        file.flush()  # what was paid for is on the disk when the next is waited for

    return write
