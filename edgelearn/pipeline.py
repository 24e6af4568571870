"""The whole flow, top to bottom: model file -> bundle -> plan -> project -> image -> device -> what it learned.

    convert    model file + calibration samples -> .elb bundle      edgelearn.convert
    plan       bundle + board -> training recipe, memory plan       edgelearn.training, edgelearn.codegen
    generate   plan -> a folder with a complete C project           edgelearn.codegen
    build      project -> image, its sizes checked against the plan edgelearn.firmware
    emulate    image -> a running board with a port                 edgelearn.firmware
    connect    port -> an open session with the device              edgelearn.host
    stream     samples in, loss and memory telemetry out            edgelearn.host

Each stage hands a frozen value to the next; only this file knows them all.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from edgelearn import codegen, training
from edgelearn import convert as converter
from edgelearn.board import Board, Core, board_names, load_board
from edgelearn.bundle import Bundle, file_sha256, read_bundle, write_atomically, write_bundle
from edgelearn.codegen import Plan
from edgelearn.errors import BoardFileError, OptionError, PlanMismatchError, StorageError
from edgelearn.firmware import emulator
from edgelearn.firmware.toolchain import BuildResult, build_project
from edgelearn.host import stream as streaming
from edgelearn.host import telemetry
from edgelearn.host.data import load_dataset
from edgelearn.host.device import Device, open_device
from edgelearn.host.telemetry import StreamOptions, StreamSummary
from edgelearn.host.view import View
from edgelearn.ir import LossKind
from edgelearn.project import FILE_NAME, Project, read_project
from edgelearn.recipe import Residual

#: The port's name for "boot the project in an emulator for as long as the command runs".
EMULATE = "emulate"
#: Firmware sources that are the model: its constants, its kernels and its trainable layer. The rest is link and board.
_MODEL_SOURCES = ("src/model.c", "runtime/elearn_head")


class Built(Struct, frozen=True, kw_only=True):
    """An image and the figures of its memory, in bytes.

    Attributes:
        flash_model_bytes: the model's constants and the code of the kernels it uses, without start-up code and link.
        ram_bytes: data and bss; the stack is not in it.
    """

    project: Project
    board: Board
    result: BuildResult
    flash_model_bytes: int

    @property
    def image(self) -> Path:
        """The ELF file."""
        return self.result.elf

    @property
    def flash_bytes(self) -> int:
        """Code, constants and the first values of data."""
        return self.result.flash_bytes

    @property
    def ram_bytes(self) -> int:
        """Data and bss."""
        return self.result.ram_bytes


def convert(
    model: Path,
    output: Path,
    *,
    calibration: Path | None = None,
    head: str | None = None,
    loss: LossKind | None = None,
    classes: int | None = None,
    labels: Sequence[str] | None = None,
    name: str | None = None,
) -> Bundle:
    """Convert a model file and write the bundle; see `edgelearn.convert.convert_model` for options and errors.

    A model whose numbers no kernel or recipe could work with is refused here too, with the errors of `plan`.
    """
    bundle = converter.convert_model(
        model, calibration=calibration, head=head, loss=loss, classes=classes, labels=labels, name=name
    )
    plan(bundle, host_board())
    write_bundle(bundle, output)
    return bundle


def plan(
    bundle: Bundle,
    board: Board,
    *,
    residual: Residual = Residual.INT8,
    learning_rate: float | None = None,
) -> Plan:
    """Decide how the bundle trains and where everything lies on the board. Does not check that it fits."""
    recipe = training.plan_training(bundle.graph, residual=residual, learning_rate=learning_rate)
    return codegen.plan_firmware(bundle.graph, board, recipe, model_hash=bundle.model_hash, labels=bundle.labels)


def generate(
    bundle: Bundle,
    board: Board,
    folder: Path,
    *,
    residual: Residual = Residual.INT8,
    learning_rate: float | None = None,
) -> Plan:
    """Write the project into `folder`: a new or empty one, or one that was generated before.

    Raises:
        DoesNotFitError: before anything is written.
        StorageError: the folder holds something else, or could not be written.
    """
    made = plan(bundle, board, residual=residual, learning_rate=learning_rate)
    codegen.check_fit(made)
    files = codegen.emit_project(made, name=bundle.name)
    _prepare_folder(folder)
    for path, text in files.items():
        write_atomically(folder / path, text.encode())
    return made


def _prepare_folder(folder: Path) -> None:
    try:
        if folder.exists() and any(folder.iterdir()) and not (folder / FILE_NAME).is_file():
            raise StorageError(
                f"{folder} is not empty and was not generated by edgelearn",
                hint="give a new folder; nothing was written",
            )
        # What an earlier generation left would be compiled into this one.
        for name in ("src", "runtime", "port"):
            shutil.rmtree(folder / name, ignore_errors=True)
    except OSError as error:
        raise StorageError(f"{folder} cannot be written", cause=str(error)) from error


def build(folder: Path, *, toolchain: str | None = None, sanitize: bool = False) -> Built:
    """Build a generated project and check the plan against the linker's figures.

    Raises:
        ProjectError: the folder was not generated by edgelearn.
        CompilerMissingError, BuildError: see `edgelearn.firmware.toolchain`.
        PlanMismatchError: a buffer is not as large as planned.
    """
    project = read_project(folder)
    board = load_board(project.board)
    result = build_project(folder, core=board.core, toolchain=toolchain, sanitize=sanitize)
    sizes = {symbol.name: symbol.size_bytes for symbol in result.symbols}
    for buffer in project.buffers:
        if sizes.get(buffer.symbol) != buffer.size_bytes:
            raise PlanMismatchError(
                f"{buffer.symbol} has {sizes.get(buffer.symbol, 0):,} bytes, the plan says {buffer.size_bytes:,}",
                hint="this is a defect of edgelearn; please report it with the bundle",
            )
    model_bytes = sum(symbol.size_bytes for symbol in result.symbols if _is_model_flash(symbol.source, symbol.section))
    return Built(project=project, board=board, result=result, flash_model_bytes=model_bytes)


def _is_model_flash(source: str, section: str) -> bool:
    kernel = source.startswith("runtime/elearn_") and source.endswith("_s8.c")
    return (kernel or source.startswith(_MODEL_SOURCES)) and not section.startswith((".bss", ".noinit"))


@contextlib.contextmanager
def connect(
    port: str,
    *,
    project: Path | None = None,
    bundle: Bundle | None = None,
) -> Iterator[Device]:
    """Open a session with the device at a port: a serial device, `socket://host:port`, or `emulate`.

    `emulate` builds the project in `project` if it has no image yet and runs it while the context is open.

    Raises:
        OptionError: `emulate` without a project.
        PortError, DeviceTimeoutError, WrongModelError and others: see `edgelearn.host.device.open_device`.
    """
    expected = bundle.model_hash if bundle else None
    name = bundle.name if bundle else ""
    if port != EMULATE:
        with open_device(port, expected_model_hash=expected, expected_model_name=name) as device:
            yield device
        return
    if project is None:
        raise OptionError("--port emulate needs a project to boot", hint="add --project DIR, a generated project")
    with emulate(project) as url, open_device(url, expected_model_hash=expected, expected_model_name=name) as device:
        yield device


@contextlib.contextmanager
def emulate(folder: Path, *, port: int | None = None) -> Iterator[str]:
    """Boot a project's image, building it first if there is none; yields the URL of its serial line."""
    project = read_project(folder)
    image = folder / "build" / "firmware.elf"
    if not image.is_file():
        image = build(folder).image
    with emulator.start(load_board(project.board), image, port=port) as running:
        yield running.url


