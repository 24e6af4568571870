"""The run folder: what was run, every result as it arrives, and what came out.

<UTC time>-<board>-<hash>/
    manifest.json     what was run, on what, with what; written before the first sample
    results.jsonl     one line for each result, flushed as it arrives: a crash loses nothing that was received
    sent.jsonl        where something is learned: as which request of which session each sample goes to the device, and
                      what a person changes meanwhile, written before it goes; with it `stream --resume` finds out
                      what the device has learned
    events.jsonl      one line for each thing that happened beside the results (resets, saves, ...); absent without any
    summary.json      how it ended and the figures; absent after a crash
    head-before.npz   the head before the first sample, where it was read
    head.npz          the learned head at the end
    *.png             plots

What is missing or damaged is left out when a folder is read, and named (`Run.problems`). Members that newer versions
add have defaults, so that older runs still open.
"""

from __future__ import annotations

import contextlib
import datetime
import platform
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar

import msgspec
import numpy as np

import edgelearn
from edgelearn.bundle import write_atomically
from edgelearn.errors import DataError, StorageError, reason
from edgelearn.host.data import Origin
from edgelearn.host.device import DeviceInfo, Statistics
from edgelearn.host.head import HeadState, save_head
from edgelearn.host.link import LinkCounters
from edgelearn.host.metrics import PassScore
from edgelearn.host.tables import TableOptions
from edgelearn.protocol import LossCode, ResidualCode
from edgelearn.words import count

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

FORMAT_VERSION = 1
MANIFEST, RESULTS, EVENTS, SUMMARY = "manifest.json", "results.jsonl", "events.jsonl", "summary.json"
SENT, HEAD, HEAD_BEFORE = "sent.jsonl", "head.npz", "head-before.npz"
#: What the data is called where a board takes it from its own sensor.
SENSOR = "its own sensor"

_Line = TypeVar("_Line", bound=msgspec.Struct)


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
        data_path: where it was, "" for data from no file.
        project_path: where the project was that was booted, "" without one.
        table: how the rows of a table became samples.
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
    data_path: str = ""
    project_path: str = ""
    table: TableOptions = TableOptions()
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
        retries: frames sent again since the result before it.
        crc_errors: received pieces that were no frame, for a wrong checksum or length, since the result before it.
        learned: whether the device changed its head; None where it does not tell.
        self_labelled: whether the device took its own prediction as the label.
        saved_step: training steps in the newest head in the device's flash, None where it keeps none.
        taken: samples that the device has taken since the result before it, this one included. A stream has a result
            for each; a device that takes them from its own sensor may report only some.
        paused_s: how much of `time_s` the run was paused.
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
    crc_errors: int = 0
    learned: bool | None = None
    self_labelled: bool = False
    saved_step: int | None = None
    taken: int = 1
    paused_s: float = 0.0

    @property
    def correct(self) -> bool | None:
        """Whether the prediction is the label; None without a label."""
        return None if self.label is None else self.prediction == self.label


class Sent(msgspec.Struct, frozen=True, array_like=True):
    """One line of sent.jsonl.

    Attributes:
        session: of the device.
        sequence: number of the request in it that carries the sample.
        number: of the sample in the run, as in `Record`.
        is_start: no request: here a host begins with that sample, and the session's next request is `sequence`; what
            stands above of this and later requests of the session was never carried out.
        change: no sample: what a person changes, such as RESET_HEAD; `number` says nothing then. "" for a sample.
    """

    session: int
    sequence: int
    number: int
    is_start: bool = False
    change: str = ""


class RunEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of events.jsonl: something that happened beside the results.

    Attributes:
        kind: `reset` (the device started anew), `reconnect` (its port vanished and came back), `replay` (samples that a
            reset had cost were learned again), `save` (the head was written to flash), `resume` (the host carried on
            with the run), `command` (a person changed something) or `notice`. Other words may come.
        time_s: since the first sample was sent.
        results: how many were in the folder by then.
        step: training steps of the device after it, None where that says nothing.
        text: for a person.
    """

    kind: str
    time_s: float
    results: int
    step: int | None = None
    text: str = ""


class StreamSummary(msgspec.Struct, frozen=True, kw_only=True):
    """How a stream ended and what it gave.

    Attributes:
        ended: `complete`, `interrupted` (Ctrl-C) or `error`.
        error: the message, if it ended with one.
        samples: that the device has taken, as far as it has told: of a stream the results received; of its own sensor
            those too that it does not report one by one.
        results: received, each of one sample: what accuracy and loss are formed from; 0 in older runs.
        step: training steps of the device since its reset.
        learning_rate: that was in force, None where nothing was learned.
        accuracy_name: what the accuracy of the first pass is called.
        accuracy: of the first pass; None without classes.
        training_accuracy: of the last pass, if it was not the first; the device had learned its samples before.
        passes: the figures of each pass.
        elapsed_s: from the first sample to the last result.
        paused_s: how much of it the run was paused.
        samples_per_s: over the time in which it was not paused.
        inference_ticks: mean of the device's counter.
        train_ticks: mean of the device's counter, over the samples that were learned.
        stack_bytes: high-water mark of the stack.
        run: the run folder, "" without one.
        notices: what a person should know.
        statistics: the device's own counters at the end, where they were read.
        lost_results: samples that the device has learned, whose results were lost with a reset or with the host.
        resumed: how often a host carried on with the run.
        labels: names of the classes at the end; empty in older runs.
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
    statistics: Statistics | None = None
    lost_results: int = 0
    resumed: int = 0
    results: int = 0
    paused_s: float = 0.0
    labels: tuple[str, ...] = ()


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A run folder as read back. After a crash `summary` is None and a torn last line is left out.

    Attributes:
        path: the folder.
        problems: what was missing or damaged, and so left out.
    """

    path: Path
    manifest: Manifest
    records: tuple[Record, ...]
    events: tuple[RunEvent, ...] = ()
    summary: StreamSummary | None
    problems: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, those that were added during the run too."""
        return (self.summary.labels if self.summary else ()) or self.manifest.device.labels

    def label_name(self, number: int) -> str:
        """The name of a class, or its number where it has none."""
        return msgspec.structs.replace(self.manifest.device, labels=self.labels).label_name(number)


class RunFolder:
    """An open run folder; close it, or use it as a context manager. Failures to write raise StorageError.

    Args:
        path: the folder.
        manifest: what is run.
        reopen: append to the folder, which is there, instead of making it.
    """

    def __init__(self, path: Path, manifest: Manifest, *, reopen: bool = False) -> None:
        self.path = path
        self.manifest = manifest
        self._encoder = msgspec.json.Encoder()
        self._others: dict[str, IO[bytes]] = {}
        try:
            if not reopen:
                path.mkdir(parents=True)
            self._results: IO[bytes] = (path / RESULTS).open("ab")
        except OSError as error:
            raise _cannot_write(path, error) from error
        if not _locked(self._results):
            self._results.close()
            raise StorageError(f"{path} is still being written to", hint="end the stream that writes it first")
        if reopen:
            return
        try:
            self._write_json(MANIFEST, manifest)
        except BaseException:
            self._results.close()
            raise

    def append(self, record: Record) -> None:
        """Write one result and hand it to the operating system."""
        self._append(self._results, RESULTS, record)

    def append_event(self, event: RunEvent) -> None:
        """Write one event and hand it to the operating system."""
        self._append(self._other(EVENTS), EVENTS, event)

    def append_sent(self, sent: Sent) -> None:
        """Write down how a sample goes to the device, before it goes."""
        self._append(self._other(SENT), SENT, sent)

    def write_summary(self, summary: StreamSummary) -> None:
        """Write summary.json."""
        self._write_json(SUMMARY, summary)

    def remove_summary(self) -> None:
        """Forget how it ended: it goes on."""
        try:
            (self.path / SUMMARY).unlink(missing_ok=True)
        except OSError as error:
            raise _cannot_write(self.path / SUMMARY, error) from error

    def write_head(self, head: HeadState) -> None:
        """Write head.npz."""
        save_head(head, self.path / HEAD)

    def write_head_before(self, head: HeadState) -> None:
        """Write head-before.npz, unless an earlier part of the same run has."""
        if not (self.path / HEAD_BEFORE).exists():
            save_head(head, self.path / HEAD_BEFORE)

    def close(self) -> None:
        """Close the results; closing twice does no harm."""
        for name, file in ((RESULTS, self._results), *self._others.items()):
            try:
                file.close()
            except OSError as error:
                raise _cannot_write(self.path / name, error) from error

    def discard(self) -> None:
        """Remove the folder again: nothing was run."""
        with contextlib.suppress(StorageError):
            self.close()
        for name in (MANIFEST, RESULTS, EVENTS, SENT, HEAD_BEFORE):
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

    def _other(self, name: str) -> IO[bytes]:
        if name not in self._others:
            try:
                self._others[name] = (self.path / name).open("ab")
            except OSError as error:
                raise _cannot_write(self.path / name, error) from error
        return self._others[name]

    def _append(self, file: IO[bytes], name: str, line: msgspec.Struct) -> None:
        try:
            file.write(self._encoder.encode(line) + b"\n")
            file.flush()
        except OSError as error:
            raise _cannot_write(self.path / name, error) from error

    def _write_json(self, name: str, value: msgspec.Struct) -> None:
        write_atomically(self.path / name, msgspec.json.format(self._encoder.encode(value), indent=1) + b"\n")


