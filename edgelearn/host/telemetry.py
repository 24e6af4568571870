"""The run folder: what was run, every result as it arrives, and what came out.

<UTC time>-<board>-<hash>/
    manifest.json   what was run, on what, with what; written before the first sample
    results.jsonl   one line for each result, flushed as it arrives: a crash loses nothing that was received
    summary.json    how it ended and the figures; absent after a crash
    head.npz        the learned head at the end
    *.png           plots
"""

from __future__ import annotations

import contextlib
import datetime
import platform
from pathlib import Path
from typing import IO, TYPE_CHECKING

import msgspec
import numpy as np

import edgelearn
from edgelearn.bundle import write_atomically
from edgelearn.errors import DataError, StorageError
from edgelearn.host.data import Source
from edgelearn.host.device import DeviceInfo
from edgelearn.host.head import HeadState, save_head
from edgelearn.host.link import LinkCounters
from edgelearn.host.metrics import PassScore

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

FORMAT_VERSION = 1
MANIFEST, RESULTS, SUMMARY, HEAD = "manifest.json", "results.jsonl", "summary.json", "head.npz"


class StreamOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How samples are streamed.

    Attributes:
        train: learn from each sample after predicting it; otherwise only predict.
        learning_rate: set before the first sample; None leaves the device's.
        repeat: passes over the data.
        shuffle: a new order in each pass, the same for the same seed.
        seed: of the shuffling.
        limit: stop after that many samples in all; 0 does not stop.
        window: samples of the sliding means.
        rate_hz: samples a second at most, 0: as fast as the device goes.
        self_label: learn the predicted class where its probability is at least this; labels only judge.
        autosave_steps: the device is to save its head after so many steps, 0 never; None leaves what it does.
        save: save the head on the device at the end, where it can.
    """

    train: bool
    learning_rate: float | None = None
    repeat: int = 1
    shuffle: bool = False
    seed: int = 0
    limit: int = 0
    window: int = 100
    rate_hz: float = 0.0
    self_label: float | None = None
    autosave_steps: int | None = None
    save: bool = True


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What was run.

    Attributes:
        created_utc: ISO 8601, to the second.
        command: the command line.
        versions: of edgelearn, Python, NumPy and the operating system.
        port: as the person named it.
        board: the device's own name of its board.
        board_ram_bytes: RAM that the board has, None where the board is not known.
        model_hash: of the model, as much of it as is known: the device tells 8 bytes.
        bundle: the bundle's file name, "" without one.
        bundle_sha256: of the bundle file, "" without one.
        data: the data file's name.
        data_sha256: of the data file, "" for data from no file.
    """

    format_version: int = FORMAT_VERSION
    created_utc: str
    command: tuple[str, ...]
    versions: dict[str, str]
    port: str
    board: str
    board_ram_bytes: int | None
    model_hash: str
    bundle: str
    bundle_sha256: str
    data: str
    data_sha256: str
    options: StreamOptions
    device: DeviceInfo


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of results.jsonl.

    Attributes:
        number: of the result in the run, from 0.
        pass_number: over the data, from 0.
        sample: its index in the data.
        prediction: class number of the largest output.
        confidence: 0 to 1.
        label: the right class, None without one.
        loss: before learning.
        step: training steps of the device since its reset.
        time_s: since the first sample was sent.
        round_trip_s: from sending the sample to its result.
        inference_ticks: of the device's counter.
        train_ticks: of the device's counter.
        stack_bytes: high-water mark of the stack.
        retries: how often the sample had to be sent again.
    """

    number: int
    pass_number: int
    sample: int
    prediction: int
    confidence: float
    label: int | None = None
    loss: float | None = None
    step: int
    time_s: float
    round_trip_s: float
    inference_ticks: int = 0
    train_ticks: int = 0
    stack_bytes: int = 0
    retries: int = 0

    @property
    def correct(self) -> bool | None:
        """Whether the prediction is the label; None without a label."""
        return None if self.label is None else self.prediction == self.label


class StreamSummary(msgspec.Struct, frozen=True, kw_only=True):
    """How a stream ended and what it gave.

    Attributes:
        ended: `complete`, `interrupted` (Ctrl-C) or `error`.
        error: the message, if it ended with one.
        samples: results received.
        step: training steps of the device since its reset.
        learning_rate: that was in force, None where nothing was learned.
        accuracy_name: what the accuracy of the first pass is called.
        accuracy: of the first pass; None without classes.
        training_accuracy: of the last pass, if it was not the first; the device had learned its samples before.
        passes: the figures of each pass.
        elapsed_s: from the first sample to the last result.
        inference_ticks: mean of the device's counter.
        train_ticks: mean of the device's counter, over the samples that were learned.
        stack_bytes: high-water mark of the stack.
        run: the run folder, "" without one.
        notices: what a person should know.
    """

    ended: str
    error: str = ""
    samples: int
    step: int
    learning_rate: float | None
    accuracy_name: str
    accuracy: float | None
    training_accuracy: float | None
    passes: tuple[PassScore, ...]
    elapsed_s: float
    samples_per_s: float
    inference_ticks: float
    train_ticks: float
    stack_bytes: int
    static_ram_bytes: int
    stack_size_bytes: int
    link: LinkCounters
    run: str = ""
    notices: tuple[str, ...] = ()


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A run folder as read back. After a crash `summary` is None and a torn last line of the results is left out."""

    manifest: Manifest
    records: tuple[Record, ...]
    summary: StreamSummary | None


