"""The whole flow, top to bottom: model file -> bundle -> plan -> project -> image -> device -> what it learned.

    convert    model file + calibration samples -> .elb bundle      edgelearn.convert
    plan       bundle + board -> training recipe, memory plan       edgelearn.training, edgelearn.codegen
    generate   plan -> a folder with a complete C project           edgelearn.codegen
    build      project -> image, its sizes checked against the plan edgelearn.firmware
    emulate    image -> a running board with a port                 edgelearn.firmware
    connect    port -> an open session with the device              edgelearn.host
    stream     samples in, loss and memory telemetry out            edgelearn.host
    monitor    the same of a device with a sensor of its own        edgelearn.host

Each stage hands a frozen value to the next; only this file knows them all.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from edgelearn import codegen, training
from edgelearn import convert as converter
from edgelearn.board import Board, Core, MemoryKind, Output, board_names, load_board
from edgelearn.bundle import Bundle, bundle_bytes, file_sha256, read_bundle, write_atomically, write_bundle
from edgelearn.codegen import Kernels, Plan, SensorSource, contents_bytes
from edgelearn.errors import (
    BoardFileError,
    BuildError,
    DeviceTimeoutError,
    DoesNotFitError,
    EmulatorError,
    OptionError,
    PlanMismatchError,
    PortError,
    ProjectError,
    StorageError,
    WrongModelError,
    reason,
)
from edgelearn.firmware import emulator
from edgelearn.firmware.arduino_build import build_library
from edgelearn.firmware.emulator import RunningEmulator
from edgelearn.firmware.package import Package, compile_package
from edgelearn.firmware.stack_usage import StackBound, stack_bound
from edgelearn.firmware.toolchain import BuildResult, build_project
from edgelearn.host import monitor as watching
from edgelearn.host import stream as streaming
from edgelearn.host import telemetry
from edgelearn.host.data import Origin, Source, load_dataset
from edgelearn.host.device import Device, open_device
from edgelearn.host.link import LinkOptions
from edgelearn.host.live import LiveSource
from edgelearn.host.monitor import MonitorOptions
from edgelearn.host.resume import (
    check_board,
    check_data,
    check_repeatable,
    check_same,
    last_session,
    plan_resumption,
)
from edgelearn.host.session import check_model
from edgelearn.host.tables import TableOptions
from edgelearn.host.telemetry import RunFolder, StreamOptions, StreamSummary
from edgelearn.host.transport import reopener
from edgelearn.host.view import View
from edgelearn.host.web.panel import Panel
from edgelearn.ir import LossKind
from edgelearn.ir.edges import Edges
from edgelearn.project import FILE_NAME, README, SENSOR_FOLDER, Project, read_project, without_file
from edgelearn.recipe import Residual

#: The port's name for "boot the project in an emulator for as long as the command runs".
EMULATE = "emulate"
#: The data's name for "lines of standard input, as they come".
STANDARD_INPUT = Path("-")
#: Firmware sources that are the model: its constants, its kernels and its trainable layer. The rest is link and board.
_MODEL_SOURCES = ("src/model.c", "runtime/elearn_head", "src/elearn_head")

#: Where the plan's buffers and constants are defined.
_PLANNED_SOURCES = ("src/model.c", "runtime/elearn_link.c", "src/elearn_link.c", "port/uart_ring.c")
#: RAM beyond the planned buffers: the state of link, drivers and C library.
_MOST_STATE_BYTES = 1024

#: How long a traced device may take for a request, in seconds.
_TRACED_S = 1200.0


class Built(Struct, frozen=True, kw_only=True):
    """An image and the figures of its memory, in bytes.

    Attributes:
        flash_model_bytes: the model's constants and the code of the kernels it uses, without start-up code and link.
        ram_bytes: data and bss; the stack is not in it.
        stack: the most stack that can be used, and by which calls; None for the board that is this machine.
    """

    project: Project
    board: Board
    result: BuildResult
    flash_model_bytes: int
    stack: StackBound | None

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
    edges: Edges = Edges.INT8,
) -> Bundle:
    """Convert a model file and write the bundle; see `edgelearn.convert.convert_model` for options and errors.

    A model whose numbers no kernel or recipe could work with is refused here too, with the errors of `plan`.
    """
    bundle = converter.convert_model(
        model,
        calibration=calibration,
        head=head,
        loss=loss,
        classes=classes,
        labels=labels,
        name=name,
        edges=edges,
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
    output: Output | None = None,
    kernels: Kernels | None = None,
    senses: bool = False,
) -> Plan:
    """Decide how the bundle trains and where everything lies on the board. Does not check that it fits."""
    recipe = training.plan_training(
        bundle.graph, residual=residual, learning_rate=learning_rate, learned=bundle.learned
    )
    return codegen.plan_firmware(
        bundle.graph,
        board,
        recipe,
        model_hash=bundle.model_hash,
        labels=bundle.labels,
        spare_classes=bundle.spare_classes,
        output=output,
        kernels=kernels,
        senses=senses,
    )


def generate(
    bundle: Bundle,
    board: Board,
    folder: Path,
    *,
    residual: Residual = Residual.INT8,
    learning_rate: float | None = None,
    force: bool = False,
    any_project: bool = False,
    sensor: Path | None = None,
    output: Output | None = None,
    kernels: Kernels | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Plan:
    """Write the project into `folder`: a new or empty one, or one that was generated before for the same.

    Args:
        bundle: what it is made from.
        board: what it is made for.
        folder: where; files that edgelearn did not write stay.
        residual: how trainable weights are stored.
        learning_rate: that the device starts with; None takes the default.
        force: overwrite generated files although a person has changed them, or they are another project's, or with the
            sensor that this one leaves out.
        any_project: overwrite all those as long as nobody has changed them: for a folder of our own.
        sensor: C file that reads a sensor on the board; a copy of it becomes part of the project.
        output: what is generated; None takes the first that the board can take.
        kernels: what computes, with MicroPython; None takes the fastest that the board can run.
        say: takes what a person should see: the files of theirs that were overwritten.

    Raises:
        OptionError: the file is not what reads a sensor; the board cannot take that output.
        DoesNotFitError: before anything is written.
        StorageError: the folder holds something else, another project, the same with a sensor or changed files, or
            could not be written.
    """
    check_output(board, output or board.outputs[0])
    made = plan(
        bundle,
        board,
        residual=residual,
        learning_rate=learning_rate,
        output=output,
        kernels=kernels,
        senses=sensor is not None,
    )
    write_project(made, bundle, folder, force=force, any_project=any_project, sensor=sensor, say=say)
    return made


def write_project(
    made: Plan,
    bundle: Bundle,
    folder: Path,
    *,
    force: bool = False,
    any_project: bool = False,
    sensor: Path | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Write the project of a bundle's plan; see `generate`.

    Raises:
        OptionError, DoesNotFitError, StorageError: as for `generate`.
    """
    source = _sensor_source(sensor) if sensor else None
    codegen.check_fit(made)
    digest = hashlib.sha256(bundle_bytes(bundle)).hexdigest()
    files = _emit(made, bundle.name, digest, source)
    if _has_own_readme(folder):
        files = without_file(files, README)
    changed = _prepare_folder(folder, files, made, bundle.name, force=force, any_project=any_project)
    for path, contents in files.items():
        write_atomically(folder / path, contents_bytes(contents))
    if changed:
        say(f"overwritten, although changed since they were generated: {', '.join(changed)}")


