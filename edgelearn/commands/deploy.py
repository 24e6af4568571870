"""`edgelearn deploy`: from the model file to the board in one go."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgelearn.board import Output
from edgelearn.commands.common import (
    BOARD,
    EXISTING,
    JSON,
    LEARNING_RATE,
    RESIDUAL,
    TOOLCHAIN,
    conversion_options,
    make_console,
    print_json,
)
from edgelearn.ir import LossKind
from edgelearn.recipe import Residual

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from edgelearn.deployment import Say


class _Shown:
    """The steps, one under the other: on a terminal with a spinner, elsewhere each in a line when it is done."""

    def __init__(self, progress: Progress, names: tuple[str, ...]) -> None:
        self._progress = progress
        self._live = progress.console.is_terminal
        self._tasks: dict[str, TaskID] = {
            name: progress.add_task(name, total=1, start=False, text="") for name in names if self._live
        }

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[Say]:
        """Open a step."""
        said = ""

        def say(text: str) -> None:
            nonlocal said
            said = text
            if self._live:
                self._progress.update(self._tasks[name], text=text)

        if self._live:
            self._progress.start_task(self._tasks[name])
        yield say
        if self._live:
            self._progress.update(self._tasks[name], completed=1)
        else:
            self._progress.console.print(f"{name + ':':<10}{said}", soft_wrap=True, markup=False)


@click.command()
@click.argument("model", type=EXISTING)
@BOARD
@click.option(
    "--output",
    "-o",
    "folder",
    type=EXISTING,
    default=None,
    metavar="DIR",
    help="For bundle and project; by default named for model and board.",
)
@conversion_options
@click.option(
    "--target",
    type=click.Choice([output.value for output in Output if output is not Output.LIBRARY]),
    default=None,
    help="What to generate; by default the first that the board can take.",
)
@RESIDUAL
@LEARNING_RATE
@click.option("--sensor", type=EXISTING, default=None, metavar="FILE.c", help="Your C code for a sensor on the board.")
@TOOLCHAIN
@click.option("--port", "-p", default="", help="Port of the board, or `emulate`; by default found.")
@click.option("--method", default="", help="Way to flash; by default the first that can be used.")
@click.option("--force", is_flag=True, help="Overwrite generated files that were changed; flash what is unsafe.")
@JSON
def deploy(
    model: Path,
    board_name: str,
    folder: Path | None,
    calibration: Path | None,
    head: str | None,
    loss: LossKind | None,
    classes: int | None,
    labels: tuple[str, ...] | None,
    target: str | None,
    residual: str,
    learning_rate: float | None,
    sensor: Path | None,
    toolchain: str | None,
    port: str,
    method: str,
    force: bool,
    as_json: bool,
) -> None:
    """Take a model to a board: convert, generate, build, flash.

    MODEL is a model file, as for `convert`, or a bundle. Stops at the first thing that you must decide; the same
    command goes on from there.
    """
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from edgelearn.board import load_board
    from edgelearn.deployment import STEPS, Conversion
    from edgelearn.deployment import deploy as deploy_model

    board = load_board(board_name)
    columns = (
        SpinnerColumn(finished_text="[green]✓[/green]"),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[text]}", markup=False),
    )
    console = make_console(err=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        done = deploy_model(
            model,
            board,
            folder or Path(f"{model.stem}-{board.name}"),
            conversion=Conversion(
                calibration=calibration,
                head=head,
                loss=loss,
                classes=classes,
                labels=labels,
            ),
            output=Output(target) if target else None,
            residual=Residual(residual),
            learning_rate=learning_rate,
            sensor=sensor,
            toolchain=toolchain,
            port=port,
            method=method,
            force=force,
            step=_Shown(progress, STEPS).step,
        )
    for note in done.notes:
        click.echo(f"note: {note}", err=True)
    if as_json:
        print_json(done)
        return
    project = f" --project {shlex.quote(done.project)}" if done.port == "emulate" else ""
    at = done.port or "PORT"
    train = " --train" if done.learns else ""
    click.echo(f"{board.title} runs it; next: edgelearn stream --port {shlex.quote(at)}{project} --data FILE{train}")
