"""`edgelearn report`: a run as one HTML page that needs nothing else: no network, no script, no other file.

The page's text and tables stand in `pages/report.html.j2`, its drawings in `report_figures.py`; here are the numbers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edgelearn import resources
from edgelearn.bundle import check_folder, write_atomically
from edgelearn.errors import HeadError
from edgelearn.host.curves import column, measured
from edgelearn.host.head import HeadState, load_head
from edgelearn.host.report_figures import draw
from edgelearn.host.runs import RunFigures, figures, spread
from edgelearn.host.telemetry import HEAD, HEAD_BEFORE, Run, read_run
from edgelearn.host.words import duration, kib
from edgelearn.protocol import LossCode, ResidualCode
from edgelearn.words import count, noun

REPORT = "report.html"
#: Up to so many classes each has its row and column everywhere; of more, the least accurate ones.
_MOST_CLASSES = 24
#: Parts of the run in the table of classes over time.
_MOST_PARTS = 24
_MOST_PAIRS = 20
_MOST_HEAD_ROWS = 24
_MOST_EVENTS = 200


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was written: of which run, where, how large."""

    run: str
    output: str
    size_bytes: int


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """A cell of a shaded table.

    Attributes:
        text: what stands in it.
        share: 0 to 1, how dark; None without a value.
        title: what it says at length.
        good: shaded as something right rather than wrong.
    """

    text: str
    share: float | None
    title: str = ""
    good: bool = True


class Shaded(msgspec.Struct, frozen=True, kw_only=True):
    """A table whose cells are shaded: names of rows and columns, and the cells by row."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[Cell, ...], ...]


class ClassRow(msgspec.Struct, frozen=True, kw_only=True):
    """One class in the first pass.

    Attributes:
        samples: that were of it.
        predicted: that were taken for it.
        correct: of both kinds.
        often_taken_for: the class it was most often taken for instead, "" where it never was.
        last_accuracy: in the last pass, None where that is the first.
    """

    name: str
    samples: int
    predicted: int
    correct: int
    often_taken_for: str
    last_accuracy: float | None

    @property
    def accuracy(self) -> float:
        """Share of its samples that were predicted right."""
        return self.correct / self.samples if self.samples else 0.0

    @property
    def precision(self) -> float | None:
        """Share of right ones among the predictions of it."""
        return self.correct / self.predicted if self.predicted else None


class Classes(msgspec.Struct, frozen=True, kw_only=True):
    """How the classes fared.

    Attributes:
        rows: all of them, by number.
        shown: those in the shaded tables and, unless it is all, least accurate first.
        confusion: row: the right class, column: the prediction, cell: samples of the first pass.
        over_time: accuracy of each class in parts of the run.
        pairs: (right class, prediction, samples) of the most frequent mistakes.
    """

    rows: tuple[ClassRow, ...]
    shown: tuple[ClassRow, ...]
    confusion: Shaded
    over_time: Shaded
    pairs: tuple[tuple[str, str, int], ...]


class HeadRow(msgspec.Struct, frozen=True, kw_only=True):
    """How one row of the head changed.

    Attributes:
        before, after: length of its weights.
        change: length of the difference.
        steps: weights whose int8 part changed.
        bias_before, bias_after: in real units.
    """

    name: str
    before: float
    after: float
    change: float
    steps: int
    weights: int
    bias_before: float
    bias_after: float

    @property
    def relative(self) -> float | None:
        """The change in relation to the length before; None for a row that was empty."""
        return self.change / self.before if self.before else None


def write_report(path: Path, output: Path | None = None) -> Report:
    """Write the page of a run.

    Args:
        path: the run's folder.
        output: the page; by default `report.html` in the folder.

    Raises:
        DataError: the folder is no run.
        MissingPackageError: matplotlib is not installed.
        StorageError: the page could not be written.
    """
    output = output or path / REPORT
    check_folder(output)
    page = render_report(read_run(path)).encode()
    write_atomically(output, page)
    return Report(run=str(path), output=str(output), size_bytes=len(page))


def render_report(run: Run) -> str:
    """The page of a run, as HTML.

    Raises:
        MissingPackageError: matplotlib is not installed.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(resources.pages_folder()),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "percent": lambda share: "–" if share is None else f"{100 * share:.1f} %",
        "number": lambda value: "–" if value is None else f"{value:.4g}",
        "length3": lambda value: f"{value:.3g}",
        "bias": lambda value: f"{value:+.3f}" if abs(value) < 100 else f"{value:+.3g}",
        "integer": lambda value: "–" if value is None else f"{value:,}",
        "ms": lambda seconds: "–" if seconds is None else f"{1000 * seconds:.3g} ms",
        "kib": kib,
        "duration": duration,
        "count": count,
    }
    notes = [*run.problems]
    head = head_rows(run, notes)
    grown = sorted(((row.name, row.relative) for row in head if row.relative is not None), key=lambda row: -row[1])
    changed = tuple(grown[:_MOST_HEAD_ROWS])
    return environment.get_template("report.html.j2").render(
        run=run,
        manifest=run.manifest,
        device=run.manifest.device,
        figures=(found := figures(run)),
        title=_title(run, found),
        notes=(*notes, *(run.summary.notices if run.summary else ())),
        drawings=draw(run, changed),
        classes=_classes(run, found),
        head=head,
        head_shown=len(changed),
        head_grown=len(grown),
        memory=_memory(run, found),
        phases=_phases(run),
        times=_times(run, found),
        link=_counters(run),
        events=run.events[-_MOST_EVENTS:],
        facts=_facts(run),
    )