def _has_own_readme(folder: Path) -> bool:
    """Whether the README.md of a generated project is somebody's own: earlier projects were generated without one."""
    return (folder / README).is_file() and (folder / FILE_NAME).is_file() and README not in read_project(folder).files


def _emit(made: Plan, name: str, digest: str, sensor: SensorSource | None) -> Mapping[str, str | bytes]:
    """The contents of every file of what was planned."""
    if made.output is Output.MICROPYTHON:
        if sensor is not None:
            raise OptionError("a sensor in C has no place in MicroPython", hint="read it in Python: see main.py")
        return codegen.emit_micropython(made, name=name, bundle_sha256=digest)
    if made.output is Output.LIBRARY:
        if sensor is not None:
            raise OptionError(
                "a library takes no sensor", hint="call el_predict() or el_learn() where your own firmware reads it"
            )
        return codegen.emit_library(made, name=name, bundle_sha256=digest)
    emit = codegen.emit_arduino if made.output is Output.ARDUINO else codegen.emit_project
    return emit(made, name=name, bundle_sha256=digest, sensor=sensor)


def check_output(board: Board, output: Output) -> None:
    """Refuse what the board cannot take.

    Raises:
        OptionError: it cannot.
    """
    if output not in board.outputs:
        raise OptionError(
            f"{board.name} cannot take {output.value}",
            cause=f"it takes {', '.join(one.value for one in board.outputs)}",
            hint="leave --target out, or choose another board",
        )


