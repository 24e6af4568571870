"""PNG plots of a run: how it learned, and where the memory went. Needs matplotlib (the extra `plot`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgelearn.errors import MissingPackageError, OptionError, StorageError, reason
from edgelearn.host.curves import accuracy_curve, loss_curve, sliding_mean, thin
from edgelearn.host.telemetry import Manifest, Record, Run, read_run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: More passes than this are marked but not named.
_MOST_NAMED_PASSES = 6
#: Of all samples: a pass that was interrupted before has no room for its name.
_LEAST_NAMED_SHARE = 0.1
#: Of a bar: narrower parts are drawn this wide.
_LEAST_SHARE = 0.006
_BLUE, _ORANGE, _GREEN, _GREY, _INK = "#2563a8", "#d97706", "#2e8b57", "#c9ced6", "#28303c"
# Any: matplotlib types the keys of its settings one by one.
_STYLE: Any = {
    "font.size": 10.5,
    "font.family": "DejaVu Sans",
    "axes.edgecolor": "#8a93a0",
    "axes.labelcolor": _INK,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titlecolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e9ee",
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
    "savefig.dpi": 150,
}


def draw_plots(run_path: Path) -> tuple[Path, ...]:
    """Draw the plots of a run folder into it; returns their paths, none for a run without results.

    Raises:
        MissingPackageError: matplotlib is not installed.
        DataError: the folder is no run.
        StorageError: a plot could not be written.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise MissingPackageError("matplotlib", extra="plot", purpose="drawing plots") from error
    run = read_run(run_path)
    if not run.records:
        return ()
    drawings: list[tuple[str, Callable[[], Figure]]] = [
        ("learning.png", lambda: learning_figure(run.manifest, run.records)),
    ]
    # A process of this machine knows no figures of its memory.
    if run.manifest.device.static_ram_bytes:
        drawings.append(("memory.png", lambda: memory_figure(run.manifest, run.records)))
    paths = []
    with matplotlib.rc_context(_STYLE):
        for name, draw in drawings:
            figure = draw()
            try:
                figure.savefig(run_path / name)
            except OSError as error:
                raise StorageError(f"{run_path / name} could not be written", cause=reason(error)) from error
            paths.append(run_path / name)
    return tuple(paths)


def draw_comparison(runs: tuple[Run, ...], path: Path) -> None:
    """Draw the accuracy and the loss of several runs over each other, into an .svg or .png file.

    Raises:
        OptionError: another ending.
        MissingPackageError: matplotlib is not installed.
        StorageError: the file could not be written.
    """
    if path.suffix.lower() not in (".svg", ".png"):
        raise OptionError(f"{path.name} is neither .svg nor .png", hint="name the picture runs.svg or runs.png")
    try:
        import matplotlib
    except ImportError as error:
        raise MissingPackageError("matplotlib", extra="plot", purpose="drawing plots") from error
    with matplotlib.rc_context(_STYLE):
        figure = comparison_figure(runs)
        try:
            figure.savefig(path)
        except OSError as error:
            raise StorageError(f"{path} could not be written", cause=reason(error)) from error