def _title(run: Run, found: RunFigures) -> str:
    doing = "learning" if found.train else "prediction"
    return f"{found.data or found.name}: {doing} on {run.manifest.board or 'a device'}"


def _classes(run: Run, found: RunFigures) -> Classes | None:
    """How the classes fared; None where nothing was judged."""
    if not found.passes or not found.passes[0].classes:
        return None
    name = run.label_name
    judged = [record for record in run.records if record.label is not None]
    first = [record for record in judged if record.pass_number == judged[0].pass_number]
    last = [record for record in judged if record.pass_number == judged[-1].pass_number]
    labels = np.array([record.label for record in first], dtype=np.int64)
    predictions = np.array([record.prediction for record in first], dtype=np.int64)
    numbers = np.unique(np.concatenate([labels, predictions]))
    places = np.searchsorted(numbers, labels), np.searchsorted(numbers, predictions)
    matrix = np.zeros((len(numbers), len(numbers)), dtype=np.int64)
    np.add.at(matrix, places, 1)
    last_right: dict[int, list[bool]] = {}
    if last[0].pass_number != first[0].pass_number:
        for record in last:
            last_right.setdefault(record.label or 0, []).append(bool(record.correct))
    rows = []
    for place, number in enumerate(numbers):
        mistakes = matrix[place].copy()
        mistakes[place] = 0
        right = last_right.get(int(number))
        rows.append(
            ClassRow(
                name=name(int(number)),
                samples=int(matrix[place].sum()),
                predicted=int(matrix[:, place].sum()),
                correct=int(matrix[place, place]),
                often_taken_for=name(int(numbers[mistakes.argmax()])) if mistakes.any() else "",
                last_accuracy=sum(right) / len(right) if right else None,
            )
        )
    # Of many classes those that were wrong most often, in the order of their accuracy.
    shown = np.arange(len(numbers))
    if len(numbers) > _MOST_CLASSES:
        wrong = matrix.sum(axis=1) - matrix.diagonal()
        shown = np.argsort(-wrong, kind="stable")[:_MOST_CLASSES]
        shown = np.array(sorted(shown, key=lambda place: rows[place].accuracy))
    off = matrix.copy()
    np.fill_diagonal(off, 0)
    order = np.argsort(-off, axis=None, kind="stable")[:_MOST_PAIRS]
    pairs = [(int(i), int(j)) for i, j in zip(*np.unravel_index(order, off.shape), strict=True) if off[i, j]]
    return Classes(
        rows=tuple(rows),
        shown=tuple(rows[place] for place in shown),
        confusion=_confusion(matrix, rows, shown.tolist()),
        over_time=_over_time(run, [(int(numbers[place]), rows[place].name) for place in shown]),
        pairs=tuple((rows[i].name, rows[j].name, int(off[i, j])) for i, j in pairs),
    )


def _confusion(matrix: Any, rows: list[ClassRow], shown: list[int]) -> Shaded:
    """Samples by right class and prediction; a last column for the predictions that are not shown."""
    others = len(shown) < len(rows)
    cells = []
    for i in shown:
        total = rows[i].samples
        line = []
        for j in shown:
            samples = int(matrix[i, j])
            said = f"{rows[i].name} taken for {rows[j].name}: {samples:,} of {total:,}"
            share = samples / total if samples else None
            line.append(Cell(text=f"{samples:,}" if samples else "", share=share, title=said, good=i == j))
        if others:
            samples = total - int(matrix[i, shown].sum())
            share = samples / total if samples else None
            said = f"{rows[i].name} taken for others: {samples:,} of {total:,}"
            line.append(Cell(text=f"{samples:,}" if samples else "", share=share, title=said, good=False))
        cells.append(tuple(line))
    names = tuple(rows[i].name for i in shown)
    return Shaded(rows=names, columns=(*names, "others") if others else names, cells=tuple(cells))