def _sensor_source(path: Path) -> SensorSource:
    """Somebody's C file, as the project takes it.

    Raises:
        OptionError: it cannot be read, is no C file, or lacks the one function that it has to define.
    """
    hint = "the file defines `bool elearn_sensor_read(elearn_sensor_sample *sample)`; see examples/sensor_window.c"
    if path.suffix != ".c":
        raise OptionError(f"{path} is no C file", hint=hint)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise OptionError(f"{path} cannot be read", cause=reason(error), hint=hint) from error
    except UnicodeDecodeError as error:
        raise OptionError(f"{path} is no text in UTF-8", cause=str(error), hint=hint) from error
    if "elearn_sensor_read" not in text:
        raise OptionError(f"{path} does not define elearn_sensor_read()", hint=hint)
    return SensorSource(name=re.sub(r"[^A-Za-z0-9_.-]+", "_", path.name), text=text)


def _prepare_folder(
    folder: Path, files: Mapping[str, str | bytes], made: Plan, name: str, *, force: bool, any_project: bool
) -> list[str]:
    """Take away what an earlier generation wrote, its image above all, and nothing that is somebody's own work.

    A bundle of the same name is the same one, converted again.

    Returns:
        the files that somebody has changed and that are overwritten by force.
    """
    if folder.is_file():
        raise StorageError(
            f"{folder} is a file, and a project is a folder", hint="give another name; nothing was written"
        )
    try:
        if not folder.exists() or not any(folder.iterdir()):
            return []
        if not (folder / FILE_NAME).is_file():
            raise StorageError(
                f"{folder} is not empty and was not generated by edgelearn",
                hint="give a new folder; nothing was written",
            )
        there = read_project(folder)
        found, asked = (there.name, there.board, there.output), (name, made.board.name, made.output.value)
        if found != asked and not (force or any_project):
            raise StorageError(
                f"{folder} holds {_project_words(*found)}, not {_project_words(*asked)}",
                hint="give another folder, or generate with --force to replace it; nothing was written",
            )
        if there.sensor and not made.senses and not (force or any_project):
            raise StorageError(
                f"{folder} has a sensor, and without --sensor it would have none",
                hint=f"give --sensor {shlex.quote(str(folder / there.sensor))}, or --force to leave it out; "
                "nothing was written",
            )
        written = there.files
        own = [path for path in {*files, *written} - {FILE_NAME} if _is_changed(folder / path, written.get(path))]
        if own and not force:
            raise StorageError(
                f"{folder} holds files that were changed since they were generated: {', '.join(sorted(own))}",
                hint="give another folder; `generate` and `deploy` overwrite them with --force; nothing was written",
            )
        for path in written:
            (folder / path).unlink(missing_ok=True)
        shutil.rmtree(folder / "build", ignore_errors=True)
        return sorted(own)
    except OSError as error:
        raise StorageError(f"{folder} cannot be written", cause=reason(error)) from error


def _project_words(name: str, board: str, output: str) -> str:
    return f"{name} for {board} ({output})"


def _is_changed(path: Path, sha256: str | None) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() != sha256