def stream(
    device: Device,
    data: Path,
    options: StreamOptions,
    *,
    runs: Path | None = None,
    bundle: Path | None = None,
    port: str = "",
    command: Sequence[str] = (),
    view: View | None = None,
) -> StreamSummary:
    """Stream a data file to a device: test, then train. Keeps everything in a new run folder below `runs`.

    Raises:
        DataError, LabelError: the data does not fit the model on the device.
        StorageError: the run folder could not be written.
    """
    dataset = load_dataset(data, device.info)
    known = load_board(device.info.board) if device.info.board in board_names() else None
    folder = None
    if runs is not None:
        folder = telemetry.create_run(
            runs,
            info=device.info,
            port=port or device.port,
            dataset=dataset,
            options=options,
            command=tuple(command),
            board_ram_bytes=known.ram_bytes if known else None,
            model_hash=read_bundle(bundle).model_hash if bundle else "",
            bundle=bundle.name if bundle else "",
            bundle_sha256=file_sha256(bundle) if bundle else "",
        )
    return streaming.stream(
        device, dataset, options, run_folder=folder, view=view, board_ram_bytes=known.ram_bytes if known else None
    )


def instructions(board: Board, ticks: float) -> int | None:
    """Instructions for ticks of an emulated board's counter; None where the emulator does not count them."""
    if board.emulator is None or not board.emulator.ticks_per_instruction:
        return None
    return round(ticks / board.emulator.ticks_per_instruction)


def host_board() -> Board:
    """The board that is this machine: the same C, run as a process.

    Raises:
        BoardFileError: no board file describes it.
    """
    for name in board_names():
        board = load_board(name)
        if board.core is Core.HOST:
            return board
    raise BoardFileError("no board file describes this machine", hint="reinstall edgelearn")
