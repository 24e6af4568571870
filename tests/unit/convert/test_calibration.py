"""Reading and refusing calibration samples."""

from __future__ import annotations

import numpy as np
import pytest

from edgelearn.convert.calibration import fit_samples, read_samples, statistics
from edgelearn.errors import CalibrationError, DataError


def save(path, **arrays):
    np.savez(path, **arrays)
    return path


def read(path, shape=(2, 3), *, allow_int8=False):
    return fit_samples(read_samples(path, allow_int8=allow_int8), inputs=[("image", shape)])


def test_npz_with_labels(tmp_path):
    samples = read(save(tmp_path / "c.npz", x=np.ones((4, 2, 3)), y=np.arange(4)))
    assert samples.inputs[0].dtype == np.float32
    assert samples.inputs[0].shape == (4, 2, 3)
    assert samples.y.tolist() == [0, 1, 2, 3]


def test_npy_and_flat_samples(tmp_path):
    np.save(tmp_path / "c.npy", np.arange(12, dtype=np.uint8).reshape(2, 6))
    samples = read(tmp_path / "c.npy")
    assert samples.inputs[0].shape == (2, 2, 3)
    assert samples.y is None


def test_int8_is_for_int8_models(tmp_path):
    path = save(tmp_path / "c.npz", x=np.ones((4, 2, 3), np.int8))
    assert read(path, allow_int8=True).inputs[0].dtype == np.int8
    with pytest.raises(CalibrationError, match="int8"):
        read(path)


def test_wrong_shape_names_both(tmp_path):
    with pytest.raises(CalibrationError) as error:
        read(save(tmp_path / "c.npz", x=np.ones((4, 2, 4))))
    assert "[2, 4]" in error.value.message
    assert "[2, 3]" in error.value.message
    assert error.value.hint


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_first_bad_sample_is_named(tmp_path, value):
    x = np.ones((9, 2, 3))
    x[5, 1, 1] = x[7, 0, 0] = value
    with pytest.raises(DataError, match="sample 5 holds NaN or infinity; 2 of 9"):
        read(save(tmp_path / "c.npz", x=x))


def test_numbers_beyond_float32_are_infinite(tmp_path):
    with pytest.raises(DataError, match="sample 0"):
        read(save(tmp_path / "c.npz", x=np.full((1, 2, 3), 1e300)))


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": np.ones((0, 2, 3))}, "no samples"),
        ({"x": np.float32(1)}, "no samples"),
        ({"z": np.ones(3)}, "no array x"),
        ({"x": np.array(["a", "b"])}, "not numbers"),
        ({"x": np.ones((4, 2, 3)), "y": np.arange(3)}, "3 labels for 4 samples"),
        ({"x": np.ones((4, 2, 3)), "y": np.int64(3)}, "0 labels for 4 samples"),
        ({"x": np.ones((4, 2, 3)), "y": np.ones(1)}, "1 label for 4 samples"),
    ],
)
def test_unfit_files(tmp_path, arrays, words):
    with pytest.raises(DataError, match=words):
        read(save(tmp_path / "c.npz", **arrays))


def test_pickles_are_refused(tmp_path):
    objects = np.array([{"a": 1}], dtype=object)
    np.save(tmp_path / "c.npy", objects, allow_pickle=True)
    save(tmp_path / "c.npz", x=objects)
    save(tmp_path / "y.npz", x=np.ones((1, 2, 3)), y=objects)
    for name in ("c.npy", "c.npz", "y.npz"):
        with pytest.raises(DataError, match=f"{name} holds Python objects") as error:
            read(tmp_path / name)
        assert "plain arrays" in error.value.hint
        assert "allow_pickle" not in str(error.value)


@pytest.mark.parametrize("name", ["c.npz", "c.npy", "c.csv"])
def test_a_text_file_is_no_calibration_file(tmp_path, name):
    (tmp_path / name).write_text("1.0, 2.0, 3.0\n")
    with pytest.raises(DataError, match=r"is not an \.npz or \.npy file") as error:
        read(tmp_path / name)
    assert "pickle" not in str(error.value)
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataError, match="it is empty"):
        read(tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 cut off", b"\x93NUMPY\x01\x00v\x00{'descr'"])
def test_unreadable_files(tmp_path, content):
    (tmp_path / "c.npz").write_bytes(content)
    with pytest.raises(DataError):
        read(tmp_path / "c.npz")


def test_a_missing_file(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read(tmp_path / "none.npz")
    with pytest.raises(DataError):
        read(tmp_path)


def test_damaged_archives_never_crash(tmp_path):
    data = save(tmp_path / "c.npz", x=np.arange(60).reshape(10, 2, 3), y=np.arange(10)).read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(data)
        for position in rng.integers(0, len(data), 4):
            damaged[position] = rng.integers(256)
        (tmp_path / "d.npz").write_bytes(damaged)
        try:
            read(tmp_path / "d.npz")
        except (DataError, CalibrationError):
            refused += 1
    assert refused > 100


def test_statistics():
    figures = statistics([np.array([[1.0], [2.0], [3.0]], np.float32)])
    assert (figures.samples, figures.minimum, figures.maximum, figures.mean) == (3, 1.0, 3.0, 2.0)
    assert figures.standard_deviation == pytest.approx(0.816497)
