"""Prequential measures: each sample is predicted before it is learned, so that every sample is a test."""

from __future__ import annotations

from collections import deque

from msgspec import Struct


class WindowMean:
    """The mean of the last `size` values."""

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"a window of {size} samples")
        self._values: deque[float] = deque(maxlen=size)

    def add(self, value: float) -> None:
        """Count a value."""
        self._values.append(value)

    @property
    def value(self) -> float | None:
        """The mean, None before the first value."""
        return sum(self._values) / len(self._values) if self._values else None


class ClassScore(Struct, frozen=True, kw_only=True):
    """How one class fared."""

    label: str
    samples: int
    correct: int

    @property
    def accuracy(self) -> float:
        """Share of its samples that were predicted right."""
        return self.correct / self.samples if self.samples else 0.0


class PassScore(Struct, frozen=True, kw_only=True):
    """What one pass over the data gave.

    Attributes:
        pass_number: from 0.
        prequential: whether each sample was new to the device: then the accuracy is prequential. In later passes of
            training the device has already learned each sample, and the same figure is its training accuracy.
        samples: of this pass.
        accuracy: None without classes.
        mean_loss: None where no loss is known.
        classes: how each class fared, by class number; only those that occurred.
        complete: whether all samples of the data were streamed in it.
    """

    pass_number: int
    prequential: bool
    samples: int
    accuracy: float | None
    mean_loss: float | None
    classes: tuple[ClassScore, ...] = ()
    complete: bool = True


class Metrics:
    """Counts results as they come, pass by pass.

    Args:
        trains: whether the device learns from the samples.
        labels: names of the classes.
        window: samples of the sliding window.
        pass_samples: samples of a whole pass; 0 where that is not known.
    """

    def __init__(self, *, trains: bool, labels: tuple[str, ...] = (), window: int = 100, pass_samples: int = 0) -> None:
        self.trains = trains
        self._labels = labels
        self.window = window
        self._whole_pass = pass_samples
        self.pass_number = 0
        self.samples = 0
        self.window_accuracy = WindowMean(window)
        self.window_loss = WindowMean(window)
        self._finished: list[PassScore] = []
        self._by_class: dict[int, list[int]] = {}
        self._start_pass(0)

    def _start_pass(self, number: int) -> None:
        self.pass_number = number
        self._pass_samples = 0
        self._judged = 0
        self._correct = 0
        self._losses = 0
        self._loss_sum = 0.0
        self._by_class = {}

    def add(self, *, pass_number: int, correct: bool | None, label: int | None, loss: float | None) -> None:
        """Count one result.

        Args:
            pass_number: from 0, never falling.
            correct: whether the prediction was right; None where there is no class to compare with.
            label: the right class.
            loss: before learning.
        """
        if pass_number != self.pass_number:
            self._finished.append(self._score())
            self._start_pass(pass_number)
        self.samples += 1
        self._pass_samples += 1
        if correct is not None:
            self._judged += 1
            self._correct += correct
            self.window_accuracy.add(float(correct))
            if label is not None:
                counts = self._by_class.setdefault(label, [0, 0])
                counts[0] += 1
                counts[1] += correct
        if loss is not None:
            self._losses += 1
            self._loss_sum += loss
            self.window_loss.add(loss)

    @property
    def is_prequential(self) -> bool:
        """Whether the samples of the current pass are new to the device."""
        return not self.trains or self.pass_number == 0

    @property
    def accuracy_name(self) -> str:
        """What the accuracy of the current pass is called."""
        if not self.trains:
            return "accuracy"
        return "prequential accuracy" if self.is_prequential else "training accuracy"

    @property
    def accuracy(self) -> float | None:
        """Accuracy of the current pass so far."""
        return self._correct / self._judged if self._judged else None

    @property
    def mean_loss(self) -> float | None:
        """Mean loss of the current pass so far."""
        return self._loss_sum / self._losses if self._losses else None

    def passes(self) -> tuple[PassScore, ...]:
        """The score of each pass, the current one included."""
        return (*self._finished, self._score()) if self._pass_samples else tuple(self._finished)

    def _score(self) -> PassScore:
        return PassScore(
            pass_number=self.pass_number,
            prequential=self.is_prequential,
            samples=self._pass_samples,
            accuracy=self.accuracy,
            mean_loss=self.mean_loss,
            classes=tuple(
                ClassScore(label=self._name(label), samples=counts[0], correct=counts[1])
                for label, counts in sorted(self._by_class.items())
            ),
            complete=self._pass_samples >= self._whole_pass,
        )

    def _name(self, label: int) -> str:
        return self._labels[label] if label < len(self._labels) and self._labels[label] else str(label)