def build(folder: Path, *, toolchain: str | None = None, sanitize: bool = False) -> Built:
    """Build a generated project and check the plan against the linker's figures.

    Raises:
        ProjectError: the folder was not generated by edgelearn.
        CompilerMissingError, BuildError: see `edgelearn.firmware.toolchain`.
        PlanMismatchError: a buffer is not as large as planned.
        DoesNotFitError: the stack can grow larger than what the board reserves for it.
    """
    project = read_project(folder)
    board = load_board(project.board)
    board = board if project.trains else board.without_nvm()
    if sanitize and board.core is not Core.HOST:
        raise OptionError(
            f"{board.name} has no sanitizers",
            hint="leave --sanitize out, or generate for the board that is this machine",
        )
    if project.output == Output.LIBRARY.value:
        raise library_refusal(folder)
    if project.output == Output.MICROPYTHON.value:
        raise OptionError(
            f"{folder} is a MicroPython project, which has no firmware to build",
            hint="`edgelearn build` compiles its package, `edgelearn flash` puts that onto a board",
        )
    try:
        if project.output == Output.ARDUINO.value:
            result = _build_library(folder, project, board, toolchain)
        else:
            result = build_project(folder, core=board.core, toolchain=toolchain, sanitize=sanitize)
    except BuildError as error:
        raise (_overflow(error, board) or _sensor_failure(error) or error) from error
    _check_figures(project, board, result)
    is_bare_metal = board.core is not Core.HOST and project.output == Output.BARE_METAL.value
    stack = stack_bound(result.elf, board) if is_bare_metal else None
    _check_stack(board, stack)
    model_bytes = sum(symbol.size_bytes for symbol in result.symbols if _is_model_flash(symbol.source, symbol.section))
    return Built(project=project, board=board, result=result, flash_model_bytes=model_bytes, stack=stack)


def build_package(folder: Path) -> Package:
    """Compile a generated MicroPython package.

    Raises:
        ProjectError: the folder is no such project.
        MissingPackageError, BuildError: see `edgelearn.firmware.package`.
    """
    project = read_project(folder)
    board = load_board(project.board)
    if project.output != Output.MICROPYTHON.value or board.micropython is None:
        raise ProjectError(
            f"{folder} is no MicroPython project", hint=f"generate one with --target {Output.MICROPYTHON.value}"
        )
    return compile_package(folder, architecture=board.micropython.architecture)


def no_emulated_micropython() -> OptionError:
    """Why a MicroPython project is not emulated."""
    return OptionError(
        "MicroPython is not emulated", hint="`edgelearn flash` puts the package onto a board: name its port then"
    )


def library_refusal(folder: Path) -> OptionError:
    """Why a project that is a library is neither built, flashed nor emulated."""
    return OptionError(
        f"{folder} is a library, which becomes part of your own firmware",
        hint=f"its README.md says how; `generate --target {Output.BARE_METAL.value}` makes whole firmware",
    )


def _sensor_failure(error: BuildError) -> BuildError | None:
    """The failure of somebody's own C file, with what to do; None for any other."""
    if not error.message.startswith("sensor/"):
        return None
    return BuildError(
        error.message,
        cause=error.cause,
        hint="mend your file, which is a copy there, and run `edgelearn generate ... --sensor FILE.c` again; "
        "src/elearn_sensor.h says what it may use",
        output=error.output,
    )


def _build_library(folder: Path, project: Project, board: Board, toolchain: str | None) -> BuildResult:
    """Build the sketch of an Arduino library; its linker does not know how much memory the board has."""
    if board.arduino is None:
        raise OptionError(f"{board.name} has no Arduino core", hint="generate the project again")
    if toolchain is not None:
        raise OptionError(
            f"an Arduino library is not built with {toolchain}",
            cause="its core comes with a compiler of its own",
            hint="leave --toolchain out",
        )
    sources = tuple(path for path in project.files if path.startswith("src/") and path.endswith((".c", ".cpp")))
    result = build_library(folder, fqbn=board.arduino.fqbn, sources=sources, package_url=board.arduino.package_url)
    for memory, needed, available in (
        ("flash", result.flash_bytes, board.flash_bytes),
        ("RAM", result.ram_bytes + project.stack_bytes, board.ram_bytes),
    ):
        if needed > available:
            raise DoesNotFitError(
                memory=memory,
                needed_bytes=needed,
                available_bytes=available,
                board=board.name,
                cause=f"linked with the Arduino core{' and with the stack' if memory == 'RAM' else ''}",
                hint="`edgelearn inspect BUNDLE --board BOARD` shows what takes most",
            )
    return result