def create_run(
    parent: Path,
    *,
    info: DeviceInfo,
    port: str,
    source: Origin,
    options: StreamOptions,
    command: tuple[str, ...] = (),
    board_ram_bytes: int | None = None,
    model_hash: str = "",
    bundle: str = "",
    bundle_sha256: str = "",
    data_path: str = "",
    project_path: str = "",
    table: TableOptions | None = None,
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
        data_path: of the data file.
        project_path: of the project that was booted.
        table: how the rows of a table become samples.
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
        command=tuple(_readable(word) for word in command),
        versions={
            "edgelearn": edgelearn.__version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "system": platform.platform(),
        },
        port=_readable(port),
        board=info.board,
        board_ram_bytes=board_ram_bytes,
        model_hash=model_hash,
        bundle=_readable(bundle),
        bundle_sha256=bundle_sha256,
        data=_readable(source.name),
        data_sha256=source.sha256,
        data_path=_readable(data_path),
        project_path=_readable(project_path),
        table=table or TableOptions(),
        options=options,
        device=info,
    )
    # Two runs within a second get names of their own.
    path, number = parent / name, 1
    while path.exists():
        number += 1
        path = parent / f"{name}-{number}"
    return RunFolder(path, manifest)


def reopen_run(path: Path) -> RunFolder:
    """Open a run folder to append to it. The torn last line of a crash is cut off.

    Raises:
        DataError: the folder is no run, or its manifest is gone.
        StorageError: it could not be written, or another stream still writes it.
    """
    folder = RunFolder(path, _read_manifest(path), reopen=True)
    try:
        for name, kind in ((RESULTS, Record), (EVENTS, RunEvent), (SENT, Sent)):
            if (path / name).is_file():
                _mend_end(path / name, kind)
    except OSError as error:
        folder.close()
        raise _cannot_write(path, error) from error
    return folder


def read_sent(path: Path) -> tuple[Sent, ...]:
    """The whole lines of a run's sent.jsonl; none where there is no such file."""
    return _read_lines(path / SENT, Sent, []) if (path / SENT).exists() else ()


