"""The demonstration: a network that knows the digits 0 to 7 learns 8 and 9 on an emulated microcontroller.

A small Keras CNN is pretrained on classes 0 to 7 of scikit-learn's digits, converted to int8 with two spare outputs,
built for a board, booted, and fed the samples of all ten classes over its serial line. A held-out part of the data is
predicted on the device before and after.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from edgelearn import pipeline
from edgelearn.board import Board, board_names, load_board
from edgelearn.bundle import Bundle
from edgelearn.errors import (
    BoardFileError,
    CompilerMissingError,
    EmulatorMissingError,
    MissingPackageError,
    StorageError,
    reason,
)
from edgelearn.firmware.emulator import require_emulator
from edgelearn.host.data import load_dataset
from edgelearn.host.device import Device
from edgelearn.host.telemetry import StreamOptions
from edgelearn.host.view import View
from edgelearn.pipeline import Built

if TYPE_CHECKING:
    from rich.console import Console

OLD_CLASSES = 8
CLASSES = 10
HELD_OUT = 497
LEARNING_RATE = 2e-3
_SEED = 1
_EPOCHS = 25
#: Features that serve classes never seen need to be spread out, not only to separate the known ones.
_DROPOUT = 0.25

Say = Callable[[str], None]


class DemoResult(Struct, frozen=True, kw_only=True):
    """What the demonstration showed; the keys of `edgelearn demo --json`. Accuracies are on held-out digits."""

    board: str
    engine: str
    accuracy_before: float
    accuracy_after: float
    accuracy_old_classes_before: float
    accuracy_old_classes_after: float
    accuracy_new_classes_after: float
    samples_trained: int
    flash_bytes: int
    ram_bytes: int
    instructions_per_inference: int | None
    instructions_per_train_step: int | None
    run: str


class Demonstration(Struct, frozen=True, kw_only=True):
    """The result, and what its table shows beside it."""

    result: DemoResult
    accuracy_new_classes_before: float
    stack_bytes: int


class DemoFiles(Struct, frozen=True, kw_only=True):
    """What the demonstration writes into its folder."""

    model: Path
    calibration: Path
    stream: Path
    held_out: Path
    bundle: Path
    project: Path
    runs: Path


def demo_files(folder: Path, runs: Path | None = None) -> DemoFiles:
    """Where the demonstration keeps what: all in its folder, but the runs elsewhere if that is named."""
    return DemoFiles(
        model=folder / "digits-0-to-7.keras",
        calibration=folder / "calibration.npz",
        stream=folder / "stream.npz",
        held_out=folder / "held-out.npz",
        bundle=folder / "digits.elb",
        project=folder / "project",
        runs=runs or folder / "runs",
    )


def run(
    folder: Path, *, board_name: str | None, repeat: int, view: View, say: Say, runs: Path | None = None
) -> Demonstration:
    """Do everything, from the data to the table.

    Args:
        folder: working folder; what is in it is overwritten.
        board_name: None takes the board that its file names for the demonstration, or this machine where its emulator
            or compiler is not installed.
        repeat: passes over the samples.
        view: shows the stream.
        say: told each stage.
        runs: where its run folder goes; by default into `runs` in the working folder.
    """
    files = demo_files(folder, runs)
    say("pretraining a small CNN on the digits 0 to 7")
    pretrain(files)
    say("converting it to int8, with two spare outputs for 8 and 9")
    bundle = pipeline.convert(
        files.model,
        files.bundle,
        calibration=files.calibration,
        classes=CLASSES,
        labels=[str(n) for n in range(CLASSES)],
        name="digits",
    )
    built = _build(bundle, board_name, files, say)
    emulator = built.board.emulator
    say(f"booting {built.board.title} ({emulator.engine if emulator else 'no emulator'})")
    if note := pipeline.unsaved_note(files.project):
        say(note)
    with pipeline.connect(pipeline.EMULATE, project=files.project, bundle=bundle) as device:
        before = _evaluate(device, files.held_out)
        say(f"held-out accuracy before learning: {before.accuracy:.1%}")
        summary = pipeline.stream(
            device,
            files.stream,
            StreamOptions(train=True, learning_rate=LEARNING_RATE, repeat=repeat, shuffle=True, seed=_SEED),
            runs=files.runs,
            bundle=files.bundle,
            project=files.project,
            port=pipeline.EMULATE,
            command=sys.argv,
            view=view,
        )
        after = _evaluate(device, files.held_out)
    result = DemoResult(
        board=built.board.name,
        engine=emulator.engine if emulator else "",
        accuracy_before=before.accuracy,
        accuracy_after=after.accuracy,
        accuracy_old_classes_before=before.old_classes,
        accuracy_old_classes_after=after.old_classes,
        accuracy_new_classes_after=after.new_classes,
        samples_trained=summary.samples,
        flash_bytes=built.flash_bytes,
        ram_bytes=built.ram_bytes,
        instructions_per_inference=pipeline.instructions(built.board, summary.inference_ticks),
        instructions_per_train_step=pipeline.instructions(built.board, summary.train_ticks),
        run=summary.run,
    )
    return Demonstration(result=result, accuracy_new_classes_before=before.new_classes, stack_bytes=summary.stack_bytes)


def _build(bundle: Bundle, board_name: str | None, files: DemoFiles, say: Say) -> Built:
    """Generate and build for the board; without one named, for this machine where no emulator can be had."""
    board = load_board(board_name) if board_name else _demo_board()
    try:
        require_emulator(board)
        return _generate_and_build(bundle, board, files, say)
    except (EmulatorMissingError, CompilerMissingError) as error:
        if board_name:
            raise
        say(f"falling back to a virtual board on this machine: {error.message}")
        return _generate_and_build(bundle, pipeline.host_board(), files, say)


def _generate_and_build(bundle: Bundle, board: Board, files: DemoFiles, say: Say) -> Built:
    say(f"generating and building firmware for {board.title}")
    pipeline.generate(bundle, board, files.project, learning_rate=LEARNING_RATE, any_project=True)
    return pipeline.build(files.project)


def _demo_board() -> Board:
    for name in board_names():
        board = load_board(name)
        if board.emulator and board.emulator.demo:
            return board
    raise BoardFileError("no board file is marked for the demonstration", hint="name a board with --board")


class _Accuracy(Struct, frozen=True, kw_only=True):
    accuracy: float
    old_classes: float
    new_classes: float


def _evaluate(device: Device, data: Path) -> _Accuracy:
    """Accuracy of the device's predictions; nothing is learned."""
    dataset = load_dataset(data, device.info)
    labels = np.asarray(dataset.labels)
    correct = np.array([device.predict(x).prediction for x in dataset.samples()]) == labels
    old = labels < OLD_CLASSES
    return _Accuracy(
        accuracy=float(correct.mean()),
        old_classes=float(correct[old].mean()),
        new_classes=float(correct[~old].mean()),
    )


