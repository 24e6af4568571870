"""Samples from standard input, as they come: lines of CSV, one row of sensors each, or lines of JSON, one sample each.

A line of JSON is an object with `x`, or an array for each input of the model by its name, and to learn `y`. What cannot
be read is told and passed over: a stream that runs for a month must not end with a torn line.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from edgelearn.errors import DataError, EdgelearnError, LabelError
from edgelearn.host.data import Lesson, make_dataset
from edgelearn.host.device import DeviceInfo
from edgelearn.host.tables import RowParser, TableOptions, Windows
from edgelearn.samples import TARGETS, input_arrays, wanted_names
from edgelearn.words import count

#: How long to wait for a line before whoever asks may look at other things.
_WAIT_S = 0.02
#: Lines that are read ahead while the device is busy.
_MOST_WAITING = 256
_MOST_NOTICES = 5


class LiveSource:
    """Samples from lines of text.

    Args:
        lines: as they come; ends where they end.
        info: the device.
        train: the samples are to be learned.
        table: how rows of CSV become samples.
    """

    name = "standard input"
    sha256 = ""
    pass_samples = 0

    def __init__(
        self, lines: Iterable[str], info: DeviceInfo, *, train: bool, table: TableOptions | None = None
    ) -> None:
        options = table or TableOptions()
        self.notices: tuple[str, ...] = ()
        self.can_train = True
        #: Lines that were passed over, with why; whoever shows them takes them out.
        self.problems: list[str] = []
        self._info = info
        self._train = train
        self._windows = Windows(sum(tensor.elements for tensor in info.inputs), options)
        self._parser = RowParser(self.name, options)
        self._problem_count = 0
        self._line_count = self._given = 0
        self._waiting: queue.Queue[str | None] = queue.Queue(_MOST_WAITING)
        threading.Thread(target=self._read, args=(lines,), daemon=True).start()

    def _read(self, lines: Iterable[str]) -> None:
        try:
            for line in lines:
                self._waiting.put(line)
        except (OSError, ValueError) as error:
            self.problems.append(f"standard input failed: {error}")
        finally:
            self._waiting.put(None)

    @property
    def why_nothing(self) -> str:
        """Why it has ended without a single sample."""
        if self._given:
            return ""
        if not self._line_count:
            return "it was empty"
        if self._problem_count:
            rejected = count(self._problem_count, "line was", "lines were")
            return f"{rejected} passed over, of {count(self._line_count, 'line')} in all"
        return f"{count(self._line_count, 'line makes', 'lines make')} no whole sample"

    def lessons(
        self, *, repeat: int = 1, shuffle: bool = False, seed: int = 0, limit: int = 0
    ) -> Iterator[Lesson | None]:
        """The samples in the order in which they come; None where none has come for a moment."""
        self._line_count = self._given = 0
        while not limit or self._given < limit:
            try:
                line = self._waiting.get(timeout=_WAIT_S)
            except queue.Empty:
                yield None
                continue
            if line is None:
                return
            self._line_count += 1
            try:
                lesson = self._lesson(line.strip(), self._line_count, self._given)
            except EdgelearnError as error:
                self._pass_over(self._with_line(str(error)))
                continue
            if lesson is not None:
                self._given += 1
                yield lesson

    def _with_line(self, text: str) -> str:
        """A message that counts samples of a file, with the number of the line instead: there is one sample a line."""
        line = f"line {self._line_count}"
        for words, better in (("sample 0 of ", f"{line}: "), ("sample 0 ", f"{line} "), ("", f"{line}: ")):
            if text.startswith(f"{self.name}: {words}"):
                return better + text.removeprefix(f"{self.name}: {words}")
        return text

    def _pass_over(self, why: str) -> None:
        self._problem_count += 1
        if self._problem_count <= _MOST_NOTICES:
            self.problems.append(f"passed over: {why}")
        if self._problem_count == _MOST_NOTICES:
            self.problems.append("further lines that cannot be read are passed over in silence")

    def _lesson(self, line: str, number: int, sample: int) -> Lesson | None:
        if not line:
            return None
        if line[0] in "{[":
            arrays, y = self._from_json(line, number)
        else:
            row = self._parser.parse(_fields(line), number)
            window = self._windows.add(row) if row is not None else None
            if window is None:
                return None
            arrays, y = [window.values], window.label
        label = None if y is None else np.array([int(y) if isinstance(y, str) and y.isdecimal() else y])
        inputs = [array[np.newaxis] for array in arrays]
        made = make_dataset(inputs, label, self._info, train=self._train, name=self.name)
        if self._train and not made.can_train:
            raise LabelError(f"line {number} has no label to learn")
        return made.lesson(0)._replace(sample=sample)

    def _from_json(self, line: str, number: int) -> tuple[list[Any], Any]:
        try:
            value = json.loads(line)
        except ValueError as error:
            raise DataError(f"line {number} is no JSON", cause=str(error)) from error
        if isinstance(value, list):
            value = {"x": value}
        wanted = [tensor.name for tensor in self._info.inputs]
        names = input_arrays(value, wanted)
        if names is None:
            raise DataError(
                f"line {number} has no {wanted_names(wanted)}", cause=f"it has {', '.join(value) or 'nothing'}"
            )
        try:
            return [np.array(value[name], dtype=np.float32) for name in names], value.get(TARGETS)
        except (ValueError, TypeError) as error:
            raise DataError(f"line {number} holds other things than numbers", cause=str(error)) from error


def _fields(line: str) -> list[str]:
    delimiter = next((mark for mark in ",;\t" if mark in line), ",")
    return line.split(delimiter)
