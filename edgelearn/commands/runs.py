"""`edgelearn runs` and `edgelearn report`: what was run, side by side, for other programs and as a page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgelearn.commands.common import EXISTING, JSON, make_console, print_json, status
from edgelearn.words import noun

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgelearn.host.runs import Comparison, Curve, RunFigures, RunLine, Spread


_RUNS = click.option(
    "--runs", "folder", type=EXISTING, default=Path("runs"), show_default=True, help="Where run folders are kept."
)


@click.group()
def runs() -> None:
    """List, show, compare and export runs.

    RUN is a run's folder, a part of the name of one in --runs, or `last` for the newest.
    """


@runs.command("list")
@_RUNS
@JSON
def list_(folder: Path, as_json: bool) -> None:
    """List the runs in a folder, the newest last."""
    from edgelearn.host.runs import list_runs

    found = list_runs(folder)
    if as_json:
        print_json(found)
    elif not found:
        click.echo(f"{folder} holds no runs; `edgelearn stream` makes one")
    else:
        _print_list(found)


def _print_list(found: tuple[RunLine, ...]) -> None:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from edgelearn.host.words import duration

    table = Table(box=box.SIMPLE_HEAD)
    for column in ("run", "data", "", "ended"):
        table.add_column(column, overflow="fold")
    for column in ("samples", "accuracy", "mean loss", "time"):
        table.add_column(column, justify="right", no_wrap=True)
    for line in found:
        table.add_row(
            escape(line.name),
            escape(line.data),
            "learned" if line.train else "predicted" if line.samples else "",
            line.ended if line.ended == "complete" else f"[yellow]{line.ended}[/yellow]",
            f"{line.samples:,}",
            _percent(line.accuracy),
            _number(line.mean_loss),
            duration(line.elapsed_s) if line.samples else "-",
        )
    make_console().print(table)
    for line in found:
        for problem in line.problems:
            click.echo(f"note: {line.name}: {problem}")


@runs.command()
@click.argument("run")
@_RUNS
@JSON
def show(run: str, folder: Path, as_json: bool) -> None:
    """Show the figures of one run."""
    from edgelearn.host.runs import figures, select_run
    from edgelearn.host.telemetry import read_run

    found = figures(read_run(select_run(run, folder)))
    if as_json:
        print_json(found)
        return
    _print_figures((found,))
    _print_passes(found)
    for problem in found.problems:
        click.echo(f"note: {problem}")


@runs.command()
@click.argument("names", metavar="RUN...", nargs=-1, required=True)
@click.option("--output", "-o", type=EXISTING, default=None, metavar="FILE", help="Draw the curves: .svg or .png.")
@_RUNS
@JSON
def compare(names: tuple[str, ...], output: Path | None, folder: Path, as_json: bool) -> None:
    """Put figures and curves of runs side by side."""
    from edgelearn.host.runs import compare as compare_runs
    from edgelearn.host.runs import select_run
    from edgelearn.host.telemetry import read_run

    read = tuple(read_run(select_run(name, folder)) for name in names)
    found = compare_runs(read)
    if output is not None:
        from edgelearn.host.plots import draw_comparison

        draw_comparison(read, output)
    if as_json:
        print_json(found)
        return
    _print_figures(found.runs)
    _print_curves(found)
    for figures in found.runs:
        for problem in figures.problems:
            click.echo(f"note: {figures.name}: {problem}")
    if output is not None:
        click.echo(f"wrote {output}")


@runs.command()
@click.argument("run")
@click.option(
    "--format", "form", type=click.Choice(["csv", "parquet", "tensorboard"]), required=True, help="What to write."
)
@click.option("--output", "-o", type=EXISTING, required=True, help="The file; for tensorboard, the folder.")
@_RUNS
@JSON
def export(run: str, form: str, output: Path, folder: Path, as_json: bool) -> None:
    """Write a run's results for other programs.

    csv and parquet have a row for each result, tensorboard has curves of at most 10,000 points.
    """
    from edgelearn.host.export import Exported, export_run
    from edgelearn.host.runs import select_run
    from edgelearn.host.telemetry import read_run

    path = select_run(run, folder)
    with status(f"exporting {path.name}"):
        found = read_run(path)
        export_run(found, form, output)
    for problem in found.problems:
        click.echo(f"note: {problem}", err=True)
    if as_json:
        print_json(Exported(run=str(path), form=form, output=str(output), results=len(found.records)))
    else:
        click.echo(f"wrote {output} ({len(found.records):,} {noun(len(found.records), 'result')})")


@click.command()
@click.argument("run")
@click.option("--output", "-o", type=EXISTING, default=None, metavar="FILE", help="The page; by default in the run.")
@_RUNS
@JSON
def report(run: str, output: Path | None, folder: Path, as_json: bool) -> None:
    """Write a run as one HTML page that needs nothing else.

    RUN is a run's folder, a part of the name of one in --runs, or `last` for the newest.
    """
    from edgelearn.host.report import write_report
    from edgelearn.host.runs import select_run

    path = select_run(run, folder)
    with status(f"drawing {path.name}"):
        written = write_report(path, output)
    if as_json:
        print_json(written)
    else:
        click.echo(f"wrote {written.output} ({written.size_bytes / 1024:,.0f} KiB)")


def _print_figures(found: tuple[RunFigures, ...]) -> None:
    """A column for each run."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from edgelearn.host.words import duration, kib, part_of

    rows: list[tuple[str, Callable[[RunFigures], str]]] = [
        ("began", lambda run: run.created_utc),
        ("board", lambda run: f"{run.board} on {run.port}" if run.port else run.board),
        ("model", lambda run: f"{run.bundle} ({run.model_hash[:16]})" if run.bundle else run.model_hash[:16]),
        ("data", lambda run: run.data),
        ("learning rate", lambda run: f"{run.learning_rate:.3g}" if run.learning_rate is not None else "-"),
        ("ended", lambda run: f"{run.ended}: {run.error}" if run.error else run.ended),
        ("samples", lambda run: f"{run.samples:,}"),
        ("of these reported", lambda run: f"{run.results:,}" if run.results != run.samples else "-"),
        ("passes", lambda run: str(len(run.passes))),
        ("accuracy, first pass", lambda run: _percent(run.accuracy)),
        ("training accuracy, last pass", lambda run: _percent(run.training_accuracy)),
        ("accuracy, last samples", lambda run: _percent(run.window_accuracy)),
        ("mean loss, first pass", lambda run: _number(run.passes[0].mean_loss if run.passes else None)),
        ("mean loss, last pass", lambda run: _number(run.mean_loss if len(run.passes) > 1 else None)),
        ("loss, last samples", lambda run: _number(run.window_loss)),
        ("time", lambda run: duration(run.elapsed_s)),
        ("of this paused", lambda run: duration(run.paused_s) if run.paused_s else "-"),
        ("samples/s", lambda run: f"{run.samples_per_s:.1f}"),
        ("round trip", lambda run: _times(run.round_trip_s)),
        ("inference", lambda run: _times(run.inference_s)),
        ("update", lambda run: _times(run.train_s)),
        ("of these times", lambda run: run.emulated),
        ("static RAM", lambda run: kib(run.static_ram_bytes) if run.static_ram_bytes else "-"),
        ("stack", lambda run: part_of(run.stack_bytes, run.stack_size_bytes) if run.stack_bytes else "-"),
        ("retries", lambda run: f"{run.retries:,}"),
        ("CRC errors", lambda run: f"{run.crc_errors:,}"),
        ("resets, reconnects, saves", lambda run: f"{run.resets:,}, {run.reconnects:,}, {run.saves:,}"),
    ]
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("")
    for run in found:
        table.add_column(escape(run.name), overflow="fold")
    for name, value in rows:
        values = [value(run) or "-" for run in found]
        if any(value != "-" for value in values):
            table.add_row(name, *(escape(value) for value in values))
    make_console().print(table)


