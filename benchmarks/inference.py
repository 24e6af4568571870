"""One inference of each model: instructions, estimated cycles, flash, arena and stack, beside figures of the peers.

    python -m benchmarks.inference [MODEL.tflite ...] [--only NAME ...] [--docs]

The models are the given files and the networks of networks.py. Prints the table; with `--docs` it also writes it into
docs/benchmarks.md and the short one into README.md, between the marks that stand there.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.models import Model, model_names, prepare
from edgelearn import pipeline
from edgelearn.board import load_board
from edgelearn.bundle import read_bundle
from edgelearn.errors import EdgelearnError
from edgelearn.firmware.doctor import examine
from edgelearn.verification import verify

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
BOARD = "mps2-an386"
TOOLCHAIN = "gnu"
SAMPLES = 8
#: What the figures depend on.
TOOLS = ("arm-none-eabi-gcc", "qemu-system-arm", "tensorflow", "ai-edge-litert")
COLUMNS = ("model", "MACs", "instructions", "for each MAC", "cycles*", "flash", "arena", "stack")


class Row(Struct, frozen=True, kw_only=True):
    """One line of the table; None where a figure is not known.

    Attributes:
        name: of the model, or of a peer below a model.
        about: what the model is; empty for a peer.
        cycles: estimated.
        flash_bytes: of edgelearn the model with its constants and kernels, of a peer the whole image.
        arena_bytes: activations and scratch.
        stack_bytes: the most that can be used, worked out from the image.
    """

    name: str
    about: str = ""
    multiply_accumulates: int | None = None
    instructions: int | None = None
    cycles: int | None = None
    flash_bytes: int | None = None
    arena_bytes: int | None = None
    stack_bytes: int | None = None

    @property
    def is_peer(self) -> bool:
        """Whether it is a peer's figures for the model above."""
        return not self.about


#: Measured once, the same way: under QEMU 7.2, built with arm-none-eabi-gcc 12.2 -O3. CMSIS-NN is its kernels called in
#: sequence, TFLM the interpreter of TensorFlow Lite Micro.
PEERS = {
    "kws_ref_model": (
        Row(name="CMSIS-NN", instructions=7_415_000, cycles=9_050_000, flash_bytes=57_696, arena_bytes=16_000),
        Row(name="TFLM with CMSIS-NN", instructions=7_844_228, flash_bytes=110_752, arena_bytes=22_820),
        Row(name="TFLM, portable", instructions=43_040_000),
    ),
    "pretrainedResnet_quant": (
        Row(name="CMSIS-NN", instructions=28_614_000, cycles=34_600_000, flash_bytes=106_208, arena_bytes=49_728),
        Row(name="TFLM with CMSIS-NN", instructions=29_876_003, flash_bytes=151_928, arena_bytes=54_996),
        Row(name="TFLM, portable", instructions=107_400_000),
    ),
    "ad01_int8": (
        Row(name="CMSIS-NN", instructions=570_000, cycles=740_000, flash_bytes=280_224, arena_bytes=768),
        Row(name="TFLM with CMSIS-NN", instructions=582_272, flash_bytes=306_496, arena_bytes=2_580),
        Row(name="TFLM, portable", instructions=1_950_000),
    ),
}


def measure(model: Model, board_name: str, folder: Path) -> Row:
    """Build for inference only, boot, count, and make sure that the outputs are exact."""
    board = load_board(board_name)
    found = verify(model.plain, board, folder, data=model.data, samples=SAMPLES, train_steps=0, toolchain=TOOLCHAIN)
    if not found.is_exact:
        raise SystemExit(f"{model.name} is not exact: {found.output_bytes_different} output bytes differ")
    steps = pipeline.plan(read_bundle(model.plain), board).steps
    return Row(
        name=model.name,
        about=model.about,
        multiply_accumulates=sum(step.multiply_accumulates for step in steps),
        instructions=found.instructions_per_inference,
        cycles=found.estimated_cycles_per_inference,
        flash_bytes=found.flash_model_bytes,
        arena_bytes=found.arena_bytes,
        stack_bytes=found.stack_bound_bytes,
    )


def with_peers(rows: Sequence[Row]) -> list[Row]:
    """Each model's row, with those of its peers below."""
    return [line for row in rows for line in (row, *PEERS.get(row.name, ()))]


