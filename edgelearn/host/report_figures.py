"""The drawings of a run's page: SVG that takes its colours from the page, so that one drawing serves light and dark.

Needs matplotlib (the extra `plot`). Text stays text, in the page's font; nothing is loaded from elsewhere.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt

from edgelearn.errors import MissingPackageError
from edgelearn.host.curves import accuracy_curve, column, loss_curve, measured, sliding_mean, thin
from edgelearn.host.telemetry import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH_IN, _HEIGHT_IN = 6.2, 3.2
#: Points of a line; more cannot be told apart at the page's width.
_MOST_POINTS = 700
#: Parts of the run over which quantiles are formed.
_BINS = 120
#: More resets than this are counted in the text, not drawn.
_MOST_MARKS = 40
#: Colours that stand for the page's own, `var(--name)`; each occurs nowhere else in a drawing.
_COLORS = {
    "ink": "#28303c",
    "muted": "#5b6471",
    "line": "#c9ced7",
    "blue": "#2563a9",
    "orange": "#d97707",
    "green": "#2e8b58",
    "red": "#c0392c",
}
# Any: matplotlib types the keys of its settings one by one.
_STYLE: Any = {
    "font.size": 10,
    "font.family": "DejaVu Sans",
    "text.parse_math": False,
    "text.color": _COLORS["ink"],
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": _COLORS["line"],
    "axes.labelcolor": _COLORS["muted"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.xmargin": 0.01,
    "grid.color": _COLORS["line"],
    "grid.alpha": 0.5,
    "grid.linewidth": 0.6,
    "xtick.color": _COLORS["line"],
    "ytick.color": _COLORS["line"],
    "xtick.labelcolor": _COLORS["muted"],
    "ytick.labelcolor": _COLORS["muted"],
    "legend.frameon": False,
    "legend.fontsize": 9,
    "legend.handlelength": 1.4,
    "svg.fonttype": "none",
}


class Drawing(msgspec.Struct, frozen=True, kw_only=True):
    """A drawing for the page.

    Attributes:
        name: unique in the page.
        title: what it shows.
        caption: how to read it.
        svg: the drawing, an `<svg>` element.
    """

    name: str
    title: str
    caption: str
    svg: str


def draw(run: Run, head_change: tuple[tuple[str, float], ...] = ()) -> dict[str, Drawing]:
    """All drawings that the run has results for, by name.

    Args:
        run: from `read_run`.
        head_change: name of a row of the head, and its change in relation to its length; the greatest first.

    Raises:
        MissingPackageError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise MissingPackageError("matplotlib", extra="plot", purpose="drawing the report") from error
    window = run.manifest.options.window
    trains = run.manifest.options.train
    made: dict[str, Drawing] = {}

    def add(name: str, title: str, caption: str, figure: Callable[[], Figure]) -> None:
        made[name] = Drawing(name=name, title=title, caption=caption, svg=_svg(figure(), name, title))

    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # Letters that matplotlib's font lacks are drawn by the page's.
        warnings.filterwarnings("ignore", message="Glyph")
        if len(accuracy_curve(run)[0]):
            how = "Each sample is predicted before it is learned." if trains else "Nothing is learned."
            add("accuracy", "Accuracy over the samples streamed", how, lambda: _accuracy(run, window))
        if len(loss_curve(run)[0]):
            when = "before each update" if trains else "of each prediction"
            caption = f"The loss {when}; the band holds the middle 80 % of the samples."
            add("loss", "Loss over the samples streamed", caption, lambda: _loss(run, window))
        round_trips_s = measured(column(run.records, "round_trip_s"))
        if len(round_trips_s):
            add(
                "latency",
                "Distribution of the round trip",
                "From sending a sample to its result.",
                lambda: _latency(1000 * round_trips_s),
            )
            add(
                "link",
                "The link over the samples streamed",
                "Median and 95th percentile of the round trip, and below what went wrong on the line."
                if any(record.retries or record.crc_errors for record in run.records)
                else "Median and 95th percentile of the round trip. Nothing went wrong on the line.",
                lambda: _link(run),
            )
        if run.records:
            stack = column(run.records, "stack_bytes")
            if stack.max() > stack.min():
                add(
                    "stack",
                    "Stack over the samples streamed",
                    "The most that the stack has taken so far.",
                    lambda: _stack(stack),
                )
        if head_change:
            add(
                "head",
                "Change of the head by row",
                "Length of the change of a class's weights, in relation to their length before.",
                lambda: _head(head_change),
            )
    return made


