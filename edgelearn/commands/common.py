"""What the commands share: options, tables, JSON."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from edgelearn.ir import LossKind
from edgelearn.protocol import MOST_LEARNING_RATE
from edgelearn.recipe import DEFAULT_LEARNING_RATE, Residual
from edgelearn.words import noun

if TYPE_CHECKING:
    from rich.console import Console

    from edgelearn.host.device import DeviceInfo
    from edgelearn.host.telemetry import StreamSummary
    from edgelearn.host.web.panel import Panel
    from edgelearn.store import FlashLife

#: Width of tables that go into a file or a pipe.
_PLAIN_WIDTH = 140

EXISTING = click.Path(path_type=Path)
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object as the last line.")
PORT = click.option("--port", "-p", required=True, help="A serial device, socket://host:port, or `emulate`.")
RATE = click.option(
    "--rate-hz",
    type=click.FloatRange(min=0, min_open=True),
    default=None,
    help="Training samples a second, for the life of flash; by default as many as the serial line carries.",
)
BOARD = click.option("--board", "-b", "board_name", required=True, help="A board; `edgelearn boards` lists them.")
RESIDUAL = click.option(
    "--residual",
    type=click.Choice([residual.value for residual in Residual]),
    default=Residual.INT8.value,
    show_default=True,
    help="What is kept beside each int8 weight of the trainable layer.",
)
LEARNING_RATE = click.option(
    "--lr",
    "learning_rate",
    type=float,
    default=None,
    help=f"Learning rate that the device starts with, 0 to {MOST_LEARNING_RATE:g}; by default "
    f"{DEFAULT_LEARNING_RATE:g}.",
)
#: Of a device that has one already
NEW_LEARNING_RATE = click.option(
    "--lr",
    "learning_rate",
    type=float,
    default=None,
    help=f"Learning rate, 0 to {MOST_LEARNING_RATE:g}; by default the device keeps its.",
)
TOOLCHAIN = click.option(
    "--toolchain", type=click.Choice(["gnu", "zig"]), default=None, help="Compiler; by default the first one found."
)
PROJECT = click.option("--project", type=EXISTING, default=None, help="Project to boot with `--port emulate`.")


def conversion_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of commands that convert a model file; loss and labels come as `pipeline.convert` wants them."""
    for option in (
        click.option(
            "--labels",
            default=None,
            metavar="A,B,...",
            callback=lambda context, parameter, text: _names(text),
            help="Names of the outputs, separated by commas.",
        ),
        click.option(
            "--classes", type=click.IntRange(min=1), default=None, help="Outputs of the head, spare ones included."
        ),
        click.option(
            "--loss",
            type=click.Choice([kind.value for kind in LossKind]),
            default=None,
            callback=lambda context, parameter, text: LossKind(text) if text else None,
            help="Loss of the head.",
        ),
        click.option("--head", default=None, metavar="NAME", help="Dense layer to train; `none` for inference only."),
        click.option(
            "--calibration",
            "-c",
            type=EXISTING,
            help="Samples in the model's input units: .npz with x (and y), or with an array for each input by its "
            "name, or .npy. Required for a float model.",
        ),
    ):
        command = option(command)
    return command


def _names(text: str | None) -> tuple[str, ...] | None:
    return tuple(name.strip() for name in text.split(",")) if text else None


def make_console(*, err: bool = False) -> Console:
    """A console without colours in files and pipes, and wide enough for tables there."""
    from rich.console import Console

    found = Console(stderr=err, highlight=False)
    return found if found.is_terminal else Console(stderr=err, highlight=False, width=_PLAIN_WIDTH)


