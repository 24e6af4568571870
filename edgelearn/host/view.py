"""What a person sees while samples are streamed: a live view in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import IO, TYPE_CHECKING, Any, Protocol

from msgspec import Struct

from edgelearn.host.device import DeviceInfo, Statistics
from edgelearn.host.link import Silence
from edgelearn.host.metrics import PassScore
from edgelearn.host.telemetry import Record, StreamOptions, StreamSummary
from edgelearn.host.words import duration, kib, part_of
from edgelearn.words import count

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live
    from rich.text import Text

#: Points of a curve in the terminal; older ones are thinned out evenly.
_CURVE_POINTS = 400
_PLAIN_EVERY_S = 2.0
_QUIET_EVERY_S = 10.0
_REFRESH_HZ = 4
#: Columns from which a terminal counts as wide.
_WIDE = 100
#: Columns below which two figures do not fit beside each other.
_NARROW = 70


class StreamStart(Struct, frozen=True, kw_only=True):
    """What is known before the first sample.

    Attributes:
        total: samples that will be streamed.
        learning_rate: in force; None where nothing is learned.
        board_ram_bytes: None where the board is not known.
        run: the run folder, "" without one.
    """

    port: str
    data: str
    total: int
    options: StreamOptions
    info: DeviceInfo
    learning_rate: float | None
    board_ram_bytes: int | None
    run: str


class StreamEvent(Struct, frozen=True, kw_only=True):
    """One result, and where the stream stands after it.

    Attributes:
        done: samples that the device has taken.
        total: of them expected, 0 where nobody knows.
        accuracy_name: what the accuracy of this pass is called.
        accuracy: of this pass so far; None without classes.
        window_accuracy: of the last samples.
        window_loss: mean of the last samples.
        samples_per_s: since the start, without pauses.
        left_s: time left at that rate.
    """

    record: Record
    done: int
    total: int
    accuracy_name: str
    accuracy: float | None
    window_accuracy: float | None
    window_loss: float | None
    samples_per_s: float
    left_s: float
    retries: int
    bad_frames: int


class View(Protocol):
    """Takes the events of a stream. `close` is called in every case, also after a failure."""

    def start(self, start: StreamStart) -> None:
        """The stream begins."""

    def result(self, event: StreamEvent) -> None:
        """A result came."""

    def notice(self, text: str) -> None:
        """Something that a person should know."""

    def silence(self, silence: Silence | None) -> None:
        """The device does not answer, told every moment; None: it answers again."""

    def finish(self, summary: StreamSummary) -> None:
        """The stream has ended."""

    def close(self) -> None:
        """Give the terminal back; closing twice does no harm."""


def choose_view(file: IO[str] | None = None) -> View:
    """The live view where `file` (stdout by default) is a terminal, plain lines elsewhere."""
    out = file or sys.stdout
    if not out.isatty():
        return PlainView(out)
    from rich.console import Console

    console = Console(file=out)
    return LiveView(console) if console.is_terminal and not console.is_dumb_terminal else PlainView(out)


class SilentView:
    """Shows nothing."""

    def start(self, start: StreamStart) -> None:
        """Show nothing."""

    def result(self, event: StreamEvent) -> None:
        """Show nothing."""

    def notice(self, text: str) -> None:
        """Show nothing."""

    def silence(self, silence: Silence | None) -> None:
        """Show nothing."""

    def finish(self, summary: StreamSummary) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Do nothing."""


class Views:
    """Several views of one stream."""

    def __init__(self, *views: View) -> None:
        self._views = views

    def start(self, start: StreamStart) -> None:
        """Tell all."""
        for view in self._views:
            view.start(start)

    def result(self, event: StreamEvent) -> None:
        """Tell all."""
        for view in self._views:
            view.result(event)

    def notice(self, text: str) -> None:
        """Tell all."""
        for view in self._views:
            view.notice(text)

    def silence(self, silence: Silence | None) -> None:
        """Tell all."""
        for view in self._views:
            view.silence(silence)

    def finish(self, summary: StreamSummary) -> None:
        """Tell all."""
        for view in self._views:
            view.finish(summary)

    def close(self) -> None:
        """Close all."""
        for view in self._views:
            view.close()


