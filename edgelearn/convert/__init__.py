"""Model files to bundles: read or quantise, load into a graph, run the passes, mark the head.

Importing this package loads neither TensorFlow nor the LiteRT interpreter; they are imported where they are needed.
"""

from __future__ import annotations

import importlib.metadata
import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgelearn import __version__
from edgelearn.bundle import (
    KERAS_SUFFIXES,
    TFLITE_SUFFIX,
    Agreement,
    Bundle,
    Calibration,
    Provenance,
    SourceFile,
    file_sha256,
)
from edgelearn.convert.calibration import Samples, fit_samples, read_samples, six_digits, statistics
from edgelearn.convert.head import MarkedHead, check_options, gives_classes, mark_head
from edgelearn.convert.litert import ReferenceInterpreter, interpreter_version
from edgelearn.convert.passes import run_passes
from edgelearn.convert.tflite_loader import load_tflite
from edgelearn.errors import CalibrationError, LabelError, ModelFileError
from edgelearn.ir import DType, Graph, LossKind, dequantize_array, quantize_array
from edgelearn.ir.edges import Edges

if TYPE_CHECKING:
    import numpy.typing as npt

    from edgelearn.convert.quantize import FloatModel

__all__ = ["MODEL_KINDS", "convert_model"]

#: What a model file may be, for messages.
MODEL_KINDS = "a .tflite, a Keras .keras or .h5 file, or a SavedModel folder"

#: The reference kernels are slow; the int8 model is compared on at most so many samples, spread evenly over the file.
_MAX_COMPARED = 500
#: Fewer calibration samples than this do not show the ranges of a model's activations.
_FEW_SAMPLES = 20
#: Float and int8 model should agree on this share of the samples.
_GOOD_AGREEMENT = 0.9
#: Targets that need so many times the range of the int8 model's outputs are probably in other units.
_RANGE_FACTOR = 2.0


def convert_model(
    path: Path,
    *,
    calibration: Path | None = None,
    head: str | None = None,
    loss: LossKind | None = None,
    classes: int | None = None,
    labels: Sequence[str] | None = None,
    name: str | None = None,
    edges: Edges = Edges.INT8,
) -> Bundle:
    """Convert a model file into a bundle. The same input gives the same bundle, byte for byte.

    Args:
        path: an int8 `.tflite`, a Keras 3 `.keras` or `.h5` file, or a SavedModel folder.
        calibration: `.npz` with x [N, ...] and perhaps y [N], or `.npy` with x, in the model's input units; for a
            model of several inputs an array for each, called as the input is, or x, x_1 and so on. Required for a
            float model; with a `.tflite` it serves to measure accuracy.
        head: name of the dense layer to train, "none" for inference only; by default the final one.
        loss: by default cross-entropy where a softmax follows the head, else squared error.
        classes: number of outputs of the head, spare ones included.
        labels: names of the outputs.
        name: the bundle's name; the file's name without its ending by default.
        edges: whether the device takes and gives int8, or float32 where the file does and every Keras model can.

    Raises:
        ModelFileError: not a model, a damaged one, or one of open shape.
        NotQuantizedError: a `.tflite` whose arithmetic is not int8.
        UnsupportedOpError: naming all ops and parameters that are not supported.
        CalibrationError: calibration samples are missing or of the wrong shape.
        DataError: the calibration file cannot be read or holds NaN.
        HeadError: no such head, or too few classes.
        LabelError: the labels do not fit the outputs.
        OptionError: options that exclude each other.
        MissingPackageError: a package of the extra `litert` or `convert` is not installed.
    """
    kind = _kind(path)
    check_options(head=head, loss=loss, classes=classes, labels=labels)
    file = read_samples(calibration, allow_int8=kind == "tflite") if calibration is not None else None
    samples: Samples | None = None
    sources = [_source(path)]
    tools = {"edgelearn": __version__, "numpy": np.__version__}
    model_name = _default_name(path) if name is None else name
    float_model: FloatModel | None = None
    if kind == "tflite":
        model_tflite = _read(path)
        graph = run_passes(load_tflite(model_tflite, name=model_name, edges=edges))
        if file is not None:
            inputs = [(t.name, t.shape[1:]) for t in map(graph.tensor, graph.inputs)]
            samples = fit_samples(file, inputs=inputs)
    else:
        if file is None:
            raise CalibrationError(
                f"{path.name} is a float model and needs calibration samples",
                hint="give a few hundred of the samples it was trained on: --calibration FILE.npz with the array x",
            )
        from edgelearn.convert.quantize import load_float_model, tool_versions

        float_model = load_float_model(path)
        tools.update(tool_versions())
        samples = fit_samples(file, inputs=float_model.inputs)
        model_tflite = float_model.quantize(samples.inputs, edges)
        graph = run_passes(load_tflite(model_tflite, name=model_name, layers=float_model.layers, edges=edges))
    tools["tflite"] = importlib.metadata.version("tflite")
    marked = mark_head(
        graph,
        head=head,
        loss=loss,
        classes=classes,
        labels=labels,
        parameters=float_model.parameters if float_model is not None else (),
    )
    notices = list(marked.notices)
    sample_statistics, agreement = None, None
    if calibration is not None and samples is not None:
        sources.append(_source(calibration))
        sample_statistics = _statistics(samples, graph)
        agreement = _agreement(graph, marked, model_tflite, samples, float_model)
        if agreement is not None:
            tools.update([interpreter_version()])
        if float_model is not None:
            notices += _calibration_notices(samples, agreement)
        notices += _target_notices(samples, marked, loss)
    return Bundle(
        name=model_name,
        graph=marked.graph,
        labels=marked.labels,
        spare_classes=marked.spare_classes,
        model_tflite=model_tflite,
        provenance=Provenance(
            sources=tuple(sources),
            tools=dict(sorted(tools.items())),
            notices=tuple(notices),
            float_model_bytes=float_model.size_bytes if float_model is not None and marked.is_whole else 0,
            calibration=sample_statistics,
            agreement=agreement,
        ),
    )


