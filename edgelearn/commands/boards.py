"""`edgelearn boards`: the boards, one of them in full, and which of them can hold a bundle."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from edgelearn.commands.common import EXISTING, JSON, make_console, print_json
from edgelearn.errors import DoesNotFitError
from edgelearn.recipe import Residual
from edgelearn.words import noun

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from edgelearn.board import Board
    from edgelearn.fitting import Fitting, OutputFit


@click.command()
@click.argument("name", required=False)
@click.option("--fits", "model", type=EXISTING, default=None, metavar="OUT.elb", help="Which of them can hold it?")
@click.option(
    "--residual",
    type=click.Choice([residual.value for residual in Residual]),
    default=Residual.INT8.value,
    show_default=True,
    help="With --fits: what is kept beside each int8 weight of the trainable layer.",
)
@JSON
def boards(name: str | None, model: Path | None, residual: str, as_json: bool) -> None:
    """List the boards, or show one in full.

    With --fits, tell which boards can hold a bundle or an int8 .tflite, with what margin, and what would have to shrink
    for the others; exits with 32 where it fits none.
    """
    from edgelearn.board import Core, board_names, load_board

    if model is None and click.get_current_context().get_parameter_source("residual") is not _default():
        raise click.UsageError("--residual goes with --fits")
    chosen = [load_board(known) for known in ((name,) if name else board_names())]
    if model is not None:
        # This machine is no board that a bundle has to fit, unless it is asked for.
        _fits([b for b in chosen if name or b.core is not Core.HOST], model, Residual(residual), as_json=as_json)
    elif as_json:
        found = [msgspec.to_builtins(board) for board in chosen]
        click.echo(json.dumps(found[0] if name else found))
    elif name:
        _print_board(chosen[0])
    else:
        _print_list(chosen)


def _default() -> click.core.ParameterSource:
    return click.core.ParameterSource.DEFAULT


def _table(left: Sequence[str], right: Sequence[str] = (), after: Sequence[str] = (), *, header: bool = True) -> Table:
    """A table of columns that are aligned to the left, to the right, and to the left again."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD if header else None, show_header=header)
    for column in left:
        table.add_column(column, no_wrap=header)
    for column in right:
        table.add_column(column, justify="right", no_wrap=True)
    for column in after:
        table.add_column(column, overflow="fold")
    return table


def _print_list(chosen: Sequence[Board]) -> None:
    from edgelearn.board import Core
    from edgelearn.board.words import emulator_words, methods_words, outputs_words

    table = _table(
        ("board",),
        ("MHz", "flash KiB", "RAM KiB"),
        ("core", "emulator", "outputs", "flash with"),
    )
    for board in chosen:
        table.add_row(
            board.name,
            "-" if board.core is Core.HOST else f"{board.clock_hz / 1e6:g}",
            f"{board.flash_bytes // 1024:,}",
            f"{board.ram_bytes // 1024:,}",
            board.core.value,
            emulator_words(board),
            outputs_words(board.outputs),
            methods_words(board.flash),
        )
    make_console().print(table)
    click.echo("`edgelearn boards NAME` shows one in full: chip, memory map, pins, USB identifiers, sources")


def _print_board(board: Board) -> None:
    from rich.markup import escape

    from edgelearn.board.words import core_words, facts, memory_map, size_words

    console = make_console()
    click.echo(f"{board.name}: {board.title}, {board.chip}, {core_words(board.core)} at {board.clock_hz / 1e6:g} MHz")
    table = _table(("from", "to"), ("size",), ("for",))
    for part in memory_map(board):
        table.add_row(f"0x{part.origin:08X}", f"0x{part.end - 1:08X}", size_words(part.size_bytes), escape(part.use))
    console.print(table)
    for label, text in facts(board):
        click.echo(f"{label + ':':<15}{text}")


def _fits(chosen: Sequence[Board], model: Path, residual: Residual, *, as_json: bool) -> None:
    from edgelearn.fitting import fit_boards
    from edgelearn.inspection import read_model

    found = fit_boards(read_model(model), chosen, residual=residual)
    if as_json:
        print_json(found)
    else:
        _print_fits(found)
    if not found.fits:
        sys.exit(DoesNotFitError.exit_code)


def _print_fits(found: Fitting) -> None:
    from rich.markup import escape

    from edgelearn.board.words import outputs_words

    stored = f", --residual {found.residual.value}" if found.trains else ""
    click.echo(
        f"{found.name} (model {found.model_hash[:16]}{stored}): bytes needed, of what there is, and what is left"
    )
    table = _table(("board", "output", "fits"), ("flash", "of", "left", "RAM or heap", "of", "left"))
    for board in found.boards:
        for output in board.outputs:
            needs = {need.memory: need for need in output.needs}
            cells = []
            for need in (needs.get("flash"), needs.get("RAM") or needs.get("heap")):
                if need is None:
                    cells += ["", "", ""]
                else:
                    about = "" if output.estimated == "code" and need.memory == "RAM" else "~"
                    color = "red" if need.margin_bytes < 0 else "default"
                    cells += [
                        f"{about}{need.needed_bytes:,}",
                        f"{need.available_bytes:,}",
                        f"[{color}]{need.margin_bytes:,}[/{color}]",
                    ]
            table.add_row(
                escape(board.board),
                outputs_words([output.output]),
                "[green]yes[/green]" if output.fits else "[red]no[/red]",
                *cells,
            )
    make_console().print(table)
    click.echo("~ code is estimated; Arduino: beside about what its core takes; MicroPython: all about, beside Python")
    for board in found.boards:
        if not board.fits or len(found.boards) == 1:
            for output in (output for output in board.outputs if not output.fits):
                click.echo(f"{board.board}, {outputs_words([output.output])}: {output.problem}")
                missing = [f"{-n.margin_bytes:,} bytes of {n.memory}" for n in output.needs if n.margin_bytes < 0]
                if missing:
                    click.echo(f"  missing: {', '.join(missing)}")
                click.echo(f"  would help: {_help(output)}")


def _help(output: OutputFit) -> str:
    ways = [f"--residual {residual.value}, and then it fits" for residual in output.residuals]
    if output.fewer_classes:
        ways.append(
            f"about {output.fewer_classes:,} {noun(output.fewer_classes, 'class', 'classes')} less, spare ones first"
        )
    if not any(output.hint.startswith(f"--residual {residual.value}") for residual in output.residuals):
        ways.append(output.hint)
    return "; ".join(ways)
