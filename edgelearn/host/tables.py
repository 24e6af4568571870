"""Samples from tables of numbers: rows in time, columns of sensors, windows of rows as samples.

A CSV file or a live stream of lines gives one row after another; `Windows` turns rows into samples of the model's size.
"""

from __future__ import annotations

import csv
import math
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from edgelearn.errors import DataError, OptionError
from edgelearn.words import count

_DELIMITERS = ",;\t"


class TableOptions(Struct, frozen=True, kw_only=True):
    """How rows become samples.

    Attributes:
        columns: that hold the values, by name or by number from 1; empty takes all but the label's.
        label_column: that holds the label, by name or by number; "" where there is none.
        window_rows: rows of a sample; 0 takes as many as fill the model's input.
        stride_rows: rows from the start of one sample to that of the next; 0 takes a whole window.
    """

    columns: tuple[str, ...] = ()
    label_column: str = ""
    window_rows: int = 0
    stride_rows: int = 0


class Row(NamedTuple):
    """One line of a table."""

    values: tuple[float, ...]
    label: str | None


class Window(NamedTuple):
    """Rows that are one sample, and the label of most of them."""

    values: npt.NDArray[np.float32]
    label: str | None


class Windows:
    """Gathers rows into samples.

    Args:
        elements: values that the model takes.
        options: how many rows a sample has, and how far the next one starts.

    Raises:
        OptionError: the numbers make no sense.
    """

    def __init__(self, elements: int, options: TableOptions) -> None:
        if options.window_rows < 0 or options.stride_rows < 0:
            raise OptionError("window and stride are numbers of rows, at least 1")
        self._elements = elements
        self._options = options
        self._rows: deque[Row] = deque()
        self._rows_per_window = 0
        self._skip = 0

    def add(self, row: Row) -> Window | None:
        """The sample that this row completes.

        Raises:
            DataError: a sample would not have as many values as the model takes.
        """
        if not self._rows_per_window:
            self._rows_per_window = self._window_rows(len(row.values))
        if self._skip:
            self._skip -= 1
            return None
        self._rows.append(row)
        if len(self._rows) < self._rows_per_window:
            return None
        values = np.array([entry.values for entry in self._rows], dtype=np.float32)
        labels = Counter(entry.label for entry in self._rows if entry.label is not None)
        stride = self._options.stride_rows or self._rows_per_window
        for _ in range(min(stride, len(self._rows))):
            self._rows.popleft()
        self._skip = max(0, stride - self._rows_per_window)
        return Window(values, labels.most_common(1)[0][0] if labels else None)

    def _window_rows(self, columns: int) -> int:
        wanted = self._options.window_rows or self._elements // columns
        if wanted * columns != self._elements:
            values = count(self._elements, "value")
            if not self._options.window_rows and columns > self._elements:
                said = f"a row of {count(columns, 'column')} is more than a sample: the model takes {values}"
            else:
                by_rows = f"{count(wanted, 'row')} of " if self._options.window_rows else "any number of rows of "
                said = f"{by_rows}{count(columns, 'column')} do not make a sample: the model takes {values}"
            raise DataError(said, hint=self._hint(columns))
        return wanted

    def _hint(self, columns: int) -> str:
        hint = "choose the columns with --columns, the rows of a sample with --window"
        rows = self._options.window_rows
        fits = columns > 1 and (rows * (columns - 1) == self._elements if rows else self._elements % (columns - 1) == 0)
        if fits and not self._options.label_column and not self._options.columns:
            return f"if one of the columns is the label, say which: --label-column {columns} is the last one\n{hint}"
        return hint if self._options.label_column else f"{hint}, the label's with --label-column"


