"""The list of classes."""

import csv
from pathlib import Path

import pytest

from deployments.common.labels import load_classes

LIST = Path(__file__).parents[4] / "shared" / "imagenet_classes.tsv"


def test_there_are_a_thousand_classes() -> None:
    classes = load_classes()
    assert len(classes) == 1000
    assert classes[285] == ("n02124075", "Egyptian_cat")
    assert len({image_class.class_id for image_class in classes}) == 1000


@pytest.mark.skipif(not LIST.is_file(), reason="no list at ../shared/imagenet_classes.tsv")
def test_the_classes_are_those_of_the_list() -> None:
    with LIST.open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [(row["wnid"], row["name"]) for row in rows] == list(load_classes())