class RunFolder:
    """An open run folder; close it, or use it as a context manager. Failures to write raise StorageError."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self._encoder = msgspec.json.Encoder()
        try:
            path.mkdir(parents=True)
            self._results: IO[bytes] = (path / RESULTS).open("wb")
        except OSError as error:
            raise _cannot_write(path, error) from error
        try:
            self._write_json(MANIFEST, manifest)
        except BaseException:
            self._results.close()
            raise

    def append(self, record: Record) -> None:
        """Write one result and hand it to the operating system."""
        try:
            self._results.write(self._encoder.encode(record) + b"\n")
            self._results.flush()
        except OSError as error:
            raise _cannot_write(self.path / RESULTS, error) from error

    def write_summary(self, summary: StreamSummary) -> None:
        """Write summary.json."""
        self._write_json(SUMMARY, summary)

    def write_head(self, head: HeadState) -> None:
        """Write head.npz."""
        save_head(head, self.path / HEAD)

    def close(self) -> None:
        """Close the results; closing twice does no harm."""
        try:
            self._results.close()
        except OSError as error:
            raise _cannot_write(self.path / RESULTS, error) from error

    def discard(self) -> None:
        """Remove the folder again: nothing was run."""
        with contextlib.suppress(OSError):
            self._results.close()
        for name in (MANIFEST, RESULTS):
            with contextlib.suppress(OSError):
                (self.path / name).unlink()
        with contextlib.suppress(OSError):
            self.path.rmdir()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except StorageError:
            if error is None:
                raise

    def _write_json(self, name: str, value: msgspec.Struct) -> None:
        write_atomically(self.path / name, msgspec.json.format(self._encoder.encode(value), indent=1) + b"\n")


def create_run(
    parent: Path,
    *,
    info: DeviceInfo,
    port: str,
    source: Source,
    options: StreamOptions,
    command: tuple[str, ...] = (),
    board_ram_bytes: int | None = None,
    model_hash: str = "",
    bundle: str = "",
    bundle_sha256: str = "",
    now: datetime.datetime | None = None,
) -> RunFolder:
    """Make a new run folder in `parent` and write its manifest.

    Args:
        parent: where run folders are kept; made if it is not there.
        info: the device.
        port: as the person named it.
        source: what will be streamed.
        options: how.
        command: the command line.
        board_ram_bytes: RAM that the board has, where that is known.
        model_hash: the whole hash, where a bundle is known.
        bundle: the bundle's file name.
        bundle_sha256: of the bundle file.
        now: the time, for tests.

    Raises:
        StorageError: it could not be written.
    """
    now = (now or datetime.datetime.now(datetime.timezone.utc)).astimezone(datetime.timezone.utc)
    model_hash = model_hash or info.model_hash
    board = "".join(c if c.isalnum() or c in "-_" else "-" for c in info.board) or "device"
    name = f"{now:%Y%m%dT%H%M%SZ}-{board}-{model_hash[:8]}"
    manifest = Manifest(
        created_utc=f"{now:%Y-%m-%dT%H:%M:%SZ}",
        command=command,
        versions={
            "edgelearn": edgelearn.__version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "system": platform.platform(),
        },
        port=port,
        board=info.board,
        board_ram_bytes=board_ram_bytes,
        model_hash=model_hash,
        bundle=bundle,
        bundle_sha256=bundle_sha256,
        data=source.name,
        data_sha256=source.sha256,
        options=options,
        device=info,
    )
    # Two runs within a second get names of their own.
    path, number = parent / name, 1
    while path.exists():
        number += 1
        path = parent / f"{name}-{number}"
    return RunFolder(path, manifest)


def read_run(path: Path) -> Run:
    """Read a run folder, also one that a crash left behind.

    Raises:
        DataError: the folder is no run, or a line other than the last is damaged.
    """
    try:
        manifest = msgspec.json.decode((path / MANIFEST).read_bytes(), type=Manifest)
        lines = (path / RESULTS).read_bytes().split(b"\n")
        records = []
        for number, line in enumerate(lines):
            try:
                if line:
                    records.append(msgspec.json.decode(line, type=Record))
            except msgspec.MsgspecError as error:
                # Only a line that is whole ends with a line feed; the last piece is what a crash left.
                if number < len(lines) - 1:
                    raise DataError(f"{path / RESULTS} is damaged in line {number + 1}", cause=str(error)) from error
        summary_path = path / SUMMARY
        summary = msgspec.json.decode(summary_path.read_bytes(), type=StreamSummary) if summary_path.is_file() else None
    except (OSError, msgspec.MsgspecError) as error:
        raise DataError(f"{path} is not the folder of a run", cause=str(error)) from error
    return Run(manifest=manifest, records=tuple(records), summary=summary)


def _cannot_write(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{path} could not be written", cause=str(error), hint="check the free space and the folder's permissions"
    )
