"""Calibration samples: read from `.npz` or `.npy`, checked against the model's input, and summed up for the bundle."""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from edgelearn.bundle import Calibration
from edgelearn.errors import CalibrationError, DataError

if TYPE_CHECKING:
    import numpy.typing as npt

_HINT = "give a .npz with the arrays x and, if there are labels, y; or a .npy with x alone"


class Samples(msgspec.Struct, frozen=True, kw_only=True):
    """Calibration samples that fit the model.

    Attributes:
        x: [N, ...] with the model's input shape behind N; float32 in the model's input units, or int8 where they were
            already quantised.
        y: [N] labels as the file has them, numbers or names, or None.
    """

    x: npt.NDArray[Any]
    y: npt.NDArray[Any] | None


def read_samples(path: Path, *, allow_int8: bool) -> Samples:
    """Read calibration samples and check all that can be checked without the model.

    Args:
        path: a `.npz` with `x` and perhaps `y`, or a `.npy` with x.
        allow_int8: whether int8 samples are already quantised, which only an int8 model can say.

    Raises:
        DataError: the file cannot be read, is empty, or holds NaN or infinity; the first such sample is named.
        CalibrationError: int8 samples for a float model.
    """
    arrays = _read_arrays(path)
    if "x" not in arrays:
        raise DataError(
            f"{path} has no array x", cause=f"its arrays are {', '.join(sorted(arrays)) or 'none'}", hint=_HINT
        )
    x, y = arrays["x"], arrays.get("y")
    if x.dtype == np.int8 and not allow_int8:
        raise CalibrationError(
            f"{path} holds int8 samples, but the float model's input is not quantised yet",
            hint="give the samples as float32 in the units that the model was trained with",
        )
    if x.dtype != np.int8:
        if x.dtype.kind not in "fiub":
            raise DataError(f"{path}: x holds {x.dtype}, not numbers", hint=_HINT)
        with np.errstate(over="ignore"):
            x = x.astype(np.float32)
    if x.ndim == 0 or x.shape[0] == 0:
        raise DataError(f"{path} holds no samples", hint=_HINT)
    bad = ~np.isfinite(x.reshape(len(x), -1)).all(axis=1)
    if bad.any():
        raise DataError(
            f"{path}: sample {int(bad.argmax())} holds NaN or infinity",
            cause=f"{int(bad.sum())} of {len(x)} samples do",
            hint="repair or leave out these samples",
        )
    if y is not None and (y.ndim == 0 or len(y) != len(x)):
        raise DataError(
            f"{path}: y has {0 if y.ndim == 0 else len(y)} labels for {len(x)} samples",
            hint="give one label for each sample",
        )
    return Samples(x=np.ascontiguousarray(x), y=y)


def fit_samples(samples: Samples, *, input_shape: tuple[int, ...]) -> Samples:
    """Samples in the model's input shape, which is without the batch; another shape of as many elements is reshaped.

    Raises:
        CalibrationError: they do not fit; both shapes are named.
    """
    shape = samples.x.shape
    if math.prod(shape[1:]) != math.prod(input_shape):
        raise CalibrationError(
            f"samples of the shape {_shape(shape[1:])} do not fit the model's input {_shape(input_shape)}",
            cause=f"the calibration file has x of the shape {_shape(shape)}",
            hint=f"give x as [samples, {', '.join(map(str, input_shape))}]",
        )
    return Samples(x=samples.x.reshape(shape[0], *input_shape), y=samples.y)


def statistics(x: npt.NDArray[Any]) -> Calibration:
    """Count, range, mean and standard deviation of samples, in their own units, to six digits."""
    values = x.astype(np.float64)
    return Calibration(
        samples=len(x),
        minimum=six_digits(values.min()),
        maximum=six_digits(values.max()),
        mean=six_digits(values.mean()),
        standard_deviation=six_digits(values.std()),
    )


def six_digits(value: float) -> float:
    """The value to six significant digits, so that the order of a sum on another machine does not show."""
    return float(f"{value:.6g}")


def _read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        with path.open("rb") as file:
            start = file.read(8)
            if not start.startswith((b"\x93NUMPY", b"PK")):  # numpy would take it for pickled data
                raise DataError(f"{path} is not an .npz or .npy file", cause="" if start else "it is empty", hint=_HINT)
            file.seek(0)
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return {"x": loaded}
            # Arrays of other names are listed in the message, but not read.
            return {name: loaded[name] if name in ("x", "y") else np.empty(0) for name in loaded.files}
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist", hint=_HINT) from error
    except (
        EOFError,
        KeyError,
        NotImplementedError,
        OSError,
        RuntimeError,
        SyntaxError,
        TypeError,
        ValueError,
        struct.error,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        if "allow_pickle" in str(error):
            raise DataError(
                f"{path} holds Python objects",
                cause="reading them could run any program",
                hint="save plain arrays: names as numpy.array(list_of_names), samples all of one shape",
            ) from error
        raise DataError(
            f"{path} cannot be read as .npz or .npy", cause=str(error).splitlines()[0] if str(error) else "", hint=_HINT
        ) from error
    except MemoryError as error:
        raise DataError(f"{path} does not fit into memory", hint="a few hundred samples are enough") from error


def _shape(shape: tuple[int, ...]) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"
