"""`edgelearn runs`: lists, figures, comparisons and exports, of whole and of broken run folders."""

from __future__ import annotations

import builtins
import csv
import datetime
import json

import pytest
from click.testing import CliRunner

from edgelearn.cli import main
from edgelearn.errors import DataError, MissingPackageError, OptionError, StorageError
from edgelearn.host.telemetry import MANIFEST, RESULTS, SUMMARY, read_run
from edgelearn.protocol import LossCode
from tests.support.runs import NOW, make_run
from tests.support.tools import require_package


def run(*argv):
    result = CliRunner().invoke(main, [str(a) for a in argv], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def fails(*argv):
    return CliRunner().invoke(main, [str(a) for a in argv], catch_exceptions=False)


@pytest.fixture
def runs(tmp_path):
    """Three runs: whole, crashed, and a regression that ended with an error."""
    folder = tmp_path / "runs"
    make_run(folder, 300, passes=3, events=True, names=("zero", "one"), classes=2)
    make_run(folder, 50, ended=None, created=NOW + datetime.timedelta(hours=1), classes=2)
    make_run(folder, 20, ended="error", loss=LossCode.SQUARED_ERROR, created=NOW + datetime.timedelta(hours=2), seed=3)
    return folder


def test_list(runs):
    text = run("runs", "list", "--runs", runs)
    assert [word for word in text.split() if word.startswith("2030")] == sorted(p.name for p in runs.iterdir())
    assert "unfinished" in text
    first, second, third = json.loads(run("runs", "list", "--runs", runs, "--json"))
    assert (first["ended"], second["ended"], third["ended"]) == ("complete", "unfinished", "error")
    assert (first["samples"], second["samples"], third["samples"]) == (300, 50, 20)
    assert first["accuracy"] == read_run(runs / first["name"]).summary.accuracy
    assert third["accuracy"] is None
    passes = read_run(runs / first["name"]).summary.passes
    assert len(passes) == 3
    assert (first["accuracy"], first["mean_loss"]) == (passes[0].accuracy, passes[0].mean_loss)
    assert second["mean_loss"] > 0


def test_list_without_runs(tmp_path):
    assert "holds no runs" in run("runs", "list", "--runs", tmp_path / "none")
    assert json.loads(run("runs", "list", "--runs", tmp_path, "--json")) == []


def test_a_broken_folder_does_not_keep_the_others_from_being_listed(runs):
    broken = sorted(runs.iterdir())[0]
    (broken / MANIFEST).write_bytes(b"{")
    (broken / RESULTS).unlink()
    text = run("runs", "list", "--runs", runs)
    assert "damaged" in text
    assert f"note: {broken.name}:" in text
    assert [line["ended"] for line in json.loads(run("runs", "list", "--runs", runs, "--json"))] == [
        "damaged",
        "unfinished",
        "error",
    ]


def test_show_gives_the_figures_of_the_summary(runs):
    path = sorted(runs.iterdir())[0]
    summary = read_run(path).summary
    found = json.loads(run("runs", "show", path, "--json"))
    assert found["accuracy"] == summary.accuracy
    assert found["training_accuracy"] == summary.training_accuracy
    assert [p["mean_loss"] for p in found["passes"]] == [p.mean_loss for p in summary.passes]
    assert (found["resets"], found["saves"], found["retries"]) == (1, 1, 3)
    (path / SUMMARY).unlink()
    without = json.loads(run("runs", "show", path, "--json"))
    assert without["ended"] == "unfinished"
    assert without["passes"] == found["passes"]
    text = run("runs", "show", path)
    for part in ("digits.elb", "made-up.npz", "f405 on /dev/ttyACM0", "zero", "820 of 4096 bytes"):
        assert part in text


@pytest.mark.parametrize("name", ["last", "T050405Z", "20300102T050405Z-f405-00112233"])
def test_a_run_is_named_by_a_part_of_its_name(runs, name):
    assert json.loads(run("runs", "show", name, "--runs", runs, "--json"))["name"] == "20300102T050405Z-f405-00112233"


@pytest.mark.parametrize(
    ("name", "message"), [("f405", "part of 3 names"), ("none", "no run none"), ("", "no run without a name")]
)
def test_a_name_that_means_no_run_or_several(runs, name, message):
    result = fails("runs", "show", name, "--runs", runs)
    assert result.exit_code == DataError.exit_code
    assert message in result.output


@pytest.mark.parametrize("command", ["report", "csv", "parquet", "tensorboard"])
def test_no_folder_is_made_up(runs, tmp_path, command):
    for package in ("matplotlib", "pyarrow", "tensorboardX"):
        require_package(package)
    words = ["report", "last"] if command == "report" else ["runs", "export", "last", "--format", command]
    result = fails(*words, "--runs", runs, "-o", tmp_path / "nosuch" / "out")
    assert result.exit_code == StorageError.exit_code
    assert f"there is no folder {tmp_path / 'nosuch'}" in result.output
    assert not (tmp_path / "nosuch").exists()


def test_last_of_no_runs(tmp_path):
    assert "holds no runs" in fails("runs", "show", "last", "--runs", tmp_path).output


def test_the_newest_run_of_one_second_is_the_last(tmp_path):
    made = [make_run(tmp_path, 1) for _ in range(11)]
    assert json.loads(run("runs", "show", "last", "--runs", tmp_path, "--json"))["name"] == made[-1].name
    assert made[-1].name.endswith("-11")


def test_an_empty_run(tmp_path):
    path = make_run(tmp_path, 0, ended=None)
    found = json.loads(run("runs", "show", path, "--json"))
    assert (found["samples"], found["accuracy"], found["round_trip_s"]) == (0, None, None)
    assert "unfinished" in run("runs", "show", path)
    assert "unfinished" in run("runs", "compare", path, path)


def test_damage_is_told(runs):
    path = sorted(runs.iterdir())[1]
    (path / MANIFEST).unlink()
    assert "note: manifest.json is missing or damaged" in run("runs", "show", path)


def test_compare(runs, tmp_path):
    names = sorted(path.name for path in runs.iterdir())
    found = json.loads(run("runs", "compare", *names, "--runs", runs, "--json"))
    assert [one["name"] for one in found["runs"]] == names
    long, short, regression = found["accuracy"]
    assert long["samples"] == list(range(30, 301, 30))
    assert short["samples"] == [30, 50]
    assert regression["samples"] == []
    records = read_run(runs / names[0]).records
    assert long["values"][-1] == sum(r.correct for r in records[-100:]) / 100
    assert found["loss"][2]["samples"] == [20]
    text = run("runs", "compare", *names, "--runs", runs, "-o", tmp_path / "c.svg")
    assert "accuracy of the last samples, after" in text
    assert (tmp_path / "c.svg").read_text().count("<svg") == 1
    run("runs", "compare", names[2], "--runs", runs, "-o", tmp_path / "c.png")
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    assert fails("runs", "compare", names[0], "--runs", runs, "-o", "c.gif").exit_code == OptionError.exit_code


def test_csv_has_every_result(runs, tmp_path):
    path = sorted(runs.iterdir())[0]
    out = tmp_path / "out.csv"
    found = json.loads(run("runs", "export", path, "--format", "csv", "-o", out, "--json").splitlines()[-1])
    assert (found["results"], found["output"]) == (300, str(out))
    rows = list(csv.DictReader(out.read_text().splitlines()))
    records = read_run(path).records
    assert [int(row["number"]) for row in rows] == list(range(300))
    assert [float(row["loss"]) for row in rows] == [record.loss for record in records]
    assert [row["correct"] for row in rows] == [str(record.correct).lower() for record in records]
    assert {row["label_name"] for row in rows} == {"zero", "one"}
    assert {row["saved_step"] for row in rows} == {""}


def test_parquet_has_every_result_and_the_manifest(runs, tmp_path):
    require_package("pyarrow")
    import pyarrow.parquet as pq

    for path in sorted(runs.iterdir()):
        run("runs", "export", path, "--format", "parquet", "-o", tmp_path / "out.parquet")
        table = pq.read_table(tmp_path / "out.parquet")
        records = read_run(path).records
        assert table.num_rows == len(records)
        assert table["loss"].to_pylist() == [record.loss for record in records]
        assert table["label"].to_pylist() == [record.label for record in records]
        assert table["correct"].to_pylist() == [record.correct for record in records]
        assert str(table.schema.field("stack_bytes").type) == "int64"
        manifest = json.loads(table.schema.metadata[b"edgelearn.manifest"])
        assert manifest["data"] == "made-up.npz"


def test_tensorboard_is_read_by_tensorflow(runs, tmp_path):
    require_package("tensorboardX")
    require_package("tensorflow")
    from tensorflow.compat.v1.train import summary_iterator

    path = sorted(runs.iterdir())[0]
    run("runs", "export", path, "--format", "tensorboard", "-o", tmp_path / "tb")
    (file,) = (tmp_path / "tb").iterdir()
    found: dict[str, list[tuple[int, float, float]]] = {}
    for event in summary_iterator(str(file)):
        for value in event.summary.value:
            found.setdefault(value.tag, []).append((event.step, value.simple_value, event.wall_time))
    records = read_run(path).records
    loss = next(points for tag, points in found.items() if tag.replace("_", " ").endswith("loss/each"))
    assert [step for step, _, _ in loss] == list(range(1, 301))
    assert [value for _, value, _ in loss] == pytest.approx([record.loss for record in records], rel=1e-6)
    assert [time - NOW.timestamp() for _, _, time in loss] == pytest.approx([r.time_s for r in records], abs=1e-5)
    assert any(tag.startswith("accuracy") for tag in found)
    assert any(tag.startswith("manifest") for tag in found)
    again = fails("runs", "export", path, "--format", "tensorboard", "-o", tmp_path / "tb")
    assert again.exit_code == StorageError.exit_code
    assert "already holds an export" in again.output


@pytest.mark.parametrize(("form", "package"), [("parquet", "pyarrow"), ("tensorboard", "tensorboardX")])
def test_without_its_package_the_extra_is_named(runs, tmp_path, monkeypatch, form, package):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] == package:
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    result = fails("runs", "export", "last", "--runs", runs, "--format", form, "-o", tmp_path / "out")
    assert result.exit_code == MissingPackageError.exit_code
    assert "edgelearn[export]" in result.output


@pytest.mark.parametrize("form", ["csv", "parquet", "tensorboard"])
def test_what_cannot_be_written(runs, tmp_path, form):
    (tmp_path / "file").write_text("")
    result = fails("runs", "export", "last", "--runs", runs, "--format", form, "-o", tmp_path / "file" / "out")
    assert result.exit_code == StorageError.exit_code


@pytest.mark.parametrize("form", ["csv", "parquet", "tensorboard"])
def test_an_empty_run_is_exported(tmp_path, form):
    path = make_run(tmp_path, 0, ended=None)
    assert "0 results" in run("runs", "export", path, "--format", form, "-o", tmp_path / "out")
