"""`edgelearn head`: the learned head on a device, and between devices, bundles and files."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from edgelearn.commands.common import EXISTING, JSON, PORT, PROJECT, RATE, flash_life_text, make_console, print_json
from edgelearn.errors import DeviceRefusedError, EdgelearnError, HeadError
from edgelearn.store import FlashLife
from edgelearn.words import count, noun

if TYPE_CHECKING:
    from edgelearn.bundle import Bundle
    from edgelearn.heads import RowChange
    from edgelearn.host.device import Device
    from edgelearn.host.head import HeadState


#: How long the samples of a sensor are counted.
_MEASURE_S = 1.0


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """What `head show` says of a device.

    Attributes:
        classes: the names of those in use; empty where outputs are no classes.
        spare_outputs: room for more classes.
        step: training steps since the head was as generated.
        saved_step: training steps in the newest saved head; None where the board keeps none.
        saves: number of the newest saved head.
        autosave_steps: it is saved after that many steps, 0: only when asked.
        rms: root of the mean square of each row's weights.
        flash_life: how long the board's flash lasts; None where it keeps no heads, or edgelearn has no file of the
            board.
    """

    board: str
    model_hash: str
    features: int
    outputs: int
    residual: str
    learning_rate: float
    classes: tuple[str, ...]
    spare_outputs: int
    step: int
    saved_step: int | None
    saves: int
    autosave_steps: int
    rms: tuple[float, ...]
    flash_life: FlashLife | None = None


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """What `head diff` found."""

    before: str
    after: str
    rows: tuple[RowChange, ...]


@click.group()
def head() -> None:
    """Show, save, reset, compare or carry the head that a device has learned."""


@head.command()
@PORT
@PROJECT
@RATE
@JSON
def show(port: str, project: Path | None, rate_hz: float | None, as_json: bool) -> None:
    """Say what the device has learned and what of it is saved."""
    import numpy as np

    with _device(port, project) as device:
        info = device.info
        weights = device.read_head().weights()
        statistics = device.statistics()
        # A file system spreads its writes as it likes: nobody knows what a save costs.
        life = None if statistics.heap_bytes else _flash_life(device, rate_hz)
    for notice in info.last_start.notices(info.boot):
        click.echo(notice, err=True)
    found = Shown(
        board=info.board,
        model_hash=info.model_hash,
        features=info.feature_elements,
        outputs=info.output_elements,
        residual=info.residual.name.lower(),
        learning_rate=info.learning_rate,
        classes=tuple(info.label_name(index) for index in range(info.classes_in_use)),
        spare_outputs=info.output_elements - info.classes_in_use if info.classes_in_use else 0,
        step=statistics.step,
        saved_step=statistics.saved_step if info.can_save else None,
        saves=statistics.saves,
        autosave_steps=info.autosave_steps,
        rms=tuple(round(float(rms), 6) for rms in np.sqrt((weights**2).mean(axis=1))),
        flash_life=life,
    )
    if as_json:
        print_json(found)
        return
    click.echo(
        f"{found.board}, model {found.model_hash}: {count(found.outputs, 'output')} of "
        f"{count(found.features, 'feature')}"
    )
    steps = f"{found.step:,} training {noun(found.step, 'step')}"
    click.echo(f"weights as {found.residual}, learning rate {found.learning_rate:.4g}, {steps}")
    if found.saved_step is None:
        click.echo("nothing is saved: the board, or its emulator, has no memory that keeps the head without power")
    else:
        when = (
            f"every {found.autosave_steps:,} {noun(found.autosave_steps, 'step')} and when asked"
            if found.autosave_steps
            else "only when asked"
        )
        click.echo(f"saved {found.saves:,} {noun(found.saves, 'time')}, last at step {found.saved_step:,}; {when}")
    if found.flash_life is not None:
        click.echo(flash_life_text(found.flash_life))
    if found.classes:
        spare = f", room for {found.spare_outputs} more" if found.spare_outputs else ""
        click.echo(f"classes: {', '.join(found.classes)}{spare}")


@head.command()
@PORT
@PROJECT
def save(port: str, project: Path | None) -> None:
    """Save the head in the device's memory, where it outlives a loss of power."""
    with _device(port, project) as device:
        device.save()
        click.echo(f"saved at step {device.statistics().step:,}")


@head.command()
@PORT
@PROJECT
@click.option("--forget", is_flag=True, help="Erase what was saved too, instead of saving the head as generated.")
def reset(port: str, project: Path | None, forget: bool) -> None:
    """Put the head back to what it was when the firmware was generated."""
    with _device(port, project) as device:
        device.reset_head()
        if not (device.info.can_save and forget):
            _say_kept("the head is as generated", device)
            return
        try:
            device.forget()
        except DeviceRefusedError as error:
            error.hint = (
                "the head is as generated until the next reset; of an emulated board it may be that the "
                "emulator cannot write this board's memory"
            )
            raise
        click.echo("the head is as generated")


@head.command("add-class")
@click.argument("name")
@PORT
@PROJECT
def add_class(name: str, port: str, project: Path | None) -> None:
    """Take a spare output into use as a new class."""
    with _device(port, project) as device:
        _say_kept(f"class {device.add_class(name)} is {name}", device)


@head.command("rename-class")
@click.argument("old")
@click.argument("new")
@PORT
@PROJECT
def rename_class(old: str, new: str, port: str, project: Path | None) -> None:
    """Give a class, named or numbered OLD, another name."""
    with _device(port, project) as device:
        _say_kept(f"class {device.rename_class(old, new)} is {new}", device)


