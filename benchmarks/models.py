"""The models that the benchmarks run: bundles with and without a trainable head, and samples to run them on.

Both the `.tflite` files a person names and the networks that networks.py builds come out alike, converted by the same
pipeline as `edgelearn convert`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from benchmarks.networks import NETWORKS, FloatArray, make, motion, photographs, spectrogram
from edgelearn import pipeline
from edgelearn.bundle import Bundle, read_bundle
from edgelearn.convert.quantize import import_tensorflow
from edgelearn.errors import OptionError
from edgelearn.ir import LossKind, quantize_array

REALISTIC_SAMPLES = 64
SAMPLES = 2 * REALISTIC_SAMPLES

_CALIBRATION_SAMPLES = 50
_SEED = 11
#: Mel bands of a frame, where a model takes frames one after another.
_BANDS = 128


class Model(Struct, frozen=True, kw_only=True):
    """A model that is ready to be measured and verified.

    Attributes:
        name: of its files.
        about: what it is.
        plain: its bundle for inference only.
        trained: its bundle with a trainable head; None where it does not end in a dense layer.
        data: `.npz` with x, int8 [SAMPLES, ...], realistic samples and then as many random ones.
        lessons: the same with y, class numbers, where the trainable head has classes.
    """

    name: str
    about: str
    plain: Path
    trained: Path | None
    data: Path
    lessons: Path


def model_names(files: Sequence[Path], only: Sequence[str] = ()) -> list[str]:
    """The names of the files' models and of all networks, or those of them that are in `only`.

    Raises:
        OptionError: `only` has a name that is none of them.
    """
    names = [*sorted(path.stem for path in files), *(network.name for network in NETWORKS)]
    unknown = [name for name in only if name not in names]
    if unknown:
        raise OptionError(f"no model is called {', '.join(unknown)}", hint=f"the models are {', '.join(names)}")
    return [name for name in names if name in only or not only]


def prepare(name: str, files: Sequence[Path], folder: Path, *, small: bool = False) -> Model:
    """Convert a model and write its samples.

    Args:
        name: of one of the files, or of a network.
        files: int8 `.tflite` files.
        folder: where everything is written.
        small: the network's small variant.
    """
    generator = np.random.default_rng(_SEED)
    file = next((path for path in files if path.stem == name), None)
    if file is not None:
        plain, trained = _bundles(file, folder)
        shape = read_bundle(plain).graph.input.shape[1:]
        realistic = _over_the_range(_typical(generator, REALISTIC_SAMPLES, shape))
        return with_samples(name, "x".join(map(str, shape)), plain=plain, trained=trained, realistic=realistic)
    network = next(network for network in NETWORKS if network.name == name)
    _, keras = import_tensorflow()
    model, x = make(network, keras, _CALIBRATION_SAMPLES, small=small)
    file, calibration = folder / f"{name}.keras", folder / f"{name}-calibration.npz"
    model.save(file)
    np.savez(calibration, x=x)
    plain, trained = _bundles(file, folder, calibration)
    quant = read_bundle(plain).graph.input.quant
    assert quant is not None
    realistic = quantize_array(network.samples(generator, REALISTIC_SAMPLES, x.shape[1:]), quant)
    return with_samples(name, network.about, plain=plain, trained=trained, realistic=realistic)


def _bundles(file: Path, folder: Path, calibration: Path | None = None) -> tuple[Path, Path | None]:
    """The bundle without a trainable head and, where the model has one, the one with it."""
    plain, trained = folder / f"{file.stem}-plain.elb", folder / f"{file.stem}.elb"
    pipeline.convert(file, plain, calibration=calibration, head="none")
    bundle = pipeline.convert(file, trained, calibration=calibration)
    return plain, trained if bundle.graph.loss is not None else None


def with_samples(name: str, about: str, *, plain: Path, trained: Path | None, realistic: npt.NDArray[np.int8]) -> Model:
    """The model of two bundles, with files of samples beside them: `realistic` ones and as many random ones."""
    generator = np.random.default_rng(_SEED)
    random = generator.integers(-128, 128, realistic.shape).astype(np.int8)
    x = np.concatenate([realistic, random])
    data = lessons = plain.parent / f"{name}-data.npz"
    np.savez(data, x=x)
    classes = _classes(read_bundle(trained)) if trained else 0
    if classes:
        lessons = plain.parent / f"{name}-lessons.npz"
        np.savez(lessons, x=x, y=generator.integers(0, classes, len(x)))
    return Model(name=name, about=about, plain=plain, trained=trained, data=data, lessons=lessons)


def _classes(bundle: Bundle) -> int:
    loss = bundle.graph.loss
    return bundle.graph.output.elements if loss is not None and loss.kind is LossKind.CROSS_ENTROPY else 0


def _typical(generator: np.random.Generator, number: int, shape: tuple[int, ...]) -> FloatArray:
    """Samples like those that a model with inputs of this shape would meet, in units of their own."""
    if len(shape) == 3 and shape[2] == 3:
        return photographs(generator, number, shape)
    if len(shape) == 3:
        return spectrogram(generator, number, shape)
    if len(shape) == 2:
        return motion(generator, number, shape)
    frames = max(1, shape[0] // _BANDS)
    sounds = spectrogram(generator, number, (frames, -(-shape[0] // frames), 1))
    return sounds.reshape(number, -1)[:, : shape[0]]


def _over_the_range(samples: FloatArray) -> npt.NDArray[np.int8]:
    """Samples in int8 such that all but the outermost hundredth fit."""
    low, high = np.quantile(samples, (0.005, 0.995))
    steps: npt.NDArray[np.int8] = np.clip(np.round((samples - low) / (high - low) * 255) - 128, -128, 127).astype(
        np.int8
    )
    return steps
