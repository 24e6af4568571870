"""Instructions and memory of whole models on an emulated Cortex-M4, beside the peers' figures: the table in README.md.

    python benchmarks/instructions.py MODEL.tflite [MODEL.tflite ...] [--board mps2-an386]

The models are the MLPerf Tiny reference models; the peers' figures were measured once, the same way, with
arm-none-eabi-gcc 12.2 -O3 under QEMU 7.2. Instructions are not cycles.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from edgelearn import pipeline
from edgelearn.board import load_board
from edgelearn.verification import Verification, verify

#: Instructions for one inference: CMSIS-NN's kernels called in sequence, TFLite Micro with them, TFLite Micro's own.
PEERS = {
    "kws_ref_model": (7_415_000, 7_844_228, 43_040_000),
    "pretrainedResnet_quant": (28_614_000, 29_876_003, 107_400_000),
    "ad01_int8": (570_000, 582_272, 1_950_000),
}
SAMPLES = 4


def measure(model: Path, board_name: str, folder: Path) -> Verification:
    """Convert for inference only, build, boot and count."""
    bundle = folder / f"{model.stem}.elb"
    pipeline.convert(model, bundle, head="none")
    return verify(bundle, load_board(board_name), folder / model.stem, samples=SAMPLES, train_steps=0)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--board", default="mps2-an386")
    options = parser.parse_args()
    peers = "CMSIS-NN | TFLM + CMSIS-NN | TFLM, portable kernels"
    print(f"| model | edgelearn, portable kernels | {peers} | flash | arena |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for model in options.models:
            found = measure(model, options.board, Path(folder))
            if not found.is_exact:
                raise SystemExit(f"{model.stem} is not exact: {found}")
            theirs = [f"{count:,}" for count in PEERS.get(model.stem, ())] or ["-"] * 3
            counted = f"{found.instructions_per_inference or 0:,}"
            memory = [f"{found.flash_model_bytes:,}", f"{found.arena_bytes:,}"]
            print(f"| {' | '.join([model.stem, counted, *theirs, *memory])} |")


if __name__ == "__main__":
    main()