class RowParser:
    """Turns the fields of lines into rows; the first line may be a header.

    Args:
        name: of the file or stream, for messages.
        options: which columns hold what.
    """

    def __init__(self, name: str, options: TableOptions) -> None:
        self._name = name
        self._options = options
        self._columns: list[int] | None = None
        self._label: int | None = None
        self._titles: list[str] = []
        self._fields = 0

    def parse(self, fields: list[str], line: int) -> Row | None:
        """One row; None for a header or an empty line.

        Raises:
            DataError: a field that has to be a number is none, or fields are missing; names the line.
        """
        fields = [field.strip() for field in fields]
        if not any(fields):
            return None
        if self._columns is None and self._starts(fields):
            return None
        assert self._columns is not None  # noqa: S101 - _starts sets it
        if len(fields) != self._fields:
            raise DataError(
                f"{self._name}, line {line}: {count(len(fields), 'field')}, the lines before have {self._fields}"
            )
        values = []
        for column in self._columns:
            value = _number(fields[column])
            if value is None:
                raise DataError(
                    f"{self._name}, line {line}: {fields[column]!r} in {self._title(column)} is no number",
                    hint="choose the columns with --columns, the label's with --label-column",
                )
            values.append(value)
        return Row(tuple(values), fields[self._label] if self._label is not None else None)

    def _starts(self, fields: list[str]) -> bool:
        """Find the columns; whether this line is a header."""
        self._fields = len(fields)
        is_header = not any(_number(field) is not None for field in fields)
        if is_header:
            self._titles = fields
        self._label = self._find(self._options.label_column) if self._options.label_column else None
        chosen = [self._find(column) for column in self._options.columns]
        self._columns = chosen or [column for column in range(len(fields)) if column != self._label]
        if not self._columns:
            raise DataError(f"{self._name} has no column of values beside the label")
        return is_header

    def _find(self, column: str) -> int:
        if column in self._titles:
            return self._titles.index(column)
        if column.isdecimal() and 1 <= int(column) <= self._fields:
            return int(column) - 1
        known = ", ".join(self._titles) if self._titles else f"1 to {self._fields}"
        raise OptionError(f"{self._name} has no column {column}", hint=f"its columns are {known}")

    def _title(self, column: int) -> str:
        return self._titles[column] if self._titles else f"column {column + 1}"


def read_table(
    path: Path, text: str, elements: int, options: TableOptions
) -> tuple[npt.NDArray[np.float32], npt.NDArray[Any] | None]:
    """The samples of a CSV file, [N, rows, columns], and their labels as text, [N].

    Args:
        path: of the file, for messages.
        text: what it holds; fields are separated by commas, semicolons or tabs.
        elements: values that the model takes.
        options: which columns, and how many rows are a sample.

    Raises:
        DataError: a line cannot be read, or there are too few for one sample.
        OptionError: a column that is not there.
    """
    windows = list(read_windows(path.name, text.splitlines(), Windows(elements, options), options))
    if not windows:
        raise DataError(
            f"{path} has too few rows for one sample",
            cause=f"the model takes {count(elements, 'value')}",
            hint="a window has --window rows of all columns",
        )
    labels = [window.label for window in windows]
    y = None if any(label is None for label in labels) else _labels([label for label in labels if label is not None])
    return np.stack([window.values for window in windows]), y


def read_windows(name: str, lines: Iterable[str], windows: Windows, options: TableOptions) -> Iterator[Window]:
    """The samples that lines of text give, as they come."""
    parser = RowParser(name, options)
    delimiter = ""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        delimiter = delimiter or next((mark for mark in _DELIMITERS if mark in line), ",")
        row = parser.parse(next(csv.reader([line], delimiter=delimiter)), number)
        if row is None:
            continue
        window = windows.add(row)
        if window is not None:
            yield window


def _labels(labels: list[str]) -> npt.NDArray[Any]:
    """Class numbers where all are whole numbers, else names."""
    if all(label.isdecimal() for label in labels):
        return np.array([int(label) for label in labels])
    return np.array(labels)


def _number(field: str) -> float | None:
    try:
        value = float(field)
    except ValueError:
        return None
    return value if math.isfinite(value) or field else None