def _accuracy(run: Run, window: int) -> Figure:
    from matplotlib.ticker import FuncFormatter

    figure, axes = _figure()
    samples, sliding = accuracy_curve(run)
    correct = column(run.records, "correct")[samples - 1]
    passes = column(run.records, "pass_number")[samples - 1]
    wide = _wide(window, len(samples))
    alone = wide == window
    axes.plot(*thin(samples, 100 * sliding, _MOST_POINTS), color=_COLORS["blue"])
    axes.lines[-1].set(linewidth=1.1 if alone else 0.9, alpha=0.75 if alone else 0.45)
    axes.lines[-1].set_label(f"last {window:,} samples")
    if wide > window:
        axes.plot(*thin(samples, 100 * sliding_mean(correct, wide), _MOST_POINTS), color=_COLORS["blue"], lw=1.6)
        axes.lines[-1].set_label(f"last {wide:,}")
    for number in np.unique(passes):
        here = passes == number
        so_far = np.cumsum(correct[here]) / np.arange(1, here.sum() + 1)
        # The first few samples of a pass say nothing yet and would only jump.
        skip = min(25, len(so_far) // 10)
        axes.plot(
            *thin(samples[here][skip:], 100 * so_far[skip:], _MOST_POINTS),
            color=_COLORS["green"],
            lw=2.0,
            label="pass so far" if number == passes[0] else None,
        )
    low = 100 * min(float(sliding[min(len(sliding) - 1, window // 2) :].min()), float(correct.mean()))
    axes.set_ylim(max(0.0, 10 * np.floor(low / 10) - 5), 102)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f} %"))
    _along_the_run(axes, run)
    _legend_above(axes)
    return figure


def _loss(run: Run, window: int) -> Figure:
    figure, axes = _figure()
    samples, sliding = loss_curve(run)
    loss = column(run.records, "loss")[samples - 1]
    edges, (low, high) = _quantiles(loss, (0.1, 0.9))
    axes.fill_between(samples[edges], low, high, color=_COLORS["orange"], alpha=0.2, lw=0, label="middle 80 %")
    wide = _wide(window, len(samples))
    axes.plot(*thin(samples, sliding, _MOST_POINTS), color=_COLORS["orange"])
    axes.lines[-1].set(linewidth=1.6 if wide == window else 1.0, alpha=1.0 if wide == window else 0.6)
    axes.lines[-1].set_label(f"mean of the last {window:,}")
    if wide > window:
        axes.plot(*thin(samples, sliding_mean(loss, wide), _MOST_POINTS), color=_COLORS["orange"], lw=2.0)
        axes.lines[-1].set_label(f"of the last {wide:,}")
    # A few large losses at the start would flatten all that follow.
    axes.set_ylim(0, max(1e-9, 1.1 * float(max(np.quantile(high, 0.97), np.quantile(sliding, 0.99)))))
    _along_the_run(axes, run)
    _legend_above(axes)
    return figure


def _latency(milliseconds: npt.NDArray[np.float64]) -> Figure:
    from matplotlib.ticker import FuncFormatter

    figure, axes = _figure()
    known = np.maximum(milliseconds, 1e-3)
    least, median, p95, most = (float(value) for value in np.quantile(known, [0, 0.5, 0.95, 1]))
    is_wide = most > 8 * median
    if most <= least * 1.0001:
        least, most = 0.9 * least, 1.1 * most
    bins = np.geomspace(least, most, 46) if is_wide else np.linspace(least, most, 46)
    axes.hist(known, bins=list(bins), color=_COLORS["blue"], alpha=0.75, lw=0)
    if is_wide:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))
        # A few slow ones among thousands would not be seen otherwise.
        axes.set_yscale("symlog", linthresh=10)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.set_ylim(bottom=0)
    for value, name, style in ((median, "median", "-"), (p95, "95 %", (0, (4, 2)))):
        label = f"{name} {value:.3g} ms"
        axes.axvline(value, color=_COLORS["orange"], lw=1.4, ls=style, label=label)
    axes.set_xlabel("round trip, ms")
    axes.set_ylabel("samples")
    _legend_above(axes)
    return figure


def _link(run: Run) -> Figure:
    from matplotlib.ticker import MaxNLocator

    troubles = [
        ("sent again", column(run.records, "retries"), "red"),
        ("CRC errors", column(run.records, "crc_errors"), "orange"),
    ]
    troubles = [trouble for trouble in troubles if trouble[1].any()]
    figure, axes = _figure()
    below: Axes | None = None
    if troubles:
        figure.clear()
        grid = figure.add_gridspec(2, 1, height_ratios=(3, 1))
        axes = figure.add_subplot(grid[0])
        below = figure.add_subplot(grid[1], sharex=axes)
    milliseconds = 1000 * column(run.records, "round_trip_s")
    edges, (median, high) = _quantiles(milliseconds, (0.5, 0.95))
    axes.fill_between(edges + 1, median, high, color=_COLORS["blue"], alpha=0.18, lw=0, label="up to 95 %")
    axes.plot(edges + 1, median, color=_COLORS["blue"], lw=1.6, label="median")
    axes.set_ylabel("round trip, ms")
    axes.set_ylim(0, max(1e-9, 1.15 * float(np.quantile(high, 0.97))))
    _along_the_run(axes, run)
    _legend_above(axes)
    if below is not None:
        axes.tick_params(labelbottom=False)
        axes.set_xlabel("")
        parts = np.array_split(np.arange(len(run.records)), min(60, len(run.records)))
        left = np.array([part[0] + 0.5 for part in parts])
        width = np.array([len(part) for part in parts], dtype=np.float64)
        bottom = np.zeros(len(parts))
        for name, counts, color in troubles:
            sums = np.array([counts[part].sum() for part in parts])
            below.bar(
                left.tolist(),
                sums.tolist(),
                bottom=bottom.tolist(),
                width=width.tolist(),
                align="edge",
                color=_COLORS[color],
                lw=0,
                label=f"{name}: {counts.sum():,.0f}",
            )
            bottom = bottom + sums
        below.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        below.set_xlabel("samples streamed")
        _thousands(below)
        _legend_above(below)
    return figure


def _stack(stack: npt.NDArray[np.float64]) -> Figure:
    from matplotlib.ticker import FuncFormatter

    figure, axes = _figure(height=2.4)
    most = np.maximum.accumulate(stack)
    # Only where it grows: all else is level.
    grows = np.flatnonzero(np.diff(most, prepend=-1))
    x = np.append(grows + 1, len(most))
    axes.step(x, np.append(most[grows], most[-1]), where="post", color=_COLORS["orange"], lw=2.0)
    axes.set_ylim(0, 1.15 * float(most[-1]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_ylabel("bytes")
    axes.set_xlabel("samples streamed")
    _thousands(axes)
    return figure


def _head(change: tuple[tuple[str, float], ...]) -> Figure:
    from matplotlib.ticker import FuncFormatter

    figure, axes = _figure(height=0.8 + 0.24 * len(change))
    names = [name if len(name) <= 24 else name[:23] + "…" for name, _ in change]
    places = list(range(len(change)))
    axes.barh(places, [100 * value for _, value in change], color=_COLORS["green"], height=0.7, lw=0, alpha=0.85)
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.set_ylim(len(change) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
    axes.set_xlabel("change of the weights")
    return figure


def _figure(*, height: float = _HEIGHT_IN) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH_IN, height), layout="constrained")
    return figure, figure.add_subplot()


def _along_the_run(axes: Axes, run: Run) -> None:
    """The axis of samples, with the passes and the resets of the device marked."""
    passes = column(run.records, "pass_number")
    starts = np.flatnonzero(np.diff(passes)) + 1
    if len(starts) <= _MOST_MARKS:
        for start in starts:
            axes.axvline(start + 0.5, color=_COLORS["muted"], lw=0.8, ls=(0, (2, 3)))
    resets = [event.results for event in run.events if event.kind == "reset"]
    if len(resets) <= _MOST_MARKS:
        for i, results in enumerate(resets):
            axes.axvline(results + 0.5, color=_COLORS["red"], lw=1.0, label="device reset" if not i else None)
    axes.set_xlabel("samples streamed")
    _thousands(axes)


def _thousands(axes: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def _legend_above(axes: Axes) -> None:
    """Above the curves, where there is nothing to cover."""
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=4, borderaxespad=0.1, columnspacing=1.2)


def _wide(window: int, samples: int) -> int:
    """Samples of a calmer mean for long runs: a round number, about a fiftieth of the run."""
    if samples < 100 * window:
        return window
    size = int(10 ** int(np.log10(samples / 50)))
    return max(window, size * max(1, round(samples / 50 / size)))


def _quantiles(
    values: npt.NDArray[np.float64], shares: tuple[float, ...]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Quantiles of parts of equal size: the middle of each part [B], and [len(shares), B]."""
    parts = np.array_split(values, max(1, min(_BINS, len(values) // 10)))
    starts = np.cumsum([0, *(len(part) for part in parts)])
    middles = (starts[:-1] + starts[1:] - 1) // 2
    # A line needs two ends.
    if len(parts) == 1 and len(values) > 1:
        parts, middles = parts * 2, np.array([0, len(values) - 1])
    return middles, np.array([np.quantile(part, shares) for part in parts]).T


def _svg(figure: Figure, name: str, title: str) -> str:
    """The figure as an element for the page: without a size of its own, with the page's colours and font."""
    import matplotlib

    out = io.StringIO()
    # The salt keeps the names inside one drawing apart from those of the others.
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    text = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", text)
    for variable, color in _COLORS.items():
        text = text.replace(color, f"var(--{variable})")
    size = re.search(r'viewBox="[^"]*"', text)
    assert size is not None  # noqa: S101
    label = title.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    opening = f'<svg xmlns:xlink="http://www.w3.org/1999/xlink" {size.group()} role="img" aria-label="{label}">'
    return re.sub(r"<svg[^>]*>", lambda _: opening, text, count=1).strip()
