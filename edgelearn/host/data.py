"""Samples from files, checked against the model on the device and turned into its integers."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from edgelearn.errors import DataError, HeadError, LabelError, OptionError, reason
from edgelearn.host.device import DeviceInfo
from edgelearn.host.tables import TableOptions, read_table
from edgelearn.ir import LossKind, Quant, quantize_array
from edgelearn.protocol import LossCode, TensorInfo, TensorType
from edgelearn.recipe import DenseHead
from edgelearn.samples import TARGETS, input_arrays, wanted_names
from edgelearn.words import count

_INT16_MAX = 32767
#: Share of the targets; with more beyond what the device holds, the loss is no longer that of the targets given.
_MOST_SATURATED = 0.01
_RANDOM_SEED = 20_000
#: Endings of files with rows in time and columns of sensors.
TABLES = (".csv", ".tsv", ".txt")
_ARRAYS = (".npz", ".npy")
_MAKE_ONE = "numpy.savez(path, x=samples, y=labels) makes one"


class Lesson(NamedTuple):
    """One sample's turn, with what is to be learned from it.

    Attributes:
        pass_number: which pass over the data it is in, from 0.
        sample: its number in the data.
        inputs: one array for each of the model's inputs, in the type the device takes.
        label: class number; None without classes.
        targets: int16 [logits] for squared error; None without.
        target_is_input: the targets are the input itself (an autoencoder).
    """

    pass_number: int
    sample: int
    inputs: tuple[npt.NDArray[Any], ...]
    label: int | None = None
    targets: npt.NDArray[np.int16] | None = None
    target_is_input: bool = False


class Origin(Protocol):
    """What a run's record says of where samples come from.

    Attributes:
        name, sha256: of the file; no hash of what is no file.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - see above
    @property
    def sha256(self) -> str: ...  # noqa: D102