class PlainView:
    """Lines for logs and pipes: one about every two seconds, and one at the end."""

    def __init__(self, file: IO[str] | None = None, *, every_s: float = _PLAIN_EVERY_S) -> None:
        self._file = file or sys.stdout
        self._every_s = every_s
        self._last_s = 0.0
        self._next_quiet_s = _QUIET_EVERY_S

    def start(self, start: StreamStart) -> None:
        """Say what will be done."""
        self._last_s = time.monotonic()
        self._line(heading(start))

    def result(self, event: StreamEvent) -> None:
        """Say where it stands, if the last line is long enough ago."""
        now = time.monotonic()
        if now - self._last_s < self._every_s:
            return
        self._last_s = now
        parts = [f"{event.done}/{event.total}" if event.total else f"{event.done}"]
        if event.accuracy is not None:
            parts.append(f"{event.accuracy_name} {event.accuracy:.3f}")
        if event.window_loss is not None:
            parts.append(f"loss {event.window_loss:.4g}")
        parts.append(f"{event.samples_per_s:.1f} samples/s")
        if event.total:
            parts.append(f"{duration(event.left_s)} left")
        if event.retries or event.bad_frames:
            parts.append(f"{count(event.retries, 'retry', 'retries')}, {count(event.bad_frames, 'bad frame')}")
        self._line("  ".join(parts))

    def notice(self, text: str) -> None:
        """Say it."""
        self._line(f"note: {text}")

    def silence(self, silence: Silence | None) -> None:
        """Say how long it lasts, now and then: that it began and ended is a notice."""
        if silence is None or silence.quiet_s < self._next_quiet_s - _QUIET_EVERY_S:
            self._next_quiet_s = _QUIET_EVERY_S
        elif silence.quiet_s >= self._next_quiet_s:
            self._next_quiet_s += _QUIET_EVERY_S
            self._line(quiet(silence))

    def finish(self, summary: StreamSummary) -> None:
        """Say how it ended."""
        for line in closing(summary):
            self._line(line)

    def close(self) -> None:
        """Nothing to give back."""

    def _line(self, text: str) -> None:
        self._file.write(text + "\n")
        self._file.flush()


class Curve:
    """A curve that keeps at most `_CURVE_POINTS` points by dropping every other one when it is full."""

    def __init__(self) -> None:
        self.x: list[float] = []
        self.y: list[float] = []
        self._every = 1
        self._seen = 0

    def add(self, x: float, y: float) -> None:
        """Add a point."""
        if self._seen % self._every == 0:
            self.x.append(x)
            self.y.append(y)
        self._seen += 1
        if len(self.x) >= _CURVE_POINTS:
            self.x, self.y = self.x[::2], self.y[::2]
            self._every *= 2


