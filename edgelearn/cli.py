"""The `edgelearn` command: thin click commands over the pipeline, and the one place that renders errors for people.

Nothing heavy is imported before a command runs: `edgelearn --help` needs neither NumPy nor TensorFlow nor a serial
port. Results go to standard output, progress and errors to standard error.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn, TextIO, TypeVar

import click
import msgspec

from edgelearn import __version__
from edgelearn.board import BoardFileWarning, Output
from edgelearn.commands.boards import boards
from edgelearn.commands.common import (
    BOARD,
    EXISTING,
    JSON,
    LEARNING_RATE,
    NEW_LEARNING_RATE,
    RATE,
    RESIDUAL,
    TOOLCHAIN,
    check_web,
    command_line,
    conversion_options,
    flash_life_text,
    make_console,
    print_json,
    served,
    status,
    warn_unsaved,
    web_options,
)
from edgelearn.commands.deploy import deploy
from edgelearn.commands.flash import devices, flash
from edgelearn.commands.head import head
from edgelearn.commands.monitor import monitor
from edgelearn.commands.runs import report
from edgelearn.commands.runs import runs as runs_group
from edgelearn.errors import DoesNotFitError, EdgelearnError, StorageError, VerificationFailedError, reason
from edgelearn.ir import LossKind
from edgelearn.ir.edges import Edges
from edgelearn.recipe import Residual
from edgelearn.words import count

if TYPE_CHECKING:
    from rich.console import Console

    from edgelearn.bundle import Bundle
    from edgelearn.codegen import Plan
    from edgelearn.host.telemetry import StreamSummary
    from edgelearn.host.view import View
    from edgelearn.host.web.panel import Panel
    from edgelearn.inspection import End, Inspection, Layer
    from edgelearn.pipeline import Built
    from edgelearn.profiling import LayerProfile, Profile
    from edgelearn.verification import DeviceVerification, SlowLayer, Verification

_Options = TypeVar("_Options", bound=msgspec.Struct)

#: How often a running emulator is looked at, in seconds.
_POLL_S = 0.5
_UNEXPECTED_EXIT_CODE = 1
_INTERRUPTED_EXIT_CODE = 130

_ENGINE = click.option(
    "--engine",
    type=click.Choice(["qemu", "renode", "host"]),
    default=None,
    help="Emulator; by default the first that the board names.",
)


class _Group(click.Group):
    """Renders every error of the library as Error / Cause / Hint and exits with its code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order in which a person needs them, which is that of this file."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _told_board_files():
                return super().invoke(ctx)
        except EdgelearnError as error:
            _fail(error)
        except BrokenPipeError:
            # The reader of our output has gone; what is left must not fail again at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(0)
        except OSError as error:
            what = error.filename or "a file"
            _fail(StorageError(f"{what} could not be read or written", cause=reason(error)))
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            sys.exit(_INTERRUPTED_EXIT_CODE)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            if ctx.params.get("debug"):
                raise
            click.echo(f"Error: unexpected failure: {type(error).__name__}: {error}", err=True)
            click.echo(
                "Hint:  this is a defect of edgelearn; `edgelearn --debug ...` shows where it happened", err=True
            )
            sys.exit(_UNEXPECTED_EXIT_CODE)


@contextlib.contextmanager
def _told_board_files() -> Iterator[None]:
    """Tell of each board file that is not valid, and that the command does without, in one line."""
    told: set[str] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("always", BoardFileWarning)
        show_others = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if not issubclass(category, BoardFileWarning):
                show_others(message, category, filename, lineno, file, line)
            elif str(message) not in told:
                told.add(str(message))
                click.echo(f"warning: {message}", err=True)

        warnings.showwarning = show
        yield


def _fail(error: EdgelearnError) -> NoReturn:
    for title, text in (("Error", error.message), ("Cause", error.cause), ("Hint", error.hint)):
        if text:
            label = click.style(f"{title}:", fg="red" if title == "Error" else "cyan", bold=True)
            indented = str(text).strip().replace("\n", "\n       ")
            click.echo(f"{label}{' ' * (6 - len(title))}{indented}", err=True)
    sys.exit(error.exit_code)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="edgelearn")
