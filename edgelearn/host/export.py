"""A run's results for other programs: CSV, Parquet (needs pyarrow), TensorBoard (needs tensorboardX)."""

from __future__ import annotations

import csv
import datetime
import io
import typing
from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from edgelearn.bundle import check_folder, write_atomically
from edgelearn.errors import MissingPackageError, StorageError, reason
from edgelearn.host.curves import accuracy_curve, column, loss_curve, thin
from edgelearn.host.telemetry import Record, Run

if TYPE_CHECKING:
    import numpy.typing as npt

FORMATS = ("csv", "parquet", "tensorboard")
#: Key of the manifest among the metadata of a Parquet file.
MANIFEST_KEY = "edgelearn.manifest"
#: Of a curve in TensorBoard, which itself keeps 1,000 unless told otherwise; every result is in the other formats.
_MOST_POINTS = 10_000
#: Columns beside the members of a result, with their types.
_ADDED: tuple[tuple[str, type], ...] = (("correct", bool), ("prediction_name", str), ("label_name", str))


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """What was written: of which run, in which form, where, how many results."""

    run: str
    form: str
    output: str
    results: int


def export_run(run: Run, form: str, output: Path) -> None:
    """Write the results of a run.

    Args:
        run: from `read_run`.
        form: one of `FORMATS`.
        output: the file to write; for `tensorboard`, the folder.

    Raises:
        MissingPackageError: the format's package is not installed.
        StorageError: it could not be written, or the folder already holds an export.
    """
    check_folder(output)
    {"csv": _export_csv, "parquet": _export_parquet, "tensorboard": _export_tensorboard}[form](run, output)


def _columns() -> dict[str, type]:
    """Name and type of each column; a value may be missing in those of optional members."""
    found: dict[str, type] = {}
    for name, kind in typing.get_type_hints(Record).items():
        (found[name],) = (part for part in (typing.get_args(kind) or (kind,)) if part is not NoneType)
    return found | dict(_ADDED)


def _rows(run: Run) -> Iterator[dict[str, Any]]:
    name = run.label_name
    has_classes = any(record.label is not None for record in run.records)
    for record in run.records:
        row = msgspec.structs.asdict(record)
        row["correct"] = record.correct
        row["prediction_name"] = name(record.prediction) if has_classes else None
        row["label_name"] = None if record.label is None else name(record.label)
        yield row


def _export_csv(run: Run, output: Path) -> None:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, _columns(), lineterminator="\n")
    writer.writeheader()
    for row in _rows(run):
        writer.writerow({key: str(value).lower() if isinstance(value, bool) else value for key, value in row.items()})
    write_atomically(output, text.getvalue().encode())


def _export_parquet(run: Run, output: Path) -> None:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingPackageError("pyarrow", extra="export", purpose="writing Parquet") from error
    types = {int: pa.int64(), float: pa.float64(), bool: pa.bool_(), str: pa.string()}
    schema = pa.schema(
        [(name, types[kind]) for name, kind in _columns().items()],
        metadata={MANIFEST_KEY: msgspec.json.encode(run.manifest)},
    )
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(_rows(run)), schema=schema), buffer)
    write_atomically(output, buffer.getvalue())


def _export_tensorboard(run: Run, output: Path) -> None:
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise MissingPackageError("tensorboardX", extra="export", purpose="writing for TensorBoard") from error
    if output.is_dir() and any(output.glob("events.out.tfevents.*")):
        # TensorBoard would draw both exports as one curve.
        raise StorageError(f"{output} already holds an export", hint="name another folder, or remove this one")
    started = 0.0
    if run.manifest.created_utc:
        started = datetime.datetime.fromisoformat(run.manifest.created_utc.replace("Z", "+00:00")).timestamp()
    time_s = column(run.records, "time_s")
    try:
        with SummaryWriter(str(output)) as writer:
            manifest = msgspec.json.format(msgspec.json.encode(run.manifest), indent=1).decode()
            writer.add_text("manifest", f"```json\n{manifest}\n```", walltime=started)
            for tag, samples, values in _scalars(run):
                for sample, value in zip(*thin(samples, values, _MOST_POINTS), strict=True):
                    writer.add_scalar(tag, float(value), int(sample), walltime=started + float(time_s[sample - 1]))
    except OSError as error:
        raise StorageError(f"{output} could not be written", cause=reason(error)) from error


def _scalars(run: Run) -> Iterator[tuple[str, npt.NDArray[np.int64], npt.NDArray[np.float64]]]:
    """Tag, samples streamed [M] and values [M] of each curve that the run has."""
    window = run.manifest.options.window
    yield (f"accuracy/last {window}", *accuracy_curve(run))
    yield (f"loss/last {window}", *loss_curve(run))
    hertz = run.manifest.device.counter_hz
    curves = {
        "loss/each": column(run.records, "loss"),
        "confidence": column(run.records, "confidence"),
        "link/round trip ms": 1000 * column(run.records, "round_trip_s"),
        "link/retries": np.cumsum(column(run.records, "retries")),
        "memory/stack bytes": column(run.records, "stack_bytes"),
    }
    if hertz:
        curves["device/inference ms"] = 1000 * column(run.records, "inference_ticks") / hertz
        curves["device/update ms"] = 1000 * column(run.records, "train_ticks") / hertz
    for tag, values in curves.items():
        known = np.flatnonzero(np.isfinite(values))
        if len(known) and np.any(values[known]):
            yield tag, known + 1, values[known]
