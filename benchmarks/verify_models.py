"""Every model on every board against the references, with a trainable head and without, as one table.

    python -m benchmarks.verify_models [MODEL.tflite ...] [--only NAME ...] [--boards NAME ...] [--train-steps 256]

The models are the given files, the networks of networks.py and the digits of the demonstration. Each runs on 64
samples like those it is for and 64 random ones; the host build is instrumented with the address and undefined-behaviour
sanitizers. A model that does not fit a board with the int8 residual is verified with `--residual stochastic` there.
Ends with 1 where anything differs or fails, the stack outgrows its bound, or a model fits no board.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from benchmarks.models import REALISTIC_SAMPLES, SAMPLES, Model, model_names, prepare, with_samples
from edgelearn import demo, pipeline
from edgelearn.board import Core, board_names, load_board
from edgelearn.errors import DoesNotFitError, EdgelearnError
from edgelearn.ir import quantize_array
from edgelearn.recipe import Residual
from edgelearn.verification import Verification, verify

DIGITS = "digits"
HEADER = ("model", "head", "board", "bytes compared", "different", "head weights different", "stack", "its bound")


class Job(Struct, frozen=True, kw_only=True):
    """A model on its way through all boards."""

    name: str
    files: tuple[Path, ...]
    boards: tuple[str, ...]
    train_steps: int


class Line(Struct, frozen=True, kw_only=True):
    """What a model gave on a board.

    Attributes:
        trains: whether it had a trainable head.
        residual: how the head's weights were stored.
        found: None where there is a problem.
        problem: why it did not run.
        fits: False where the problem is that the board is too small.
    """

    name: str
    trains: bool
    board: str
    residual: Residual | None
    found: Verification | None
    problem: str = ""
    fits: bool = True

    @property
    def is_right(self) -> bool:
        """Whether nothing differed and the stack kept to its bound, where it fits."""
        found = self.found
        if found is None or not found.is_exact:
            return not self.fits
        return found.stack_bound_bytes is None or found.stack_bytes <= found.stack_bound_bytes


def run(job: Job) -> list[Line]:
    """Verify one model on all boards."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            model = digits(folder) if job.name == DIGITS else prepare(job.name, job.files, folder)
        except EdgelearnError as error:
            problem = str(error)
            return [Line(name=job.name, trains=False, board="", residual=None, found=None, problem=problem)]
        return [
            verify_one(model, board, folder / "project", trains=trains, train_steps=job.train_steps)
            for trains in ([False, True] if model.trained else [False])
            for board in job.boards
        ]


def digits(folder: Path) -> Model:
    """The demonstration's model, which has spare outputs."""
    files = demo.demo_files(folder)
    demo.pretrain(files)
    trained = pipeline.convert(
        files.model, files.bundle, calibration=files.calibration, classes=demo.CLASSES, name=DIGITS
    )
    plain = folder / "plain.elb"
    pipeline.convert(files.model, plain, calibration=files.calibration, head="none", name=DIGITS)
    with np.load(files.held_out) as held_out:
        x = held_out["x"][:REALISTIC_SAMPLES]
    quant = trained.graph.input.quant
    assert quant is not None
    return with_samples(
        DIGITS, "the demonstration's CNN", plain=plain, trained=files.bundle, realistic=quantize_array(x, quant)
    )


def verify_one(model: Model, board_name: str, folder: Path, *, trains: bool, train_steps: int) -> Line:
    """Verify with the first residual that fits."""
    board = load_board(board_name)
    line = Line(name=model.name, trains=trains, board=board_name, residual=None, found=None)
    for residual in (Residual.INT8, Residual.STOCHASTIC) if trains else (Residual.INT8,):
        try:
            found = verify(
                model.trained if trains and model.trained else model.plain,
                board,
                folder,
                data=model.lessons if trains else model.data,
                samples=SAMPLES,
                train_steps=train_steps if trains else 0,
                residual=residual,
                sanitize=board.core is Core.HOST,
            )
        except DoesNotFitError as error:
            line = replace(line, problem=str(error), fits=False)
        except EdgelearnError as error:
            return replace(line, problem=str(error))
        else:
            return replace(line, residual=residual if trains else None, found=found, problem="", fits=True)
    return line


def text(line: Line) -> str:
    """The line of the table."""
    cells = [line.name, line.residual.value if line.residual else "" if line.trains else "none", line.board]
    if line.found:
        found = line.found
        figures = [found.output_bytes_compared, found.output_bytes_different, found.head_weights_different]
        figures += [found.stack_bytes, found.stack_bound_bytes] if found.stack_bytes else []
        cells += [f"{figure:,}" if figure is not None else "" for figure in figures]
    else:
        cells.append(line.problem)
    return f"| {' | '.join(cells + [''] * (len(HEADER) - len(cells)))} |"


def _emulated() -> tuple[str, ...]:
    """The boards that can be run here."""
    return tuple(name for name in board_names() if load_board(name).emulator)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="MODEL.tflite")
    parser.add_argument("--only", nargs="+", default=(), metavar="NAME", help="these models")
    parser.add_argument("--boards", nargs="+", default=_emulated(), metavar="NAME")
    parser.add_argument("--train-steps", type=int, default=256)
    parser.add_argument("--jobs", type=int, default=2, help="models at a time")
    options = parser.parse_args()
    names = options.only or [DIGITS, *model_names(options.files)]
    jobs = [
        Job(name=name, files=tuple(options.files), boards=tuple(options.boards), train_steps=options.train_steps)
        for name in names
    ]
    print(f"| {' | '.join(HEADER)} |\n|---|---|---" + "|---:" * (len(HEADER) - 3) + "|", flush=True)
    everything: list[Line] = []
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        for of_model in pool.map(run, jobs):
            print("\n".join(map(text, of_model)), flush=True)
            everything += of_model
    found = [line.found for line in everything if line.found]
    wrong = [line for line in everything if not line.is_right]
    nowhere = set(names) - {line.name for line in everything if line.found}
    compared = sum(one.output_bytes_compared for one in found)
    result = f"{len(wrong)} runs are wrong" if wrong else "nothing differs"
    print(f"\n{compared:,} bytes compared in {len(found)} runs of {len(names)} models; {result}.")
    if nowhere:
        print(f"These ran on no board: {', '.join(sorted(nowhere))}.")
    return 1 if wrong or nowhere else 0


if __name__ == "__main__":
    sys.exit(main())