def _overflow(error: BuildError, board: Board) -> DoesNotFitError | None:
    """What the linker said of a region that is too small, with both numbers: the estimate of code was too low."""
    found = re.search(r"region [`'](\w+)'.* overflowed by (\d+) bytes", error.output)
    region = next((memory for memory in board.memory if found and memory.name == found.group(1)), None)
    if found is None or region is None:
        return None
    available = board.size_bytes(region.kind)
    return DoesNotFitError(
        memory="flash" if region.kind is MemoryKind.FLASH else "RAM",
        needed_bytes=available + int(found.group(2)),
        available_bytes=available,
        board=board.name,
        cause="the linker found the code larger than the plan estimated",
        hint="`edgelearn inspect BUNDLE --board BOARD` shows what takes most; --residual stochastic stores less"
        + ("; arm-none-eabi-gcc makes much smaller code than zig" if "ld.lld" in error.output else ""),
    )


def _check_figures(project: Project, board: Board, result: BuildResult) -> None:
    """Every buffer and constant has the planned size, and nothing else of any size has crept into RAM."""
    sizes = {symbol.name: symbol.size_bytes for symbol in result.symbols if symbol.source.startswith(_PLANNED_SOURCES)}
    if not sizes:
        return  # an image of another format, such as Mach-O, says nothing of sizes
    # The compiler may do without a small constant, and the linker without what a sketch does not use, such as the link;
    # firmware of ours uses every buffer.
    is_whole = project.output == Output.BARE_METAL.value
    wrong = [b for b in project.buffers if sizes.get(b.symbol, 0 if is_whole else b.size_bytes) != b.size_bytes]
    wrong += [c for c in project.constants if sizes.get(c.symbol, c.size_bytes) != c.size_bytes]
    for planned in wrong:
        raise PlanMismatchError(
            f"{planned.symbol} has {sizes.get(planned.symbol, 0):,} bytes, the plan says {planned.size_bytes:,}",
            hint="this is a defect of edgelearn; please report it with the bundle",
        )
    if project.output != Output.BARE_METAL.value:
        return  # how much RAM an Arduino core takes nobody has promised
    in_ram = {section.name for section in result.sections if section.in_ram}
    own = [symbol for symbol in result.symbols if symbol.source.startswith(f"{SENSOR_FOLDER}/")]
    spare = result.ram_bytes - project.buffers_bytes
    spare -= sum(symbol.size_bytes for symbol in own if symbol.section in in_ram)
    if board.core is not Core.HOST and not 0 <= spare <= _MOST_STATE_BYTES:
        raise PlanMismatchError(
            f"{result.ram_bytes:,} bytes of static RAM are linked, the planned buffers are {project.buffers_bytes:,}",
            hint="this is a defect of edgelearn; please report it with the bundle",
        )


def _check_stack(board: Board, stack: StackBound | None) -> None:
    if stack is None or stack.size_bytes is None or stack.size_bytes <= board.stack_bytes:
        return
    raise DoesNotFitError(
        memory="stack",
        needed_bytes=stack.size_bytes,
        available_bytes=board.stack_bytes,
        board=board.name,
        cause=f"the deepest calls are {' > '.join(f'{name} {own}' for name, own in (*stack.chain, *stack.interrupt))}",
        hint=f"reserve more: stack_bytes in the board file {board.name}.toml",
    )


def _is_model_flash(source: str, section: str) -> bool:
    kernel = source.startswith(("runtime/elearn_", "src/elearn_")) and source.endswith("_s8.c")
    return (kernel or source.startswith(_MODEL_SOURCES)) and not section.startswith((".bss", ".noinit"))


