"""A picture of the arena over the layers: which buffer lies where, when, and what sets the peak. Needs matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgelearn.codegen import Plan
from edgelearn.errors import MissingPackageError, OptionError, StorageError, reason

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ENDINGS = (".svg", ".png")
_BLUE, _ORANGE, _INK = "#9cc3e6", "#f6c98f", "#28303c"
#: Names below each other for at most so many layers; of more, every second or third is named.
_MOST_NAMED_LAYERS = 60
# Any: matplotlib types the keys of its settings one by one.
_STYLE: Any = {
    "font.size": 9,
    "font.family": "DejaVu Sans",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "svg.hashsalt": "edgelearn",
    "savefig.dpi": 150,
}


def draw_arena(plan: Plan, path: Path) -> None:
    """Draw the plan's arena into an .svg or .png file; the same plan gives the same bytes.

    Raises:
        OptionError: another ending.
        MissingPackageError: matplotlib is not installed.
        StorageError: the file could not be written.
    """
    if path.suffix.lower() not in _ENDINGS:
        raise OptionError(f"{path.name} is neither .svg nor .png", hint="name the picture arena.svg or arena.png")
    try:
        import matplotlib
    except ImportError as error:
        raise MissingPackageError("matplotlib", extra="plot", purpose="drawing the arena") from error
    with matplotlib.rc_context(_STYLE):
        figure = arena_figure(plan)
        try:
            figure.savefig(path, metadata={"Date": None} if path.suffix.lower() == ".svg" else {})
        except OSError as error:
            raise StorageError(f"{path} could not be written", cause=reason(error)) from error


def arena_figure(plan: Plan) -> Figure:
    """A rectangle for each buffer, from its first to its last layer; scratch is hatched, the peak marked."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    placement = plan.placement
    names = ["input", *(step.op.name for step in plan.steps), "output"]
    width = min(max(7.0, 2.0 + 0.42 * len(names)), 40.0)
    figure = Figure(figsize=(width, 5.6), layout="constrained")
    axes = figure.add_subplot()
    peak = placement.peak_step
    axes.axvspan(peak - 0.5, peak + 0.5, color="#fbe3e3", zorder=0)
    scale = len(names) / width
    for buffer in placement.buffers:
        _draw_buffer(axes, plan, buffer.name, scale)
    axes.axhline(placement.lower_bound_bytes, color="#b03030", linewidth=1, linestyle="--")
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_ylim(0, placement.size_bytes * 1.06)
    every = -(-len(names) // _MOST_NAMED_LAYERS)
    axes.set_xticks(range(0, len(names), every), names[::every], rotation=90)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_ylabel("bytes of the arena")
    proved = "proved smallest" if placement.is_optimal else "not proved smallest"
    axes.set_title(
        f"Arena: {placement.size_bytes:,} bytes, {placement.ratio:.3f} times the lifetime bound (dashed), {proved}\n"
        f"the peak is at {names[peak]}",
        color=_INK,
    )
    return figure


def _draw_buffer(axes: Axes, plan: Plan, name: str, layers_per_inch: float) -> None:
    from matplotlib.patches import Rectangle

    placement = plan.placement
    buffer = next(b for b in placement.buffers if b.name == name)
    is_scratch = name.endswith(":scratch")
    left, width = buffer.first_step - 0.5, buffer.last_step - buffer.first_step + 1
    bottom = placement.offsets[name]
    axes.add_patch(
        Rectangle(
            (left + 0.04, bottom),
            width - 0.08,
            buffer.size_bytes,
            facecolor=_ORANGE if is_scratch else _BLUE,
            edgecolor="white" if not is_scratch else "#b7791f",
            hatch="///" if is_scratch else None,
            linewidth=0.6,
        )
    )
    # About 5 points a letter and 12 a line, on axes of about 4.2 inches.
    room_letters = width / layers_per_inch * 72 / 5.4
    room_lines = buffer.size_bytes / (placement.size_bytes or 1) * 4.2 * 72 / 12
    if is_scratch or room_lines < 1:
        return
    text = name if len(name) <= room_letters else ""
    if text:
        axes.text(left + width / 2, bottom + buffer.size_bytes / 2, text, ha="center", va="center", color=_INK)
    elif len(name) * 5.4 < room_lines * 12:
        axes.text(
            left + width / 2, bottom + buffer.size_bytes / 2, name, ha="center", va="center", rotation=90, color=_INK
        )