def _over_time(run: Run, classes: list[tuple[int, str]]) -> Shaded:
    """Accuracy of each class in equal parts of the run."""
    labels, correct = column(run.records, "label"), column(run.records, "correct")
    parts = np.array_split(np.arange(len(labels)), min(_MOST_PARTS, max(1, len(labels) // 10)))
    cells = []
    for number, name in classes:
        line = []
        for part in parts:
            values = correct[part][labels[part] == number]
            said = f"{name}, samples {part[0] + 1:,} to {part[-1] + 1:,}: "
            if len(values):
                share = float(values.mean())
                said += f"{100 * share:.0f} % of {len(values):,}"
                line.append(Cell(text=f"{100 * share:.0f}", share=share, title=said))
            else:
                line.append(Cell(text="", share=None, title=said + "none of it"))
        cells.append(tuple(line))
    columns = tuple(f"{part[0] + 1:,}" for part in parts)
    return Shaded(rows=tuple(name for _, name in classes), columns=columns, cells=tuple(cells))


def head_rows(run: Run, notes: list[str]) -> tuple[HeadRow, ...]:
    """How each row of the head changed; none without both heads. What keeps them from being read goes to `notes`."""
    paths = run.path / HEAD_BEFORE, run.path / HEAD
    if not all(path.exists() for path in paths):
        return ()
    try:
        before, after = (load_head(path) for path in paths)
        return _head_rows(run, before, after)
    except HeadError as error:
        notes.append(str(error))
        return ()


def _head_rows(run: Run, before: HeadState, after: HeadState) -> tuple[HeadRow, ...]:
    if before.q.shape[1:] != after.q.shape[1:]:
        raise HeadError("the heads before and after have different features")
    old, new = before.weights(), after.weights()
    found = []
    # A class that was added meanwhile has no row before.
    for row in range(len(new)):
        was = old[row] if row < len(old) else np.zeros_like(new[row])
        same = before.q[row] == after.q[row] if row < len(old) else np.zeros(len(new[row]), bool)
        found.append(
            HeadRow(
                name=run.label_name(row),
                before=float(np.linalg.norm(was)),
                after=float(np.linalg.norm(new[row])),
                change=float(np.linalg.norm(new[row] - was)),
                steps=int((~same).sum()),
                weights=len(new[row]),
                bias_before=float(before.biases()[row]) if row < len(old) else 0.0,
                bias_after=float(after.biases()[row]),
            )
        )
    return tuple(found)


def _memory(run: Run, found: RunFigures) -> list[dict[str, Any]]:
    """Bars of memory: what each is of, its size, and its parts with their colours."""
    if not found.static_ram_bytes:
        return []
    whole = run.manifest.board_ram_bytes or 0
    taken = found.static_ram_bytes + found.stack_size_bytes
    parts = [
        ("static data: arena, head, buffers", found.static_ram_bytes, "blue"),
        ("stack, reserved", found.stack_size_bytes, "orange"),
    ]
    if whole > taken:
        parts.append(("free", whole - taken, "line"))
    bars = [{"name": "RAM", "size": max(whole, taken), "parts": parts}]
    if found.stack_bytes and found.stack_size_bytes:
        stack = [("most in use", found.stack_bytes, "orange")]
        if found.stack_size_bytes > found.stack_bytes:
            stack.append(("never used", found.stack_size_bytes - found.stack_bytes, "line"))
        bars.append({"name": "Stack", "size": found.stack_size_bytes, "parts": stack})
    counted = run.summary.statistics if run.summary else None
    if counted is not None and counted.heap_bytes:
        largest = min(counted.heap_largest_free_bytes, counted.heap_free_bytes)
        heap = [
            ("taken", counted.heap_allocated_bytes, "blue"),
            ("largest free block", largest, "orange"),
            ("free elsewhere", counted.heap_free_bytes - largest, "line"),
        ]
        bars.append({"name": "Heap", "size": counted.heap_bytes, "parts": [part for part in heap if part[1]]})
    return bars


def _phases(run: Run) -> list[tuple[str, int, float]]:
    """Name of each phase, the most stack that it has taken in bytes, and its share of what is reserved."""
    found = run.summary.statistics if run.summary else None
    if found is None or not found.stack_size_bytes:
        return []
    phases = [
        ("inference", found.inference_stack_bytes),
        ("update", found.train_stack_bytes),
        ("saving", found.save_stack_bytes),
        ("all of it", found.stack_bytes),
    ]
    return [(name, size, size / found.stack_size_bytes) for name, size in phases if size]


def _times(run: Run, found: RunFigures) -> list[tuple[str, Any]]:
    """Name and spread of each time that was measured."""
    rows = [
        ("round trip", found.round_trip_s),
        ("inference on the device", found.inference_s),
        ("update on the device", found.train_s),
    ]
    if found.inference_s is None:
        # A counter without a known frequency: its ticks say more than nothing.
        ticks = column(run.records, "inference_ticks")
        rows.append(("inference, ticks / 1000", spread(measured(ticks) / 1e6)))
    return [(name, values) for name, values in rows if values is not None]


#: Names of counters; others are called as they are.
_COUNTERS = {
    "requests": "requests answered",
    "retries": "frames sent again",
    "bad_frames": "pieces received that were no frame",
    "stale_frames": "late or repeated replies",
    "round_trip_s": "last round trip",
    "round_trip_mean_s": "mean round trip, without repeats",
    "round_trip_p95_s": "95 % of the last round trips within",
    "crc_errors": "CRC errors",
    "ring_bytes": "receive buffer, most in use, bytes",
    "repeats": "repeated requests, answered again",
    "gaps": "requests that did not arrive",
    "overruns": "bytes lost for want of room",
    "failed_saves": "saves between samples that failed",
}
#: Counters that the page shows in other places.
_ELSEWHERE = {
    "step",
    "saved_step",
    "stack_bytes",
    "static_ram_bytes",
    "stack_size_bytes",
    "inference_stack_bytes",
    "train_stack_bytes",
    "save_stack_bytes",
    "heap_free_bytes",
    "heap_allocated_bytes",
    "heap_largest_free_bytes",
    "collections",
}


def _counters(run: Run) -> list[tuple[str, list[tuple[str, str]]]]:
    """What host and device counted, as far as it was read."""
    if run.summary is None:
        return []

    def named(values: msgspec.Struct) -> list[tuple[str, str]]:
        rows = []
        for name, value in msgspec.to_builtins(values).items():
            if name in _ELSEWHERE or isinstance(value, bool) or not isinstance(value, int | float):
                continue
            shown = f"{1000 * value:.3g} ms" if name.endswith("_s") else f"{value:,}"
            rows.append((_COUNTERS.get(name, name.replace("_", " ")), shown))
        return rows

    found = [("the host counted", named(run.summary.link))]
    if run.summary.statistics is not None:
        rows = named(run.summary.statistics)
        if run.summary.statistics.heap_bytes:
            rows.append(("collections of garbage", f"{run.summary.statistics.collections:,}"))
        found.append(("the device counted since its reset", rows))
    return found


def _facts(run: Run) -> list[tuple[str, list[tuple[str, str]]]]:
    """What was run, in groups."""
    manifest, device, options = run.manifest, run.manifest.device, run.manifest.options

    def tensors(values: tuple[Any, ...]) -> str:
        return ", ".join(f"{tensor.name} ({tensor.elements:,} {tensor.type.name.lower()})" for tensor in values)

    trainable = []
    if device.is_trainable:
        trainable = [
            (
                "trainable layer",
                f"{device.output_elements:,} {noun(device.output_elements, 'output')} on "
                f"{device.feature_elements:,} {noun(device.feature_elements, 'feature')}",
            ),
            ("weights", ResidualCode(device.residual).name.lower() + " residual"),
            ("loss", LossCode(device.loss).name.lower().replace("_", " ")),
            ("learning rate at the start", f"{device.learning_rate:.4g}"),
            ("training steps at the start", f"{device.step:,}"),
            ("head kept without power", "yes" if device.can_save else "no"),
        ]
    groups = [
        (
            "Run",
            [
                ("folder", run.path.resolve().name),
                ("began", manifest.created_utc),
                ("command", " ".join(manifest.command)),
                ("port", manifest.port),
            ],
        ),
        (
            "Model and data",
            [
                ("bundle", manifest.bundle),
                ("bundle, SHA-256", manifest.bundle_sha256),
                ("model hash", manifest.model_hash),
                ("data", manifest.data),
                ("data, SHA-256", manifest.data_sha256),
            ],
        ),
        (
            "Device",
            [
                ("board", manifest.board),
                ("RAM of the board", kib(manifest.board_ram_bytes) if manifest.board_ram_bytes else ""),
                ("counter", f"{device.counter_hz / 1e6:g} MHz" if device.counter_hz else ""),
                ("inputs", tensors(device.inputs)),
                ("outputs", tensors(device.outputs)),
                *trainable,
                ("protocol", f"version {device.protocol_version}" if device.protocol_version else ""),
            ],
        ),
        (
            "Options",
            [(name.replace("_", " "), _option(value)) for name, value in msgspec.structs.asdict(options).items()],
        ),
        ("Versions", [(name, version) for name, version in manifest.versions.items()]),
    ]
    kept = [(title, [(name, text) for name, text in rows if text]) for title, rows in groups]
    return [(title, rows) for title, rows in kept if rows]


def _option(value: object) -> str:
    if value is None:
        return ""
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