def comparison_figure(runs: tuple[Run, ...]) -> Figure:
    """The sliding means of accuracy and loss over the samples streamed, one line a run."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    curves = [
        ("Accuracy", 100.0, [accuracy_curve(run) for run in runs]),
        ("Loss", 1.0, [loss_curve(run) for run in runs]),
    ]
    shown = [panel for panel in curves if any(len(samples) for samples, _ in panel[2])]
    figure = Figure(figsize=(9, 1.4 + 2.9 * max(1, len(shown))), layout="constrained")
    for row, (title, factor, lines) in enumerate(shown):
        axes = figure.add_subplot(len(shown), 1, row + 1)
        for run, (samples, values) in zip(runs, lines, strict=True):
            if len(samples):
                axes.plot(*thin(samples, factor * values), lw=1.8, label=run.path.resolve().name)
        axes.set_title(
            f"{title}, mean of the last {' or '.join(sorted({str(r.manifest.options.window) for r in runs}))}"
        )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.margins(x=0.01)
        if factor > 1:
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f} %"))
        else:
            # The first losses would flatten all that follow.
            most = max((float(np.quantile(values, 0.97)) for _, values in lines if len(values)), default=1.0)
            axes.set_ylim(0, max(1e-9, 1.15 * most))
        if row == len(shown) - 1:
            axes.set_xlabel("samples streamed")
        axes.legend(loc="best")
    return figure


def learning_figure(manifest: Manifest, records: tuple[Record, ...]) -> Figure:
    """Accuracy and loss over the samples, the passes marked; only the loss where there are no classes."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    numbers = np.array([record.number + 1 for record in records])
    passes = np.array([record.pass_number for record in records])
    judged = np.array([record.correct is not None for record in records])
    has_loss = np.array([record.loss is not None for record in records])
    panels = (["accuracy"] if judged.any() else []) + (["loss"] if has_loss.any() else [])
    figure = Figure(figsize=(9, 1.4 + 2.7 * max(1, len(panels))), layout="constrained")
    board = manifest.board or "the device"
    doing = "learning" if manifest.options.train else "prediction"
    figure.suptitle(f"{manifest.data}: {doing} on {board}", x=0.012, ha="left", fontsize=13, weight="bold")
    axes_of: dict[str, Axes] = {}
    for row, panel in enumerate(panels):
        first = next(iter(axes_of.values()), None)
        axes_of[panel] = figure.add_subplot(len(panels), 1, row + 1, sharex=first)
    window = manifest.options.window
    values: dict[int, str] = {}
    if "accuracy" in axes_of:
        axes = axes_of["accuracy"]
        correct = np.array([bool(record.correct) for record in records], dtype=np.float64)[judged]
        x, in_pass = numbers[judged], passes[judged]
        sliding = sliding_mean(correct, window)
        axes.plot(*thin(x, 100 * sliding), color=_BLUE, lw=1.0, alpha=0.55, label=f"last {window} samples")
        for number in np.unique(in_pass):
            here = in_pass == number
            so_far = 100 * np.cumsum(correct[here]) / np.arange(1, here.sum() + 1)
            name, color = _pass_name(manifest, int(number))
            # The first few samples of a pass say nothing yet and would only jump.
            skip = min(25, len(so_far) // 10)
            axes.plot(
                *thin(x[here][skip:], so_far[skip:]),
                color=color,
                lw=2.2,
                label=f"{name}, pass so far" if number in (0, 1) else None,
            )
            values[int(number)] = f"{so_far[-1]:.1f} %"
        if passes.max() >= _MOST_NAMED_PASSES and 0 in values:
            # The one figure of unseen samples is told even where the passes have no room for theirs.
            axes.lines[1].set_label(f"{_pass_name(manifest, 0)[0]}, pass so far: {values[0]}")
        # Beside the curve, where there is nothing to cover.
        axes.annotate(
            f"{so_far[-1]:.1f} %",
            (1.0, so_far[-1]),
            xycoords=axes.get_yaxis_transform(),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            color=color,
            weight="bold",
        )
        low = 100 * min(sliding[min(len(sliding) - 1, window // 2) :].min(), correct.mean())
        axes.set_ylim(max(0.0, 10 * np.floor(low / 10) - 5), 102)
        axes.set_title("Accuracy", pad=32 if 1 < len(np.unique(passes)) <= _MOST_NAMED_PASSES else 6)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f} %"))
        axes.legend(loc="lower right", ncols=3)
    if "loss" in axes_of:
        axes = axes_of["loss"]
        loss = np.array([record.loss for record in records if record.loss is not None])
        x = numbers[has_loss]
        axes.plot(*thin(x, loss), ".", color=_GREY, ms=2.5, alpha=0.8, label="each sample")
        axes.plot(*thin(x, sliding_mean(loss, window)), color=_ORANGE, lw=2.0, label=f"mean of the last {window}")
        axes.set_ylim(0, max(1e-9, 1.15 * float(np.quantile(loss, 0.99))))
        named = not judged.any() and 1 < len(np.unique(passes)) <= _MOST_NAMED_PASSES
        axes.set_title("Loss before each update" if manifest.options.train else "Loss", pad=32 if named else 6)
        axes.legend(loc="upper right", ncols=2, markerscale=4)
    for axes in axes_of.values():
        for number in np.unique(passes)[1:]:
            axes.axvline(numbers[passes == number][0] - 0.5, color="#8a93a0", lw=1.0, ls=(0, (2, 2)))
        axes.margins(x=0.01)
    if axes_of:
        last = list(axes_of.values())[-1]
        last.set_xlabel("samples streamed")
        last.xaxis.set_major_locator(MaxNLocator(integer=True))
        for axes in list(axes_of.values())[:-1]:
            axes.tick_params(labelbottom=False)
        _name_passes(next(iter(axes_of.values())), manifest, numbers, passes, values)
    return figure


def memory_figure(manifest: Manifest, records: tuple[Record, ...]) -> Figure:
    """The device's RAM as one bar, static data, stack and what is free; below it the stack by itself, in its own scale.

    What is in use of the stack is often less than a hundredth of the RAM: in the same bar nobody would see it.
    """
    from matplotlib.figure import Figure

    device = manifest.device
    used = max(record.stack_bytes for record in records)
    parts = [
        ("static data (arena, head, buffers)", device.static_ram_bytes, _BLUE),
        ("stack, reserved", device.stack_size_bytes, _ORANGE),
    ]
    taken = sum(size for _, size, _ in parts)
    whole = f"RAM in use: {_kib(taken)}"
    if manifest.board_ram_bytes and manifest.board_ram_bytes >= taken:
        parts.append(("free", manifest.board_ram_bytes - taken, "#e6e9ee"))
        whole = f"RAM of {manifest.board or 'the device'}: {_kib(manifest.board_ram_bytes)}"
    bars = [(whole, parts)]
    if used and device.stack_size_bytes:
        stack = [
            ("most in use", used, "#b45309"),
            ("never used", max(0, device.stack_size_bytes - used), "#f4c98b"),
        ]
        bars.append((f"Stack: {_kib(device.stack_size_bytes)}", stack))
    figure = Figure(figsize=(9, 0.3 + 2.0 * len(bars)), layout="constrained")
    for row, (title, pieces) in enumerate(bars):
        _draw_bar(figure.add_subplot(len(bars), 1, row + 1), title, pieces)
    return figure


def _draw_bar(axes: Axes, title: str, parts: list[tuple[str, int, str]]) -> None:
    """Parts of a whole in bytes, each at least wide enough to be seen."""
    total = sum(size for _, size, _ in parts) or 1
    shown = [max(size, _LEAST_SHARE * total) if size else 0 for _, size, _ in parts]
    # What the small parts are drawn too wide is taken from the largest.
    shown[shown.index(max(shown))] -= sum(shown) - total
    axes.set_title(title, fontsize=13, weight="bold", pad=12)
    left = 0.0
    for (name, size, color), width in zip(parts, shown, strict=True):
        # No edges: a white one would cover a narrow part.
        label = f"{name}: {_kib(size)} ({_percent(size / total)})"
        axes.barh(0, width, left=left, color=color, height=0.55, linewidth=0, label=label)
        left += width
    axes.set_xlim(0, total)
    axes.set_ylim(-0.32, 0.32)
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines["left"].set_visible(False)
    ticks = np.arange(0, total + 1, _tick_bytes(total))
    axes.set_xticks(ticks, ["0", *(_kib(int(tick)) for tick in ticks[1:])])
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.35), ncols=2)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.1 or not share else f"{100 * share:.1f} %"


def _pass_name(manifest: Manifest, number: int) -> tuple[str, str]:
    if not manifest.options.train:
        return "accuracy", _GREEN
    return ("prequential", _GREEN) if number == 0 else ("training", _ORANGE)


def _name_passes(
    axes: Axes,
    manifest: Manifest,
    numbers: npt.NDArray[np.int64],
    passes: npt.NDArray[np.int64],
    values: dict[int, str],
) -> None:
    """Above each pass its number and its accuracy: on the curves the figures would cover them."""
    distinct = np.unique(passes)
    if len(distinct) < 2 or len(distinct) > _MOST_NAMED_PASSES:
        return
    for number in distinct:
        here = numbers[passes == number]
        if len(here) < _LEAST_NAMED_SHARE * len(numbers):
            continue
        name = _pass_name(manifest, int(number))[0].split()[0]
        axes.text(
            (here[0] + here[-1]) / 2,
            1.01,
            f"pass {number + 1}\n{name} {values.get(int(number), '')}".rstrip(),
            transform=axes.get_xaxis_transform(),
            ha="center",
            va="bottom",
            fontsize=9,
            color="#5b6470",
        )


def _kib(size_bytes: int) -> str:
    return f"{size_bytes / 1024:.0f} KiB" if size_bytes % 1024 == 0 else f"{size_bytes / 1024:.1f} KiB"


def _tick_bytes(total_bytes: int) -> int:
    step = 1024
    while total_bytes / step > 9:
        step *= 2
    return step
