"""`edgelearn inspect --arena`: the picture, and what is said where there can be none."""

from __future__ import annotations

import json
import sys

import pytest
from click.testing import CliRunner

from edgelearn.cli import main
from edgelearn.errors import MissingPackageError, OptionError, StorageError
from tests.support.bundles import write_model


@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path / "small.tflite")


def inspect(model, *argv):
    return CliRunner().invoke(main, ["inspect", str(model), *(str(a) for a in argv)], catch_exceptions=False)


@pytest.mark.parametrize(("name", "start"), [("arena.svg", b"<?xml"), ("arena.png", b"\x89PNG")])
def test_it_is_drawn_the_same_each_time(model, tmp_path, name, start):
    drawn = []
    for _ in range(2):
        result = inspect(model, "--arena", tmp_path / name)
        assert result.exit_code == 0, result.output
        drawn.append((tmp_path / name).read_bytes())
    assert drawn[0].startswith(start)
    assert drawn[0] == drawn[1]


def test_the_text_names_the_peak(model):
    result = inspect(model)
    assert "peak of the arena:    conv: " in result.output
    assert "proved smallest" in result.output
    found = json.loads(inspect(model, "--json").output.splitlines()[-1])
    assert found["peak_layer"] == "conv"
    assert sum(buffer["size_bytes"] for buffer in found["peak_buffers"]) <= found["arena_bound_bytes"]
    assert found["arena_is_optimal"]


def test_another_ending(model, tmp_path):
    result = inspect(model, "--arena", tmp_path / "arena.txt")
    assert result.exit_code == OptionError.exit_code
    assert "neither .svg nor .png" in result.stderr


def test_a_folder_that_is_not_there(model, tmp_path):
    result = inspect(model, "--arena", tmp_path / "nowhere" / "arena.png")
    assert result.exit_code == StorageError.exit_code
    assert "could not be written" in result.stderr


def test_without_matplotlib(model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = inspect(model, "--arena", tmp_path / "arena.png")
    assert result.exit_code == MissingPackageError.exit_code
    assert "matplotlib" in result.stderr