@contextlib.contextmanager
def connect(
    port: str,
    *,
    project: Path | None = None,
    bundle: Bundle | None = None,
    earlier_session: int | None = None,
    engine: str | None = None,
    survives: bool = True,
    may_save: bool = False,
) -> Iterator[Device]:
    """Open a session with the device at a port: a serial device, `socket://host:port`, or `emulate`.

    `emulate` builds the project in `project` if it has no image yet and runs it while the context is open.

    Args:
        port: as the person named it.
        project: to boot.
        bundle: that the device must run.
        earlier_session: of a host that crashed, 0 for none. What the device has kept for it is not touched: call
            `Device.survive` when that has been fetched.
        engine: that emulates: `qemu`, `host` or `renode`; None for the board's first one.
        survives: whether the session goes on after resets of the device and breaks of a port; not with `emulate`.
        may_save: whether the device is asked to save what it has learned before, else a reset would end the session.

    Raises:
        OptionError: `emulate` without a project.
        PortError, DeviceTimeoutError, WrongModelError and others: see `edgelearn.host.device.open_device`.
    """
    expected = bundle.model_hash if bundle else None
    name = bundle.name if bundle else ""
    if port != EMULATE:
        with open_device(
            port, expected_model_hash=expected, expected_model_name=name, earlier_session=earlier_session or 0
        ) as device:
            if survives and earlier_session is None:
                device.survive(reopener(port), save=may_save)
            yield device
        return
    if project is None:
        raise OptionError("--port emulate needs a project to boot", hint="add --project DIR, a generated project")
    made = read_project(project)
    if expected is not None and expected != made.model_hash:
        raise WrongModelError(
            f"the project in {project} holds the model {made.model_hash[:16]}, {name} is {expected[:16]}",
            hint="generate the project from this bundle",
        )
    with _booted(project, engine=engine) as running, _device_of(running, made) as device:
        yield device


@contextlib.contextmanager
def connect_traced(project: Path, trace: Callable[[bytes], None]) -> Iterator[Device]:
    """Boot a project's image and open a session with the device in it, while `trace` takes QEMU's log of what runs.

    Raises:
        EmulatorMissingError, EmulatorError: see `edgelearn.firmware.emulator`.
    """
    # A request that is repeated interrupts the layers; under the trace they take long.
    patient = LinkOptions(
        first_timeout_s=_TRACED_S,
        min_timeout_s=_TRACED_S,
        max_timeout_s=_TRACED_S,
        give_up_s=_TRACED_S,
        first_give_up_s=_TRACED_S,
    )
    with _booted(project, trace=trace) as running, _device_of(running, read_project(project), patient) as device:
        yield device


@contextlib.contextmanager
def _device_of(running: RunningEmulator, project: Project, options: LinkOptions | None = None) -> Iterator[Device]:
    """A session with an emulated device; where the emulator is why that fails, it is the emulator that is named."""
    try:
        device = open_device(
            running.url,
            expected_model_hash=project.model_hash,
            expected_model_name=project.name,
            options=options,
        )
    except (DeviceTimeoutError, PortError) as error:
        running.check()
        raise EmulatorError(
            f"the image of {project.name} did not say hello on {project.board}",
            cause=running.output.strip() or error.message,
            hint="build it again with `edgelearn build`; if that does not help, please report it with the bundle",
        ) from error
    with device:
        if not _saves(running, project):
            device.info = replace(device.info, can_save=False)
        try:
            yield device
        except (DeviceTimeoutError, PortError) as error:
            try:
                running.check()
            except EmulatorError as ended:
                # A stream has said there how it is carried on.
                ended.hint = "; ".join(hint for hint in (ended.hint, error.hint) if hint)
                raise
            raise


def _saves(running: RunningEmulator, project: Project) -> bool:
    """Whether the emulator lets the board write its flash, as far as is known."""
    return load_board(project.board).saves_in(running.engine)


def unsaved_note(project: Path) -> str:
    """Why nothing is saved on the board while it is emulated; "" where it is, or the project never saves.

    Raises:
        ProjectError: the folder was not generated by edgelearn.
    """
    made = read_project(project)
    board = load_board(made.board)
    engine = board.emulator.engine if board.emulator else ""
    if not made.keeps or board.saves_in(engine):
        return ""
    return f"{engine} cannot write the memory in which {board.name} saves: the learned head is kept in the run only"