def flash_life_text(life: FlashLife) -> str:
    """How long a board's flash lasts, for a person."""
    each = f"{life.record_bytes:,} bytes each"
    if life.saves is None:
        return f"heads are saved in memory that does not wear out, {each}"
    text = f"{life.saves:,} heads can be saved before their memory wears out, {each}"
    if life.years is None:
        return f"{text}; none is saved unless asked"
    a_day = f"{life.saves_a_day:,.0f}" if life.saves_a_day >= 10 else f"{life.saves_a_day:.2g}"
    return (
        f"{text}; one every {life.autosave_steps:,} {noun(life.autosave_steps, 'step')} "
        f"at {life.samples_per_s:.3g} samples/s: at most {a_day} a day, {_years_text(life.years)}"
    )


def _years_text(years: float) -> str:
    """In the unit that suits."""
    days = years * 365.25
    if days < 3:
        return f"{24 * days:.2g} hours"
    return f"{days:.0f} days" if years < 2 else f"{years:.2g} years"


def print_json(value: msgspec.Struct | tuple[msgspec.Struct, ...]) -> None:
    """One JSON value in one line."""
    click.echo(msgspec.json.encode(value).decode())


@contextlib.contextmanager
def status(text: str) -> Iterator[None]:
    """A spinner on a terminal, one line elsewhere."""
    shown = make_console(err=True)
    if shown.is_terminal:
        with shown.status(text):
            yield
    else:
        shown.print(text)
        yield


def warn_unsaved(asked: list[str], info: DeviceInfo, summary: StreamSummary) -> None:
    """Say which options of a run that were to save something the device could not follow.

    Args:
        asked: the options, as they were given.
        info: of the device.
        summary: of the run.
    """
    statistics = summary.statistics
    # Only the device's own saves are counted; whether one that was asked for at the end was done shows in its step.
    failed = statistics is not None and (
        statistics.failed_saves > 0 or ("--save" in asked and statistics.saved_step != statistics.step)
    )
    if not asked or (info.can_save and not failed):
        return
    why = "its memory did not take the head" if info.can_save else "it, or its emulator, has no memory that can"
    where = f"; what it learned is in {summary.run}" if summary.run else ""
    click.echo(f"warning: {' and '.join(asked)}: the board kept nothing without power: {why}{where}", err=True)


def command_line() -> list[str]:
    """The command line for the record, without secrets."""
    shown, is_secret = [], False
    for word in sys.argv:
        shown.append("***" if is_secret else "--web-token=***" if word.startswith("--web-token=") else word)
        is_secret = word == "--web-token"
    return shown


def web_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of commands that show what happens in a browser too; see `served`."""
    for option in (
        click.option("--web-token", default="", help="What visitors must know; made up where one is needed."),
        click.option(
            "--web-port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0: any free one."
        ),
        click.option(
            "--web-address", default="127.0.0.1", show_default=True, help="Another than loopback needs a token."
        ),
        click.option("--web", is_flag=True, help="Show it in a browser, with controls."),
    ):
        command = option(command)
    return command


def check_web(web: bool) -> None:
    """Refuse options of the page where none is wanted.

    Raises:
        click.UsageError: there are such.
    """
    context = click.get_current_context()
    for name in ("web_address", "web_port", "web_token"):
        if not web and context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{name.replace('_', '-')} goes with --web")


@contextlib.contextmanager
def served(web: bool, address: str, port: int, token: str) -> Iterator[Panel | None]:
    """Serve a page for the time of a command; None where none is wanted."""
    if not web:
        yield None
        return
    from edgelearn.host.web.panel import Panel
    from edgelearn.host.web.server import WebServer

    panel = Panel()
    with WebServer(panel, address=address, port=port, token=token) as server:
        click.echo(f"watch at {server.url}")
        try:
            yield panel
        except Exception as error:
            panel.end("failed", str(error))
            raise
        except KeyboardInterrupt:
            panel.end("interrupted")
            raise
        finally:
            panel.close()
        if sys.stdout.isatty() and panel.ended == "complete":
            click.echo(f"the page stays at {server.url} until Ctrl-C")
            with contextlib.suppress(KeyboardInterrupt):
                while True:
                    time.sleep(1.0)
