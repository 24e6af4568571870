"""Calibration samples: read from `.npz` or `.npy`, checked against the model's input, and summed up for the bundle."""

from __future__ import annotations

import math
import re
import struct
import zipfile
import zlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from edgelearn.bundle import Calibration
from edgelearn.errors import CalibrationError, DataError, reason
from edgelearn.samples import TARGETS, input_arrays, wanted_names
from edgelearn.words import count

if TYPE_CHECKING:
    import numpy.typing as npt

_HINT = "give a .npz with the arrays x and, if there are labels, y; or a .npy with x alone"

#: Names that hold samples or labels whatever the model's inputs are called.
_USUAL = re.compile(r"x(_\d+)?|y")


class SampleFile(msgspec.Struct, frozen=True, kw_only=True):
    """The arrays of a calibration file, before it is known what the model takes.

    Attributes:
        arrays: by name, without `y`; x, x_1 and so on are checked already.
        allow_int8: whether int8 samples are already quantised, which only an int8 model can say.
        y: [N] labels as the file has them, numbers or names, or None.
    """

    path: Path
    arrays: dict[str, npt.NDArray[Any]]
    allow_int8: bool
    y: npt.NDArray[Any] | None


class Samples(msgspec.Struct, frozen=True, kw_only=True):
    """Calibration samples that fit the model.

    Attributes:
        inputs: one for each input, [N, ...] with the input's shape behind N; float32 in the model's input units, or
            int8 where they were already quantised.
        y: [N] labels as the file has them, numbers or names, or None.
    """

    inputs: tuple[npt.NDArray[Any], ...]
    y: npt.NDArray[Any] | None

    def __len__(self) -> int:
        return len(self.inputs[0])

    def chosen(self, numbers: npt.NDArray[np.intp]) -> tuple[npt.NDArray[Any], ...]:
        """The inputs of some of the samples."""
        return tuple(values[numbers] for values in self.inputs)


def read_samples(path: Path, *, allow_int8: bool) -> SampleFile:
    """Read calibration samples and check all that can be checked without the model.

    Args:
        path: a `.npz` with x, or an array for each input, and perhaps y; or a `.npy` with x.
        allow_int8: whether int8 samples are already quantised, which only an int8 model can say.

    Raises:
        DataError: the file cannot be read, is empty, or holds NaN or infinity; the first such sample is named.
        CalibrationError: int8 samples for a float model.
    """
    arrays = _read_arrays(path)
    y = arrays.pop(TARGETS, None)
    if not arrays:
        raise _no_array(path, arrays, ("x",))
    file = SampleFile(path=path, arrays=arrays, allow_int8=allow_int8, y=y)
    for name in [name for name in arrays if _USUAL.fullmatch(name)]:
        arrays[name] = _checked(file, name)
    return file


def fit_samples(file: SampleFile, *, inputs: Sequence[tuple[str, tuple[int, ...]]]) -> Samples:
    """The samples in the shapes of the model's inputs; another shape of as many elements is reshaped.

    Args:
        file: from `read_samples`.
        inputs: name and shape, without the batch, of each input.

    Raises:
        DataError: an input has no array, or the arrays differ in length or hold what is no number.
        CalibrationError: they do not fit; both shapes are named.
    """
    names = input_arrays(file.arrays, [name for name, _ in inputs])
    if names is None:
        raise _no_array(file.path, file.arrays, [name for name, _ in inputs])
    fitted = []
    for array_name, (name, input_shape) in zip(names, inputs, strict=True):
        values = _checked(file, array_name)
        if len(values) != len(file.arrays[names[0]]):
            raise DataError(
                f"{file.path}: {array_name} has {count(len(values), 'sample')}, "
                f"{names[0]} has {len(file.arrays[names[0]])}",
                hint="give as many samples for each input",
            )
        if math.prod(values.shape[1:]) != math.prod(input_shape):
            which = "the model's input" if len(inputs) == 1 else f"the model's input {name}"
            raise CalibrationError(
                f"samples of the shape {_shape(values.shape[1:])} do not fit {which} {_shape(input_shape)}",
                cause=f"the calibration file has {array_name} of the shape {_shape(values.shape)}",
                hint=f"give {array_name} as [samples, {', '.join(map(str, input_shape))}]",
            )
        fitted.append(values.reshape(len(values), *input_shape))
    return Samples(inputs=tuple(fitted), y=file.y)


def _checked(file: SampleFile, name: str) -> npt.NDArray[Any]:
    """The array as float32 or int8, if it can be an input."""
    path, x, y = file.path, file.arrays[name], file.y
    if x.dtype == np.int8 and not file.allow_int8:
        raise CalibrationError(
            f"{path} holds int8 samples, but the float model's input is not quantised yet",
            hint="give the samples as float32 in the units that the model was trained with",
        )
    if x.dtype != np.int8:
        if x.dtype.kind not in "fiub":
            raise DataError(f"{path}: {name} holds {x.dtype}, not numbers", hint=_HINT)
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
            f"{path}: y has {count(0 if y.ndim == 0 else len(y), 'label')} for {count(len(x), 'sample')}",
            hint="give one label for each sample",
        )
    return np.ascontiguousarray(x)


def _no_array(path: Path, arrays: Collection[str], inputs: Sequence[str]) -> DataError:
    found = f"its arrays are {', '.join(sorted(arrays)) or 'none'}"
    if len(inputs) == 1:
        return DataError(f"{path} has no array x", cause=found, hint=_HINT)
    return DataError(
        f"{path} has no array for each of the model's {len(inputs)} inputs",
        cause=found,
        hint=f"call the arrays {wanted_names(inputs)}; labels, if there are any, y",
    )


def statistics(inputs: Sequence[npt.NDArray[Any]]) -> Calibration:
    """Count of samples; range, mean and standard deviation of all inputs' values, in their units, to six digits."""
    values = np.concatenate([values.reshape(-1) for values in inputs]).astype(np.float64)
    return Calibration(
        samples=len(inputs[0]),
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
            return {name: values for name in loaded.files if (values := _read_array(loaded, name)) is not None}
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
            f"{path} cannot be read as .npz or .npy", cause="".join(reason(error).splitlines()[:1]), hint=_HINT
        ) from error
    except MemoryError as error:
        raise DataError(f"{path} does not fit into memory", hint="a few hundred samples are enough") from error


def _read_array(loaded: Mapping[str, npt.NDArray[Any]], name: str) -> npt.NDArray[Any] | None:
    """An array of the archive; None where it holds objects under a name that no sample needs to have."""
    try:
        return loaded[name]
    except ValueError as error:
        if "allow_pickle" in str(error) and not _USUAL.fullmatch(name):
            return None
        raise


def _shape(shape: tuple[int, ...]) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"
