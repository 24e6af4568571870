"""Every model on every board against the references: `edgelearn verify` with 1,000 training steps, as one table.

    python benchmarks/verify_models.py MODEL.tflite [MODEL.tflite ...] [--train-steps 1000]

The digits model of the demonstration is made and added. A model that does not fit a board with the int8 residual is
verified with `--residual stochastic` there. Ends with 1 where anything differs.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from edgelearn import demo, pipeline
from edgelearn.board import Board, board_names, load_board
from edgelearn.errors import DoesNotFitError
from edgelearn.recipe import Residual
from edgelearn.verification import Verification, verify

SAMPLES = 64


def digits(folder: Path) -> Path:
    """The bundle of the demonstration's model."""
    files = demo.demo_files(folder)
    demo.pretrain(files)
    pipeline.convert(files.model, files.bundle, calibration=files.calibration, classes=demo.CLASSES, name="digits")
    return files.bundle


def verify_one(bundle: Path, board: Board, folder: Path, train_steps: int) -> tuple[Residual, Verification]:
    """Verify with the first residual that fits."""
    try:
        found = verify(bundle, board, folder, samples=SAMPLES, train_steps=train_steps)
    except DoesNotFitError:
        residual = Residual.STOCHASTIC
        return residual, verify(bundle, board, folder, samples=SAMPLES, train_steps=train_steps, residual=residual)
    return Residual.INT8, found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--train-steps", type=int, default=1000)
    options = parser.parse_args()
    exact = True
    print("| model | board | residual | bytes compared | different | head weights different | stack |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundles = [digits(folder / "digits")]
        for model in options.models:
            bundles.append(folder / f"{model.stem}.elb")
            pipeline.convert(model, bundles[-1])
        for bundle in bundles:
            for board in map(load_board, board_names()):
                residual, found = verify_one(bundle, board, folder / "project", options.train_steps)
                exact = exact and found.output_bytes_different == 0 and found.head_weights_different == 0
                figures = (found.output_bytes_compared, found.output_bytes_different, found.head_weights_different)
                counted = " | ".join(f"{figure:,}" for figure in (*figures, found.stack_bytes))
                print(f"| {bundle.stem} | {board.name} | {residual.value} | {counted} |", flush=True)
    if not exact:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