@head.command()
@PORT
@PROJECT
@click.option("--bundle", "-b", "parent", type=EXISTING, required=True, help="The bundle of the device's model.")
@click.option("--output", "-o", type=EXISTING, required=True, help="The bundle to write.")
@click.option("--run", default="", help="The run that taught it, for the record.")
def pull(port: str, project: Path | None, parent: Path, output: Path, run: str) -> None:
    """Write a bundle that starts from what the device has learned."""
    from edgelearn import heads
    from edgelearn.bundle import read_bundle, write_bundle

    bundle = read_bundle(parent)
    with _device(port, project, bundle) as device:
        learned = heads.pull(device, bundle, run=run)
    write_bundle(learned, output)
    assert learned.learned is not None  # noqa: S101 - pull sees to it
    click.echo(f"{output}: the head after {learned.learned.step:,} training {noun(learned.learned.step, 'step')}")


@head.command()
@click.argument("source", type=EXISTING, metavar="BUNDLE")
@PORT
@PROJECT
def push(source: Path, port: str, project: Path | None) -> None:
    """Give the device the head, the classes and the names of BUNDLE."""
    from edgelearn import heads
    from edgelearn.bundle import read_bundle

    bundle = read_bundle(source)
    with _device(port, project) as device:
        unkept = heads.push(device, bundle)
        click.echo(f"the head of {source.name} is on {device.info.board}{'' if unkept else ' and saved'}")
        if unkept:
            click.echo(f"warning: it is not kept: {unkept}", err=True)


@head.command()
@click.argument("before", type=EXISTING)
@click.argument("after", type=EXISTING, required=False)
@click.option("--port", "-p", default=None, help="Compare with the head of this device instead of AFTER.")
@PROJECT
@JSON
def diff(before: Path, after: Path | None, port: str | None, project: Path | None, as_json: bool) -> None:
    """Say how two heads differ: bundles (.elb), heads of runs (.npz), or a device's."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from edgelearn import heads

    if (after is None) == (port is None):
        raise click.UsageError("name a second head, or a device with --port")
    first, names = _read_head(before)
    if port is not None:
        with _device(port, project) as device:
            second, more_names = device.read_head(), device.info.labels
    else:
        assert after is not None  # noqa: S101 - one of both is given
        second, more_names = _read_head(after)
    try:
        rows = heads.compare(first, second, more_names or names)
    except HeadError as error:
        error.cause = f"{before} and {after or f'the device at {port}'} are of different models, or of other --classes"
        raise
    if as_json:
        print_json(Difference(before=str(before), after=port or str(after), rows=tuple(rows)))
        return
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("row")
    for column in ("weights changed", "rms before", "rms of change", "largest change", "bias"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(
            escape(row.name),
            f"{row.changed:,} of {row.weights:,}",
            f"{row.rms_before:.4g}",
            f"{row.rms:.3g}",
            f"{row.largest:.3g}",
            f"{row.bias:+.3g}",
        )
    make_console().print(table)


@contextmanager
def _device(port: str, project: Path | None, bundle: Bundle | None = None) -> Iterator[Device]:
    from edgelearn import pipeline

    booted = (project or Path()) if port == pipeline.EMULATE else None
    # Nothing is saved that nobody asked for, also not to survive a reset.
    with pipeline.connect(port, project=booted, bundle=bundle, survives=False) as device:
        if not device.info.is_trainable:
            raise HeadError(
                "the model on the device has no trainable head",
                hint="convert it without `--head none`, then generate and flash it again",
            )
        yield device


def _flash_life(device: Device, rate_hz: float | None) -> FlashLife | None:
    """How long the flash of the device's board lasts if it learns as fast as its line, or its sensor, can teach it."""
    from edgelearn.board import load_board
    from edgelearn.codegen.plan import BAUD
    from edgelearn.recipe import Residual
    from edgelearn.store import flash_life, head_part_bytes, line_samples_per_s, store_layout

    info = device.info
    try:
        nvm = load_board(info.board).nvm
    except EdgelearnError:
        nvm = None
    if nvm is None or not info.can_save:
        return None
    if rate_hz is None:
        rate_hz = line_samples_per_s(sum(tensor.size_bytes for tensor in info.inputs), BAUD)
        rate_hz = _sensor_rate_hz(device) or rate_hz
    parts = head_part_bytes(
        outputs=info.output_elements,
        features=info.feature_elements,
        residual=Residual[info.residual.name],
        label_bytes=info.label_bytes,
    )
    return flash_life(store_layout(nvm, parts), autosave_steps=info.autosave_steps, samples_per_s=rate_hz)


def _sensor_rate_hz(device: Device) -> float:
    """Samples a second that a sensor which runs teaches, measured; 0 where it does not."""
    if not device.info.sensor_runs:
        return 0.0
    begin_s, before = time.monotonic(), device.statistics().sensor_learned
    time.sleep(_MEASURE_S)
    learned = device.statistics().sensor_learned - before
    return max(learned, 0) / (time.monotonic() - begin_s)


def _say_kept(done: str, device: Device) -> None:
    """Say what was done, and keep it; where that is not possible, say that too: it is done all the same."""
    unkept = device.keep()
    click.echo(f"{done} until the next reset" if unkept else done)
    if unkept:
        click.echo(f"warning: it is not kept: {unkept}", err=True)


def _read_head(path: Path) -> tuple[HeadState, tuple[str, ...]]:
    """A head and the names of its outputs from a bundle or from the head.npz of a run."""
    from edgelearn import heads
    from edgelearn.bundle import read_bundle
    from edgelearn.host.head import load_head

    if path.suffix == ".npz":
        return load_head(path), ()
    bundle = read_bundle(path)
    found = heads.head_of(bundle)
    if found is None:
        raise HeadError(f"{path} has no trainable head", hint="convert the model without `--head none`")
    return found, bundle.labels