def _print_passes(found: RunFigures) -> None:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    if len(found.passes) > 1:
        table = Table(box=box.SIMPLE_HEAD)
        for column in ("pass", "samples", "accuracy", "mean loss"):
            table.add_column(column, justify="right")
        for score in found.passes:
            table.add_row(
                str(score.pass_number + 1), f"{score.samples:,}", _percent(score.accuracy), _number(score.mean_loss)
            )
        make_console().print(table)
    classes = found.passes[0].classes if found.passes else ()
    if classes:
        table = Table(box=box.SIMPLE_HEAD)
        for column in ("class, first pass", "samples", "right", "accuracy"):
            table.add_column(column, justify="right" if column != "class, first pass" else "left")
        for one in classes:
            table.add_row(escape(one.label), f"{one.samples:,}", f"{one.correct:,}", _percent(one.accuracy))
        make_console().print(table)


def _print_curves(found: Comparison) -> None:
    """The sliding means of all runs at the same numbers of samples."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    for title, curves, form in (
        ("accuracy of the last samples, after", found.accuracy, _percent),
        ("mean loss of the last samples, after", found.loss, _number),
    ):
        if not any(curve.samples for curve in curves):
            continue
        table = Table(box=box.SIMPLE_HEAD)
        table.add_column(title, justify="right")
        for run in found.runs:
            table.add_column(escape(run.name), overflow="fold", justify="right")
        for samples in sorted({samples for curve in curves for samples in curve.samples}):
            table.add_row(f"{samples:,}", *(form(_value_at(curve, samples)) for curve in curves))
        make_console().print(table)


def _value_at(curve: Curve, samples: int) -> float | None:
    return curve.values[curve.samples.index(samples)] if samples in curve.samples else None


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _times(spread: Spread | None) -> str:
    if spread is None:
        return "-"
    return f"{1000 * spread.median:.3g} ms, 95 % within {1000 * spread.p95:.3g} ms"
