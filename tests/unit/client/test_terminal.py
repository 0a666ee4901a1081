"""The table as it looks in windows of several widths and in a pipe."""

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from densenet_client import Classification, Failure, Prediction, Result
from densenet_client.terminal import Table

LONG = "a/very/long/path/" * 6 + "猫.jpg"
CLASSES = (
    Prediction("n02124075", "Egyptian_cat", 0.871),
    Prediction("n04355338", "a_class_with_a_name_that_is_much_longer_than_others" * 2, 0.05),
)
RESULTS: list[Result] = [
    Classification("cat.jpg", CLASSES),
    Classification(LONG, CLASSES),
    Failure(LONG, "undecodable_image", "the file is broken " * 9),
]


def show(result: Result, width: int, terminal: bool) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal)
    return Table(console).render(result).plain.splitlines()


@pytest.mark.parametrize("width", [30, 50, 80, 200])
@pytest.mark.parametrize("result", RESULTS)
def test_every_line_fits_the_window(result: Result, width: int) -> None:
    for line in show(result, width, terminal=True):
        assert cell_len(line) <= width


def test_a_wide_window_shows_percent_bar_id_and_name() -> None:
    first, second = show(RESULTS[0], 100, terminal=True)
    assert first.split() == ["cat.jpg", "87.1", "%", "━━━━━━━━━", "n02124075", "Egyptian", "cat"]
    assert second.split()[0] == "5.0"


def test_a_narrow_window_keeps_name_percent_and_class() -> None:
    first, _ = show(RESULTS[0], 50, terminal=True)
    assert first.split() == ["cat.jpg", "87.1", "%", "Egyptian", "cat"]


def test_nothing_is_cut_short_in_a_pipe() -> None:
    lines = show(RESULTS[1], 80, terminal=False)
    assert LONG in lines[0]
    assert CLASSES[1].class_name.replace("_", " ") in lines[1]


def test_a_name_cannot_paint_the_terminal() -> None:
    hostile = Failure("a\x1b[31m[red]\r\n\x9b2J\udcff.jpg", "x", "\x1b]0;title\x07")
    (line,) = show(hostile, 80, terminal=False)
    assert line.startswith("a\N{REPLACEMENT CHARACTER}[31m[red]")
    assert line.isprintable()
