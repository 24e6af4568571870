"""deploy(): model file -> a board that runs it and has said so, in one go.

    convert   model file -> bundle; a bundle is taken as it is      edgelearn.pipeline.convert
    plan      what it takes of the board's memory                   edgelearn.pipeline.plan
    generate  bundle -> project, if it fits                         edgelearn.pipeline.write_project
    build     project -> image                                      edgelearn.pipeline.build
    flash     image -> board; an emulated one boots it              edgelearn.flashing, edgelearn.firmware.emulator
    hello     the program there names the bundle's model

It stops at the first thing that a person must decide, with the message of that stage; what was made so far stays, and
the same command goes on from there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from edgelearn import flashing, pipeline
from edgelearn.board import Board, Core, Output
from edgelearn.bundle import Bundle, read_bundle
from edgelearn.codegen import unkept_words
from edgelearn.errors import OptionError
from edgelearn.firmware.emulator import require_emulator
from edgelearn.ir import LossKind
from edgelearn.project import FILE_NAME, read_project
from edgelearn.recipe import Residual
from edgelearn.words import count

#: What a step has to say when it is done.
Say = Callable[[str], None]
#: Opens a step by its name: its context takes what the step has to say.
Step = Callable[[str], AbstractContextManager[Say]]

STEPS = ("convert", "plan", "generate", "build", "flash", "hello")


class Deployed(Struct, frozen=True, kw_only=True):
    """What was done.

    Attributes:
        bundle, project: where they lie.
        board: its name.
        output: what was generated.
        port: where the program said hello; `emulate` for an emulated board, empty where nobody could ask.
        model_hash: of the model that runs.
        flash_bytes, ram_bytes: of the image; the stack is not in them. 0 where other tools build it, and
            for MicroPython.
        learns: whether the model has a trainable layer.
        notes: what a person should know.
    """

    bundle: str
    project: str
    board: str
    output: str
    port: str
    model_hash: str
    flash_bytes: int
    ram_bytes: int
    learns: bool
    notes: tuple[str, ...] = ()


class Conversion(Struct, frozen=True, kw_only=True):
    """How a model file is converted; see `edgelearn.pipeline.convert`."""

    calibration: Path | None = None
    head: str | None = None
    loss: LossKind | None = None
    classes: int | None = None
    labels: Sequence[str] | None = None


def deploy(
    model: Path,
    board: Board,
    folder: Path,
    *,
    conversion: Conversion | None = None,
    output: Output | None = None,
    residual: Residual = Residual.INT8,
    learning_rate: float | None = None,
    sensor: Path | None = None,
    toolchain: str | None = None,
    port: str = "",
    method: str = "",
    force: bool = False,
    step: Step = lambda name: contextlib.nullcontext(lambda text: None),
) -> Deployed:
    """Take a model to a board.

    Args:
        model: a model file, or a bundle.
        board: where to.
        folder: for the bundle and the project.
        conversion: of a model file.
        output: what is generated; None takes the first that the board can take.
        residual: see `edgelearn.pipeline.generate`.
        learning_rate: see there.
        sensor: see there.
        toolchain: see `edgelearn.pipeline.build`.
        port: of the board, `emulate` for an emulated one; empty to find it.
        method: to flash by; empty takes the first that can be used.
        force: overwrite generated files that a person changed, and flash what is unsafe. What was deployed from the
            folder before, to another board too, is overwritten without.
        step: opens a step; its context takes what there is to say.

    Raises:
        OptionError: the board cannot take that output; the bundle is converted already, and options of a conversion
            are given.
        NoFlasherError, PortError, FlashError: port or method are not the board's; before anything is converted.
        EdgelearnError: of the stage that it stopped at.
    """
    target = output or board.outputs[0]
    pipeline.check_output(board, target)
    emulated = port == pipeline.EMULATE
    if emulated and target is Output.MICROPYTHON:
        raise pipeline.no_emulated_micropython()
    if emulated and method:
        raise OptionError(f"an emulated board is not flashed with {method}", hint="leave --method out, or name a port")
    if emulated:
        require_emulator(board)
    elif port or method:
        flashing.check_way(board, target, port=port, method=method, force=force)
    with step("convert") as say:
        path, bundle = _convert(model, folder, conversion or Conversion(), say)
    with step("plan") as say:
        senses = sensor is not None
        plan = pipeline.plan(
            bundle, board, residual=residual, learning_rate=learning_rate, output=output, senses=senses
        )
        # A program of this machine is much larger than the firmware that is estimated, and lies in no flash.
        is_host = board.core is Core.HOST
        flash = "" if is_host else f"flash about {plan.flash_bytes:,} of {board.flash_bytes:,} bytes, "
        say(
            count(len(plan.steps), "layer")
            if target is Output.MICROPYTHON
            else f"{flash}RAM with the stack about {plan.ram_bytes:,} of {board.ram_bytes:,} bytes"
        )
    project = folder / "project"
    with step("generate") as say:
        left_out = "" if senses else _sensor_there(project)
        changed: list[str] = []
        pipeline.write_project(plan, bundle, project, force=force, any_project=True, sensor=sensor, say=changed.append)
        sensor_words = left_out and f"no longer with {left_out}: --sensor adds it"
        words = (str(project), unkept_words(plan, board), sensor_words, *changed)
        say("; ".join(filter(None, words)))
    with step("build") as say:
        flash_bytes, ram_bytes = 0, 0
        if target is Output.MICROPYTHON:
            sizes_bytes = pipeline.build_package(project).sizes_bytes
            say(f"{sum(sizes_bytes.values()):,} bytes of files, about {read_project(project).heap_bytes:,} of heap")
        else:
            built = pipeline.build(project, toolchain=toolchain)
            flash_bytes, ram_bytes = built.flash_bytes, built.ram_bytes
            where = "program" if is_host else "flash"
            say(f"{flash_bytes:,} bytes of {where}, {ram_bytes + built.project.stack_bytes:,} of RAM with the stack")
    done = Deployed(
        bundle=str(path),
        project=str(project),
        board=board.name,
        output=plan.output.value,
        port="",
        model_hash=bundle.model_hash,
        flash_bytes=flash_bytes,
        ram_bytes=ram_bytes,
        learns=read_project(project).trains,
    )
    return _emulate(done, project, step) if emulated else _flash(done, project, port, method, force=force, step=step)


def _convert(model: Path, folder: Path, conversion: Conversion, say: Say) -> tuple[Path, Bundle]:
    if model.suffix == ".elb":
        if conversion != Conversion():
            raise OptionError(
                f"{model} is converted already",
                hint="leave out --calibration, --head, --loss, --classes and --labels, or give the model file",
            )
        bundle = read_bundle(model)
        say(f"{model} is a bundle")
        return model, bundle
    path = folder / f"{model.stem}.elb"
    folder.mkdir(parents=True, exist_ok=True)
    bundle = pipeline.convert(
        model,
        path,
        calibration=conversion.calibration,
        head=conversion.head,
        loss=conversion.loss,
        classes=conversion.classes,
        labels=conversion.labels,
    )
    learns = f"learns by {bundle.graph.loss.kind.value}" if bundle.graph.loss else "learns nothing"
    say(f"{path}, {count(len(bundle.graph.ops), 'layer')}, {learns}")
    return path, bundle


def _sensor_there(project: Path) -> str:
    """The file of the sensor of a project that was generated before; empty where there is none."""
    return read_project(project).sensor if (project / FILE_NAME).is_file() else ""


def _emulate(done: Deployed, project: Path, step: Step) -> Deployed:
    with step("flash") as say:
        say("nothing to flash: the board is emulated")
    with step("hello") as say, pipeline.connect(pipeline.EMULATE, project=project) as device:
        say(f"model {device.info.model_hash[:16]} on {device.info.board}")
    return replace(done, port=pipeline.EMULATE)


def _flash(done: Deployed, project: Path, port: str, method: str, *, force: bool, step: Step) -> Deployed:
    with step("flash") as say:
        flashed = flashing.flash(project, port=port, method=method, force=force, say=say)
        say(f"by {flashed.method}")
    with step("hello") as say:
        say(f"model {flashed.model_hash[:16]} at {flashed.port}" if flashed.port else "nobody was asked")
    return replace(done, port=flashed.port, notes=flashed.notes)
