"""Curves of a run: its results as arrays, sliding means over them, and fewer points where nobody could see them all."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgelearn.host.telemetry import Record, Run

#: More points than this are thinned out: nobody sees them.
_MOST_POINTS = 4000


def column(records: tuple[Record, ...], name: str) -> npt.NDArray[np.float64]:
    """One member of all results, float64 [N]; nan where there is none."""
    values = [getattr(record, name) for record in records]
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def measured(times: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Of times those that were measured at all; a device's own sensor, for one, has no round trip."""
    return times[times > 0]


def accuracy_curve(run: Run) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The share of right predictions among the last samples, for each result that can be judged: [M] samples, [M]."""
    return _sliding(column(run.records, "correct"), run.manifest.options.window)


def loss_curve(run: Run) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The mean loss of the last samples, for each result that has one: samples streamed [M], mean [M]."""
    return _sliding(column(run.records, "loss"), run.manifest.options.window)


def sliding_mean(values: npt.NDArray[np.float64], window: int) -> npt.NDArray[np.float64]:
    """The mean of the last `window` values at each place, of fewer at the start."""
    sums = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - window)
    return np.asarray((sums[ends] - sums[starts]) / (ends - starts), dtype=np.float64)


def thin(
    x: npt.NDArray[Any], y: npt.NDArray[Any], most: int = _MOST_POINTS
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """At most so many points of a curve, evenly spaced, the first and the last among them."""
    if len(x) <= most:
        return x, y
    keep = np.unique(np.linspace(0, len(x) - 1, most).astype(np.int64))
    return x[keep], y[keep]


def _sliding(values: npt.NDArray[np.float64], window: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    known = np.flatnonzero(np.isfinite(values))
    return known + 1, sliding_mean(values[known], window)
