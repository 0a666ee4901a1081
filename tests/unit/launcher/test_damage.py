"""Every part of a configuration replaced by what does not belong there: told, never raised."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployments.launcher.config import find_problems
from testing.service import ROOT

VALUES: list[Any] = [None, [], {}, "", "x", 0, -1, 1.5, True, float("inf"), ["x"], [{}], {"x": {}}]
CONFIGS = [ROOT / "serve_config.yaml", ROOT / "config/cluster.yaml"]


def list_places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value below a node."""
    pairs = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in pairs:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from list_places(value, (*path, key))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_that_does_not_belong_is_told_in_one_line(path: Path, value: Any) -> None:
    document = yaml.safe_load(path.read_text())
    for place in list_places(document):
        damaged = copy.deepcopy(document)
        node = damaged
        for key in place[:-1]:
            node = node[key]
        node[place[-1]] = value
        for problem in find_problems(damaged):
            assert str(problem).strip()
            assert "\n" not in str(problem), place