def _kind(path: Path) -> str:
    """What the file is, from its contents first: "tflite", "keras" or "saved model"."""
    if not path.exists():
        raise ModelFileError(f"{path} does not exist", hint=f"give {MODEL_KINDS}")
    if path.is_dir():
        if not (path / "saved_model.pb").is_file():
            raise ModelFileError(
                f"{path} is not a SavedModel folder", cause="it holds no saved_model.pb", hint=f"give {MODEL_KINDS}"
            )
        return "saved model"
    start = _read(path, 8)
    suffix = path.suffix.lower()
    if start[4:8] == b"TFL3" or suffix == TFLITE_SUFFIX:
        return "tflite"
    if suffix in KERAS_SUFFIXES:
        if suffix == ".keras" and not zipfile.is_zipfile(path):
            raise _no_keras_file(path, start)
        return "keras"
    if path.name == "saved_model.pb":
        raise ModelFileError(f"{path} is one file of a SavedModel", hint=f"give the folder {path.parent}")
    raise ModelFileError(f"{path} is not a model that edgelearn reads", hint=f"give {MODEL_KINDS}")


def _no_keras_file(path: Path, start: bytes) -> ModelFileError:
    if start == b"\x89HDF\r\n\x1a\n":
        return ModelFileError(
            f"{path} is an HDF5 file, not a .keras file", hint="rename it to .h5 and convert it again"
        )
    return ModelFileError(
        f"{path} is not a Keras file" + (", or it is damaged" if start[:2] == b"PK" else ""),
        cause="a .keras file is a zip archive, and this is no whole one",
        hint=f"save the model again with model.save, or give {MODEL_KINDS}",
    )


def _file_name(path: Path) -> str:
    return path.name or path.absolute().name  # a person may give the folder they are in


def _default_name(path: Path) -> str:
    return _file_name(path) if path.is_dir() else path.stem


def _read(path: Path, size: int = -1) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(size)
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read", cause=error.strerror or str(error)) from error


def _source(path: Path) -> SourceFile:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return SourceFile(
        name=_file_name(path), sha256=file_sha256(path), size_bytes=sum(file.stat().st_size for file in files)
    )


def _statistics(samples: Samples, graph: Graph) -> Calibration:
    quants = [graph.tensor(name).quant for name in graph.inputs]
    return statistics(
        [
            dequantize_array(x, quant) if x.dtype == np.int8 and quant is not None else x
            for x, quant in zip(samples.inputs, quants, strict=True)
        ]
    )


def _agreement(
    graph: Graph, marked: MarkedHead, model_tflite: bytes, samples: Samples, float_model: FloatModel | None
) -> Agreement | None:
    """How the int8 model does beside the float model and the labels; None where there is neither, or for a part."""
    if not marked.is_whole:
        return None  # the figures would be those of the whole model, which is not in the bundle
    loss = marked.graph.loss
    classifies = loss.kind is LossKind.CROSS_ENTROPY if loss is not None else gives_classes(graph)
    judged = marked.graph.outputs.index(loss.prediction) if loss is not None else 0
    truth = None
    if samples.y is not None and classifies:
        truth = _class_numbers(samples.y, marked.labels)
    if float_model is None and truth is None:
        return None
    count = min(len(samples), _MAX_COMPARED)
    chosen = np.arange(count) * len(samples) // count
    inputs = samples.chosen(chosen)
    outputs = _int8_outputs(graph, model_tflite, inputs, graph.outputs[judged])
    float_outputs = float_model.predict(inputs)[judged] if float_model is not None else outputs
    gives_number = graph.tensor(graph.outputs[judged]).dtype in (DType.INT32, DType.INT64)
    predictions, float_predictions = (
        values[:, 0] if gives_number else values.argmax(axis=1) for values in (outputs, float_outputs)
    )
    accuracy = None if truth is None else float((predictions == truth[chosen]).mean())
    float_accuracy = None
    if truth is not None and float_model is not None:
        float_accuracy = float((float_predictions == truth[chosen]).mean())
    return Agreement(
        samples=count,
        same_prediction=float((predictions == float_predictions).mean()) if classifies else None,
        mean_absolute_difference=six_digits(np.abs(outputs.astype(np.float64) - float_outputs).mean()),
        output_range=six_digits(np.ptp(float_outputs.astype(np.float64))),
        float_accuracy=float_accuracy,
        int8_accuracy=accuracy,
    )


