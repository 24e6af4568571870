"""Tables: which columns, how many rows are a sample, what cannot be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgelearn.errors import DataError, EdgelearnError, OptionError
from edgelearn.host.data import load_dataset
from edgelearn.host.tables import Row, TableOptions, Windows, read_table
from tests.unit.host.test_host_data import INFO

ROWS = "a,b,kind\n" + "".join(f"{i}.5,{-i},{'cat' if i < 4 else 'dog'}\n" for i in range(8))


def table(tmp_path, text=ROWS, name="t.csv", **options):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return load_dataset(path, INFO, table=TableOptions(**options))


def test_rows_become_samples_of_the_models_size(tmp_path):
    found = table(tmp_path, label_column="kind")
    assert len(found) == 4
    assert found.labels.tolist() == [0, 0, 1, 1]
    x, y = read_table(tmp_path / "t.csv", ROWS, 4, TableOptions(label_column="3"))
    assert x[0].tolist() == [[0.5, 0.0], [1.5, -1.0]]
    assert x.shape == (4, 2, 2)
    assert y.tolist() == ["cat", "cat", "dog", "dog"]


@pytest.mark.parametrize(
    ("options", "first_column"),
    [
        ({"stride_rows": 1}, [[i, i + 1] for i in range(7)]),
        ({"stride_rows": 3}, [[0, 1], [3, 4], [6, 7]]),
        ({"stride_rows": 7}, [[0, 1]]),
        ({"window_rows": 2, "stride_rows": 2}, [[0, 1], [2, 3], [4, 5], [6, 7]]),
    ],
)
def test_windows_and_strides(options, first_column):
    text = "\n".join(f"{i};{10 * i}" for i in range(8))
    x, y = read_table(Path("t.csv"), text, 4, TableOptions(**options))
    assert x[:, :, 0].tolist() == first_column
    assert y is None


@given(rows=st.integers(1, 40), columns=st.integers(1, 4), window=st.integers(1, 6), stride=st.integers(1, 9))
def test_windows_are_slices_of_the_rows(rows, columns, window, stride):
    values = np.arange(rows * columns, dtype=np.float32).reshape(rows, columns)
    windows = Windows(window * columns, TableOptions(stride_rows=stride))
    found = [made.values for row in values if (made := windows.add(Row(tuple(row.tolist()), None)))]
    expected = [values[i : i + window] for i in range(0, rows - window + 1, stride)]
    assert len(found) == len(expected)
    for got, want in zip(found, expected, strict=True):
        np.testing.assert_array_equal(got, want)


def test_the_label_of_a_window_is_that_of_most_rows():
    x, y = read_table(Path("t.csv"), "1,dog\n2,cat\n3,dog\n4,dog\n", 4, TableOptions(label_column="2"))
    assert x.shape == (1, 4, 1)
    assert y.tolist() == ["dog"]


def test_numbers_as_labels_are_class_numbers(tmp_path):
    assert table(tmp_path, "1,2,3,4,2\n5,6,7,8,0\n", label_column="5").labels.tolist() == [2, 0]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_delimiters_quotes_and_endings(tmp_path, delimiter, ending):
    lines = [delimiter.join(['"a"', "b", "c", "d"]), "", delimiter.join(["1", '"2"', " 3", "4 "])]
    found = table(tmp_path, "\ufeff" + ending.join(lines) + ending)
    assert len(found) == 1


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("", {}, "too few rows"),
        ("a,b\n", {}, "too few rows"),
        ("1,2\n", {}, "too few rows"),
        ("1,2,3\n", {}, "any number of rows of 3 columns do not make a sample: the model takes 4 values"),
        ("1,2,3,4,0\n", {}, "a row of 5 columns is more than a sample: the model takes 4 values"),
        ("1,2,3,4,0\n", {}, "--label-column 5 is the last one"),
        ("1,2\n", {"window_rows": 3}, "3 rows of 2 columns do not make a sample"),
        ("1,2,3,4\n1,2,x,4\n", {}, "line 2: 'x' in column 3 is no number"),
        ("p,q,r,s\n1,2,3,4\n\n1,2,,4\n", {}, "line 4: '' in r is no number"),
        ("1,2,3,4\n1,2,3\n", {}, "line 2: 3 fields, the lines before have 4"),
        ("1\n", {"label_column": "1"}, "no column of values beside the label"),
        ("1,2,3,nan\n", {}, "not a number"),
        ("1,2,3,inf\n", {}, "infinite"),
        ("1,2,3,4,bear\n", {"label_column": "5"}, "'bear', which is not one of the classes"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path, text, options, words):
    with pytest.raises(DataError if "bear" not in text else EdgelearnError) as caught:
        table(tmp_path, text, **options)
    assert words in str(caught.value)


@pytest.mark.parametrize("column", ["z", "0", "4", "-1", ""])
def test_columns_that_are_not_there(tmp_path, column):
    options = {"columns": (column,)}
    with pytest.raises(OptionError, match="has no column") as caught:
        table(tmp_path, **options)
    assert "a, b, kind" in caught.value.hint


def test_columns_are_of_tables_only(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.zeros((2, 4)))
    with pytest.raises(OptionError, match="is no table"):
        load_dataset(tmp_path / "d.npz", INFO, table=TableOptions(columns=("a",)))


def test_columns_of_another_kind_of_file(tmp_path):
    (tmp_path / "m.keras").write_bytes(b"PK")
    with pytest.raises(OptionError, match="holds no samples") as caught:
        load_dataset(tmp_path / "m.keras", INFO, table=TableOptions(label_column="5"))
    assert ".csv" in caught.value.hint


def test_a_file_that_is_no_text(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"\xff\xfe\x00\x00")
    with pytest.raises(DataError, match="is no text"):
        load_dataset(tmp_path / "t.csv", INFO)


def test_windows_make_sense():
    with pytest.raises(OptionError, match="at least 1"):
        Windows(4, TableOptions(window_rows=-1))
