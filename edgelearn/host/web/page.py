"""The page: figures, curves, memory, classes and controls, drawn with NiceGUI and its ECharts.

A page reads the panel twice a second and never talks to the device: what a person asks for goes into the controls.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from nicegui import ui

from edgelearn.host.control import Action, Command
from edgelearn.host.web.panel import ENDS, Line, Panel, Snapshot
from edgelearn.host.words import duration, kib, part_of
from edgelearn.words import count

_REFRESH_S = 0.5
#: Readable on light and on dark ground.
_INK = "#8a8f98"
_RULE = "rgba(128, 128, 128, 0.25)"
_COLORS = {"loss": "#e8833a", "accuracy": "#2fa36b", "window accuracy": "#4c8dd6"}
_STATES = {
    "waiting": "grey",
    "running": "positive",
    "paused": "warning",
    "no answer": "negative",
    "complete": "positive",
    "interrupted": "warning",
    "failed": "negative",
    "ended": "grey",
}
_OVER = (*ENDS, "ended")
#: Once it is over, that the server goes is no failure: the page says so itself, instead of NiceGUI's warning.
_KEEP_CALM = """
document.body.classList.add("is-over");
window.socket.on("disconnect", () => { document.body.classList.add("is-left-alone"); });
"""
_STYLE = """
body.is-over #popup { display: none !important }
body:not(.is-left-alone) .when-left-alone { display: none }
"""
_CARD = "w-full p-4 gap-2"
_NOTHING = "no label"


class Page:
    """One open page.

    Args:
        panel: what is shown.
    """

    def __init__(self, panel: Panel) -> None:
        self._panel = panel
        self._version = -1
        self._known_labels: list[str] | None = None
        self._known_rate: float | None = None
        self._is_filling = False
        self._is_over = False
        self._client = ui.context.client
        ui.add_css(_STYLE)
        ui.query(".nicegui-content").classes("max-w-6xl mx-auto p-3 md:p-6 gap-4 w-full")
        self._head()
        self._figures()
        with ui.element("div").classes("grid grid-cols-1 lg:grid-cols-2 gap-4 w-full"):
            self._loss = _chart("loss, mean of the last samples", percent=False)
            self._accuracy = _chart("accuracy, %", percent=True)
        with ui.element("div").classes("grid grid-cols-1 lg:grid-cols-2 gap-4 w-full items-start"):
            with ui.column().classes("w-full gap-4"):
                self._controls()
                self._classes()
            with ui.column().classes("w-full gap-4"):
                self._device()
                self._notices()
        self._refresh()
        ui.timer(_REFRESH_S, self._refresh)

    @property
    def is_gone(self) -> bool:
        """Whether it was closed."""
        return self._client.is_deleted

    @property
    def is_behind(self) -> bool:
        """Whether a person looks at it who does not see everything yet."""
        return self._client.has_socket_connection and self._version != self._panel.version

    def _head(self) -> None:
        with ui.row().classes("w-full items-center justify-between gap-x-4 gap-y-1"):
            with ui.column().classes("gap-0"):
                self._title = ui.label("edgelearn").classes("text-xl font-semibold")
                self._subtitle = ui.label().classes("text-sm opacity-70")
            self._state = ui.badge("waiting").props('data-name="state"').classes("text-sm px-3 py-1")
        with ui.card().props('flat bordered data-name="outcome"').classes("w-full p-3 gap-1 text-sm") as self._outcome:
            self._lines = ui.column().classes("w-full gap-1")
            gone = ui.label("The program that served this page has ended; this is the last that it showed.")
            gone.classes("when-left-alone opacity-70")
        self._progress = ui.linear_progress(0.0, show_value=False, size="6px").props("rounded instant-feedback")

    def _figures(self) -> None:
        self._values: dict[str, ui.label] = {}
        self._names: dict[str, ui.label] = {}
        with ui.element("div").classes("grid grid-cols-2 sm:grid-cols-3 lg:grid-cols-6 gap-3 w-full"):
            for key in ("samples", "accuracy", "window", "loss", "rate", "last"):
                with ui.card().props("flat bordered").classes("p-3 gap-0"):
                    self._names[key] = ui.label(key).classes("text-xs opacity-70")
                    self._values[key] = (
                        ui.label("-").props(f'data-name="{key}"').classes("text-xl font-semibold truncate w-full")
                    )

    def _controls(self) -> None:
        with ui.card().props("flat bordered").classes(_CARD):
            ui.label("Controls").classes("font-semibold")
            with ui.row().classes("gap-2"):
                self._buttons = {
                    Action.START: self._button("Start", "play_arrow", lambda: self._ask(Action.START)),
                    Action.PAUSE: self._button("Pause", "pause", lambda: self._ask(Action.PAUSE)),
                    Action.SAVE: self._button("Save", "save", lambda: self._ask(Action.SAVE)),
                    Action.RESET: self._button("Reset", "restart_alt", self._ask_reset),
                }
            with ui.row().classes("w-full items-center gap-2"):
                self._name = ui.input("name of a new class").props('dense data-name="class-name"').classes("grow")
                self._buttons[Action.ADD_CLASS] = self._button("Add class", "add", self._ask_class)
            with ui.row().classes("w-full items-center gap-2"):
                self._rate = ui.input("learning rate").props('dense inputmode="decimal" data-name="rate"')
                self._rate.classes("grow")
                self._buttons[Action.LEARNING_RATE] = self._button("Set", "check", self._ask_rate)
            self._label_row = ui.row().classes("w-full items-center gap-2")
            with self._label_row:
                self._label = ui.select([_NOTHING], value=_NOTHING, label="what the sensor sees now")
                self._label.props('dense data-name="label"').classes("grow").on_value_change(self._ask_label)
            self._reset_dialog = self._dialog()

    def _dialog(self) -> ui.dialog:
        with ui.dialog() as dialog, ui.card():
            ui.label("The device forgets what it has learned.").classes("font-semibold")
            ui.label(
                "Its head becomes what it was when the firmware was generated, in the memory where it is saved too."
            )
            with ui.row().classes("w-full justify-end"):
                ui.button("Keep", on_click=lambda: dialog.submit(False)).props("flat no-caps")
                ui.button("Forget", color="negative", on_click=lambda: dialog.submit(True)).props("no-caps")
        return dialog

    def _button(self, text: str, icon: str, on_click: Callable[[], Any]) -> ui.button:
        button = ui.button(text, icon=icon, on_click=on_click)
        button.props(f'no-caps unelevated data-name="{text.lower().replace(" ", "-")}"')
        with button:
            button.tooltip("")
        return button

    def _device(self) -> None:
        with ui.card().props("flat bordered").classes(_CARD):
            ui.label("Device").classes("font-semibold")
            self._memory = ui.column().classes("w-full gap-2")
            with self._memory:
                self._bars = {name: _Bar(name) for name in ("static RAM", "stack", "receive buffer")}
            self._facts = ui.element("div").classes("grid grid-cols-[auto_1fr] gap-x-4 gap-y-1 text-sm w-full")
            self._shown_facts: list[tuple[str, str]] = []

    def _classes(self) -> None:
        with ui.card().props("flat bordered").classes(_CARD) as self._class_card:
            ui.label("Classes").classes("font-semibold")
            columns = [
                {"name": "name", "label": "class", "field": "name", "align": "left"},
                {"name": "samples", "label": "samples", "field": "samples"},
                {"name": "accuracy", "label": "predicted right", "field": "accuracy"},
                {"name": "predicted", "label": "taken for it", "field": "predicted"},
            ]
            self._table = ui.table(columns=columns, rows=[], row_key="name").props("flat dense hide-bottom")
            self._table.props('data-name="classes"').classes("w-full")

    def _notices(self) -> None:
        with ui.card().props("flat bordered").classes(_CARD):
            ui.label("What happened").classes("font-semibold")
            self._happened = (
                ui.column().props('data-name="notices"').classes("w-full gap-1 text-sm max-h-80 overflow-auto")
            )
            self._shown_notices: tuple[Any, ...] | None = None

    def _ask(self, action: Action, **values: Any) -> None:
        self._panel.controls.ask(Command(action=action, **values))

    async def _ask_reset(self) -> None:
        if await self._reset_dialog:
            self._ask(Action.RESET)

    def _ask_class(self) -> None:
        name = (self._name.value or "").strip()
        if not name:
            ui.notify("Give the class a name.", type="warning")
            return
        self._ask(Action.ADD_CLASS, text=name)
        self._name.value = ""

    def _ask_rate(self) -> None:
        try:
            rate = float((self._rate.value or "").strip().replace(",", "."))
        except ValueError:
            rate = math.nan
        is_one = math.isfinite(rate) and rate >= 0
        self._rate.error = None if is_one else "a number is needed, such as 0.001"
        if is_one:
            self._ask(Action.LEARNING_RATE, value=rate)

    def _ask_label(self) -> None:
        if not self._is_filling:
            self._ask(Action.LABEL, text="" if self._label.value == _NOTHING else str(self._label.value))

    def _refresh(self) -> None:
        shown = self._panel.snapshot()
        if shown.version == self._version:
            return
        self._version = shown.version
        self._show_head(shown)
        self._show_figures(shown)
        _draw(self._loss, shown.loss)
        _draw(self._accuracy, shown.accuracy)
        self._show_controls(shown)
        self._show_device(shown)
        self._show_classes(shown)
        self._show_notices(shown)

    def _show_head(self, shown: Snapshot) -> None:
        self._title.text = shown.heading or "edgelearn"
        if shown.start is not None and shown.info is not None:
            self._subtitle.text = f"{shown.start.port} · model {shown.info.model_hash}" + (
                f" · {shown.start.run}" if shown.start.run else ""
            )
        self._state.text = shown.state
        self._state.props(f"color={_STATES[shown.state]}")
        self._outcome.visible = shown.state in _OVER
        if shown.state in _OVER and not self._is_over:
            self._is_over = True
            with self._lines:
                for line in shown.outcome:
                    ui.label(line).classes("break-all")
            ui.run_javascript(_KEEP_CALM)
        total, event = (shown.start.total if shown.start else 0), shown.event
        self._progress.visible = total > 0
        if total and event is not None:
            self._progress.value = event.done / total

    def _show_figures(self, shown: Snapshot) -> None:
        event, start = shown.event, shown.start
        if event is None or start is None or shown.info is None:
            return
        last = f"last {start.options.window}"
        self._names["accuracy"].text = event.accuracy_name
        self._names["window"].text = f"accuracy, {last}"
        self._names["loss"].text = f"loss, {last}"
        left = f" · {duration(event.left_s)} left" if event.total else ""
        if shown.silence is not None:
            left = f" · no answer for {shown.silence.quiet_s:.0f} s"
        elif shown.state in _OVER:
            left = ""
        self._names["rate"].text = f"samples/s{left}"
        self._names["last"].text = f"last prediction · {100 * event.record.confidence:.0f} %"
        values = self._values
        values["samples"].text = f"{event.done:,}" + (f" of {event.total:,}" if event.total else "")
        values["accuracy"].text = _share(event.accuracy)
        values["window"].text = _share(event.window_accuracy)
        values["loss"].text = "-" if event.window_loss is None else f"{event.window_loss:.4g}"
        values["rate"].text = f"{event.samples_per_s if shown.silence is None else 0:.1f}"
        values["last"].text = shown.info.label_name(event.record.prediction)

    def _show_controls(self, shown: Snapshot) -> None:
        why = dict(shown.unavailable)
        if Action.START in why and not why[Action.START]:
            why[Action.START] = "" if shown.state == "paused" else "it is running"
            why[Action.PAUSE] = "" if shown.state == "running" else "it is paused"
        for action, button in self._buttons.items():
            reason = why.get(action, "not possible here")
            button.set_enabled(not reason)
            for tip in button.default_slot.children:
                if isinstance(tip, ui.tooltip):
                    tip.text = reason or button.text
        self._name.set_enabled(not why.get(Action.ADD_CLASS, "-"))
        self._rate.set_enabled(not why.get(Action.LEARNING_RATE, "-"))
        if shown.learning_rate != self._known_rate and shown.learning_rate is not None:
            # Only when it has changed: a person may be typing.
            self._known_rate = shown.learning_rate
            self._rate.value = f"{shown.learning_rate:.3g}"
            self._rate.error = None
        self._label_row.visible = Action.LABEL in why
        if Action.LABEL in why and shown.info is not None:
            labels = [_NOTHING, *(entry.name for entry in shown.classes)]
            self._is_filling = True
            if labels != self._known_labels:
                self._known_labels = labels
                self._label.set_options(labels)
            self._label.value = shown.label or _NOTHING
            self._is_filling = False

    def _show_device(self, shown: Snapshot) -> None:
        info, event, statistics, start = shown.info, shown.event, shown.statistics, shown.start
        if info is None or start is None:
            return
        self._bars["static RAM"].show(info.static_ram_bytes, start.board_ram_bytes or 0)
        stack = max(event.record.stack_bytes if event else 0, statistics.stack_bytes if statistics else 0)
        self._bars["stack"].show(stack, info.stack_size_bytes)
        self._bars["receive buffer"].show(statistics.ring_bytes if statistics else 0, info.receive_bytes)
        facts: list[tuple[str, str]] = []
        if statistics is not None:
            phases = {
                "inference": statistics.inference_stack_bytes,
                "update": statistics.train_stack_bytes,
                "save": statistics.save_stack_bytes,
            }
            used = ", ".join(f"{name} {size}" for name, size in phases.items() if size)
            facts.append(("most stack, bytes", used or "not known"))
        # The clock of an emulator says nothing of the board's.
        if shown.inference_ms is not None and "://" not in start.port:
            times = f"inference {shown.inference_ms:.3g} ms"
            facts.append(("time", times + (f", update {shown.train_ms:.3g} ms" if shown.train_ms is not None else "")))
        if event is not None:
            facts.append(("training steps", f"{event.record.step:,}"))
            link = f"{count(event.retries, 'retry', 'retries')}, {count(event.bad_frames, 'bad frame')}"
            if event.record.round_trip_s:
                link = f"round trip {1000 * event.record.round_trip_s:.1f} ms, {link}"
            facts.append(("link", link))
        if shown.learning_rate is not None:
            facts.append(("learning rate", f"{shown.learning_rate:.3g}"))
        if info.can_save:
            saved_step = statistics.saved_step if statistics else info.saved_step
            saves = statistics.saves if statistics else info.saves
            facts.append(("saved head", f"number {saves}, of step {saved_step:,}" if saves else "none"))
        if facts != self._shown_facts:
            self._shown_facts = facts
            self._facts.clear()
            with self._facts:
                for name, value in facts:
                    ui.label(name).classes("opacity-70")
                    ui.label(value).classes("text-right")

    def _show_classes(self, shown: Snapshot) -> None:
        self._class_card.visible = bool(shown.classes)
        self._table.rows = [
            {
                "name": entry.name,
                "samples": f"{entry.samples:,}",
                "accuracy": f"{100 * entry.correct / entry.samples:.1f} %" if entry.samples else "-",
                "predicted": f"{entry.predicted:,}",
            }
            for entry in shown.classes
        ]

    def _show_notices(self, shown: Snapshot) -> None:
        if shown.notices == self._shown_notices:
            return
        self._shown_notices = shown.notices
        self._happened.clear()
        with self._happened:
            for notice in shown.notices:
                with ui.row().classes("gap-2 no-wrap items-baseline"):
                    ui.label(notice.time).classes("opacity-60 tabular-nums")
                    ui.label(notice.text)
            if not shown.notices:
                ui.label("nothing yet").classes("opacity-60")


class _Bar:
    """How much of a memory is used."""

    def __init__(self, name: str) -> None:
        with ui.column().classes("w-full gap-0") as self._all:
            with ui.row().classes("w-full justify-between text-sm"):
                ui.label(name).classes("opacity-70")
                self._text = ui.label("-")
            self._bar = ui.linear_progress(0.0, show_value=False, size="8px").props("rounded")

    def show(self, part_bytes: int, whole_bytes: int) -> None:
        """Show a part of a whole; 0 where the whole is not known."""
        if not part_bytes:
            self._text.text = "not known"
        else:
            self._text.text = part_of(part_bytes, whole_bytes) if whole_bytes else kib(part_bytes)
        self._bar.visible = bool(part_bytes and whole_bytes)
        if self._bar.visible:
            self._bar.value = min(1.0, part_bytes / whole_bytes)


def _chart(title: str, *, percent: bool) -> ui.echart:
    y_axis: dict[str, Any] = {
        "type": "value",
        "axisLabel": {"color": _INK},
        "splitLine": {"lineStyle": {"color": _RULE}},
    }
    if percent:
        y_axis |= {"min": 0, "max": 100}
    with ui.card().props("flat bordered").classes(_CARD):
        ui.label(title).classes("font-semibold")
        return ui.echart(
            {
                "animation": False,
                "textStyle": {"color": _INK},
                "grid": {"left": 8, "right": 16, "top": 28, "bottom": 4, "containLabel": True},
                "legend": {"show": percent, "top": 0, "right": 0, "icon": "roundRect", "textStyle": {"color": _INK}},
                "tooltip": {"trigger": "axis"},
                "xAxis": {
                    "type": "value",
                    "min": "dataMin",
                    "max": "dataMax",
                    "axisLabel": {"color": _INK, "hideOverlap": True, "showMaxLabel": False},
                    "axisLine": {"lineStyle": {"color": _RULE}},
                    "splitLine": {"show": False},
                },
                "yAxis": y_axis,
                "series": [],
            }
        ).classes("w-full h-64")


def _draw(chart: ui.echart, lines: tuple[Line, ...]) -> None:
    chart.options["series"] = [
        {
            "name": line.name,
            "type": "line",
            "showSymbol": len(line.points) == 1,
            "lineStyle": {"width": 2, "color": _COLORS[line.name]},
            "itemStyle": {"color": _COLORS[line.name]},
            "data": [[x, float(f"{y:.5g}")] for x, y in line.points],
        }
        for line in lines
    ]
    chart.update()


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"
