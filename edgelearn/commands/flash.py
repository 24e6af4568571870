"""`edgelearn flash` and `edgelearn devices`: a project onto a real board, and what is plugged in."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from edgelearn.commands.common import EXISTING, JSON, make_console, print_json

_METHODS = "pyocd, openocd, st-flash, dfu-util, bossac, adafruit-nrfutil, drive, arduino-cli, esptool, mpremote"


@click.command()
@click.argument("folder", type=EXISTING, metavar="[DIR]", required=False)
@click.option(
    "--port",
    "-p",
    default="",
    help="The board's serial port, where several are there or it is not known; an adapter's, where its serial line is "
    "on pins.",
)
@click.option("--method", "-m", default="", help=f"Instead of the first way that can be used: {_METHODS}.")
@click.option(
    "--firmware",
    type=EXISTING,
    default=None,
    help="MicroPython itself, its .bin or .uf2 file: before DIR where it does not answer, or alone with --board.",
)
@click.option("--board", "-b", "board_name", default="", help="With --firmware and no DIR: the board.")
@click.option(
    "--romfs/--no-romfs",
    default=None,
    help="MicroPython: put the package into the board's ROM partition, where weights take nothing of the heap; by "
    "default where the board file has one, or the heap could not hold it otherwise.",
)
@click.option("--force", is_flag=True, help="Flash an image that is unsafe for the board, or a board that is not its.")
@click.option("--dry-run", is_flag=True, help="Check all, print the commands and what is missing, flash nothing.")
@JSON
def flash(
    folder: Path | None,
    port: str,
    method: str,
    firmware: Path | None,
    board_name: str,
    romfs: bool | None,
    force: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Flash a project onto a board.

    Builds the project where it has no image, checks the image against the board's memory and bootloader, flashes it in
    the first way that can be used now, and waits until the program says which model it runs.

    A MicroPython project is compiled and put onto the board over its serial port: only what differs, each file
    verified on the board. Interrupted, the same command goes on.
    """
    from edgelearn import flashing
    from edgelearn.board import load_board

    def say(text: str) -> None:
        click.echo(text, err=True)

    if folder is None and (firmware is None or not board_name):
        raise click.UsageError("give the folder of a project, or --board and --firmware")
    if board_name and (folder is not None or firmware is None):
        raise click.UsageError("--board goes with --firmware; a project is for the board that it was generated for")
    if folder is not None:
        done = flashing.flash(
            folder,
            port=port,
            method=method,
            force=force,
            dry_run=dry_run,
            firmware=firmware,
            romfs=romfs,
            say=say,
        )
    elif firmware is not None:
        board = load_board(board_name)
        done = flashing.flash_firmware(firmware, board, port=port, method=method, force=force, dry_run=dry_run, say=say)
    if as_json:
        print_json(done)
        return
    if dry_run:
        click.echo(f"{done.board} would be flashed with {done.method}:")
        for argv in done.commands:
            click.echo(f"  {shlex.join(argv)}")
        for one in done.steps:
            click.echo(f"  {one}")
    else:
        click.echo(f"flashed {done.board} with {done.method}")
    for note in done.notes:
        click.echo(f"note: {note}")
    if done.port:
        click.echo(f"it runs the model {done.model_hash}; stream to it with --port {done.port}")


@click.command()
@click.option(
    "--hello", is_flag=True, help="Ask each serial port for its program; opening a port restarts some boards."
)
@JSON
def devices(hello: bool, as_json: bool) -> None:
    """List what is plugged in, and which board each may be."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from edgelearn import flashing

    found = flashing.devices(hello=hello)
    if as_json:
        print_json(found)
        return
    if not found:
        click.echo("no serial port, bootloader, debug probe or board's drive is plugged in")
        return
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("kind")
    for column in ("port or drive", "USB", "serial number"):
        table.add_column(column, no_wrap=True)
    for column in ("calls itself", "may be", *(("program",) if hello else ())):
        table.add_column(column, overflow="fold")
    for one in found:
        modes = dict.fromkeys(board.mode for board in one.boards)
        boards = "; ".join(
            f"{', '.join(board.name for board in one.boards if board.mode == mode)} ({mode})" for mode in modes
        )
        cells = (one.kind, one.name, one.identifier, one.serial_number, one.description, boards)
        table.add_row(*map(escape, (*cells, *((one.program or "-",) if hello else ()))))
    make_console().print(table)
