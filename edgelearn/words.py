"""Counted nouns, as people read them."""

from __future__ import annotations


def noun(number: int, singular: str, plural: str = "") -> str:
    """The form of a noun that goes with a number."""
    return singular if number == 1 else plural or singular + "s"


def count(number: int, singular: str, plural: str = "") -> str:
    """A number with its noun."""
    return f"{number} {noun(number, singular, plural)}"
