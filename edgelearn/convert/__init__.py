"""Model files to bundles: read or quantise, load into a graph, run the passes, mark the head.

Importing this package loads neither TensorFlow nor the LiteRT interpreter; they are imported where they are needed.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgelearn import __version__
from edgelearn.bundle import Agreement, Bundle, Calibration, Provenance, SourceFile, file_sha256
from edgelearn.convert.calibration import Samples, read_samples, six_digits, statistics
from edgelearn.convert.head import MarkedHead, mark_head
from edgelearn.convert.litert import ReferenceInterpreter, interpreter_version
from edgelearn.convert.passes import run_passes
from edgelearn.convert.tflite_loader import load_tflite
from edgelearn.errors import CalibrationError, LabelError, ModelFileError
from edgelearn.ir import DType, Graph, LossKind, Softmax, dequantize_array, quantize_array

if TYPE_CHECKING:
    import numpy.typing as npt

    from edgelearn.convert.quantize import FloatModel

__all__ = ["MODEL_KINDS", "convert_model"]

#: What a model file may be, for messages.
MODEL_KINDS = "a .tflite, a Keras .keras or .h5 file, or a SavedModel folder"

#: The reference kernels are slow; the int8 model is compared on at most so many samples, spread evenly over the file.
_MAX_COMPARED = 500


def convert_model(
    path: Path,
    *,
    calibration: Path | None = None,
    head: str | None = None,
    loss: LossKind | None = None,
    classes: int | None = None,
    labels: Sequence[str] | None = None,
    name: str | None = None,
) -> Bundle:
    """Convert a model file into a bundle. The same input gives the same bundle, byte for byte.

    Args:
        path: an int8 `.tflite`, a Keras 3 `.keras` or `.h5` file, or a SavedModel folder.
        calibration: `.npz` with x [N, ...] and perhaps y [N], or `.npy` with x, in the model's input units. Required
            for a float model; with a `.tflite` it serves to measure accuracy.
        head: name of the dense layer to train, "none" for inference only; by default the final one.
        loss: by default cross-entropy where a softmax follows the head, else squared error.
        classes: number of outputs of the head, spare ones included.
        labels: names of the outputs.
        name: the bundle's name; the file's name without its ending by default.

    Raises:
        ModelFileError: not a model, or a damaged one.
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
    sources = [_source(path)]
    tools = {"edgelearn": __version__, "numpy": np.__version__}
    model_name = _default_name(path) if name is None else name
    float_model: FloatModel | None = None
    if kind == "tflite":
        model_tflite = _read(path)
        graph = run_passes(load_tflite(model_tflite, name=model_name))
        samples = None
        if calibration is not None:
            samples = read_samples(calibration, input_shape=graph.input.shape[1:], allow_int8=True)
    else:
        if calibration is None:
            raise CalibrationError(
                f"{path.name} is a float model and needs calibration samples",
                hint="give a few hundred of the samples it was trained on: --calibration FILE.npz with the array x",
            )
        from edgelearn.convert.quantize import load_float_model, tool_versions

        float_model = load_float_model(path)
        tools.update(tool_versions())
        samples = read_samples(calibration, input_shape=float_model.input_shape, allow_int8=False)
        model_tflite = float_model.quantize(samples.x)
        graph = run_passes(load_tflite(model_tflite, name=model_name, layers=float_model.layers))
    tools["tflite"] = importlib.metadata.version("tflite")
    marked = mark_head(
        graph,
        head=head,
        loss=loss,
        classes=classes,
        labels=labels,
        parameters=float_model.parameters if float_model is not None else (),
    )
    sample_statistics, agreement = None, None
    if calibration is not None and samples is not None:
        sources.append(_source(calibration))
        sample_statistics = _statistics(samples, graph)
        agreement = _agreement(graph, marked, model_tflite, samples, float_model)
        if agreement is not None:
            tools.update([interpreter_version()])
    return Bundle(
        name=model_name,
        graph=marked.graph,
        labels=marked.labels,
        model_tflite=model_tflite,
        provenance=Provenance(
            sources=tuple(sources),
            tools=dict(sorted(tools.items())),
            notices=marked.notices,
            float_model_bytes=float_model.size_bytes if float_model is not None else 0,
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
    if start[4:8] == b"TFL3" or suffix == ".tflite":
        return "tflite"
    if suffix in (".keras", ".h5", ".hdf5"):
        return "keras"
    if path.name == "saved_model.pb":
        raise ModelFileError(f"{path} is one file of a SavedModel", hint=f"give the folder {path.parent}")
    raise ModelFileError(f"{path} is not a model that edgelearn reads", hint=f"give {MODEL_KINDS}")


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
    if samples.x.dtype == np.int8 and graph.input.quant is not None:
        return statistics(dequantize_array(samples.x, graph.input.quant))
    return statistics(samples.x)


def _agreement(
    graph: Graph, marked: MarkedHead, model_tflite: bytes, samples: Samples, float_model: FloatModel | None
) -> Agreement | None:
    """How the int8 model does beside the float model and the labels; None where there is neither."""
    loss = marked.graph.loss
    classifies = (
        loss.kind is LossKind.CROSS_ENTROPY
        if loss is not None
        else isinstance(graph.producer(graph.outputs[0]), Softmax)
    )
    truth = None
    if samples.y is not None and classifies and marked.is_whole:
        truth = _class_numbers(samples.y, marked.labels)
    if float_model is None and truth is None:
        return None
    count = min(len(samples.x), _MAX_COMPARED)
    chosen = np.arange(count) * len(samples.x) // count
    x = samples.x[chosen]
    outputs = _int8_outputs(graph, model_tflite, x)
    predictions = outputs.argmax(axis=1)
    float_outputs = float_model.predict(x) if float_model is not None else outputs
    float_predictions = float_outputs.argmax(axis=1)
    accuracy = None if truth is None else float((predictions == truth[chosen]).mean())
    float_accuracy = None
    if truth is not None and float_model is not None:
        float_accuracy = float((float_predictions == truth[chosen]).mean())
    return Agreement(
        samples=count,
        same_prediction=float((predictions == float_predictions).mean()),
        mean_absolute_difference=six_digits(np.abs(outputs.astype(np.float64) - float_outputs).mean()),
        float_accuracy=float_accuracy,
        int8_accuracy=accuracy,
    )


def _int8_outputs(graph: Graph, model_tflite: bytes, x: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """The int8 model's outputs [N, outputs] in real units, by the reference kernels."""
    input_quant, output_quant, index = graph.input.quant, graph.output.quant, graph.output.source_index
    if input_quant is None or output_quant is None or index is None or graph.output.dtype is not DType.INT8:
        raise ModelFileError("the model does not begin and end in int8")  # never, the loader sees to it
    interpreter = ReferenceInterpreter(model_tflite)
    quantised = x if x.dtype == np.int8 else quantize_array(x, input_quant)
    rows = [interpreter.run(sample, [index])[index].reshape(-1) for sample in quantised]
    return dequantize_array(np.stack(rows), output_quant)


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