def cells(row: Row, macs: int | None) -> list[str]:
    """The figures of a row as text; `macs` are its model's."""
    figures = (row.instructions, row.cycles, row.flash_bytes, row.arena_bytes, row.stack_bytes)
    counted = [f"{figure:,}" if figure is not None else "" for figure in figures]
    per_mac = f"{row.instructions / macs:.2f}" if macs and row.instructions else ""
    return ["" if row.is_peer or macs is None else f"{macs:,}", counted[0], per_mac, *counted[1:]]


def lines(rows: Sequence[Row]) -> list[tuple[Row, list[str]]]:
    """Each row with its cells; a peer's are reckoned with the multiply-accumulates of the model above it."""
    macs: int | None = None
    result = []
    for row in rows:
        macs = macs if row.is_peer else row.multiply_accumulates
        result.append((row, cells(row, macs)))
    return result


def markdown(rows: Sequence[Row], *, about: bool = True) -> str:
    """The table in Markdown."""
    text = [f"| {' | '.join(COLUMNS)} |", "|---" + "|---:" * (len(COLUMNS) - 1) + "|"]
    for row, values in lines(rows):
        title = f"- {row.name}" if row.is_peer else f"**{row.name}**" + (f", {row.about}" if about else "")
        text.append(f"| {title} | {' | '.join(values)} |")
    return "\n".join(text)


def show(rows: Sequence[Row], console: Console) -> None:
    """The table on the terminal."""
    table = Table(box=box.SIMPLE_HEAD)
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == COLUMNS[0] else "right", no_wrap=True)
    for row, values in lines(rows):
        table.add_row(f"  {row.name}" if row.is_peer else row.name, *values, style="dim" if row.is_peer else None)
    console.print(table)


def tools() -> str:
    """The programs and packages that the figures depend on, with their versions."""
    versions = {finding.name: finding.version for finding in examine()}
    return ", ".join(f"{name} {versions[name]}" for name in TOOLS)


def replace_between(path: Path, mark: str, text: str) -> None:
    """Put text between the lines `<!-- begin MARK -->` and `<!-- end MARK -->` of a file.

    Raises:
        ValueError: the file has no such lines.
    """
    begin, end = f"<!-- begin {mark} -->\n", f"<!-- end {mark} -->\n"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    whole, found = pattern.subn(lambda _: f"{begin}\n{text}\n\n{end}", path.read_text(encoding="utf-8"))
    if not found:
        raise ValueError(f"{path} has no lines {begin!r} and {end!r}")
    path.write_text(whole, encoding="utf-8")


def run(files: Sequence[Path], only: Sequence[str], board: str, say: Callable[[str], None]) -> list[Row]:
    """Measure all models, or those named in `only`."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for model_name in model_names(files, only):
            say(f"measuring {model_name}")
            rows.append(measure(prepare(model_name, files, folder), board, folder / "project"))
    return rows


def main() -> None:
    """Print the table, and write it where that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="MODEL.tflite")
    parser.add_argument("--only", nargs="+", default=(), metavar="NAME")
    parser.add_argument("--board", default=BOARD)
    parser.add_argument("--docs", action="store_true", help="write the tables of the documentation")
    options = parser.parse_args()
    if options.docs and (options.only or options.board != BOARD):
        parser.error("--docs writes the whole table: leave out --only and --board")
    missing = [name for name in PEERS if name not in {path.stem for path in options.files}]
    if options.docs and missing:
        parser.error(f"--docs writes the whole table: name the files of {', '.join(missing)} too")
    console = Console(width=None if sys.stdout.isatty() else 120)
    try:
        with console.status("measuring") as status:
            rows = run(options.files, options.only, options.board, lambda text: status.update(text))
    except EdgelearnError as error:
        raise SystemExit(str(error)) from error
    show(with_peers(rows), console)
    if options.docs:
        replace_between(PAGE, "table", f"{markdown(with_peers(rows))}\n\nMeasured with {tools()}.")
        known = [row for row in with_peers(rows) if row.is_peer or row.name in PEERS]
        replace_between(ROOT / "README.md", "benchmarks", markdown(known, about=False))


if __name__ == "__main__":
    main()
