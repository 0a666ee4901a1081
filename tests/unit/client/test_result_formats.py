"""Results as JSON and CSV, and what `--resume` finds in them again."""

import csv
import json
from pathlib import Path

import pytest

from densenet_client import Classification, Failure, Prediction, Result
from densenet_client.result_formats import (
    BadResults,
    Csv,
    Format,
    Json,
    compact_results,
    open_results,
)

ODD_NAMES = ["plain.jpg", 'a "quoted", name.jpg', "two\nlines.jpg", "déjà 猫.jpg", "\udcff.jpg", ""]
FORMATS: list[Format] = [Json(), Csv(top_k=2)]


def classified(name: str) -> Classification:
    first, second = Prediction("n1", "cat", 0.75), Prediction("n2", "dog", 0.125)
    return Classification(name, (first, second))


def write(path: Path, results_format: Format, results: list[Result]) -> None:
    with open_results(path, "w") as file:
        file.write(results_format.header())
        file.writelines(map(results_format.render, results))


@pytest.mark.parametrize("results_format", FORMATS)
def test_classified_names_are_found_again_whatever_they_hold(
    results_format: Format, tmp_path: Path
) -> None:
    path = tmp_path / "results"
    write(path, results_format, [classified(name) for name in ODD_NAMES])
    before = path.read_bytes()
    assert compact_results(path, results_format) == set(ODD_NAMES)
    assert path.read_bytes() == before


@pytest.mark.parametrize("results_format", FORMATS)
def test_failures_and_a_cut_off_row_are_done_again(results_format: Format, tmp_path: Path) -> None:
    path = tmp_path / "results"
    write(path, results_format, [classified("a"), Failure("b", "no_answer", "no"), classified("c")])
    path.write_bytes(path.read_bytes()[:-3])
    assert compact_results(path, results_format) == {"a"}
    with open_results(path, "r") as file:
        assert file.read() == results_format.header() + results_format.render(classified("a"))


@pytest.mark.parametrize("results_format", FORMATS)
def test_another_file_is_refused_and_left_as_it_was(results_format: Format, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("my notes\n")
    with pytest.raises(BadResults):
        compact_results(path, results_format)
    assert path.read_text() == "my notes\n"
    assert list(tmp_path.iterdir()) == [path]


def test_csv_of_another_top_k_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    write(path, Csv(top_k=2), [classified("a")])
    with pytest.raises(BadResults, match="--top-k"):
        compact_results(path, Csv(top_k=5))


def test_csv_has_one_row_an_image_and_three_columns_a_class() -> None:
    text = Csv(2).header() + Csv(2).render(classified("a")) + Csv(2).render(Failure("b", "x", "y"))
    header, row, failure = csv.reader(text.splitlines())
    assert header == [
        "name",
        "error",
        "message",
        "class_id",
        "class_name",
        "probability",
        "class_id_2",
        "class_name_2",
        "probability_2",
    ]
    assert row == ["a", "", "", "n1", "cat", "0.75", "n2", "dog", "0.125"]
    assert failure == ["b", "x", "y", *[""] * 6]


def test_json_has_one_object_a_line() -> None:
    assert json.loads(Json().render(classified("a"))) == {
        "name": "a",
        "predictions": [
            {"class_id": "n1", "class_name": "cat", "probability": 0.75},
            {"class_id": "n2", "class_name": "dog", "probability": 0.125},
        ],
    }
    assert json.loads(Json().render(Failure("b", "x", "y"))) == {
        "name": "b",
        "error": {"code": "x", "message": "y"},
    }