@click.option("--debug", is_flag=True, help="Show a traceback on an unexpected failure.")
def main(debug: bool) -> None:
    """From a pretrained neural network to a microcontroller that keeps learning."""
    # An end asked for by another program is an interrupt: emulators end with us, runs are completed.
    for name in ("SIGTERM", "SIGHUP"):
        with contextlib.suppress(AttributeError, ValueError):  # no such signal here, or not the main thread
            signal.signal(getattr(signal, name), _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """As Ctrl-C would; a shell's background jobs ignore that, and must end all the same."""
    if callable(signal.getsignal(signal.SIGINT)):
        signal.raise_signal(signal.SIGINT)
    else:
        raise KeyboardInterrupt


# Model file -> bundle


@main.command()
@click.argument("model", type=EXISTING)
@click.option("--output", "-o", type=EXISTING, required=True, metavar="OUT.elb", help="The bundle to write.")
@conversion_options
@click.option("--name", default=None, help="Name of the bundle; by default the file's.")
@click.option(
    "--edges",
    type=click.Choice([edges.value for edges in Edges]),
    default=Edges.INT8.value,
    show_default=True,
    help="What the device takes and gives: int8, quantised by the host, or float32, quantised on the device.",
)
def convert(
    model: Path,
    output: Path,
    calibration: Path | None,
    head: str | None,
    loss: LossKind | None,
    classes: int | None,
    labels: tuple[str, ...] | None,
    name: str | None,
    edges: str,
) -> None:
    """Convert a model file into a bundle.

    MODEL is a Keras .keras or .h5 file, a SavedModel folder or an int8 .tflite.
    """
    from edgelearn import pipeline

    with status(f"converting {model.name}"):
        bundle = pipeline.convert(
            model,
            output,
            calibration=calibration,
            head=head,
            loss=loss,
            classes=classes,
            labels=labels,
            name=name,
            edges=Edges(edges),
        )
    _report_conversion(bundle, output)


def _report_conversion(bundle: Bundle, output: Path) -> None:
    from edgelearn.inspection import bundle_layers, ends

    console = make_console()
    _print_layers(console, bundle_layers(bundle), title=bundle.name)
    _print_ends(ends(bundle.graph, bundle.graph.inputs), ends(bundle.graph, bundle.graph.outputs))
    provenance = bundle.provenance
    for notice in provenance.notices:
        click.echo(f"note: {notice}")
    agreement = provenance.agreement
    if agreement is not None:
        difference = f"outputs differ by {agreement.mean_absolute_difference:.4g} on average"
        if agreement.output_range:
            difference += f", their range being {agreement.output_range:.4g}"
        if agreement.same_prediction is not None:
            click.echo(
                f"float and int8 predict the same on {agreement.same_prediction:.1%} of "
                f"{count(agreement.samples, 'sample')}; "
                f"{difference}"
            )
        else:
            click.echo(f"float against int8 on {count(agreement.samples, 'sample')}: {difference}")
        if agreement.float_accuracy is not None and agreement.int8_accuracy is not None:
            click.echo(f"accuracy: float {agreement.float_accuracy:.1%}, int8 {agreement.int8_accuracy:.1%}")
        elif agreement.int8_accuracy is not None:
            click.echo(f"accuracy: int8 {agreement.int8_accuracy:.1%}")
    int8_bytes = sum(t.size_bytes for t in bundle.graph.tensors if t.is_constant)
    if provenance.float_model_bytes:
        click.echo(f"parameters: {provenance.float_model_bytes:,} bytes in float, {int8_bytes:,} bytes in the bundle")
    loss = f", trainable head with {bundle.graph.loss.kind.value}" if bundle.graph.loss else ", inference only"
    click.echo(f"wrote {output} (model {bundle.model_hash[:16]}{loss})")


def _print_layers(console: Console, layers: tuple[Layer, ...], *, title: str) -> None:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    def shape(values: tuple[int, ...]) -> str:
        return "x".join(str(v) for v in values)

    table = Table(title=escape(title), box=box.SIMPLE_HEAD, title_justify="left")
    for column in ("layer", "op", "input", "output"):
        table.add_column(column, overflow="fold")
    for column in ("MACs", "parameters, bytes", "arena, bytes"):
        table.add_column(column, justify="right")
    for layer in layers:
        table.add_row(
            escape(layer.name),
            layer.op + (" (trainable)" if layer.trainable else ""),
            shape(layer.input_shape),
            shape(layer.output_shape),
            f"{layer.multiply_accumulates:,}",
            f"{layer.parameters_bytes:,}",
            f"{layer.arena_bytes:,}",
            style="bold" if layer.trainable else None,
        )
    console.print(table)


@main.command()
@click.argument("file", type=EXISTING)
@click.option("--board", "-b", "board_name", default=None, help="Compare with this board's memory.")
@RESIDUAL
@click.option(
    "--arena", "picture", type=click.Path(path_type=Path), metavar="FILE", help="Draw the arena: an .svg or .png file."
)
@click.option(
    "--autosave-steps",
    type=click.IntRange(min=0),
    default=0,
    help="Training steps between two heads that the device saves by itself, for the life of flash.",
)
@RATE
@JSON
def inspect(
    file: Path,
    board_name: str | None,
    residual: str,
    picture: Path | None,
    autosave_steps: int,
    rate_hz: float | None,
    as_json: bool,
) -> None:
    """Show the layers of a model and whether it fits.

    FILE is a bundle or an int8 .tflite. Exits with 32 where it does not fit the board.
    """
    from edgelearn.board import load_board
    from edgelearn.inspection import inspect as inspect_file

    board = load_board(board_name) if board_name else None
    found = inspect_file(
        file,
        board=board,
        residual=Residual(residual),
        picture=picture,
        autosave_steps=autosave_steps,
        rate_hz=rate_hz,
    )
    if not as_json:
        _print_inspection(found)
    else:
        print_json(found)
    if found.fit is not None and not found.fit.fits:
        sys.exit(DoesNotFitError.exit_code)


def _print_ends(inputs: tuple[End, ...], outputs: tuple[End, ...]) -> None:
    """Inputs and outputs, where they are not just one and one."""
    if len(inputs) == len(outputs) == 1:
        return
    for what, ends in (("inputs", inputs), ("outputs", outputs)):
        shown = (f"{end.name} ({'x'.join(str(n) for n in end.shape) or 1} {end.type})" for end in ends)
        click.echo(f"{what + ':':<22}{', '.join(shown)}")


def _print_inspection(found: Inspection) -> None:
    console = make_console()
    _print_layers(console, found.layers, title=f"{found.name} (model {found.model_hash[:16]})")
    _print_ends(found.inputs, found.outputs)
    ratio = found.arena_bytes / found.arena_bound_bytes if found.arena_bound_bytes else 1.0
    click.echo(f"multiply-accumulates: {found.multiply_accumulates:,}")
    click.echo(f"constants in flash:   {found.constants_bytes:,} bytes")
    proved = "proved smallest" if found.arena_is_optimal else "not proved smallest"
    click.echo(f"arena in RAM:         {found.arena_bytes:,} bytes, {ratio:.3f} times the lifetime bound, {proved}")
    alive = ", ".join(f"{buffer.name} {buffer.size_bytes:,}" for buffer in found.peak_buffers)
    click.echo(f"peak of the arena:    {found.peak_layer}: {alive} bytes")
    click.echo(f"largest layer:        {found.largest_layer}")
    if found.busiest_layers:
        click.echo(f"most work, by MACs:   {', '.join(found.busiest_layers)} (`edgelearn profile` measures it)")
    if found.labels:
        in_use = found.labels[: len(found.labels) - found.spare_outputs]
        spare = f", room for {found.spare_outputs} more" if found.spare_outputs else ""
        click.echo(f"labels:               {', '.join(in_use)}{spare}")
    fit = found.fit
    if fit is None:
        return
    click.echo(
        f"{fit.board}: flash {fit.flash_bytes:,} of {fit.flash_available_bytes:,} bytes (code estimated), "
        f"RAM {fit.ram_bytes:,} of {fit.ram_available_bytes:,} bytes "
        f"(arena {found.arena_bytes:,}, head {fit.head_bytes:,}, link {fit.link_bytes:,}, stack {fit.stack_bytes:,})"
    )
    if fit.flash_life is not None:
        click.echo(flash_life_text(fit.flash_life))
    if fit.fits:
        click.echo(f"it fits {fit.board}")
    else:
        click.echo(f"it does not fit {fit.board}: {fit.problem}")
        click.echo(f"hint: {fit.hint}")


# Bundle -> project -> image


@main.command()
@click.argument("bundle", type=EXISTING)
@BOARD
@click.option("--output", "-o", "folder", type=EXISTING, required=True, metavar="DIR", help="The project's folder.")
@RESIDUAL
@LEARNING_RATE
@click.option(
    "--sensor",
    type=EXISTING,
    default=None,
    metavar="FILE.c",
    help="Your C code for a sensor on the board, which becomes part of the firmware; see examples/sensor_window.c.",
)
@click.option(
    "--target",
    type=click.Choice([output.value for output in Output]),
    default=None,
    help="What to generate; by default the first that the board can take.",
)
@click.option(
    "--kernels",
    type=click.Choice(["native", "viper"]),
    default=None,
    help="MicroPython: machine code, which needs no compiler, or viper; by default the fastest that the board can run.",
)
@click.option("--force", is_flag=True, help="Overwrite files that were changed, or another project; drop its sensor.")
def generate(
    bundle: Path,
    board_name: str,
    folder: Path,
    residual: str,
    learning_rate: float | None,
    sensor: Path | None,
    target: str | None,
    kernels: str | None,
    force: bool,
) -> None:
    """Generate a C project, C files for your own firmware, an Arduino library or a MicroPython package."""
    from edgelearn import pipeline
    from edgelearn.board import load_board
    from edgelearn.bundle import read_bundle
    from edgelearn.codegen import Kernels, unkept_words

    board = load_board(board_name)
    plan = pipeline.generate(
        read_bundle(bundle),
        board,
        folder,
        residual=Residual(residual),
        learning_rate=learning_rate,
        force=force,
        sensor=sensor,
        output=Output(target) if target else None,
        kernels=Kernels(kernels) if kernels else None,
        say=lambda text: click.echo(f"note: {text}"),
    )
    if plan.output is Output.MICROPYTHON:
        _report_package(folder, plan)
        return
    click.echo(
        f"wrote {folder} for {plan.board.title}: arena {plan.arena_bytes:,} bytes, "
        f"RAM about {plan.ram_bytes:,} of {plan.board.ram_bytes:,} bytes, "
        f"flash about {plan.flash_bytes:,} of {plan.board.flash_bytes:,} bytes{_with_zig(plan)}"
    )
    if words := unkept_words(plan, board):
        click.echo(f"note: {words}")
    uart = plan.board.uart
    if plan.output is Output.BARE_METAL and uart is not None and not uart.reaches_usb:
        click.echo(f"note: its serial line is on pins, not on USB: TX at {uart.tx}, RX at {uart.rx}")
    quoted = shlex.quote(str(folder))
    if plan.output is Output.ARDUINO:
        click.echo(
            f"copy it into the libraries of your Arduino sketchbook, or build it with `edgelearn build {quoted}`"
        )
    elif plan.output is Output.LIBRARY:
        click.echo(
            f"add it to your firmware as {quoted}/README.md says; {quoted}/examples/minimal.c is a whole program"
        )
    else:
        click.echo(f"build it with `make -C {quoted}` or `edgelearn build {quoted}`")


def _report_package(folder: Path, plan: Plan) -> None:
    from edgelearn.codegen.micropython import HEAP_RESERVE_BYTES, PACKAGE, WEIGHTS
    from edgelearn.project import read_project

    python = plan.board.micropython
    available = f" of {python.heap_bytes:,}" if python else ""
    weights_bytes = (folder / PACKAGE / WEIGHTS).stat().st_size
    is_in_place = python is not None and weights_bytes <= python.romfs_bytes
    in_place = "; its weights are read in place, in ROM" if is_in_place else ""
    heap_bytes = read_project(folder).heap_bytes - (weights_bytes if is_in_place else 0)
    click.echo(
        f"wrote {folder} for MicroPython on {plan.board.title}: "
        f"heap about {heap_bytes:,}{available} bytes, {HEAP_RESERVE_BYTES:,} of them to work in{in_place}"
    )
    click.echo(f"put it on the board with `edgelearn flash {shlex.quote(str(folder))}`; main.py there speaks the link")


def _with_zig(plan: Plan) -> str:
    """What zig would make of firmware that it can build."""
    from edgelearn.board import Core

    if plan.output is not Output.BARE_METAL or plan.board.core is Core.HOST:
        return ""
    return f" ({plan.flash_bytes - plan.code_estimate_bytes + plan.zig_code_estimate_bytes:,} if built with zig)"


@main.command()
@click.argument("folder", type=EXISTING, metavar="DIR")
@TOOLCHAIN
@click.option("--sanitize", is_flag=True, help="Stop at the first memory error (projects for the host only).")
def build(folder: Path, toolchain: str | None, sanitize: bool) -> None:
    """Build a project and check its memory; compile a MicroPython package."""
    from edgelearn import pipeline
    from edgelearn.errors import OptionError
    from edgelearn.project import read_project

    if read_project(folder).output == Output.MICROPYTHON.value:
        if toolchain or sanitize:
            raise OptionError("a MicroPython package is not built with a C compiler", hint="leave the options out")
        with status(f"compiling {folder}"):
            package = pipeline.build_package(folder)
        for path, size in package.sizes_bytes.items():
            click.echo(f"{size:>9,}  {path}")
        click.echo(f"{sum(package.sizes_bytes.values()):>9,}  bytes of files for the board, in {package.folder}")
        return
    with status(f"building {folder}"):
        built = pipeline.build(folder, toolchain=toolchain, sanitize=sanitize)
    _report_build(built)


def _report_build(built: Built) -> None:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    project, board = built.project, built.board
    table = Table(box=box.SIMPLE_HEAD, title=escape(f"{project.name} on {board.title}"), title_justify="left")
    table.add_column("memory, bytes")
    for column in ("planned", "linked", "available"):
        table.add_column(column, justify="right")

    def row(name: str, planned: int, linked: int, available: str = "") -> None:
        table.add_row(name, f"{planned:,}", f"{linked:,}", available)

    constants = project.constants_bytes
    code = project.zig_code_estimate_bytes if built.result.toolchain == "zig" else project.code_estimate_bytes
    row("flash", constants + code, built.flash_bytes, f"{board.flash_bytes:,}")
    row("  constants of the model", constants, constants)
    row("  code (estimated until linked)", code, built.flash_bytes - constants)
    buffers, state, stack = project.buffers_bytes, project.state_estimate_bytes, project.stack_bytes
    row("RAM", buffers + state + stack, built.ram_bytes + stack, f"{board.ram_bytes:,}")
    for purpose in dict.fromkeys(buffer.purpose for buffer in project.buffers):
        size = sum(buffer.size_bytes for buffer in project.buffers if buffer.purpose == purpose)
        row(f"  {purpose}", size, size)
    row("  state (estimated until linked)", state, built.ram_bytes - buffers)
    row("  stack, reserved", stack, stack)
    make_console().print(table)
    click.echo(f"the model with the kernels it uses takes {built.flash_model_bytes:,} bytes of the flash")
    _report_stack(built)
    click.echo(f"{built.image} ({built.result.version})")


def _report_stack(built: Built) -> None:
    found = built.stack
    if found is None:
        return
    if found.size_bytes is None:
        click.echo(f"warning: how much stack can be used is not known: {found.problem}", err=True)
        return
    calls = " > ".join(f"{name} {own}" for name, own in (*found.chain, *found.interrupt))
    click.echo(f"the stack can take at most {found.size_bytes:,} of {built.board.stack_bytes:,} bytes: {calls}")


# Devices


main.add_command(flash)
main.add_command(devices)


@main.command()
@click.argument("folder", type=EXISTING, metavar="DIR")
@click.option("--tcp-port", type=click.IntRange(1, 65535), default=None, help="TCP port; by default a free one.")
@click.option(
    "--flash",
    type=EXISTING,
    default=None,
    metavar="FILE",
    help="Keep the board's flash here, made if there is none: what it has saved stays, also if this is killed.",
)
@_ENGINE
def emulate(folder: Path, tcp_port: int | None, flash: Path | None, engine: str | None) -> None:
    """Boot a project in an emulator.

    Prints `port socket://127.0.0.1:NNNN` once the device has said hello, and runs until it is interrupted.
    """
    from edgelearn import pipeline

    with pipeline.emulate(folder, port=tcp_port, flash=flash, engine=engine) as running:
        if note := pipeline.emulation_note(running, folder):
            click.echo(f"warning: {note}", err=True)
        click.echo(f"port {running.url}")
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                time.sleep(_POLL_S)
                running.check()


@main.command()
@click.option("--port", "-p", default="", help="A serial device, socket://host:port, or `emulate`.")
@click.option(
    "--data",
    "-d",
    type=EXISTING,
    default=None,
    help=".npz with x and, to learn, y; .npy; .csv; `-` for lines of CSV or JSON on standard input.",
)
@click.option("--columns", default="", help="Columns of a table with values, by name or number from 1; by default all.")
@click.option("--label-column", default="", help="Column of a table with labels, by name or number from 1.")
@click.option("--window", "window_rows", type=click.IntRange(min=0), default=0, help="Rows of a table in a sample.")
@click.option("--stride", "stride_rows", type=click.IntRange(min=0), default=0, help="Rows to the next sample's start.")
@click.option("--rate-hz", type=click.FloatRange(min=0.0), default=0.0, help="Samples a second at most; 0: no limit.")
@click.option("--train/--predict", default=None, help="Learn from each sample after predicting it, or only predict.")
@NEW_LEARNING_RATE
@click.option(
    "--self-label",
    type=click.FloatRange(0.0, 1.0),
    default=None,
    help="Learn the predicted class where its probability is at least this; labels only judge.",
)
@click.option(
    "--autosave-steps",
    type=click.IntRange(min=0),
    default=None,
    help="Let the device save its head after so many steps; 0: only when asked.",
)
@click.option("--save/--no-save", default=True, help="Save the head on the device at the end, where it can.")
@click.option("--repeat", type=click.IntRange(min=1), default=1, show_default=True, help="Passes over the data.")
@click.option("--shuffle", is_flag=True, help="A new order in each pass.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the shuffling.")
@click.option("--limit", type=click.IntRange(min=0), default=0, help="Stop after so many samples; 0 does not stop.")
@click.option("--project", type=EXISTING, default=None, help="Project to boot with `--port emulate`; by default here.")
@click.option("--bundle", type=EXISTING, default=None, help="Refuse a device that runs another model than this.")
@click.option("--runs", type=EXISTING, default=Path("runs"), show_default=True, help="Where run folders are kept.")
@web_options
@click.option("--resume", "resumed", default="", metavar="RUN", help="Carry on a run whose host crashed, or `last`.")
def stream(
    port: str,
    data: Path | None,
    columns: str,
    label_column: str,
    window_rows: int,
    stride_rows: int,
    rate_hz: float,
    train: bool | None,
    learning_rate: float | None,
    self_label: float | None,
    autosave_steps: int | None,
    save: bool,
    repeat: int,
    shuffle: bool,
    seed: int,
    limit: int,
    project: Path | None,
    bundle: Path | None,
    runs: Path,
    web: bool,
    web_address: str,
    web_port: int,
    web_token: str,
    resumed: str,
) -> None:
    """Stream samples; watch the device predict or learn.

    With --resume the port, the data and all options are those of the run, and what else is given must agree; only
    --port, and --data and --project where the files are now elsewhere, may differ.
    """
    from edgelearn import pipeline
    from edgelearn.bundle import read_bundle
    from edgelearn.host.tables import TableOptions
    from edgelearn.host.telemetry import StreamOptions
    from edgelearn.host.view import choose_view

    check_web(web)
    if resumed:
        with served(web, web_address, web_port, web_token) as panel:
            summary = _carry_on(resumed, runs, port, data, project, choose_view(), panel)
        if summary.ended == "interrupted":
            sys.exit(_INTERRUPTED_EXIT_CODE)
        return
    if not port or data is None:
        raise click.UsageError("say where the device is with --port, and what to stream with --data")
    if train is None:
        raise click.UsageError("say whether the device is to learn: --train or --predict")
    if learning_rate is not None and not train:
        raise click.UsageError("--lr goes with --train")
    if (self_label is not None or autosave_steps is not None) and not train:
        raise click.UsageError("--self-label and --autosave-steps go with --train")
    asked = ["--autosave-steps"] if autosave_steps else []
    if save and click.get_current_context().get_parameter_source("save") is click.core.ParameterSource.COMMANDLINE:
        asked.append("--save")
    options = StreamOptions(
        train=train,
        learning_rate=learning_rate,
        repeat=repeat,
        shuffle=shuffle,
        seed=seed,
        limit=limit,
        rate_hz=rate_hz,
        self_label=self_label,
        autosave_steps=autosave_steps,
        save=save,
    )
    table = TableOptions(
        columns=_columns(columns),
        label_column=label_column,
        window_rows=window_rows,
        stride_rows=stride_rows,
    )
    expected = read_bundle(bundle) if bundle else None
    booted = (project or Path()) if port == pipeline.EMULATE else None
    with (
        served(web, web_address, web_port, web_token) as panel,
        pipeline.connect(port, project=booted, bundle=expected, may_save=train and save) as device,
    ):
        if booted is not None and train and save and (note := pipeline.unsaved_note(booted)):
            click.echo(note)
        summary = pipeline.stream(
            device,
            data,
            options,
            runs=runs,
            bundle=bundle,
            project=booted,
            port=port,
            command=command_line(),
            view=choose_view(),
            table=table,
            panel=panel,
        )
        if train:
            warn_unsaved(asked, device.info, summary)
    if summary.ended == "interrupted":
        sys.exit(_INTERRUPTED_EXIT_CODE)


def _carry_on(
    name: str, runs: Path, port: str, data: Path | None, project: Path | None, view: View, panel: Panel | None
) -> StreamSummary:
    """`stream --resume`: everything as it was, unless it is given; what is given must agree."""
    from edgelearn import pipeline
    from edgelearn.bundle import read_bundle
    from edgelearn.host.runs import select_run
    from edgelearn.host.telemetry import read_run

    context = click.get_current_context()
    given = {
        key: value
        for key, value in context.params.items()
        if context.get_parameter_source(key) is click.core.ParameterSource.COMMANDLINE
    }
    if "columns" in given:
        given["columns"] = _columns(given["columns"])
    path = select_run(name, runs)
    manifest = read_run(path, with_records=False).manifest

    def with_given(before: _Options) -> _Options:
        return msgspec.structs.replace(before, **{key: given[key] for key in before.__struct_fields__ if key in given})

    return pipeline.resume(
        path,
        port=port,
        data=data,
        project=project,
        bundle=read_bundle(given["bundle"]) if "bundle" in given else None,
        options=with_given(manifest.options),
        table=with_given(manifest.table),
        view=view,
        panel=panel,
    )


def _columns(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


@main.command()
@click.argument("bundle", type=EXISTING)
@click.option("--board", "-b", "board_name", default=None, help="The emulated board to build for and to boot.")
@click.option("--port", "-p", default=None, help="Of a device that runs the model already, instead of a board.")
@click.option("--data", "-d", type=EXISTING, default=None, help=".npz with x and y; by default random inputs.")
@click.option("--samples", type=click.IntRange(min=1), default=64, show_default=True, help="Predictions compared.")
@click.option("--train-steps", type=click.IntRange(min=0), default=100, show_default=True, help="Steps learned.")
@RESIDUAL
@LEARNING_RATE
@TOOLCHAIN
@click.option("--sanitize", is_flag=True, help="Build with sanitizers (host board only).")
@_ENGINE
@click.option("--keep", type=EXISTING, default=None, metavar="DIR", help="Keep the generated project here.")
@click.option("--force", is_flag=True, help="With --port, although the device has learned what it has not saved.")
@JSON
def verify(
    bundle: Path,
    board_name: str | None,
    port: str | None,
    data: Path | None,
    samples: int,
    train_steps: int,
    residual: str,
    learning_rate: float | None,
    toolchain: str | None,
    sanitize: bool,
    engine: str | None,
    keep: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Compare a device with the references, byte for byte.

    Builds BUNDLE for an emulated board and boots it, or takes the device at a port, which runs it already; predicts
    and learns. Exits with 0 only when nothing differs.
    """
    from rich.progress import Progress

    from edgelearn.board import load_board
    from edgelearn.verification import verify as verify_bundle
    from edgelearn.verification import verify_device

    _check_verify_options(board_name, port)
    console = make_console(err=True)
    found: Verification | DeviceVerification
    with (
        tempfile.TemporaryDirectory() as temporary,
        Progress(console=console, transient=True, disable=not console.is_terminal) as progress,
    ):
        task = progress.add_task(f"{bundle.name} on {board_name or port}", total=None)

        def show(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        if port is not None:
            found = verify_device(
                bundle, port, data=data, samples=samples, train_steps=train_steps, force=force, progress=show
            )
        else:
            found = verify_bundle(
                bundle,
                load_board(board_name or ""),
                keep or Path(temporary) / "project",
                data=data,
                samples=samples,
                train_steps=train_steps,
                residual=Residual(residual),
                learning_rate=learning_rate,
                toolchain=toolchain,
                sanitize=sanitize,
                engine=engine,
                progress=show,
            )
    _report_verification(found, as_json=as_json)


def _check_verify_options(board_name: str | None, port: str | None) -> None:
    """Either a board to build for, or a device that runs; what is built and how says nothing of the latter."""
    if (board_name is None) == (port is None):
        raise click.UsageError("give either --board, an emulated board, or --port, a device that runs the model")
    context = click.get_current_context()
    of_board = ("residual", "learning_rate", "toolchain", "sanitize", "engine", "keep")
    given = [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name in (of_board if port else ("force",))
        and context.get_parameter_source(parameter.name or "") is click.core.ParameterSource.COMMANDLINE
    ]
    if given:
        raise click.UsageError(f"{', '.join(given)} means nothing with {'--port' if port else '--board'}")


def _report_verification(found: Verification | DeviceVerification, *, as_json: bool) -> None:
    slowest = getattr(found, "slowest_layers", ())
    if as_json:
        print_json(found)
    else:
        _print_figures(found, but="slowest_layers")
        if slowest:
            click.echo(f"slowest layers, of the estimated cycles: {_slowest_text(slowest)}")
        engine = getattr(found, "engine", "")
        if engine and getattr(found, "instructions_per_inference", None) is None:
            click.echo(f"note: no instructions: {engine} does not count those of {found.board}")
        click.echo("exact: nothing differs from the references" if found.is_exact else "not exact")
        if found.head_weights_different is None and found.train_steps:
            click.echo("note: a float head stands outside the promise of bits; only its features were compared")
    if not found.is_exact:
        raise VerificationFailedError(
            f"{found.output_bytes_different:,} of {found.output_bytes_compared:,} output bytes and "
            f"{found.head_weights_different or 0:,} head weights differ from the references",
            hint="this is a defect of edgelearn; please report it with the bundle",
        )


def _print_figures(value: msgspec.Struct, *, but: str) -> None:
    """All members with their names, except the one that is printed in another way."""
    for key, figure in msgspec.to_builtins(value).items():
        if key == but:
            continue
        text = "-" if figure is None else f"{figure:,}" if isinstance(figure, int) else str(figure)
        click.echo(f"{key:<30} {text}")


@main.command()
@click.argument("bundle", type=EXISTING)
@BOARD
@click.option("--data", "-d", type=EXISTING, default=None, help=".npz with x and y; by default random inputs.")
@click.option("--samples", type=click.IntRange(min=1), default=1, show_default=True, help="Samples to average over.")
@RESIDUAL
@TOOLCHAIN
@click.option("--keep", type=EXISTING, default=None, metavar="DIR", help="Keep the generated project here.")
@JSON
def profile(
    bundle: Path,
    board_name: str,
    data: Path | None,
    samples: int,
    residual: str,
    toolchain: str | None,
    keep: Path | None,
    as_json: bool,
) -> None:
    """Count the instructions of each layer and estimate cycles.

    Builds BUNDLE for an emulated board and follows what it runs. Instructions are exact, cycles and milliseconds
    estimates.
    """
    from edgelearn.board import load_board
    from edgelearn.profiling import profile as profile_bundle

    board = load_board(board_name)
    with tempfile.TemporaryDirectory() as temporary, status(f"profiling {bundle.name} on {board.name}"):
        found = profile_bundle(
            bundle,
            board,
            keep or Path(temporary) / "project",
            data=data,
            samples=samples,
            residual=Residual(residual),
            toolchain=toolchain,
        )
    if as_json:
        print_json(found)
    else:
        _print_profile(found, title=f"{bundle.name} on {board.title}, {board.clock_hz / 1e6:g} MHz")


def _print_profile(found: Profile, *, title: str) -> None:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, title=escape(title), title_justify="left", show_footer=True)
    per_mac = found.multiply_accumulates or 1
    table.add_column("layer", "one inference", overflow="fold")
    table.add_column("op")
    for column, total in (
        ("MACs", f"{found.multiply_accumulates:,}"),
        ("instructions", f"{found.instructions:,}"),
        ("per MAC", f"{found.instructions / per_mac:.2f}" if found.multiply_accumulates else ""),
        ("cycles*", f"{found.cycles:,}"),
        ("per MAC", f"{found.cycles / per_mac:.2f}" if found.multiply_accumulates else ""),
        ("ms*", f"{found.milliseconds:.3f}"),
        ("share*", ""),
    ):
        table.add_column(column, total, justify="right")

    def row(layer: LayerProfile, *, style: str | None = None) -> None:
        table.add_row(
            escape(layer.name),
            layer.op,
            f"{layer.multiply_accumulates:,}" if layer.multiply_accumulates else "",
            f"{layer.instructions:,}",
            "" if layer.instructions_per_mac is None else f"{layer.instructions_per_mac:.2f}",
            f"{layer.cycles:,}",
            "" if layer.cycles_per_mac is None else f"{layer.cycles_per_mac:.2f}",
            f"{layer.milliseconds:.3f}",
            f"{100 * layer.share:.1f}%",
            style=style,
        )

    slowest = found.slowest[0]
    for layer in found.layers:
        row(layer, style="bold" if layer is slowest else None)
    make_console().print(table)
    update = found.update
    if update:
        click.echo(
            f"one training step of {update.name}, beside it: {update.instructions:,} instructions, "
            f"about {update.cycles:,} cycles*, {update.milliseconds:.3f} ms*"
        )
    click.echo(f"slowest: {_slowest_text(found.slowest)}")
    click.echo(f"* {found.estimate}")
    for title, lines in (("assumed", found.assumptions), ("timings", found.sources)):
        for line in lines:
            click.echo(f"  {title}: {line}")


def _slowest_text(layers: Sequence[LayerProfile | SlowLayer]) -> str:
    """The layers that take most, with their share of the estimated cycles."""
    return ", ".join(f"{layer.name} {100 * layer.share:.0f}%" for layer in layers[:3])


@main.command()
@JSON
def doctor(as_json: bool) -> None:
    """Say which tools are there, and how to get the rest."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from edgelearn.board import board_names
    from edgelearn.firmware.doctor import examine

    board_names()  # warns of board files that are not valid
    tools = examine()
    if as_json:
        click.echo(json.dumps([msgspec.to_builtins(tool) for tool in tools]))
        return
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("tool", "version", "for", "install with"):
        table.add_column(column, overflow="fold")
    for tool in tools:
        table.add_row(
            tool.name,
            tool.version or ("[red]missing[/red]" if tool.required else "missing"),
            tool.purpose,
            escape("\n".join(tool.install)),
        )
    make_console().print(table)


@main.command()
@click.option("--board", "-b", "board_name", default=None, help="Board; by default an emulated one, else the host.")
@click.option(
    "--output",
    "-o",
    "folder",
    type=EXISTING,
    default=Path("edgelearn-demo"),
    show_default=True,
    help="Working folder.",
)
@click.option(
    "--runs", type=EXISTING, default=None, help="Where its run goes; by default `runs` in the working folder."
)
@click.option("--repeat", type=click.IntRange(min=1), default=3, show_default=True, help="Passes over the samples.")
@JSON
def demo(board_name: str | None, folder: Path, runs: Path | None, repeat: int, as_json: bool) -> None:
    """Watch a microcontroller learn two new digits."""
    from edgelearn import demo as demonstration
    from edgelearn.host.view import choose_view

    console = make_console()
    found = demonstration.run(
        folder,
        board_name=board_name,
        repeat=repeat,
        view=choose_view(),
        say=click.echo,
        runs=runs,
    )
    demonstration.print_table(found, console)
    if as_json:
        print_json(found.result)


main.add_command(boards)
main.add_command(head)
main.add_command(deploy)
main.add_command(monitor)
main.add_command(runs_group)
main.add_command(report)