def _calibration_notices(samples: Samples, agreement: Agreement | None) -> list[str]:
    """What speaks for too few calibration samples, or for untypical ones."""
    notices = []
    count = len(samples)
    if count < _FEW_SAMPLES:
        notices.append(
            f"only {count} calibration sample{'' if count == 1 else 's'}; "
            "the int8 ranges come from them, give a few hundred typical ones"
        )
    same = agreement.same_prediction if agreement is not None else None
    if same is not None and same < _GOOD_AGREEMENT:
        notices.append(
            f"float and int8 agree on only {same:.1%} of the samples: the int8 model is not as good as the float one; "
            "give more and more typical calibration samples"
        )
    return notices


def _target_notices(samples: Samples, marked: MarkedHead, loss: LossKind | None) -> list[str]:
    """What `y` says against squared error, or against the range of the outputs."""
    y = samples.y
    if y is None or marked.head is None or marked.graph.loss is None or not marked.is_whole:
        return []
    if marked.graph.loss.kind is not LossKind.SQUARED_ERROR:
        return []
    logits = marked.graph.tensor(marked.graph.loss.prediction)
    outputs = logits.elements
    values = y.reshape(-1)
    is_one_each = len(values) == len(y)
    if loss is None and outputs > 1 and is_one_each and y.dtype.kind in "iu":
        if values.min() >= 0 and values.max() < outputs:
            return [
                f"y holds class numbers, so the model probably is a classifier whose head {marked.head} gives logits: "
                "--loss cross-entropy"
            ]
        return []
    quant = logits.quant
    if quant is None or y.dtype.kind not in "iuf" or math.prod(y.shape[1:]) != outputs or not np.isfinite(y).all():
        return []
    low, high = dequantize_array(np.array([-128, 127], np.int8), quant).tolist()
    y_low, y_high = float(y.min()), float(y.max())
    if max(high, y_high) - min(low, y_low) <= _RANGE_FACTOR * (high - low):
        return []
    return [
        f"the targets y go from {y_low:.4g} to {y_high:.4g}, but the int8 model's outputs from {low:.4g} to "
        f"{high:.4g}: give y in the units of the model's outputs, or more typical calibration samples"
    ]


def _int8_outputs(
    graph: Graph, model_tflite: bytes, inputs: Sequence[npt.NDArray[Any]], output: str
) -> npt.NDArray[np.float32]:
    """One of the int8 model's outputs [N, elements] in real units, by the reference kernels."""
    tensor = graph.tensor(output)
    index = tensor.source_index
    if index is None:
        raise ModelFileError("the model's output is not in its file")  # never, the loader sees to it
    quants = [graph.tensor(name).quant for name in graph.inputs]
    fed = [
        x if quant is None or x.dtype == np.int8 else quantize_array(x, quant)
        for x, quant in zip(inputs, quants, strict=True)
    ]
    interpreter = ReferenceInterpreter(model_tflite)
    rows = np.stack([interpreter.run([x[n] for x in fed], [index])[index].reshape(-1) for n in range(len(fed[0]))])
    return dequantize_array(rows, tensor.quant) if tensor.quant is not None else rows.astype(np.float32)


def _class_numbers(y: npt.NDArray[Any], labels: tuple[str, ...]) -> npt.NDArray[np.int64]:
    """Labels as class numbers; numbers must be below the count of labels, names must be among them."""
    values = y.reshape(-1)
    if len(values) != len(y):
        raise LabelError(f"y has the shape {list(y.shape)}", hint="give one class number or name for each sample")
    if values.dtype.kind in "US":
        names = [value.decode() if isinstance(value, bytes) else str(value) for value in values.tolist()]
        unknown = next((name for name in names if name not in labels), None)
        if unknown is not None:
            raise LabelError(
                f"the label {unknown} is not one of the classes",
                cause=f"the classes are {', '.join(labels)}",
                hint="name the classes with --labels, in the order of the outputs",
            )
        return np.array([labels.index(name) for name in names], dtype=np.int64)
    if values.dtype.kind not in "iufb":
        raise LabelError(f"y holds {values.dtype}", hint="give one class number or name for each sample")
    with np.errstate(invalid="ignore"):
        numbers = values.astype(np.int64)
    bad = (numbers != values) | (numbers < 0) | (numbers >= len(labels))
    if bad.any():
        raise LabelError(
            f"sample {int(bad.argmax())} has the label {values[int(bad.argmax())]}",
            cause=f"classes are numbered from 0 to {len(labels) - 1}",
            hint="number the classes in the order of the outputs; --classes makes room for new ones",
        )
    return numbers
