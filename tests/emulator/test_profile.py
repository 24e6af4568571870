"""`edgelearn profile`: the layers' instructions against the board's own counter, and what is refused."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from edgelearn import process, profiling
from edgelearn.board import Core, Output, board_names, load_board
from edgelearn.cli import main
from edgelearn.errors import EmulatorError
from tests.support.bundles import write_model
from tests.support.models import reference_model
from tests.support.tools import require_tool, require_toolchain

#: Bare metal; for Arduino see test_arduino.py.
EMULATED = [
    name
    for name in board_names()
    if (e := (b := load_board(name)).emulator) and e.engine == "qemu" and Output.BARE_METAL in b.outputs
]
BOARD = next(name for name in EMULATED if load_board(name).core is Core.CORTEX_M4F)


def run(*argv, code=0):
    result = CliRunner().invoke(main, [str(a) for a in argv], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def last_json(result):
    return json.loads(result.output.splitlines()[-1])


@pytest.fixture
def bundle(tmp_path):
    path = tmp_path / "small.elb"
    run("convert", write_model(tmp_path / "small.tflite"), "-o", path, "--classes", "6")
    return path


def require_all(board, toolchain="gnu"):
    require_tool("qemu-system-arm")
    require_toolchain(toolchain, board)


@pytest.mark.parametrize("toolchain", ["gnu", "zig"])
@pytest.mark.parametrize("board", EMULATED)
def test_the_layers_sum_to_what_the_board_counts(bundle, board, toolchain):
    require_all(board, toolchain)
    found = last_json(run("profile", bundle, "--board", board, "--toolchain", toolchain, "--json"))
    verified = last_json(
        run("verify", bundle, "--board", board, "--toolchain", toolchain, "--samples", 1, "--train-steps", 1, "--json")
    )
    assert found["counted_instructions"] == verified["instructions_per_inference"]
    assert 0 < found["counted_instructions"] - found["instructions"] < 40, "the calls around the layers"
    assert 0 < verified["instructions_per_train_step"] - found["update"]["instructions"] < 40
    assert verified["estimated_cycles_per_inference"] == found["cycles"]
    assert [layer["name"] for layer in verified["slowest_layers"]] == [
        layer["name"] for layer in sorted(found["layers"], key=lambda layer: -layer["cycles"])[:3]
    ]


def test_keys_and_figures(bundle):
    require_all(BOARD)
    found = last_json(run("profile", bundle, "--board", BOARD, "--json"))
    assert set(found) == set(profiling.Profile.__struct_fields__)
    layers = found["layers"]
    assert all(set(layer) == set(profiling.LayerProfile.__struct_fields__) for layer in layers)
    assert [layer["op"] for layer in layers] == ["CONV_2D", "MAX_POOL_2D", "FULLY_CONNECTED", "FULLY_CONNECTED"]
    assert [layer["multiply_accumulates"] for layer in layers] == [8 * 8 * 9 * 4, 0, 64 * 12, 12 * 6]
    assert layers[-1]["kernel"] == "elearn_head_forward"
    assert found["update"]["name"] == layers[-1]["name"]
    assert found["update"]["kernel"] == "elearn_head_learn"
    assert found["instructions"] == sum(layer["instructions"] for layer in layers)
    assert found["multiply_accumulates"] == sum(layer["multiply_accumulates"] for layer in layers)
    assert sum(layer["share"] for layer in layers) == pytest.approx(1.0)
    assert found["milliseconds"] == pytest.approx(1000 * found["cycles"] / load_board(BOARD).clock_hz, rel=1e-3)
    for layer in layers:
        assert sum(layer["mix"].values()) == layer["instructions"]
        assert layer["cycles"] > layer["instructions"], "on this core nothing takes less than a cycle"
        if layer["multiply_accumulates"]:
            ratio = layer["instructions"] / layer["multiply_accumulates"]
            assert layer["instructions_per_mac"] == pytest.approx(ratio, abs=1e-3)
    assert "estimate" in found["estimate"]
    assert found["sources"]
    assert "memory without wait states" in found["assumptions"]


def test_the_mean_of_samples(bundle, tmp_path):
    require_all(BOARD)
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "data.npz", x=rng.normal(size=(3, 8, 8, 1)).astype(np.float32))
    found = last_json(
        run("profile", bundle, "--board", BOARD, "--data", tmp_path / "data.npz", "--samples", 5, "--json")
    )
    assert found["samples"] == 5
    assert found["data"] == "data.npz"
    assert found["update"] is None, "the file does not say what to learn"
    assert 0 < found["counted_instructions"] - found["instructions"] < 40


def test_without_a_trainable_layer(tmp_path):
    require_all(BOARD)
    path = tmp_path / "frozen.elb"
    run("convert", write_model(tmp_path / "small.tflite"), "-o", path, "--head", "none")
    found = last_json(run("profile", path, "--board", BOARD, "--json"))
    assert found["update"] is None
    assert [layer["op"] for layer in found["layers"]][-1] == "SOFTMAX"
    assert 0 < found["counted_instructions"] - found["instructions"] < 40


def test_what_a_person_reads(bundle, tmp_path):
    require_all(BOARD)
    text = run("profile", bundle, "--board", BOARD, "--keep", tmp_path / "kept").output
    assert "one inference" in text
    assert "MAX_POOL_2D" in text
    assert "one training step" in text
    assert "slowest: " in text
    assert "* cycles and milliseconds are estimated" in text
    assert "Technical Reference Manual" in text
    assert (tmp_path / "kept" / "build" / "firmware.elf").is_file()
    assert "slowest layers" in run("verify", bundle, "--board", BOARD, "--samples", 1, "--train-steps", 1).output


def test_a_model_of_many_layers(tmp_path):
    require_all(BOARD)
    path = tmp_path / "kws.elb"
    run("convert", reference_model("kws_ref_model"), "-o", path)
    found = last_json(run("profile", path, "--board", BOARD, "--json"))
    missed = found["counted_instructions"] - found["instructions"]
    assert 0 < missed < 1e-4 * found["counted_instructions"]


def test_the_host_cannot_be_profiled(bundle):
    result = run("profile", bundle, "--board", "host", code=37)
    assert "host cannot be profiled" in result.stderr
    assert BOARD in result.stderr


def test_a_board_without_an_emulator(bundle, monkeypatch):
    board = msgspec.structs.replace(load_board(BOARD), emulator=None)
    monkeypatch.setattr("edgelearn.board.load_board", lambda name: board)
    assert "has no emulator" in run("profile", bundle, "--board", BOARD, code=40).stderr


def test_no_qemu(bundle, monkeypatch):
    monkeypatch.setattr(process, "find_program", lambda name: None)
    result = run("profile", bundle, "--board", BOARD, code=40)
    assert "apt install qemu-system-arm" in result.stderr


def test_a_model_that_does_not_fit(tmp_path):
    require_tool("qemu-system-arm")
    path = tmp_path / "ad01.elb"
    run("convert", reference_model("ad01_int8"), "-o", path)
    assert "bytes of RAM" in run("profile", path, "--board", "netduinoplus2", code=32).stderr


def test_a_trace_that_cannot_be_read_fails_here_and_not_in_verify(bundle, monkeypatch):
    require_all(BOARD)
    monkeypatch.setattr("edgelearn.firmware.trace.Trace.feed", lambda self, piece: None)
    result = run("profile", bundle, "--board", BOARD, code=EmulatorError.exit_code)
    assert "are not those of the plan" in result.stderr
    found = last_json(run("verify", bundle, "--board", BOARD, "--samples", 1, "--train-steps", 1, "--json"))
    assert found["slowest_layers"] == []
    assert found["estimated_cycles_per_inference"] is None
    assert found["output_bytes_different"] == 0


def test_what_the_reader_of_the_trace_raises_is_raised(bundle, monkeypatch):
    require_all(BOARD)

    def fail(self, piece):
        raise EmulatorError("the emulator's trace cannot be read")

    monkeypatch.setattr("edgelearn.firmware.trace.Trace.feed", fail)
    assert "cannot be read" in run("profile", bundle, "--board", BOARD, code=EmulatorError.exit_code).stderr


def test_instructions_that_were_missed_are_told(bundle, monkeypatch):
    require_all(BOARD)
    monkeypatch.setattr(profiling, "_MOST_MISSED_INSTRUCTIONS", 0)
    monkeypatch.setattr(profiling, "_MOST_MISSED", 0.0)
    assert "do not agree" in run("profile", bundle, "--board", BOARD, code=EmulatorError.exit_code).stderr
