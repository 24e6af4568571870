"""One inference and one training step under MicroPython beside bare-metal C on the same core, and the heap they take.

    python -m benchmarks.micropython [MODEL.tflite ...] [--only NAME ...] [--docs]

The models are the given files and the digits of the demonstration. Firmware in C runs on `mps2-an386`, MicroPython 1.25
on the same emulated Cortex-M4F with its kernels as machine code and in viper: instructions are counted by the same
timer, of training steps on the same samples. Every output byte and, after the training steps, every bit of the head are
compared on the way. MicroPython itself is what `make micropython` gets for the tests.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from benchmarks.inference import PAGE, replace_between
from benchmarks.models import Model, prepare
from benchmarks.verify_models import DIGITS, digits
from edgelearn import pipeline
from edgelearn.board import Board, Output, load_board
from edgelearn.bundle import Bundle, read_bundle
from edgelearn.codegen import Kernels, package_need
from edgelearn.verification import verify, verify_device
from tests.support.micropython.emulated import EmulatedBoard, Repl

C_BOARD = "mps2-an386"
#: A board with the same core on which MicroPython is at home.
BOARD = "nano33ble"
#: Viper takes minutes for the larger models.
_SAMPLES, _TRAIN_STEPS = 2, 8
_HEAP_BYTES = 1 << 20
COLUMNS = ("model", "kernels", "inference", "of C", "for each MAC", "training step", "of C", "heap", "predicted")

_LOAD = """\
import gc
gc.collect()
before = gc.mem_alloc()
import model
from model.link import Link
m = model.load()
link = Link(m)
gc.collect()
print(gc.mem_alloc() - before)
"""


class Row(Struct, frozen=True, kw_only=True):
    """One line of the table.

    Attributes:
        kernels: `C` for bare-metal firmware.
        train_instructions: of the update alone; None without a trainable head.
        heap_bytes, predicted_bytes: of MicroPython's heap; None for C.
    """

    model: str
    kernels: str
    multiply_accumulates: int
    instructions: int
    train_instructions: int | None
    heap_bytes: int | None = None
    predicted_bytes: int | None = None


def measure(model: Model, folder: Path) -> list[Row]:
    """The rows of a model: C, then each kind of kernels."""
    path = model.trained or model.plain
    bundle = read_bundle(path)
    found = verify(
        path,
        load_board(C_BOARD),
        folder / "c",
        data=model.lessons,
        samples=_SAMPLES,
        train_steps=_TRAIN_STEPS if model.trained else 0,
    )
    board = load_board(BOARD)
    python = board.micropython
    assert python is not None
    board = replace(board, micropython=replace(python, heap_bytes=_HEAP_BYTES))
    macs = sum(step.multiply_accumulates for step in pipeline.plan(bundle, board).steps)
    rows = [
        Row(
            model=model.name,
            kernels="C",
            multiply_accumulates=macs,
            instructions=found.instructions_per_inference or 0,
            train_instructions=found.instructions_per_train_step,
        )
    ]
    return rows + [_measure_python(model, path, bundle, board, kernels, folder, macs) for kernels in Kernels]


def _measure_python(
    model: Model, path: Path, bundle: Bundle, board: Board, kernels: Kernels, folder: Path, macs: int
) -> Row:
    project = folder / kernels.value
    plan = pipeline.generate(bundle, board, project, output=Output.MICROPYTHON, kernels=kernels)
    package = pipeline.build_package(project)
    with EmulatedBoard(heap_bytes=_HEAP_BYTES, timeout_s=1200) as emulated:
        with emulated.repl() as repl:
            repl.exec("import os\nos.mkdir('model')")
            for name in package.sizes_bytes:
                repl.put(name, (package.folder / name).read_bytes())
        with emulated.repl() as repl:
            heap_bytes = int(repl.exec(_LOAD))
            repl.exec("m.predict()")
            instructions = repl.instructions("m.predict()")
            train = _training(repl, model) if model.trained else None
        with emulated.repl() as repl:
            repl.start("import main")
        steps = _TRAIN_STEPS if model.trained else 0
        found = verify_device(path, emulated.url, data=model.lessons, samples=_SAMPLES, train_steps=steps)
    if not found.is_exact:
        raise SystemExit(f"{model.name} is not exact with {kernels.value} kernels")
    return Row(
        model=model.name,
        kernels=kernels.value,
        multiply_accumulates=macs,
        instructions=instructions,
        train_instructions=train,
        heap_bytes=heap_bytes,
        predicted_bytes=package_need(plan).heap_bytes,
    )


def _training(repl: Repl, model: Model) -> int:
    """The mean of the steps on the first samples, on which C has learned too."""
    with np.load(model.lessons) as lessons:
        x = lessons["x"][:_TRAIN_STEPS]
        y = lessons["y"][:_TRAIN_STEPS].tolist() if "y" in lessons else [None] * len(x)
    counted = 0
    for sample, label in zip(x, y, strict=True):
        repl.exec(f"m.predict(bytes.fromhex('{sample.tobytes().hex()}'))\nm.set_target({label})")
        counted += repl.instructions(f"m.train({label})")
    return round(counted / len(x))


def cells(row: Row, c: Row) -> tuple[str, ...]:
    """A row as text, beside that of C."""

    def ratio(value: int | None, of: int | None) -> str:
        return f"{value / of:.2f}" if value and of and row is not c else ""

    def number(value: int | None) -> str:
        return "" if value is None else f"{value:,}"

    return (
        row.model if row is c else "",
        row.kernels,
        number(row.instructions),
        ratio(row.instructions, c.instructions),
        f"{row.instructions / row.multiply_accumulates:.2f}",
        number(row.train_instructions),
        ratio(row.train_instructions, c.train_instructions),
        number(row.heap_bytes),
        number(row.predicted_bytes),
    )


def markdown(rows: Sequence[Row]) -> str:
    """The table in Markdown."""
    text = [f"| {' | '.join(COLUMNS)} |", "|---|---|" + "---:|" * (len(COLUMNS) - 2)]
    c = rows[0]
    for row in rows:
        c = row if row.kernels == "C" else c
        text.append(f"| {' | '.join(cells(row, c))} |")
    return "\n".join(text)


def main() -> int:
    """Print the table, and write it where that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="MODEL.tflite")
    parser.add_argument("--only", nargs="+", default=(), metavar="NAME")
    parser.add_argument("--docs", action="store_true", help="write the table of the documentation")
    options = parser.parse_args()
    rows: list[Row] = []
    for name in (DIGITS, *sorted(path.stem for path in options.files)):
        if options.only and name not in options.only:
            continue
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            model = digits(folder) if name == DIGITS else prepare(name, options.files, folder)
            rows += measure(model, folder)
            print(markdown(rows[-1 - len(Kernels) :]).partition("\n")[2].partition("\n")[2], flush=True)
    if options.docs:
        replace_between(PAGE, "micropython", markdown(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
