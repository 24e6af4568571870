"""Which array of a person's `.npz` file is which input of the model; the same for calibration and for streaming."""

from __future__ import annotations

from collections.abc import Collection, Sequence

#: The array of labels or targets; no input is looked for there.
TARGETS = "y"


def numbered_names(count: int) -> tuple[str, ...]:
    """The arrays of a model's inputs in order, where they are not called as the inputs are: x, x_1, x_2."""
    return tuple("x" if number == 0 else f"x_{number}" for number in range(count))


def input_arrays(found: Collection[str], inputs: Sequence[str]) -> tuple[str, ...] | None:
    """The names of the arrays that hold the inputs, in order; None where the file has neither set of names.

    Args:
        found: names of the file's arrays.
        inputs: names of the model's inputs. Of several inputs these come first; one is called x first.
    """
    numbered = numbered_names(len(inputs))
    choices = (numbered, tuple(inputs)) if len(inputs) == 1 else (tuple(inputs), numbered)
    for names in choices:
        if TARGETS not in names and set(names) <= set(found):
            return names
    return None


def wanted_names(inputs: Sequence[str]) -> str:
    """The names that a file's arrays may have, for messages."""
    numbered = ", ".join(numbered_names(len(inputs)))
    if TARGETS in inputs or len(inputs) == 1:
        return numbered
    return f"{', '.join(inputs)} (or {numbered})"
