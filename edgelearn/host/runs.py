"""Runs as a person compares them: which there are, and the figures and curves of each, from what its folder holds.

Everything is formed from the results themselves, so that a run without a summary (the host crashed, or still streams)
has the same figures as a finished one.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from edgelearn.errors import DataError
from edgelearn.host.curves import accuracy_curve, column, loss_curve, measured
from edgelearn.host.metrics import Metrics, PassScore
from edgelearn.host.telemetry import MANIFEST, RESULTS, Record, Run, read_run
from edgelearn.words import count

#: The word for the newest run.
LAST = "last"
#: How a run without a summary ended: it still runs, or its host crashed.
UNFINISHED = "unfinished"
DAMAGED = "damaged"


class RunLine(msgspec.Struct, frozen=True, kw_only=True):
    """One run in a list.

    Attributes:
        name: of its folder.
        created_utc: ISO 8601, "" where the manifest is gone.
        ended: `complete`, `interrupted`, `error`, `unfinished` (it still runs, or its host crashed) or `damaged`.
        accuracy_name: what the accuracy is called.
        accuracy: of the first pass, None without classes.
        mean_loss: of the first pass, None without losses.
        samples: that the device has taken, see `RunFigures`.
        elapsed_s: from the first sample to the last result.
        problems: what of the folder is missing or damaged.
    """

    name: str
    path: str
    created_utc: str = ""
    board: str = ""
    data: str = ""
    train: bool = False
    ended: str
    samples: int = 0
    accuracy_name: str = ""
    accuracy: float | None = None
    mean_loss: float | None = None
    elapsed_s: float = 0.0
    problems: tuple[str, ...] = ()


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """How values are distributed; of times in seconds."""

    minimum: float
    median: float
    mean: float
    p95: float
    p99: float
    maximum: float


class RunFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one run.

    Attributes:
        name: of its folder.
        emulated: whose times these are where the device was emulated, or may have been; "" on a board.
        ended: see `RunLine`.
        error: the message, if it ended with one.
        learning_rate: that was in force, as far as it is known; None where nothing was learned.
        samples: that the device has taken, as far as it has told; `StreamSummary` says the same number.
        results: received, each of one sample: fewer than samples where a device does not report each of its own sensor.
        step: training steps of the device at the last result.
        accuracy_name: what the accuracy of the first pass is called.
        accuracy: of the first pass; None without classes.
        training_accuracy: of the last pass, if it was not the first and the device learned.
        window: samples of the sliding means.
        window_accuracy: of the last so many samples.
        window_loss: mean of the last so many samples.
        passes: the figures of each pass.
        elapsed_s: from the first sample to the last result.
        paused_s: how much of it the run was paused.
        samples_per_s: over the time in which it was not paused.
        round_trip_s: from sending a sample to its result; None where none was sent.
        inference_s: the device's own time of a forward pass; None without a counter of a known frequency.
        train_s: the same of an update.
        stack_bytes: high-water mark of the stack.
        retries: frames sent again for samples.
        crc_errors: replies with a wrong checksum.
        resets, reconnects, saves: how often each happened.
        problems: what of the folder is missing or damaged.
    """

    name: str
    path: str
    created_utc: str
    board: str
    port: str
    emulated: str
    data: str
    bundle: str
    model_hash: str
    train: bool
    ended: str
    error: str
    learning_rate: float | None
    samples: int
    results: int
    step: int
    accuracy_name: str
    accuracy: float | None
    training_accuracy: float | None
    window: int
    window_accuracy: float | None
    window_loss: float | None
    passes: tuple[PassScore, ...]
    elapsed_s: float
    paused_s: float
    samples_per_s: float
    round_trip_s: Spread | None
    inference_s: Spread | None
    train_s: Spread | None
    static_ram_bytes: int
    stack_bytes: int
    stack_size_bytes: int
    retries: int
    crc_errors: int
    resets: int
    reconnects: int
    saves: int
    problems: tuple[str, ...]

    @property
    def mean_loss(self) -> float | None:
        """Mean loss of the last pass."""
        return self.passes[-1].mean_loss if self.passes else None


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """A value over the samples streamed: the sliding mean at `samples[i]` is `values[i]`."""

    samples: tuple[int, ...]
    values: tuple[float, ...]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Runs side by side.

    Attributes:
        runs: the figures of each.
        accuracy: for each run, the accuracy of the last samples at the checkpoints that it reached.
        loss: the same of the loss.
    """

    runs: tuple[RunFigures, ...]
    accuracy: tuple[Curve, ...]
    loss: tuple[Curve, ...]


def find_runs(folder: Path) -> tuple[Path, ...]:
    """The run folders in a folder, the oldest first; none where the folder does not exist."""
    if not folder.is_dir():
        return ()
    found = (path for path in folder.iterdir() if (path / MANIFEST).exists() or (path / RESULTS).exists())
    # Names begin with the time; the number that tells runs of one second apart follows the shared name.
    return tuple(sorted(found, key=lambda path: (path.name[:16], len(path.name), path.name)))


def select_run(text: str, folder: Path) -> Path:
    """The run that a person means: a folder, `last`, or a part of the name of one run in `folder`.

    Raises:
        DataError: no run, or several, are meant.
    """
    if text and Path(text).is_dir():
        return Path(text)
    known = find_runs(folder)
    hint = f"`edgelearn runs list --runs {folder}` lists them"
    if text == LAST:
        if not known:
            raise DataError(f"{folder} holds no runs", hint="`edgelearn stream` makes one; --runs names another folder")
        return known[-1]
    meant = [path for path in known if path.name == text] or [path for path in known if text and text in path.name]
    if not meant:
        raise DataError(f"there is no run {text or 'without a name'}, neither here nor in {folder}", hint=hint)
    if len(meant) > 1:
        names = ", ".join(path.name for path in meant[:4]) + (", ..." if len(meant) > 4 else "")
        raise DataError(f"{text} is part of {count(len(meant), 'name')}: {names}", hint="name one of them in full")
    return meant[0]


def list_runs(folder: Path) -> tuple[RunLine, ...]:
    """The runs in a folder, the oldest first. Results are read only where a run has no summary."""
    return tuple(_line(path) for path in find_runs(folder))


def _line(path: Path) -> RunLine:
    try:
        run = _read_for_list(path)
    except DataError as error:
        return RunLine(name=path.name, path=str(path), ended=DAMAGED, problems=(error.cause or error.message,))
    manifest, summary = run.manifest, run.summary
    if summary is not None:
        passes, accuracy_name, elapsed_s = summary.passes, summary.accuracy_name, summary.elapsed_s
    else:
        metrics = run_metrics(run)
        passes, accuracy_name = metrics.passes(), _accuracy_name(run)
        elapsed_s = run.records[-1].time_s if run.records else 0.0
    return RunLine(
        name=path.name,
        path=str(path),
        created_utc=manifest.created_utc,
        board=manifest.board,
        data=manifest.data,
        train=manifest.options.train,
        ended=summary.ended if summary else UNFINISHED,
        samples=_samples(run),
        accuracy_name=accuracy_name,
        accuracy=passes[0].accuracy if passes else None,
        mean_loss=passes[0].mean_loss if passes else None,
        elapsed_s=elapsed_s,
        problems=run.problems,
    )


def _samples(run: Run) -> int:
    """Samples that the device has taken; without a summary as far as its results tell."""
    return run.summary.samples if run.summary else sum(record.taken for record in run.records)


def _read_for_list(path: Path) -> Run:
    """Without its results where the summary has the figures."""
    with contextlib.suppress(DataError):
        run = read_run(path, with_records=False)
        if run.summary is not None:
            return run
    return read_run(path)


def run_metrics(run: Run) -> Metrics:
    """All results of a run, counted as they were while it ran."""
    options = run.manifest.options
    whole = run.summary.passes[0].samples if run.summary and len(run.summary.passes) > 1 else 0
    metrics = Metrics(trains=options.train, labels=run.labels, window=options.window, pass_samples=whole)
    for record in run.records:
        metrics.add(pass_number=record.pass_number, correct=record.correct, label=record.label, loss=record.loss)
    return metrics


def figures(run: Run) -> RunFigures:
    """The figures of a run."""
    manifest, summary, records = run.manifest, run.summary, run.records
    device = manifest.device
    metrics = run_metrics(run)
    passes = metrics.passes()
    train = manifest.options.train
    samples = _samples(run)
    elapsed_s, paused_s = (records[-1].time_s, records[-1].paused_s) if records else (0.0, 0.0)
    asked = manifest.options.learning_rate
    rate = summary.learning_rate if summary else device.learning_rate if asked is None else asked
    happened = [event.kind for event in run.events]
    return RunFigures(
        name=run.path.resolve().name,
        path=str(run.path),
        created_utc=manifest.created_utc,
        board=manifest.board,
        port=manifest.port,
        emulated=_emulated(run),
        data=manifest.data,
        bundle=manifest.bundle,
        model_hash=manifest.model_hash,
        train=train,
        ended=summary.ended if summary else UNFINISHED,
        error=summary.error if summary else "",
        learning_rate=rate if train else None,
        samples=samples,
        results=len(records),
        step=records[-1].step if records else device.step,
        accuracy_name=_accuracy_name(run),
        accuracy=passes[0].accuracy if passes else None,
        training_accuracy=passes[-1].accuracy if len(passes) > 1 and train else None,
        window=metrics.window,
        window_accuracy=metrics.window_accuracy.value,
        window_loss=metrics.window_loss.value,
        passes=passes,
        elapsed_s=elapsed_s,
        paused_s=paused_s,
        samples_per_s=round(samples / (elapsed_s - paused_s), 3) if elapsed_s > paused_s else 0.0,
        round_trip_s=spread(measured(column(records, "round_trip_s"))),
        inference_s=_ticks_spread(records, "inference_ticks", device.counter_hz),
        train_s=_ticks_spread(records, "train_ticks", device.counter_hz),
        static_ram_bytes=device.static_ram_bytes,
        stack_bytes=max((record.stack_bytes for record in records), default=0),
        stack_size_bytes=device.stack_size_bytes,
        retries=sum(record.retries for record in records),
        crc_errors=sum(record.crc_errors for record in records),
        resets=happened.count("reset"),
        reconnects=happened.count("reconnect"),
        saves=happened.count("save"),
        problems=run.problems,
    )


def compare(runs: tuple[Run, ...], *, points: int = 10) -> Comparison:
    """The figures of runs, and their sliding means at the same checkpoints.

    Args:
        runs: at least one.
        points: checkpoints, evenly spaced up to the end of the longest run; a shorter run also has one at its end.
    """
    longest = max(len(run.records) for run in runs)
    checkpoints = sorted({-(-longest * i // points) for i in range(1, points + 1)} - {0})
    return Comparison(
        runs=tuple(figures(run) for run in runs),
        accuracy=tuple(_at(*accuracy_curve(run), checkpoints) for run in runs),
        loss=tuple(_at(*loss_curve(run), checkpoints) for run in runs),
    )


def spread(values: npt.NDArray[np.float64]) -> Spread | None:
    """How values are distributed; None without any."""
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    median, p95, p99 = (float(value) for value in np.quantile(values, [0.5, 0.95, 0.99]))
    return Spread(
        minimum=float(values.min()),
        median=median,
        mean=float(values.mean()),
        p95=p95,
        p99=p99,
        maximum=float(values.max()),
    )


def _emulated(run: Run) -> str:
    """Whose times a run's are, unless a board's, as far as its port tells."""
    port, device = run.manifest.port, run.manifest.device
    if port != "emulate" and not port.startswith("socket://"):
        return ""
    # A process of this machine knows no figures of its memory.
    if not device.static_ram_bytes:
        return "emulated: times are this machine's, not a board's"
    if port == "emulate":
        return "emulated: times are the emulator's, not the board's"
    return "on a socket: if an emulator is behind it, times are the emulator's, not the board's"


def _accuracy_name(run: Run) -> str:
    return "prequential accuracy" if run.manifest.options.train else "accuracy"


def _ticks_spread(records: tuple[Record, ...], name: str, counter_hz: int) -> Spread | None:
    """In seconds."""
    ticks = column(records, name)
    return spread(measured(ticks) / counter_hz) if counter_hz else None


def _at(samples: npt.NDArray[Any], values: npt.NDArray[Any], checkpoints: list[int]) -> Curve:
    """The curve at the checkpoints up to its end, and at its end."""
    if not len(samples):
        return Curve(samples=(), values=())
    wanted = [*(point for point in checkpoints if samples[0] <= point < samples[-1]), int(samples[-1])]
    places = np.searchsorted(samples, wanted, side="right") - 1
    return Curve(samples=tuple(wanted), values=tuple(round(float(values[place]), 6) for place in places))
