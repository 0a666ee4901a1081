"""What people see in a terminal: the table of results and the progress bar."""

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
)
from rich.text import Text

from densenet_client.results import Failure, Prediction, Result

GAP = "  "
BAR_CELLS = 10
NAMES_MEASURED = 1000
WIDE_CELLS = 76
"""From here on there is room for the bar and the WordNet id."""


class Table:
    """Lays results out in lines that fit the window; in a pipe nothing is cut short."""

    def __init__(self, console: Console, name_cells: int = 0) -> None:
        """name_cells: the width of names in a pipe; a terminal's follows from its own."""
        self._console = console
        self._name_cells = name_cells

    def render(self, result: Result) -> Text:
        """One line for a failure, one for each class of a classification."""
        if isinstance(result, Failure):
            return self._line(result.name, Text(), f"{result.code}: {result.message}", "red")
        best, *others = (
            (self._figures(each), each.class_name.replace("_", " ")) for each in result.predictions
        )
        lines = [self._line(result.name, *best, "bold")]
        return Text("\n").join(lines + [self._line("", *other) for other in others])

    def _line(self, name: str, figures: Text, words: str, style: str = "") -> Text:
        line = self._name(name) + Text(GAP) + figures
        last = Text(printable(words), style)
        if self._console.is_terminal:
            last.truncate(max(1, self._console.width - line.cell_len), overflow="ellipsis")
        return line + last

    def _name(self, name: str) -> Text:
        text = Text(printable(name))
        if self._console.is_terminal:
            cells = max(12, self._console.width * 2 // 5)
            text.truncate(cells, overflow="ellipsis", pad=True)
        else:
            text.pad_right(max(0, self._name_cells - text.cell_len))
        return text

    def _figures(self, prediction: Prediction) -> Text:
        share = prediction.probability
        figures = Text(f"{100 * share:5.1f} %{GAP}", _style(share))
        if self._console.is_terminal and self._console.width < WIDE_CELLS:
            return figures
        if self._console.is_terminal:
            bar = "━" * round(BAR_CELLS * share)
            figures.append(f"{bar:{BAR_CELLS}}{GAP}", _style(share))
        return figures.append(f"{printable(prediction.class_id)}{GAP}", "dim")


def measure(names: Iterable[str]) -> int:
    """The width of the longest of the first names, in cells."""
    first = itertools.islice(names, NAMES_MEASURED)
    return max((Text(printable(name)).cell_len for name in first), default=0)


def _style(share: float) -> str:
    return "green" if share >= 0.5 else "yellow" if share >= 0.2 else "dim"


def printable(text: str) -> str:
    """A file name may hold what moves the cursor or paints the terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


@contextmanager
def show_progress(
    console: Console, names: Callable[[], Iterable[str]]
) -> Iterator[Callable[[], None]]:
    """A bar on a terminal, nothing elsewhere. Gives a function to call for each result.

    `names` is gone through in the background to learn how many there are.
    """
    progress = Progress(
        SpinnerColumn(),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        _RemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    task = progress.add_task("", total=None)

    def count() -> None:
        progress.update(task, total=sum(1 for _ in names()))

    with progress:
        if not progress.disable:
            threading.Thread(target=count, daemon=True).start()
        yield lambda: progress.advance(task)


class _RateColumn(ProgressColumn):
    """From the start on: results come by the request, and the first few at once."""

    def render(self, task: Task) -> Text:
        rate = _rate(task)
        return Text(f"{rate:.1f} images/s" if rate else "", "cyan")


class _RemainingColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        rate = _rate(task)
        if not rate or task.remaining is None:
            return Text("-:--:--", "cyan")
        return Text(str(timedelta(seconds=round(task.remaining / rate))), "cyan")


def _rate(task: Task) -> float:
    """Images/s."""
    return task.completed / task.elapsed if task.elapsed else 0.0
