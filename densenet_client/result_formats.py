"""Results as lines of JSON or CSV, and back again: what `--resume` finds in a file.

One result is one row, so that a file that was cut off loses its last row at most.
"""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import IO, Protocol

from densenet_client.results import Failure, Result


class BadResults(Exception):
    """A file to resume is not what this command would have written."""


class Format(Protocol):
    """How results are written, and which rows of a file are those of classified images."""

    def header(self) -> str:
        """What comes before the rows; empty where nothing does."""

    def render(self, result: Result) -> str:
        """One row, with its newline."""

    def read_classified(self, lines: Iterator[str]) -> Iterator[tuple[str, str]]:
        """Name and row of each classified image. Raises BadResults."""


class Json:
    """One JSON object a line."""

    def header(self) -> str:
        return ""

    def render(self, result: Result) -> str:
        row: dict[str, object] = {"name": result.name}
        if isinstance(result, Failure):
            row["error"] = {"code": result.code, "message": result.message}
        else:
            row["predictions"] = [asdict(prediction) for prediction in result.predictions]
        return json.dumps(row, ensure_ascii=False) + "\n"

    def read_classified(self, lines: Iterator[str]) -> Iterator[tuple[str, str]]:
        for line in lines:
            try:
                row = json.loads(line)
                if "predictions" in row:
                    yield row["name"], line
            except (ValueError, TypeError, KeyError) as error:
                raise BadResults("it holds a line that is no result") from error


class Csv:
    """One row an image, with three columns for each of its `top_k` classes."""

    def __init__(self, top_k: int) -> None:
        self._top_k = top_k

    def header(self) -> str:
        return _render_row(self._columns())

    def render(self, result: Result) -> str:
        if isinstance(result, Failure):
            return _render_row([result.name, result.code, result.message, *self._top_k * 3 * [""]])
        cells = (
            cell
            for each in result.predictions
            for cell in (each.class_id, each.class_name, f"{each.probability:.6g}")
        )
        return _render_row([result.name, "", "", *cells])

    def read_classified(self, lines: Iterator[str]) -> Iterator[tuple[str, str]]:
        rows = csv.reader(lines)
        columns = self._columns()
        if next(rows, columns) != columns:
            raise BadResults("its columns are others; was it written with another --top-k?")
        for row in rows:
            if len(row) == len(columns) and not row[1]:
                yield row[0], _render_row(row)

    def _columns(self) -> list[str]:
        columns = ["name", "error", "message"]
        for rank in range(1, self._top_k + 1):
            number = f"_{rank}" if rank > 1 else ""
            columns += [f"class_id{number}", f"class_name{number}", f"probability{number}"]
        return columns


def _render_row(cells: list[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


def open_results(path: Path, mode: str) -> IO[str]:
    """Every file name of the system survives in it, and no newline is changed."""
    return path.open(mode, encoding="utf-8", errors="surrogateescape", newline="")


def compact_results(path: Path, results_format: Format) -> set[str]:
    """Drop from a file what is to be done again: failures, and a row that was cut off.

    Returns the names that stay. Raises BadResults, and then leaves the file as it was.
    """
    rewritten = path.with_name(path.name + ".part")
    try:
        names = _copy_classified(path, rewritten, results_format)
        rewritten.replace(path)
    finally:
        rewritten.unlink(missing_ok=True)
    return names


def _copy_classified(path: Path, copy: Path, results_format: Format) -> set[str]:
    names: set[str] = set()
    with open_results(path, "r") as old, open_results(copy, "w") as new:
        new.write(results_format.header())
        for name, row in results_format.read_classified(_whole_lines(old)):
            names.add(name)
            new.write(row)
    return names


def _whole_lines(file: IO[str]) -> Iterator[str]:
    return (line for line in file if line.endswith("\n"))