def pretrain(files: DemoFiles) -> None:
    """Train the CNN on the old classes and write the model and the three data files."""
    x, y = _digits()
    order = np.random.default_rng(_SEED).permutation(len(x))
    held_out, rest = order[:HELD_OUT], order[HELD_OUT:]
    old = rest[y[rest] < OLD_CLASSES]
    try:
        files.model.parent.mkdir(parents=True, exist_ok=True)
        _train_keras(x[old], y[old], files.model)
        np.savez(files.calibration, x=x[old][:200], y=y[old][:200])
        np.savez(files.stream, x=x[rest], y=y[rest])
        np.savez(files.held_out, x=x[held_out], y=y[held_out])
    except OSError as error:
        raise StorageError(f"{files.model.parent} cannot be written", cause=reason(error)) from error


def _digits() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingPackageError("scikit-learn", extra="demo", purpose="the demonstration") from error
    digits = load_digits()
    return (digits.images[..., None] / 16.0).astype(np.float32), digits.target.astype(np.int64)


def _train_keras(x: npt.NDArray[np.float32], y: npt.NDArray[np.int64], path: Path) -> None:
    """A CNN of two convolutions and two dense layers; the last one, with its softmax, becomes the head."""
    from edgelearn.convert.quantize import import_tensorflow

    _, keras = import_tensorflow()
    keras.utils.set_random_seed(_SEED)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(_DROPOUT),
            layers.Dense(128, activation="relu", name="features"),
            layers.Dropout(_DROPOUT),
            layers.Dense(OLD_CLASSES, activation="softmax", name="digits"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x, y, epochs=_EPOCHS, batch_size=32, verbose=0)
    model.save(path)


def print_table(shown: Demonstration, console: Console) -> None:
    """The closing table and where the plots are."""
    from rich import box
    from rich.table import Table

    found = shown.result
    table = Table(title="Held-out digits, on the device", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("")
    table.add_column("before", justify="right")
    table.add_column("after", justify="right")
    table.add_row("accuracy, all ten classes", f"{found.accuracy_before:.1%}", f"{found.accuracy_after:.1%}")
    table.add_row(
        "old classes, 0 to 7", f"{found.accuracy_old_classes_before:.1%}", f"{found.accuracy_old_classes_after:.1%}"
    )
    table.add_row(
        "new classes, 8 and 9", f"{shown.accuracy_new_classes_before:.1%}", f"{found.accuracy_new_classes_after:.1%}"
    )
    console.print(table)
    inference, train = found.instructions_per_inference, found.instructions_per_train_step
    lines = [
        f"{found.board} ({found.engine}): {found.samples_trained:,} samples learned",
        f"flash {found.flash_bytes:,} bytes, RAM {found.ram_bytes:,} bytes and {shown.stack_bytes:,} of stack",
    ]
    if inference and train:
        lines.append(f"{inference:,} instructions for an inference, {train:,} for a training step")
    for line in lines:
        console.print(line, soft_wrap=True)
    console.print(f"as a page: edgelearn report {shlex.quote(found.run)}", markup=False, soft_wrap=True)
    console.print(f"plots, telemetry and the learned head: {found.run}", markup=False, soft_wrap=True)
