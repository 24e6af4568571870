"""Prequential measures, against plain formulas."""

from __future__ import annotations

import pytest

from edgelearn.host.metrics import Metrics, WindowMean


def test_the_window_forgets():
    mean = WindowMean(3)
    for value in (10, 1, 2, 3):
        mean.add(value)
    assert mean.value == 2
    with pytest.raises(ValueError, match="window"):
        WindowMean(0)


def test_passes_are_counted_apart_and_only_the_first_is_prequential():
    metrics = Metrics(trains=True, labels=("a", "b"))
    for pass_number, results in enumerate([[1, 0, 0, 1], [1, 1, 1, 0], [1, 1, 1, 1]]):
        for i, correct in enumerate(results):
            metrics.add(pass_number=pass_number, correct=bool(correct), label=i % 2, loss=1.0 / (pass_number + 1))
        assert metrics.accuracy_name == ("prequential accuracy" if pass_number == 0 else "training accuracy")
    first, second, third = metrics.passes()
    assert [first.prequential, second.prequential, third.prequential] == [True, False, False]
    assert [first.accuracy, second.accuracy, third.accuracy] == [0.5, 0.75, 1.0]
    assert [score.mean_loss for score in metrics.passes()] == pytest.approx([1, 1 / 2, 1 / 3])
    assert [(c.label, c.samples, c.correct, c.accuracy) for c in first.classes] == [("a", 2, 1, 0.5), ("b", 2, 1, 0.5)]
    assert metrics.samples == 12


def test_a_pass_that_ended_early_is_not_complete():
    metrics = Metrics(trains=True, pass_samples=2)
    for pass_number in (0, 0, 1):
        metrics.add(pass_number=pass_number, correct=True, label=0, loss=1.0)
    assert [score.complete for score in metrics.passes()] == [True, False]


def test_prediction_alone_is_called_accuracy():
    metrics = Metrics(trains=False)
    metrics.add(pass_number=1, correct=True, label=5, loss=None)
    assert metrics.accuracy_name == "accuracy"
    assert metrics.is_prequential
    assert metrics.passes()[-1].classes[0].label == "5"


def test_nothing_known_is_none():
    metrics = Metrics(trains=True)
    assert metrics.passes() == ()
    metrics.add(pass_number=0, correct=None, label=None, loss=None)
    (score,) = metrics.passes()
    assert (score.accuracy, score.mean_loss, score.classes) == (None, None, ())
    assert metrics.window_accuracy.value is None