def emulation_note(running: RunningEmulator, project: Path) -> str:
    """Why nothing is saved on the board that this emulator runs; "" where it is, or the board never saves.

    Raises:
        ProjectError: the folder was not generated by edgelearn.
    """
    return "" if _saves(running, read_project(project)) else unsaved_note(project)


@contextlib.contextmanager
def emulate(
    folder: Path, *, port: int | None = None, flash: Path | None = None, engine: str | None = None
) -> Iterator[RunningEmulator]:
    """Boot a project's image and wait until the device in it has said hello; `.url` is its serial line.

    Args:
        folder: the project.
        port: TCP port of the serial line; by default a free one.
        flash: file that keeps the board's flash from one run to the next.
        engine: `qemu`, `host` or `renode`; None for the board's first one.

    Raises:
        EmulatorMissingError, EmulatorError: see `edgelearn.firmware.emulator`; the device never said hello.
    """
    with _booted(folder, port=port, flash=flash, engine=engine) as running:
        with _device_of(running, read_project(folder)):
            pass
        yield running


@contextlib.contextmanager
def _booted(
    folder: Path,
    *,
    port: int | None = None,
    trace: Callable[[bytes], None] | None = None,
    flash: Path | None = None,
    engine: str | None = None,
) -> Iterator[RunningEmulator]:
    """Boot a project's image, building it first if there is none."""
    made = read_project(folder)
    if made.output == Output.LIBRARY.value:
        raise library_refusal(folder)
    if made.output == Output.MICROPYTHON.value:
        raise no_emulated_micropython()
    board = load_board(made.board)
    emulator.require_emulator(board, engine)
    image = folder / "build" / "firmware.elf"
    if not image.is_file():
        image = build(folder).image
    with emulator.start(board, image, port=port, trace=trace, nvm_file=flash, engine=engine) as running:
        yield running


def stream(
    device: Device,
    data: Path,
    options: StreamOptions,
    *,
    runs: Path | None = None,
    bundle: Path | None = None,
    project: Path | None = None,
    port: str = "",
    command: Sequence[str] = (),
    view: View | None = None,
    table: TableOptions | None = None,
    panel: Panel | None = None,
) -> StreamSummary:
    """Stream samples to a device: test, then train. Keeps everything in a new run folder below `runs`.

    Args:
        device: with an open session.
        data: an `.npz`, `.npy` or `.csv`, see `edgelearn.host.data`; STANDARD_INPUT for lines as they come.
        options: how.
        runs: where run folders are kept; None keeps nothing.
        bundle: the bundle that the device runs, for the manifest, where it is known.
        project: the project that the device runs, for the same.
        port: as the person named it.
        command: the command line, for the manifest.
        view: what a person sees.
        table: how the rows of a table become samples.
        panel: where people ask for things meanwhile.

    Raises:
        DataError, LabelError: the data does not fit the model on the device.
        StorageError: the run folder could not be written.
    """
    source: Source
    if data == STANDARD_INPUT:
        source = LiveSource(sys.stdin, device.info, train=options.train, table=table)
    else:
        source = load_dataset(data, device.info, train=options.train, table=table)
    folder = None
    if runs is not None:
        folder = _run_folder(
            device,
            source,
            options,
            runs,
            bundle=bundle,
            project=project,
            port=port,
            command=command,
            data_path="" if data == STANDARD_INPUT else str(data.resolve()),
            table=table,
        )
    return streaming.stream(
        device,
        source,
        options,
        run_folder=folder,
        view=view,
        board_ram_bytes=_board_ram_bytes(device),
        panel=panel,
    )


