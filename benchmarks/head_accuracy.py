"""How well the head learns beside float SGD, in all four ways of storing its weights: the table in README.md.

    python benchmarks/head_accuracy.py [--seeds 10] [--jobs 2]

For each seed a small CNN is pretrained on the classes 0 to 7 of scikit-learn's digits, converted to int8 with two spare
outputs, and its head then learns all ten classes online, three passes over a stream in an order of its own. Accuracy is
that on 497 held-out samples. Ends with 1 where the int8 residual is not within 0.5 points of float on average.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from edgelearn.convert import convert_model
from edgelearn.convert.litert import ReferenceInterpreter
from edgelearn.convert.quantize import import_tensorflow
from edgelearn.ir import quantize_array
from edgelearn.recipe import Residual
from edgelearn.training import FloatHead, make_head, plan_training

LEARNING_RATES = (1e-4, 3e-4, 1e-3)
RESIDUALS = (Residual.FLOAT, Residual.NONE, Residual.STOCHASTIC, Residual.INT8)
TITLES = {
    Residual.FLOAT: "float32 head",
    Residual.NONE: "int8, round to nearest",
    Residual.STOCHASTIC: "int8, stochastic rounding",
    Residual.INT8: "int8 + int8 residual",
}
PASSES = 3
PRETRAINING_EPOCHS = 12
HELD_OUT = 497
OLD_CLASSES = 8
CLASSES = 10
ALLOWED_POINTS = 0.5

Int8Array = npt.NDArray[np.int8]
Labels = npt.NDArray[np.int64]


class Features(Struct, frozen=True, kw_only=True):
    """Labelled int8 features, [samples, features]."""

    x: Int8Array
    y: Labels


class SeedResult(Struct, frozen=True, kw_only=True):
    """Held-out accuracies of one seed: before learning, and after it by learning rate and residual."""

    start: float
    accuracy: dict[tuple[float, Residual], float]


def run_seed(seed: int) -> SeedResult:
    """Pretrain, convert and learn with every learning rate and residual."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    x = (digits.images[..., None] / 16.0).astype(np.float32)
    y = digits.target.astype(np.int64)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(x))
    held_out, rest = order[:HELD_OUT], order[HELD_OUT:]
    with tempfile.TemporaryDirectory() as folder:
        model, calibration = Path(folder) / "digits.keras", Path(folder) / "calibration.npz"
        old = rest[y[rest] < OLD_CLASSES]
        _pretrain(x[old], y[old], model, seed)
        np.savez(calibration, x=x[old][:200])
        bundle = convert_model(model, calibration=calibration, classes=CLASSES)
    graph = bundle.graph
    (layer,) = plan_training(graph).layers
    features = graph.tensor(layer.features_tensor)
    if features.source_index is None or graph.input.quant is None:
        raise ValueError("the converted model lacks what the reference needs")
    interpreter = ReferenceInterpreter(bundle.model_tflite)
    x_q = quantize_array(x, graph.input.quant)
    index = features.source_index
    features_q = np.stack([interpreter.run(sample, [index])[index].reshape(-1) for sample in x_q])
    test = Features(x=features_q[held_out], y=y[held_out])
    stream = np.concatenate([rng.permutation(rest) for _ in range(PASSES)])
    lesson = Features(x=features_q[stream], y=y[stream])

    start = make_head(plan_training(graph))
    accuracy: dict[tuple[float, Residual], float] = {}
    for rate in LEARNING_RATES:
        for residual in RESIDUALS:
            plan = plan_training(graph, residual=residual, learning_rate=rate)
            if residual is Residual.FLOAT:
                accuracy[rate, residual] = _learn_float(FloatHead(plan.layers[0], learning_rate=rate), lesson, test)
                continue
            head = make_head(plan)
            for sample, label in zip(lesson.x, lesson.y.tolist(), strict=True):
                head.learn(sample, head.forward(sample), label=label)
            predictions = [head.forward(sample).prediction for sample in test.x]
            accuracy[rate, residual] = float((np.array(predictions) == test.y).mean())
    first = np.array([start.forward(sample).prediction for sample in test.x])
    return SeedResult(start=float((first == test.y).mean()), accuracy=accuracy)


def _learn_float(head: FloatHead, lesson: Features, test: Features) -> float:
    for sample, label in zip(lesson.x, lesson.y.tolist(), strict=True):
        head.learn(sample, head.forward(sample), label=label)
    predictions = [int(head.forward(sample).argmax()) for sample in test.x]
    return float((np.array(predictions) == test.y).mean())


def _pretrain(x: npt.NDArray[np.float32], y: Labels, path: Path, seed: int) -> None:
    _, keras = import_tensorflow()
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(OLD_CLASSES, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x, y, epochs=PRETRAINING_EPOCHS, batch_size=32, verbose=0)
    model.save(path)


def print_table(results: list[SeedResult]) -> bool:
    """Print means over the seeds; True where the int8 residual is close enough to float."""
    print(f"Held-out accuracy, mean of {len(results)} seeds; start {np.mean([r.start for r in results]):.3f}.")
    print("In brackets the difference to the float32 head in points.\n")
    print("| lr | " + " | ".join(TITLES[residual] for residual in RESIDUALS) + " |")
    print("|---" * (len(RESIDUALS) + 1) + "|")
    close = True
    for rate in LEARNING_RATES:
        mean = {residual: float(np.mean([r.accuracy[rate, residual] for r in results])) for residual in RESIDUALS}
        cells = [f"{rate:.0e}".replace("e-0", "e-")]
        for residual in RESIDUALS:
            points = 100 * (mean[residual] - mean[Residual.FLOAT])
            difference = "" if residual is Residual.FLOAT else f" ({points:+.2f})"
            cells.append(f"{mean[residual]:.3f}{difference}")
        print("| " + " | ".join(cells) + " |")
        close &= 100 * abs(mean[Residual.INT8] - mean[Residual.FLOAT]) <= ALLOWED_POINTS
    return close


def main() -> int:
    """Run all seeds and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10, help="how many, from 0 on")
    parser.add_argument("--jobs", type=int, default=2, help="seeds at a time")
    options = parser.parse_args()
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        results = list(pool.map(run_seed, range(options.seeds)))
    close = print_table(results)
    print(
        f"\nint8 + int8 residual is {'' if close else 'NOT '}within {ALLOWED_POINTS} points of float32 at every rate."
    )
    return 0 if close else 1


if __name__ == "__main__":
    sys.exit(main())
