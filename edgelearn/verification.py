"""Builds a bundle for a board, boots it, and compares every byte with references that are not our C.

Without a trainable head: every output with the LiteRT reference kernels. With one: the backbone's int8 features and the
outputs that are not the head's with the LiteRT reference kernels, and the head's logits, probabilities, losses and
learned weights, bit for bit, with the NumPy reference. On an emulated board instructions are counted too, and the
layers named that take most.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from edgelearn import pipeline, profiling
from edgelearn.board import Board
from edgelearn.bundle import Bundle, read_bundle
from edgelearn.convert.litert import ReferenceInterpreter, require_oracle
from edgelearn.errors import DataError, EmulatorError, GraphError
from edgelearn.firmware.emulator import require_emulator
from edgelearn.host.data import Dataset, load_dataset, random_dataset
from edgelearn.host.device import Device, Result
from edgelearn.ir import Graph, LossKind
from edgelearn.protocol import Region
from edgelearn.recipe import Residual, TrainingPlan
from edgelearn.training import HeadStep, IntegerHead, make_head

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgelearn.codegen import Plan


#: How many layers are named.
_SLOWEST = 3


class SlowLayer(Struct, frozen=True, kw_only=True):
    """A layer that takes much; `share` is of the estimated cycles of an inference."""

    name: str
    op: str
    instructions: int
    cycles: int
    share: float


class Verification(Struct, frozen=True, kw_only=True):
    """What was compared and counted; the keys of `edgelearn verify --json`.

    Attributes:
        output_bytes_compared: outputs; with a head also features, logits (4 bytes each), probabilities (2), losses (8)
            and predictions (2).
        head_weights_different: of weights, residuals, biases and row scales after `train_steps`; None without a head
            or with a float head, which stands outside the promise of bits.
        instructions_per_inference: mean over the samples; None where the emulator does not count.
        instructions_per_train_step: mean over the steps, of the update alone.
        estimated_cycles_per_inference: of the first sample, see `edgelearn profile`; None where nothing is counted.
        slowest_layers: the three with most estimated cycles; empty where nothing is counted.
        flash_model_bytes: the model with its constants and the kernels it uses, without start-up code and link.
        ram_bytes: data and bss, without the stack.
        stack_bytes: high-water mark, 0 where it cannot be known.
        stack_bound_bytes: the most that can be used, known from the image; None where it cannot be known.
    """

    board: str
    engine: str
    samples: int
    output_bytes_compared: int
    output_bytes_different: int
    train_steps: int
    head_weights_different: int | None
    instructions_per_inference: int | None
    instructions_per_train_step: int | None
    estimated_cycles_per_inference: int | None
    flash_bytes: int
    flash_model_bytes: int
    ram_bytes: int
    arena_bytes: int
    stack_bytes: int
    stack_bound_bytes: int | None
    slowest_layers: tuple[SlowLayer, ...]

    @property
    def is_exact(self) -> bool:
        """Whether nothing differed."""
        return self.output_bytes_different == 0 and not self.head_weights_different


class _Tally:
    """Bytes compared and bytes that differ."""

    def __init__(self) -> None:
        self.compared = 0
        self.different = 0

    def compare(self, actual: bytes, expected: bytes) -> None:
        self.compared += len(expected)
        if len(actual) != len(expected):
            self.different += len(expected)
            return
        pair = np.frombuffer(actual, np.uint8) != np.frombuffer(expected, np.uint8)
        self.different += int(pair.sum())


def verify(
    bundle_path: Path,
    board: Board,
    folder: Path,
    *,
    data: Path | None = None,
    samples: int,
    train_steps: int,
    residual: Residual = Residual.INT8,
    learning_rate: float | None = None,
    toolchain: str | None = None,
    sanitize: bool = False,
    engine: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Verification:
    """Build, boot, compare.

    Args:
        bundle_path: the bundle.
        board: an emulated board, or the host.
        folder: where the project is generated.
        data: samples with labels or targets; without, random inputs and labels from a fixed seed.
        samples: how many samples are predicted and compared.
        train_steps: how many steps are learned and compared; 0 without a trainable head.
        residual: how the head's weights are stored.
        learning_rate: of the steps.
        toolchain: as for `build`.
        sanitize: build for the host with the address and undefined-behaviour sanitizers.
        engine: that emulates the board; None for its first one. Instructions are counted in that one only.
        progress: called with samples done and samples in all.

    Raises:
        MissingPackageError: the interpreter is not the one whose bits are promised.
        DataError: there is something to learn, and the data does not say what.
    """
    require_oracle()
    require_emulator(board, engine)
    counts = engine is None or engine == board.engines[0]
    bundle = read_bundle(bundle_path)
    plan = pipeline.generate(bundle, board, folder, residual=residual, learning_rate=learning_rate, any_project=True)
    built = pipeline.build(folder, toolchain=toolchain, sanitize=sanitize)
    with pipeline.connect(pipeline.EMULATE, project=folder, bundle=bundle, engine=engine) as device:
        dataset = load_dataset(data, device.info) if data else random_dataset(device.info, plan.head, max(samples, 1))
        if plan.head and train_steps and not dataset.can_train:
            raise DataError(
                f"{dataset.name} has no labels to learn from",
                hint="add them as the array y, or verify predictions only with --train-steps 0",
            )
        run = _Run(bundle, plan.training, device, dataset)
        steps = train_steps if plan.head else 0
        for number in range(samples):
            run.predict(number % len(dataset))
            progress(number + 1, samples + steps)
        for number in range(steps):
            run.train(number % len(dataset))
            progress(samples + number + 1, samples + steps)
        different = run.head_differences()
        statistics = device.statistics()
    measured = _measure(folder, plan, built, data) if counts else None
    return Verification(
        board=board.name,
        engine=engine or board.engines[0],
        samples=samples,
        output_bytes_compared=run.tally.compared,
        output_bytes_different=run.tally.different,
        train_steps=steps,
        head_weights_different=different,
        instructions_per_inference=pipeline.instructions(board, run.mean_ticks("inference")) if counts else None,
        instructions_per_train_step=pipeline.instructions(board, run.mean_ticks("train")) if steps and counts else None,
        estimated_cycles_per_inference=measured.cycles if measured else None,
        flash_bytes=built.flash_bytes,
        flash_model_bytes=built.flash_model_bytes,
        ram_bytes=built.ram_bytes,
        arena_bytes=plan.arena_bytes,
        stack_bytes=statistics.stack_bytes,
        stack_bound_bytes=built.stack.size_bytes if built.stack else None,
        slowest_layers=tuple(
            SlowLayer(
                name=layer.name, op=layer.op, instructions=layer.instructions, cycles=layer.cycles, share=layer.share
            )
            for layer in (measured.slowest[:_SLOWEST] if measured else ())
        ),
    )


def _measure(folder: Path, plan: Plan, built: pipeline.Built, data: Path | None) -> profiling.Profile | None:
    """One sample by layers. Bits are what `verify` is for: where the emulator cannot tell, it says nothing of it."""
    if not profiling.can_profile(built.board):
        return None
    try:
        return profiling.measure(folder, plan, built, data=data)
    except EmulatorError:
        return None


class _Run:
    """The device and its references, side by side."""

    def __init__(self, bundle: Bundle, training: TrainingPlan, device: Device, dataset: Dataset) -> None:
        self._graph = bundle.graph
        self._device = device
        self._dataset = dataset
        self._oracle = ReferenceInterpreter(bundle.model_tflite)
        self._plan = training.layers[0] if training.layers else None
        is_integer = self._plan is not None and self._plan.residual is not Residual.FLOAT
        self._head: IntegerHead | None = make_head(training) if is_integer else None
        #: Of each output its number on the device and in the file, the trainable layer's apart.
        self._compared = [
            (number, _source_index(self._graph, name))
            for number, name in enumerate(self._graph.outputs)
            if self._graph.loss is None or name != self._graph.loss.prediction
        ]
        self._references: dict[int, dict[int, npt.NDArray[Any]]] = {}
        self._ticks: dict[str, list[int]] = {"inference": [], "train": []}
        self.tally = _Tally()

    def predict(self, number: int) -> None:
        """Predict one sample and compare what it gave."""
        self._one(number, train=False)

    def train(self, number: int) -> None:
        """Predict and learn one sample and compare what it gave."""
        self._one(number, train=True)

    def mean_ticks(self, kind: str) -> float:
        """Mean of the device's counter, over samples (`inference`) or steps (`train`)."""
        return float(np.mean(self._ticks[kind])) if self._ticks[kind] else 0.0

    def head_differences(self) -> int | None:
        """Elements of the learned head that differ from the reference."""
        if self._head is None:
            return None
        actual = self._device.read_head()
        head = self._head
        pairs: list[tuple[npt.NDArray[np.generic] | None, npt.NDArray[np.int64]]] = [
            (actual.q, head.q),
            (actual.bias, head.bias),
            (actual.row_t, head.row_t),
            (actual.row_rho, head.row_rho),
        ]
        if head.plan.residual is Residual.INT8:
            pairs.append((actual.l, head.residual))
        return sum(want.size if got is None else int((got != want).sum()) for got, want in pairs)

    def _one(self, number: int, *, train: bool) -> None:
        data = self._dataset
        label = None if data.labels is None else int(data.labels[number])
        targets = None if data.targets is None else data.targets[number]
        send = self._device.train if train else self._device.predict
        result = send(data.sample(number), label=label, targets=targets, target_is_input=data.target_is_input)
        self._ticks["train" if train else "inference"].append(result.train_ticks if train else result.inference_ticks)
        reference = self._reference(number)
        for output, index in self._compared:
            self.tally.compare(self._device.read_region(Region.OUTPUT, output), reference[index].tobytes())
        if self._plan is not None:
            features = reference[_source_index(self._graph, self._plan.features_tensor)].reshape(-1)
            self.tally.compare(self._device.read_region(Region.FEATURES), features.tobytes())
            if self._head is not None:
                self._compare_head(self._head, features, result, number, train=train)

    def _reference(self, number: int) -> dict[int, npt.NDArray[Any]]:
        """The compared outputs and the features of the LiteRT reference kernels, by their numbers in the file."""
        if number not in self._references:
            indices = [index for _, index in self._compared]
            if self._plan is not None:
                indices.append(_source_index(self._graph, self._plan.features_tensor))
            self._references[number] = self._oracle.run(self._dataset.sample(number), indices)
        return self._references[number]

    def _compare_head(
        self, head: IntegerHead, features: npt.NDArray[np.int8], result: Result, number: int, *, train: bool
    ) -> None:
        data = self._dataset
        step = head.forward(features)
        label = None if data.labels is None else int(data.labels[number])
        targets: npt.NDArray[np.int64] | None = None
        if data.targets is not None:
            targets = head.scaled_targets(data.targets[number])
        elif data.target_is_input:
            targets = head.input_targets(data.inputs[0][number])
        if label is not None or targets is not None:
            step = head.judge(step, label=label, targets=targets)
        self._compare_step(head, step, result)
        if train:
            head.learn(features, step, label=label, targets=targets)

    def _compare_step(self, head: IntegerHead, step: HeadStep, result: Result) -> None:
        tally, device = self.tally, self._device
        tally.compare(device.read_region(Region.LOGITS), step.logits.astype("<i4").tobytes())
        if head.plan.loss is LossKind.CROSS_ENTROPY:
            tally.compare(device.read_region(Region.PROBABILITIES), step.probabilities.astype("<u2").tobytes())
        tally.compare(
            np.array([result.loss_a, result.loss_b], "<u4").tobytes(),
            np.array([step.loss_a, step.loss_b], "<u4").tobytes(),
        )
        tally.compare(np.array([result.prediction], "<u2").tobytes(), np.array([step.prediction], "<u2").tobytes())


def _source_index(graph: Graph, name: str) -> int:
    index = graph.tensor(name).source_index
    if index is None:
        raise GraphError(f"tensor {name} is not in the bundle's model.tflite")
    return index