def read_run(path: Path, *, with_records: bool = True) -> Run:
    """Read a run folder, also one that a crash left behind: whatever of it is whole.

    Args:
        path: the folder.
        with_records: read the results, too; they may be many.

    Raises:
        DataError: the folder is no run, or one of a newer format.
    """
    problems: list[str] = []
    records = _read_lines(path / RESULTS, Record, problems) if with_records else ()
    events = _read_lines(path / EVENTS, RunEvent, problems) if (path / EVENTS).exists() else ()
    try:
        manifest = _read_manifest(path)
    except DataError as error:
        if not records:
            raise
        problems.append(f"{MANIFEST} is missing or damaged: what was run is not known ({error.cause})")
        manifest = _unknown_manifest()
    if manifest.format_version > FORMAT_VERSION:
        raise DataError(
            f"{path} is a run of format {manifest.format_version}, this edgelearn reads up to {FORMAT_VERSION}",
            hint="read it with a newer edgelearn",
        )
    summary = None
    if (path / SUMMARY).exists():
        try:
            summary = msgspec.json.decode((path / SUMMARY).read_bytes(), type=StreamSummary)
        except (OSError, msgspec.MsgspecError, ValueError) as error:
            problems.append(f"{SUMMARY} is damaged: {error}")
    return Run(path=path, manifest=manifest, records=records, events=events, summary=summary, problems=tuple(problems))


def _read_manifest(path: Path) -> Manifest:
    data = None
    try:
        data = (path / MANIFEST).read_bytes()
        return msgspec.json.decode(data, type=Manifest)
    except (OSError, msgspec.MsgspecError, ValueError) as error:
        raise DataError(
            f"{path} is not the folder of a run" if data is None else f"the run {path} does not say what was run",
            cause=f"{MANIFEST} is empty" if data == b"" else f"{MANIFEST}: {reason(error)}",
            hint="`edgelearn runs list` lists the runs"
            if data is None
            else "it cannot be carried on; what results it has can still be shown: `edgelearn report`",
        ) from error


def _read_lines(path: Path, kind: type[_Line], problems: list[str]) -> tuple[_Line, ...]:
    """The whole lines of a file; what is damaged before its end is named in `problems`."""
    try:
        pieces = path.read_bytes().split(b"\n")
    except OSError as error:
        problems.append(f"{path.name} cannot be read: {error.strerror or error}")
        return ()
    decoder = msgspec.json.Decoder(kind)
    found, damaged = [], []
    for number, piece in enumerate(pieces, start=1):
        try:
            if piece:
                found.append(decoder.decode(piece))
        except (msgspec.MsgspecError, ValueError):
            # Only a line that is whole ends with a line feed; the last piece is what a crash left.
            if number < len(pieces):
                damaged.append(number)
    if damaged:
        problems.append(f"{path.name}: {count(len(damaged), 'damaged line')} left out, the first is {damaged[0]}")
    return tuple(found)


def _mend_end(path: Path, kind: type[msgspec.Struct]) -> None:
    """Make a file of lines end with a line feed: after the last line where it is whole, else before it."""
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole == len(data):
        return
    with path.open("r+b") as file:
        try:
            msgspec.json.decode(data[whole:], type=kind)
            file.seek(0, 2)
            file.write(b"\n")
        except (msgspec.MsgspecError, ValueError):
            file.truncate(whole)


def _unknown_manifest() -> Manifest:
    """What is said of a run whose manifest is gone."""
    return Manifest(
        created_utc="",
        command=(),
        versions={},
        port="",
        board="",
        board_ram_bytes=None,
        model_hash="",
        bundle="",
        bundle_sha256="",
        data="",
        data_sha256="",
        options=StreamOptions(train=False),
        device=DeviceInfo(
            board="",
            labels=(),
            protocol_version=0,
            model_hash="",
            max_payload_bytes=0,
            inputs=(),
            outputs=(),
            feature_elements=0,
            feature_scale=0.0,
            feature_zero_point=0,
            logit_fraction_bits=0,
            error_shift=0,
            target_shift=0,
            loss=LossCode.NONE,
            residual=ResidualCode.INT8,
            learning_rate=0.0,
            step=0,
            counter_hz=0,
            static_ram_bytes=0,
            stack_size_bytes=0,
        ),
    )


def _readable(text: str) -> str:
    """Text that can be written: names of files may hold bytes that are no UTF-8."""
    return text.encode("utf-8", "replace").decode()


def _locked(file: IO[bytes]) -> bool:
    """Take a file for this process, until it closes it or ends; False where another one has it."""
    try:
        import fcntl
    except ImportError:  # no such locks here
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _cannot_write(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{path} could not be written", cause=reason(error), hint="check the free space and the folder's permissions"
    )