class LiveView:
    """A view that is drawn anew four times a second: curves, progress, throughput, memory and the link."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._start: StreamStart | None = None
        self._event: StreamEvent | None = None
        self._silence: Silence | None = None
        self._size = console.size
        self._loss = Curve()
        self._accuracy = Curve()
        self._window_accuracy = Curve()
        self._plotter = _Plotter()

    def start(self, start: StreamStart) -> None:
        """Open the view."""
        from rich.live import Live

        self._start = start
        if not self._plotter.available:
            self.notice('curves need the package plotext 6 or newer: pip install "edgelearn[plot]"')
        self._live = Live(
            console=self._console,
            get_renderable=self._render,
            refresh_per_second=_REFRESH_HZ,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def result(self, event: StreamEvent) -> None:
        """Take a result in; it is shown at the next refresh."""
        if self._event is not None and event.accuracy_name != self._event.accuracy_name:
            # Another measure: the samples were learned before. It must not continue the prequential curve.
            self._accuracy, self._window_accuracy = Curve(), Curve()
        self._event = event
        if event.window_loss is not None:
            self._loss.add(event.done, event.window_loss)
        if event.accuracy is not None and event.window_accuracy is not None:
            self._accuracy.add(event.done, 100 * event.accuracy)
            self._window_accuracy.add(event.done, 100 * event.window_accuracy)

    def notice(self, text: str) -> None:
        """Show a line above the view."""
        self._console.print(f"note: {text}", markup=False, highlight=False, style="yellow")

    def silence(self, silence: Silence | None) -> None:
        """Shown at the next refresh."""
        self._silence = silence

    def finish(self, summary: StreamSummary) -> None:
        """Close the view and say how it ended."""
        self.close()
        for line in closing(summary):
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Give the terminal back."""
        live, self._live = self._live, None
        if live is not None:
            live.stop()

    def _render(self) -> RenderableType:
        from rich.console import Group
        from rich.panel import Panel
        from rich.table import Table
        from rich.text import Text

        self._begin_anew_where_resized()
        start, event, silence = self._start, self._event, self._silence
        if start is None:
            return Text("")
        if event is None:
            text = quiet(silence) if silence else "waiting for the first result"
            return Panel(Text(text), title=heading(start), title_align="left")
        width = self._console.width
        parts: list[RenderableType] = []
        charts = self._charts(event, width - 4, self._console.height - (10 if width >= _NARROW else 14))
        if charts is not None:
            parts.append(charts)
        # While nothing comes the last rate would stand there as if it went on.
        rate = quiet(silence) if silence else _rate(event)
        parts.append(self._progress(start, event, rate if width >= _NARROW else ""))
        if width < _NARROW:
            parts.append(Text(rate, no_wrap=True, overflow="ellipsis"))
        columns = 3 if width >= _WIDE else 2 if width >= _NARROW else 1
        grid = Table.grid(padding=(0, 2), expand=True)
        for _ in range(columns):
            grid.add_column(ratio=1)
        figures = (*self._learning(start, event), *self._device(start, event))
        for first in range(0, len(figures), columns):
            grid.add_row(*figures[first : first + columns])
        parts.append(grid)
        return Panel(Group(*parts), title=heading(start), title_align="left", border_style="red" if silence else "cyan")

    def _begin_anew_where_resized(self) -> None:
        """A terminal that was made narrower has broken the lines of the last frame: no cursor movement erases them."""
        before, self._size = self._size, self._console.size
        if self._live is not None and self._size != before:
            self._console.file.write("\x1b[H\x1b[2J")
            self._console.file.flush()

    def _charts(self, event: StreamEvent, width: int, height: int) -> RenderableType | None:
        from rich.table import Table

        if not self._plotter.available or height < 6 or width < 40:
            return None
        curves: list[tuple[str, list[tuple[Curve, str]], bool]] = []
        if self._loss.x:
            curves.append(("loss", [(self._loss, "orange")], False))
        if self._accuracy.x:
            title = f"{event.accuracy_name} %" + (", blue: of the last samples" if width >= _WIDE else "")
            curves.append((title, [(self._window_accuracy, "blue"), (self._accuracy, "green+")], True))
        if not curves:
            return None
        grid = Table.grid(padding=(0, 1))
        side_by_side = len(curves) > 1 and (width >= _WIDE - 4 or height < 20)
        chart_width = (width - 2) // 2 if side_by_side else width
        chart_height = min(16, height if side_by_side else height // len(curves))
        if chart_height < 6:
            curves, chart_height = curves[-1:], min(16, height)
        drawn = [
            self._plotter.draw(title, lines, chart_width, chart_height, percent) for title, lines, percent in curves
        ]
        if side_by_side:
            grid.add_row(*drawn)
        else:
            for chart in drawn:
                grid.add_row(chart)
        return grid

    def _progress(self, start: StreamStart, event: StreamEvent, rate: str) -> RenderableType:
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        line = Table.grid(padding=(0, 2), expand=True)
        line.add_column(no_wrap=True)
        line.add_column(ratio=1)
        line.add_column(no_wrap=True, justify="right")
        repeat = start.options.repeat
        which = f"pass {event.record.pass_number + 1} of {repeat}  " if repeat > 1 else ""
        line.add_row(
            f"{which}{event.done} of {event.total}" if event.total else f"{event.done}",
            ProgressBar(total=event.total, completed=event.done, complete_style="cyan", finished_style="green")
            if event.total
            else "",
            rate,
        )
        return line

    def _learning(self, start: StreamStart, event: StreamEvent) -> tuple[Text, Text, Text]:
        last = f"last {start.options.window}"
        return (
            _figure(event.accuracy_name, "-" if event.accuracy is None else f"{100 * event.accuracy:.1f} %"),
            _figure(
                f"accuracy, {last}", "-" if event.window_accuracy is None else f"{100 * event.window_accuracy:.1f} %"
            ),
            _figure(f"loss, {last}", "-" if event.window_loss is None else f"{event.window_loss:.4g}"),
        )

    def _device(self, start: StreamStart, event: StreamEvent) -> tuple[Text, Text, Text]:
        info = start.info
        static = kib(info.static_ram_bytes) if info.static_ram_bytes else "not known"
        if info.static_ram_bytes and start.board_ram_bytes:
            static = f"{info.static_ram_bytes / 1024:.1f} of {start.board_ram_bytes / 1024:.0f} KiB"
        stack = event.record.stack_bytes
        in_use = part_of(stack, info.stack_size_bytes) if stack else "not known"
        link = count(event.retries, "retry", "retries")
        if event.record.round_trip_s:
            link = f"{1000 * event.record.round_trip_s:.1f} ms, {link}"
        return (
            _figure("static RAM", static),
            _figure("most stack", in_use),
            _figure(
                "round trip" if event.record.round_trip_s else "link",
                link,
                "yellow" if event.retries or event.bad_frames else "",
            ),
        )


class _Plotter:
    """Draws a chart with plotext; its figure is global, so only one thread draws."""

    def __init__(self) -> None:
        self._plotext: Any = None
        try:
            import plotext
        except ImportError:
            return
        # Version 6 has another interface than those before it.
        if hasattr(plotext, "figure") and hasattr(plotext, "marker"):
            self._plotext = plotext

    @property
    def available(self) -> bool:
        return self._plotext is not None

    def draw(self, title: str, lines: list[tuple[Curve, str]], width: int, height: int, percent: bool) -> Text:
        from rich.text import Text

        figure = self._plotext.figure
        figure.clear.all()
        figure.theme("colorless")
        figure.plot_size(width, height)
        figure.title(title)
        for curve, color in lines:
            marker = self._plotext.marker("braille", color)
            y = curve.y if percent else _clipped(curve.y)
            figure.draw(figure.signal(curve.x, y, marker=marker).lines())
        x = lines[0][0].x
        if len(x) > 1:
            ticks = [x[0] + (x[-1] - x[0]) * i / 4 for i in range(5)]
            figure.ruler("x").ticks(ticks, [f"{tick:.0f}" for tick in ticks])
        if percent:
            figure.ruler("y").lim(0, 100)
            figure.ruler("y").ticks([0, 25, 50, 75, 100], ["0", "25", "50", "75", "100"])
        return Text.from_ansi(figure.build().string(), no_wrap=True)


def _clipped(values: list[float]) -> list[float]:
    """The values, none above four times their median: the first losses would flatten all that follow."""
    limit = 4.0 * sorted(values)[len(values) // 2]
    return [min(value, limit) for value in values] if limit > 0 else values


def _total(start: StreamStart) -> str:
    """How many samples there will be, as far as anybody knows."""
    return count(start.total, "sample") if start.total else "samples"


def heading(start: StreamStart) -> str:
    """What is done, in one line."""
    doing = "learning" if start.options.train else "predicting"
    rate = f", learning rate {start.learning_rate:.3g}" if start.learning_rate is not None else ""
    return f"{start.info.board or start.port}: {doing} {_total(start)} of {start.data}{rate}"


def closing(summary: StreamSummary) -> list[str]:
    """How it ended, in lines."""
    how = {"complete": "done", "interrupted": "interrupted", "error": "ended by an error"}[summary.ended]
    reported = f" ({summary.results:,} reported)" if summary.results != summary.samples else ""
    paused = f" ({duration(summary.paused_s)} of it paused)" if summary.paused_s >= 1 else ""
    lines = [
        f"{how}: {count(summary.samples, 'sample')}{reported} in {duration(summary.elapsed_s)}{paused}, "
        f"{summary.samples_per_s:.1f} samples/s, "
        f"{count(summary.link.retries, 'retry', 'retries')}, {count(summary.link.bad_frames, 'bad frame')}"
    ]
    if summary.accuracy is not None:
        line = f"{summary.accuracy_name} {100 * summary.accuracy:.1f} %"
        if summary.training_accuracy is not None:
            which = _unfinished(summary.passes) or "last pass"
            line += f" (first pass), training accuracy {100 * summary.training_accuracy:.1f} % ({which})"
        lines.append(line)
    losses = [score.mean_loss for score in summary.passes if score.mean_loss is not None]
    if losses:
        which = _unfinished(summary.passes)
        lines.append("mean loss " + " -> ".join(f"{loss:.4g}" for loss in losses) + (f" ({which})" if which else ""))
    memory = [f"static RAM {kib(summary.static_ram_bytes)}"] if summary.static_ram_bytes else []
    if summary.stack_bytes:
        memory.append(f"stack {part_of(summary.stack_bytes, summary.stack_size_bytes)}")
    if memory:
        lines.append(", ".join(memory))
    if summary.statistics is not None and summary.statistics.heap_bytes:
        lines.append(f"heap {heap(summary.statistics)}")
    if summary.run:
        lines.append(f"run {summary.run}")
    return lines


def heap(statistics: Statistics) -> str:
    """What is taken of a device's heap, and how whole the rest is."""
    return (
        f"{part_of(statistics.heap_allocated_bytes, statistics.heap_bytes)}, "
        f"largest free block {kib(statistics.heap_largest_free_bytes)}, {count(statistics.collections, 'collection')}"
    )


def _unfinished(passes: tuple[PassScore, ...]) -> str:
    """What the figures of the last pass are of, where it ended early; "" where that is said elsewhere."""
    if len(passes) < 2 or passes[-1].complete:
        return ""
    return f"of the {count(passes[-1].samples, 'sample')} of pass {passes[-1].pass_number + 1}"


def _rate(event: StreamEvent) -> str:
    left = f"  {duration(event.left_s)} left" if event.total else ""
    return f"{event.samples_per_s:.1f} samples/s{left}"


def quiet(silence: Silence) -> str:
    """For how long the device has not answered."""
    return f"no answer for {silence.quiet_s:.0f} s; trying again for {silence.left_s:.0f} s; Ctrl-C ends"


def _figure(name: str, value: str, style: str = "") -> Text:
    from rich.text import Text

    return Text.assemble((f"{name}  ", "dim"), (value, style or "bold"), no_wrap=True, overflow="ellipsis")
