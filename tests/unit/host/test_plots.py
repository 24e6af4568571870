"""The plots of a run: drawn, as PNG, for every kind of run. What they look like was judged by eye."""

from __future__ import annotations

import builtins

import msgspec
import pytest

from edgelearn.errors import DataError, MissingPackageError, StorageError
from edgelearn.host.data import make_dataset
from edgelearn.host.device import open_device
from edgelearn.host.plots import draw_plots, learning_figure, memory_figure
from edgelearn.host.telemetry import Record, StreamOptions, create_run, read_run
from tests.support.fake_device import FakeDevice, blobs

matplotlib = pytest.importorskip("matplotlib")


@pytest.fixture
def make(tmp_path):
    """Makes a run folder of made-up results; returns its path."""

    def made(samples: int, *, passes: int = 1, train: bool = True, labelled: bool = True, loss: bool = True):
        with FakeDevice() as fake, open_device(fake.url) as device:
            dataset = make_dataset(*blobs(10), device.info)
            options = StreamOptions(train=train)
            folder = create_run(tmp_path, info=device.info, port="p", source=dataset, options=options)
        with folder:
            for i in range(samples):
                folder.append(
                    Record(
                        number=i,
                        pass_number=i * passes // samples,
                        sample=i,
                        prediction=i % 3,
                        confidence=0.5,
                        label=i % 2 if labelled else None,
                        loss=1 / (1 + i) if loss else None,
                        step=i,
                        time_s=i / 100,
                        round_trip_s=0.01,
                        stack_bytes=800,
                    )
                )
        return folder.path

    return made


@pytest.mark.parametrize(
    "run",
    [
        {"samples": 300, "passes": 3},
        {"samples": 1},
        {"samples": 2, "passes": 2},
        {"samples": 6000, "passes": 20},
        {"samples": 50, "train": False},
        {"samples": 50, "labelled": False},
        {"samples": 50, "labelled": False, "loss": False},
    ],
)
def test_plots_are_drawn(make, run):
    paths = draw_plots(make(**run))
    assert [path.name for path in paths] == ["learning.png", "memory.png"]
    for path in paths:
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size > 3000


def test_the_stack_has_a_bar_in_its_own_scale(make):
    run = read_run(make(5))
    ram, stack = memory_figure(run.manifest, run.records).axes
    assert [round(bar.get_width()) for bar in stack.patches] == [800, 3296]
    assert stack.get_xlim() == (0, 4096)
    assert [round(bar.get_width()) for bar in ram.patches] == [24000, 4096]
    assert "most in use: 0.8 KiB" in stack.get_legend().get_texts()[0].get_text()


def test_no_part_of_the_memory_is_too_narrow_to_be_seen(make):
    run = read_run(make(1))
    records = (msgspec.structs.replace(run.records[0], stack_bytes=4),)
    _, stack = memory_figure(run.manifest, records).axes
    widths = [bar.get_width() for bar in stack.patches]
    assert widths[0] > 0.005 * 4096
    assert sum(widths) == pytest.approx(4096)


def test_accuracies_stand_beside_the_curves(make):
    run = read_run(make(300, passes=3))
    axes = learning_figure(run.manifest, run.records).axes[0]
    names = [text.get_text() for text in axes.texts]
    assert sum(name.startswith("pass ") and name.endswith(" %") for name in names) == 3
    (value,) = (text for text in axes.texts if not text.get_text().startswith("pass "))
    assert value.xy[0] == 1.0
    assert value.xyann[0] > 0


def test_a_short_last_pass_has_no_name(make):
    run = read_run(make(300, passes=3))
    axes = learning_figure(run.manifest, run.records[:205]).axes[0]
    assert sum(text.get_text().startswith("pass ") for text in axes.texts) == 2


def test_a_run_without_results_has_no_plots(make):
    assert draw_plots(make(0)) == ()


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(DataError):
        draw_plots(tmp_path)


def test_a_plot_that_cannot_be_written(make):
    path = make(5)
    (path / "learning.png").mkdir()
    with pytest.raises(StorageError, match=r"learning\.png"):
        draw_plots(path)


def test_without_matplotlib_the_extra_is_named(make, monkeypatch):
    path = make(3)
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingPackageError, match=r"edgelearn\[plot\]"):
        draw_plots(path)
