"""The demonstration, as the README promises it, and its fall back to this machine where there is no emulator."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from edgelearn.cli import main
from tests.support.tools import require_package, require_tool

KEYS = [
    "board",
    "engine",
    "accuracy_before",
    "accuracy_after",
    "accuracy_old_classes_before",
    "accuracy_old_classes_after",
    "accuracy_new_classes_after",
    "samples_trained",
    "flash_bytes",
    "ram_bytes",
    "instructions_per_inference",
    "instructions_per_train_step",
    "run",
]


def demo(folder, *argv):
    result = CliRunner().invoke(main, ["demo", "-o", str(folder), "--json", *map(str, argv)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result, json.loads(result.stdout.splitlines()[-1])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Keras, when it saves
def test_the_board_learns_two_digits_it_has_never_seen(tmp_path):
    for package in ("tensorflow", "sklearn"):
        require_package(package)
    for tool in ("qemu-system-arm", "arm-none-eabi-gcc"):
        require_tool(tool)
    said, found = demo(tmp_path / "demo", "--runs", tmp_path / "runs")
    assert list(found) == KEYS
    assert found["engine"] == "qemu"
    assert 0.77 < found["accuracy_before"] < 0.83
    assert found["accuracy_after"] >= 0.93
    assert found["accuracy_old_classes_before"] - found["accuracy_old_classes_after"] <= 0.03
    assert found["accuracy_new_classes_after"] > 0.7
    (folder,) = (tmp_path / "runs").iterdir()
    assert str(folder) == found["run"]
    assert f"edgelearn report {folder}" in said.stdout
    assert {p.suffix for p in folder.iterdir()} >= {".png", ".json", ".jsonl", ".npz"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_without_an_emulator_it_runs_on_this_machine(tmp_path, monkeypatch):
    for package in ("tensorflow", "sklearn"):
        require_package(package)
    require_tool("cc")
    from edgelearn.firmware import emulator

    monkeypatch.setattr(emulator, "QEMU_PROGRAMS", dict.fromkeys(emulator.QEMU_PROGRAMS, "no-such-emulator"))
    result, found = demo(tmp_path / "demo", "--repeat", "1")
    assert found["engine"] == "host"
    assert found["instructions_per_inference"] is None
    assert result.output.count("falling back") == 1
    assert found["accuracy_after"] > found["accuracy_before"]