class Source(Origin, Protocol):
    """Where samples come from: a file, or a stream that goes on.

    Attributes:
        pass_samples: of a whole pass, 0 where nobody knows.
        notices: what a person should know before.
        can_train: whether the samples say what to learn.
        problems: what was passed over since; whoever shows it takes it out.
        why_nothing: why it has ended without a single sample, "" where it has given one.
    """

    @property
    def pass_samples(self) -> int: ...  # noqa: D102 - see above
    @property
    def notices(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def can_train(self) -> bool: ...  # noqa: D102
    @property
    def problems(self) -> list[str]: ...  # noqa: D102
    @property
    def why_nothing(self) -> str: ...  # noqa: D102

    def lessons(
        self, *, repeat: int = 1, shuffle: bool = False, seed: int = 0, limit: int = 0
    ) -> Iterator[Lesson | None]:
        """The samples in the order in which they are streamed; None where none has come for a moment."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Samples as the device takes them.

    Attributes:
        name: the file's name.
        sha256: of the file, in hex; "" for arrays that came from no file.
        inputs: one for each of the model's inputs, [N, elements] in the type the device takes.
        labels: class numbers, int64 [N]; None without classes.
        targets: int16 [N, logits] for squared error; None without.
        target_is_input: the targets are the inputs themselves (an autoencoder).
        notices: what a person should know: values that were clipped, targets that saturated.
    """

    name: str
    sha256: str
    inputs: tuple[npt.NDArray[Any], ...]
    labels: npt.NDArray[np.int64] | None = None
    targets: npt.NDArray[np.int16] | None = None
    target_is_input: bool = False
    notices: tuple[str, ...] = ()

    def __len__(self) -> int:
        return int(self.inputs[0].shape[0])

    def sample(self, number: int) -> tuple[npt.NDArray[Any], ...]:
        """One sample, as `Device.predict` takes it."""
        return tuple(values[number] for values in self.inputs)

    @property
    def pass_samples(self) -> int:
        """How many there are."""
        return len(self)

    def samples(self) -> Iterator[tuple[npt.NDArray[Any], ...]]:
        """All samples in order."""
        return (self.sample(number) for number in range(len(self)))

    @property
    def why_nothing(self) -> str:
        """A file without samples is refused before."""
        return ""

    @property
    def problems(self) -> list[str]:
        """What was passed over while streaming: nothing, for a file is checked before."""
        return []

    def lessons(
        self, *, repeat: int = 1, shuffle: bool = False, seed: int = 0, limit: int = 0
    ) -> Iterator[Lesson | None]:
        """The samples in the order in which they are streamed, see `visits`."""
        for visit in visits(len(self), repeat=repeat, shuffle=shuffle, seed=seed, limit=limit):
            yield self.lesson(visit.sample, pass_number=visit.pass_number)

    def lesson(self, number: int, *, pass_number: int = 0) -> Lesson:
        """One sample with what is to be learned from it."""
        return Lesson(
            pass_number=pass_number,
            sample=number,
            inputs=self.sample(number),
            label=None if self.labels is None else int(self.labels[number]),
            targets=None if self.targets is None else self.targets[number],
            target_is_input=self.target_is_input,
        )

    @property
    def can_train(self) -> bool:
        """Whether the samples say what to learn."""
        return self.labels is not None or self.targets is not None or self.target_is_input


def random_dataset(info: DeviceInfo, head: DenseHead | None, samples: int) -> Dataset:
    """Random inputs with random classes or targets; an autoencoder's targets are its inputs.

    Float inputs lie on and between the steps of their QUANTIZE and a little beyond its range.

    Args:
        info: of the device, which says how large samples are.
        head: the trainable layer, which says what it learns from.
        samples: how many; the inputs of the first ones are the same for any number.
    """
    generator = np.random.default_rng(_RANDOM_SEED)
    inputs = tuple(_random_input(tensor, samples, number) for number, tensor in enumerate(info.inputs))
    labels = targets = None
    target_is_input = False
    if head and head.loss is LossKind.CROSS_ENTROPY:
        labels = generator.integers(0, info.output_elements, samples)
    elif head and head.input_target[0]:
        target_is_input = True
    elif head:
        targets = generator.integers(-(2**14), 2**14, (samples, info.output_elements)).astype(np.int16)
    return Dataset(
        name="random",
        sha256="",
        inputs=inputs,
        labels=labels,
        targets=targets,
        target_is_input=target_is_input,
        notices=(),
    )


def _random_input(tensor: TensorInfo, samples: int, number: int) -> npt.NDArray[Any]:
    shape = (samples, tensor.elements)
    values = np.random.default_rng(_RANDOM_SEED + number).integers(-128, 128, shape).astype(np.int8)
    if tensor.type is TensorType.INT8:
        return values
    between = np.random.default_rng((_RANDOM_SEED, number)).choice((0.0, 0.5, 0.3, -7.1), shape)
    scale = tensor.scale or 1 / 64
    return np.asarray((values.astype(np.float32) - tensor.zero_point + between) * scale, dtype=np.float32)


class Visit(NamedTuple):
    """One sample's turn: which pass over the data it is in (from 0), and which sample."""

    pass_number: int
    sample: int


def visits(samples: int, *, repeat: int = 1, shuffle: bool = False, seed: int = 0, limit: int = 0) -> Iterator[Visit]:
    """The order in which samples are streamed.

    Args:
        samples: how many there are.
        repeat: passes over the data.
        shuffle: a new order in each pass, the same for the same seed.
        seed: of the shuffling.
        limit: stop after that many visits in all; 0 does not stop.
    """
    generator = np.random.default_rng(seed)
    left = limit if limit > 0 else repeat * samples
    for pass_number in range(repeat):
        order = generator.permutation(samples) if shuffle else np.arange(samples)
        for sample in order[:left]:
            yield Visit(pass_number, int(sample))
        left -= samples
        if left <= 0:
            return


def check_trainable(info: DeviceInfo) -> None:
    """Refuse to learn with a model that cannot.

    Raises:
        HeadError: the model has no trainable head.
    """
    if not info.is_trainable:
        raise HeadError(
            "the model on the device has no trainable head",
            hint="predict only, or convert the model without `--head none` and flash it",
        )


def load_dataset(path: Path, info: DeviceInfo, *, train: bool = False, table: TableOptions | None = None) -> Dataset:
    """Read an `.npz`, `.npy` or `.csv` file for a device.

    A `.csv` has rows in time and columns of sensors, see `tables`; a `.npy` has the samples alone. Of an `.npz` `x`
    holds the samples, [N, ...], in the model's input units, or int8 when already quantised; a model of several inputs
    takes an array for each, called as the input is, or x, x_1 and so on. `y` holds class numbers or names [N]; for
    squared error targets in the model's output units [N, outputs], or it is left out for an autoencoder. Without
    learning `y` may be left out; floats [N, outputs] are passed over, with a notice, by a model without a trainable
    head. Of several outputs all this is about the trainable one, or else the first.

    Args:
        path: of the file.
        info: the device.
        train: the samples are to be learned; a model that cannot is refused before the arrays are judged.
        table: how the rows of a `.csv` become samples.

    Raises:
        HeadError: the samples are to be learned, and the model has no trainable head.
        OptionError: a column that the table has not, or a table is wanted of a file that is none.
        DataError: no such file, not of these kinds, or its arrays do not fit the model.
        LabelError: a label is not one of the classes.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(
            f"{path} does not exist", hint="give an .npz file with the arrays x and y, or a .csv"
        ) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read", cause=reason(error)) from error
    if train:
        check_trainable(info)
    is_table = path.suffix.lower() in TABLES
    if table is not None and table != TableOptions() and not is_table:
        if path.suffix.lower() not in _ARRAYS:
            raise OptionError(f"{path} holds no samples", hint="give a .csv file, or an .npz with the arrays x and y")
        raise OptionError(f"{path} is no table: columns, windows and strides are of .csv files")
    x: npt.NDArray[Any] | tuple[npt.NDArray[Any], ...]
    y: npt.NDArray[Any] | None
    if is_table:
        x, y = _table(path, data, info, table or TableOptions())
    else:
        x, y = _arrays(path, data, info)
    return make_dataset(x, y, info, name=path.name, sha256=hashlib.sha256(data).hexdigest(), train=train)


def make_dataset(
    x: npt.NDArray[Any] | Sequence[npt.NDArray[Any]],
    y: npt.NDArray[Any] | None,
    info: DeviceInfo,
    *,
    name: str = "data",
    sha256: str = "",
    train: bool = False,
) -> Dataset:
    """Check arrays against the model on a device and turn them into its integers; see `load_dataset`.

    Args:
        x: the samples of each input, in order, or of the only one.
        y: labels or targets.
        info: the device.
        name: of the data, for messages.
        sha256: of its file.
        train: the samples are to be learned.

    Raises:
        HeadError: the samples are to be learned, and the model has no trainable head.
        DataError: the arrays do not fit the model.
        LabelError: a label is not one of the classes.
    """
    if train:
        check_trainable(info)
    inputs, notices = _inputs(name, (x,) if isinstance(x, np.ndarray) else tuple(x), info)
    samples = len(inputs[0])
    labels: npt.NDArray[np.int64] | None = None
    targets: npt.NDArray[np.int16] | None = None
    target_is_input = False
    if y is not None and (y.ndim == 0 or y.shape[0] != samples):
        entries = "a single value" if y.ndim == 0 else count(y.shape[0], "entry", "entries")
        raise DataError(
            f"{name}: x has {count(samples, 'sample')}, y has {entries}", hint="each sample needs one entry in y"
        )
    if info.loss is LossCode.SQUARED_ERROR:
        if y is not None:
            targets, more = _targets(name, y, info)
            notices += more
        elif train or _is_autoencoder(info):
            target_is_input = _check_autoencoder(name, info)
    elif y is not None and _is_output(y, info):
        notices.append(
            f"y holds a value for each output and is not compared: the model on the device has no trainable head "
            f"and computes no loss; class numbers [{len(y)}] would give an accuracy"
        )
    elif y is not None:
        labels = class_numbers(name, y, info)
    return Dataset(
        name=name,
        sha256=sha256,
        inputs=inputs,
        labels=labels,
        targets=targets,
        target_is_input=target_is_input,
        notices=tuple(notices),
    )


def class_numbers(name: str, y: npt.NDArray[Any], info: DeviceInfo) -> npt.NDArray[np.int64]:
    """Class numbers, int64 [N], from numbers or names.

    Args:
        name: of the data, for messages.
        y: [N] or [N, 1], integers, whole floats or strings.
        info: the device, which knows its classes.

    Raises:
        DataError: `y` is no list of labels.
        LabelError: a label is not one of the classes; names it, its sample and the classes.
    """
    flat = y.reshape(-1) if y.ndim == 2 and y.shape[1] == 1 else y
    if flat.ndim != 1:
        raise DataError(
            f"{name}: y has the shape {list(y.shape)}, labels are one entry for each sample",
            hint="one-hot rows become class numbers with y.argmax(axis=1)"
            if y.ndim == 2 and y.shape[1] == info.output_elements and _gives_classes(info)
            else f"give class numbers or names as y, [{y.shape[0] if y.ndim else 'N'}]; to predict only, leave y out",
        )
    if flat.dtype.kind in "US":
        return _named(name, flat, info)
    if flat.dtype.kind not in "iufb":
        raise DataError(f"{name}: y has the type {flat.dtype}, labels are class numbers or names")
    with np.errstate(invalid="ignore"):
        bad = ~((flat >= 0) & (flat < info.classes) & (flat == np.floor(flat)))
    if bad.any():
        sample = int(np.flatnonzero(bad)[0])
        raise LabelError(
            f"{name}: sample {sample} has the label {flat[sample]}, which is not one of the classes",
            cause=_known_classes(info),
            hint="spare classes are added with `edgelearn convert --classes N`",
        )
    return flat.astype(np.int64)


def _table(
    path: Path, data: bytes, info: DeviceInfo, options: TableOptions
) -> tuple[npt.NDArray[Any], npt.NDArray[Any] | None]:
    if len(info.inputs) != 1:
        raise DataError(f"a table is one input, the model has {len(info.inputs)}", hint="give an .npz with all of them")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text", cause=str(error), hint="save the table as CSV in UTF-8") from error
    return read_table(path, text, info.inputs[0].elements, options)


def _arrays(path: Path, data: bytes, info: DeviceInfo) -> tuple[tuple[npt.NDArray[Any], ...], npt.NDArray[Any] | None]:
    """The arrays of the inputs, and y."""
    try:
        # From memory: numpy leaves a damaged file open.
        loaded = np.load(io.BytesIO(data), allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        cause = str(error) if data else "the file is empty"
        raise DataError(f"{path} is not an .npz file", cause=cause, hint=_MAKE_ONE) from error
    if not isinstance(loaded, np.lib.npyio.NpzFile):
        return (loaded,), None
    with loaded as file:
        wanted = [tensor.name for tensor in info.inputs]
        names = input_arrays(file.files, wanted)
        if names is None:
            one = len(wanted) == 1
            raise DataError(
                f"{path} has no array x"
                if one
                else f"{path} has no array for each of the model's {len(wanted)} inputs",
                cause=f"it holds {', '.join(file.files) or 'no arrays at all'}",
                hint=f"name the samples x, the labels y: {_MAKE_ONE}"
                if one
                else f"name the samples {wanted_names(wanted)}, the labels y",
            )
        arrays: dict[str, npt.NDArray[Any]] = {}
        for key in (*names, TARGETS):
            if key not in file.files:
                continue
            try:
                arrays[key] = file[key]
            except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
                pickled = "allow_pickle" in str(error)
                raise DataError(
                    f"{path}: {key} holds Python objects" if pickled else f"{path}: {key} cannot be read",
                    cause="reading them could run any program" if pickled else str(error),
                    hint="save plain arrays: names as numpy.array(list_of_names), samples all of one shape"
                    if pickled
                    else "",
                ) from error
    return tuple(arrays[key] for key in names), arrays.get(TARGETS)


def _inputs(
    name: str, x: tuple[npt.NDArray[Any], ...], info: DeviceInfo
) -> tuple[tuple[npt.NDArray[Any], ...], list[str]]:
    """The samples of each input in the type that the device takes, and notices."""
    if len(x) != len(info.inputs):
        raise DataError(
            f"{name}: there {'is' if len(x) == 1 else 'are'} {count(len(x), 'array')} of samples, "
            f"the model has {count(len(info.inputs), 'input')}",
            hint=f"give one for each: {', '.join(tensor.name for tensor in info.inputs)}",
        )
    inputs: list[npt.NDArray[Any]] = []
    notices: list[str] = []
    for values, tensor in zip(x, info.inputs, strict=True):
        array = "x" if len(x) == 1 else tensor.name
        converted, more = _samples(name, array, values, tensor)
        if inputs and len(converted) != len(inputs[0]):
            raise DataError(
                f"{name}: {array} has {count(len(converted), 'sample')}, {info.inputs[0].name} has {len(inputs[0])}",
                hint="each sample needs an entry for each input",
            )
        inputs.append(converted)
        notices += more
    return tuple(inputs), notices


def _samples(name: str, array: str, x: npt.NDArray[Any], tensor: TensorInfo) -> tuple[npt.NDArray[Any], list[str]]:
    """The samples of one input, [N, elements], and notices."""
    if x.dtype.kind not in "iufb":
        raise DataError(f"{name}: {array} has the type {x.dtype}, samples are numbers")
    if x.ndim == 0 or x.shape[0] == 0:
        raise DataError(
            f"{name}: {array} holds no samples",
            cause=f"{array} has the shape {list(x.shape)}",
            hint=f"{array} has a first axis over the samples, each with {count(tensor.elements, 'value')}",
        )
    elements = int(np.prod(x.shape[1:], dtype=np.int64))
    if elements != tensor.elements:
        raise DataError(
            f"{name}: a sample of {array} has {count(elements, 'element')}, the model takes {tensor.elements}",
            cause=f"{array} has the shape {list(x.shape)}",
            hint=f"{array} has a first axis over the samples: {array}[numpy.newaxis] makes one of a single sample"
            if x.size == tensor.elements
            else f"{array} is [N, ...] with {count(tensor.elements, 'value')} for each sample, in any arrangement: "
            "numbers in the model's input units, or int8 as the model itself takes them",
        )
    flat = x.reshape(x.shape[0], elements)
    if x.dtype == np.int8 and tensor.type is TensorType.INT8:
        return np.ascontiguousarray(flat), []
    _check_finite(name, array, flat)
    with np.errstate(over="ignore"):
        values = flat.astype(np.float32)
    _check_finite(name, array, values)
    if tensor.type is TensorType.FLOAT32:
        return np.ascontiguousarray(values), []
    # Values beyond float32 once divided by the scale are clamped like all that are too large.
    with np.errstate(over="ignore", invalid="ignore"):
        x_q = quantize_array(values, Quant(scale=(tensor.scale,), zero_point=(tensor.zero_point,)))
    low = tensor.scale * (-128 - tensor.zero_point)
    high = tensor.scale * (127 - tensor.zero_point)
    clipped = int(np.count_nonzero((values < low - tensor.scale / 2) | (values > high + tensor.scale / 2)))
    if not clipped:
        return x_q, []
    return x_q, [
        f"{100 * clipped / values.size:.2g} % of the values of {array} are outside the model's input range "
        f"{low:.4g} to {high:.4g} and were clipped"
    ]


def _check_finite(name: str, array: str, values: npt.NDArray[Any]) -> None:
    if values.dtype.kind != "f":
        return
    bad = ~np.isfinite(values).reshape(values.shape[0], -1).all(axis=1)
    if bad.any():
        sample = int(np.flatnonzero(bad)[0])
        row = values[sample].reshape(-1)
        kind = "not a number (NaN)" if np.isnan(row).any() else "infinite"
        more = int(np.count_nonzero(bad)) - 1
        raise DataError(
            f"{name}: sample {sample} of {array} has a value that is {kind}",
            cause=f"{count(more, 'more sample has', 'more samples have')} such values" if more else "",
            hint="remove or repair these samples",
        )


def _named(name: str, y: npt.NDArray[Any], info: DeviceInfo) -> npt.NDArray[np.int64]:
    numbers = {label: number for number, label in reversed(list(enumerate(info.labels)))}
    numbers.pop("", None)
    result = np.zeros(len(y), np.int64)
    for sample, entry in enumerate(y):
        label = entry.decode("utf-8", errors="replace") if isinstance(entry, bytes) else str(entry)
        if label not in numbers:
            raise LabelError(
                f"{name}: sample {sample} has the label {label!r}, which is not one of the classes",
                cause=_known_classes(info),
                hint=_named_hint(info, numbers),
            )
        result[sample] = numbers[label]
    return result


def _named_hint(info: DeviceInfo, numbers: dict[str, int]) -> str:
    if not numbers:
        return (
            "the model on the device has no names: give class numbers, or name the classes with "
            "`edgelearn convert --labels A,B,...`"
        )
    return "use these names or class numbers; `edgelearn convert --labels A,B,...` gives the model other names"


def _gives_classes(info: DeviceInfo) -> bool:
    """Whether the outputs are one for each class, as far as the device tells."""
    return info.loss is LossCode.CROSS_ENTROPY or any(info.labels)


def _is_output(y: npt.NDArray[Any], info: DeviceInfo) -> bool:
    """Whether `y` holds floats for all outputs of a model that computes no loss: nothing it could be compared with."""
    if info.is_trainable or y.dtype.kind != "f":
        return False
    elements = int(np.prod(y.shape[1:], dtype=np.int64))
    return elements == info.output_elements and (y.ndim > 1 or elements == 1)


def _known_classes(info: DeviceInfo) -> str:
    named = [label for label in info.labels if label]
    if not named:
        return f"the model has the classes 0 to {info.classes - 1}"
    shown = ", ".join(named[:20]) + (", ..." if len(named) > 20 else "")
    return f"the model has the classes 0 to {max(len(named), info.output_elements) - 1}: {shown}"


def _targets(name: str, y: npt.NDArray[Any], info: DeviceInfo) -> tuple[npt.NDArray[np.int16], list[str]]:
    if y.dtype.kind not in "iuf":
        raise DataError(
            f"{name}: y has the type {y.dtype}, the model learns numbers (squared error)",
            hint="give targets in the model's output units, or leave y out for an autoencoder",
        )
    elements = int(np.prod(y.shape[1:], dtype=np.int64))
    if elements != info.output_elements:
        raise DataError(
            f"{name}: an entry of y has {count(elements, 'element')}, "
            f"the model has {count(info.output_elements, 'output')}",
            cause=f"y has the shape {list(y.shape)}",
            hint="squared error learns targets [N, outputs]; leave y out for an autoencoder",
        )
    _check_finite(name, "y", y)
    real = y.reshape(y.shape[0], elements).astype(np.float64)
    scaled = np.ldexp(real, info.logit_fraction_bits - info.target_shift)
    rounded = np.copysign(np.floor(np.abs(scaled) + 0.5), scaled)
    clipped = np.clip(rounded, -_INT16_MAX - 1, _INT16_MAX)
    saturated = int(np.count_nonzero(clipped != rounded))
    if not saturated:
        return clipped.astype(np.int16), []
    low, high = (
        float(np.ldexp(float(end), info.target_shift - info.logit_fraction_bits))
        for end in (-_INT16_MAX - 1, _INT16_MAX)
    )
    share = f"{saturated} of {count(real.size, 'target')}"
    limits = f"{low:.4g} to {high:.4g} in the model's output units"
    if saturated > _MOST_SATURATED * real.size:
        raise DataError(
            f"{name}: {share} {'is' if saturated == 1 else 'are'} beyond what the device holds, {limits}",
            cause=f"the targets range from {real.min():.4g} to {real.max():.4g}",
            hint="scale the targets, or convert the model with calibration samples and targets that cover the range",
        )
    return clipped.astype(np.int16), [f"{share} beyond what the device holds, {limits}: saturated"]


def _is_autoencoder(info: DeviceInfo) -> bool:
    """Whether the device can take its only int8 input as the targets."""
    is_int8 = len(info.inputs) == 1 and info.inputs[0].type is TensorType.INT8
    return is_int8 and info.inputs[0].elements == info.output_elements


def _check_autoencoder(name: str, info: DeviceInfo) -> bool:
    if not _is_autoencoder(info):
        raise DataError(
            f"{name} has no y, and the model is no autoencoder",
            cause=f"it takes {info.input_elements} elements and gives {info.output_elements}"
            if info.input_elements != info.output_elements
            else "only a single int8 input can be the target itself",
            hint="add targets as y, [N, outputs]",
        )
    return True
