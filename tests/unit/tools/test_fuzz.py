"""A few tries of what `make fuzz` tries for ten minutes."""

import pytest

from tests.fuzz import properties

TRIES = 300


@pytest.mark.parametrize("name", properties(TRIES))
def test_the_property_holds_for_what_nobody_thought_of(name: str) -> None:
    properties(TRIES)[name]()
