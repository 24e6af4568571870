"""Counted nouns, and where people read them."""

from __future__ import annotations

import pytest

from edgelearn.words import count, noun


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 boards"), (1, "1 board"), (2, "2 boards"), (-1, "-1 boards"), (11, "11 boards")]
)
def test_a_number_with_its_noun(number: int, text: str) -> None:
    assert count(number, "board") == text
    assert noun(number, "board") == text.split()[1]


def test_nouns_that_are_not_regular() -> None:
    assert count(1, "line was", "lines were") == "1 line was"
    assert count(3, "line was", "lines were") == "3 lines were"