def monitor(
    device: Device,
    options: MonitorOptions,
    *,
    runs: Path | None = None,
    bundle: Path | None = None,
    project: Path | None = None,
    port: str = "",
    command: Sequence[str] = (),
    view: View | None = None,
    panel: Panel | None = None,
) -> StreamSummary:
    """Watch a device that takes samples from its own sensor. Keeps everything in a new run folder below `runs`.

    The arguments are those of `stream`; see `edgelearn.host.monitor`.

    Raises:
        DeviceRefusedError: the device has no sensor.
        StorageError: the run folder could not be written.
    """
    watching.check_sensor(device)
    folder = None
    if runs is not None:
        folder = _run_folder(
            device,
            watching.SensorOrigin(),
            options.as_stream(device.info),
            runs,
            bundle=bundle,
            project=project,
            port=port,
            command=command,
        )
    return watching.monitor(
        device,
        options,
        run_folder=folder,
        view=view,
        board_ram_bytes=_board_ram_bytes(device),
        panel=panel,
    )


def _run_folder(
    device: Device,
    origin: Origin,
    options: StreamOptions,
    runs: Path,
    *,
    bundle: Path | None,
    project: Path | None,
    port: str,
    command: Sequence[str],
    data_path: str = "",
    table: TableOptions | None = None,
) -> RunFolder:
    made = read_project(project) if project else None
    return telemetry.create_run(
        runs,
        info=device.info,
        port=port or device.port,
        source=origin,
        options=options,
        command=tuple(command),
        board_ram_bytes=_board_ram_bytes(device),
        model_hash=made.model_hash if made else read_bundle(bundle).model_hash if bundle else "",
        bundle=bundle.name if bundle else made.name if made else "",
        bundle_sha256=file_sha256(bundle) if bundle else made.bundle_sha256 if made else "",
        data_path=data_path,
        project_path=str(project.resolve()) if project else "",
        table=table,
    )


def resume(
    path: Path,
    *,
    port: str = "",
    data: Path | None = None,
    project: Path | None = None,
    bundle: Bundle | None = None,
    options: StreamOptions | None = None,
    table: TableOptions | None = None,
    view: View | None = None,
    panel: Panel | None = None,
) -> StreamSummary:
    """Carry on a run whose host crashed, or that was interrupted or ended with an error; see `edgelearn.host.resume`.

    Args:
        path: the run's folder.
        port: of the device; by default as before.
        data: the same samples; by default the file that it was.
        project: to boot with `emulate`; by default as before.
        bundle: that the device must run, in addition to the model of the run.
        options: refused where they are not those of the run.
        table: the same.
        view: what a person sees.
        panel: where people ask for things meanwhile.

    Raises:
        DataError: the folder is no run, the run is complete, or the data is not the same.
        OptionError: other options, or another board.
        WrongModelError: the device runs another model.
        DeviceResetError: the device knows something else than what the run taught it.
        StorageError: the run folder could not be written, or another stream still writes it.
    """
    # Opened first: nobody else may write to it from here on.
    with telemetry.reopen_run(path) as folder:
        run, sent = telemetry.read_run(path), telemetry.read_sent(path)
        manifest = run.manifest
        check_same(run, options=options or manifest.options, table=table or manifest.table)
        check_repeatable(run, data_is_given=data is not None)
        port = port or manifest.port
        if port == EMULATE and project is None and manifest.project_path:
            project = Path(manifest.project_path)
        with connect(port, project=project, bundle=bundle, earlier_session=last_session(sent)) as device:
            check_board(run, device.info.board)
            check_model(device.info.model_hash, manifest.model_hash, manifest.bundle or f"that of {path.name}")
            source = load_dataset(
                data or Path(manifest.data_path), device.info, train=manifest.options.train, table=manifest.table
            )
            check_data(run, source)
            found = plan_resumption(run, sent, device)
            if port != EMULATE:
                may_save = manifest.options.train and manifest.options.save
                found = replace(found, survive=lambda: device.survive(reopener(port), save=may_save))
            return streaming.stream(
                device,
                source,
                manifest.options,
                run_folder=folder,
                view=view,
                board_ram_bytes=_board_ram_bytes(device),
                panel=panel,
                resumption=found,
            )


def _board_ram_bytes(device: Device) -> int | None:
    """RAM of the device's board, where it is known."""
    return load_board(device.info.board).ram_bytes if device.info.board in board_names() else None


def instructions(board: Board, ticks: float) -> int | None:
    """Instructions for ticks of a board's counter in its first emulator; None where that does not count them."""
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
