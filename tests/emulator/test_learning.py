"""The real firmware on emulated boards: predicts and learns over its serial line, bit for bit like the references."""

from __future__ import annotations

import json
import subprocess

import numpy as np
import pytest
from click.testing import CliRunner

from edgelearn import pipeline
from edgelearn.board import board_names, load_board
from edgelearn.bundle import read_bundle
from edgelearn.cli import main
from edgelearn.host.device import open_device
from tests.support.bundles import write_model
from tests.support.models import reference_model
from tests.support.tools import require_tool, require_toolchain

EMULATED = [name for name in board_names() if (e := load_board(name).emulator) and e.engine == "qemu"]


def run(*argv):
    result = CliRunner().invoke(main, [str(a) for a in argv], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def verify(*argv):
    return json.loads(run("verify", *argv, "--json").output.splitlines()[-1])


@pytest.fixture
def bundle(tmp_path):
    path = tmp_path / "small.elb"
    run("convert", write_model(tmp_path / "small.tflite"), "-o", path, "--classes", "6")
    return path


@pytest.mark.parametrize("toolchain", ["gnu", "zig"])
@pytest.mark.parametrize("board", EMULATED)
def test_verify(bundle, board, toolchain):
    require_tool("qemu-system-arm")
    require_toolchain(toolchain, board)
    found = verify(bundle, "--board", board, "--toolchain", toolchain, "--samples", 16, "--train-steps", 200)
    assert found["output_bytes_different"] == 0
    assert found["head_weights_different"] == 0
    assert found["engine"] == "qemu"
    assert 10_000 < found["instructions_per_inference"] < 200_000
    assert 0 < found["instructions_per_train_step"] < 20_000
    assert 0 < found["stack_bytes"] < load_board(board).stack_bytes / 2
    assert found["flash_model_bytes"] < found["flash_bytes"]


def test_counts_repeat_exactly(bundle):
    require_tool("qemu-system-arm")
    require_toolchain("gnu", EMULATED[0])
    argv = (bundle, "--board", EMULATED[0], "--toolchain", "gnu", "--samples", 4, "--train-steps", 4)
    assert verify(*argv) == verify(*argv)


@pytest.mark.parametrize("residual", ["stochastic", "none", "float"])
def test_verify_of_other_residuals(bundle, residual):
    require_tool("qemu-system-arm")
    require_toolchain("gnu", EMULATED[0])
    argv = (bundle, "--board", EMULATED[0], "--residual", residual, "--samples", 8, "--train-steps", 50)
    found = verify(*argv)
    assert found["output_bytes_different"] == 0
    assert found["head_weights_different"] == (None if residual == "float" else 0)


@pytest.mark.parametrize("head", ["trainable", "none"])
@pytest.mark.parametrize("name", ["kws_ref_model", "ad01_int8"])
def test_reference_models(tmp_path, name, head):
    require_tool("qemu-system-arm")
    require_toolchain("gnu", EMULATED[0])
    path = tmp_path / "model.elb"
    run("convert", reference_model(name), "-o", path, *(["--head", "none"] if head == "none" else []))
    argv = (path, "--board", EMULATED[-1], "--residual", "stochastic", "--samples", 4, "--train-steps", 8)
    found = verify(*argv)
    assert found["output_bytes_different"] == 0
    assert not found["head_weights_different"]


def test_the_project_builds_with_make_alone(tmp_path, bundle):
    require_tool("make")
    require_tool("arm-none-eabi-gcc")
    for board in EMULATED:
        folder = tmp_path / board
        run("generate", bundle, "--board", board, "-o", folder)
        # Nothing of ours and no Python on the path: only what a C toolchain needs.
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
        done = subprocess.run(["make", "-C", str(folder), "-j2"], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert (folder / "build" / "firmware.elf").stat().st_size > 1000


def test_a_session_survives_a_reconnection_and_tells_a_reset(tmp_path, bundle):
    require_tool("qemu-system-arm")
    require_toolchain("gnu", EMULATED[0])
    folder = tmp_path / "p"
    made = read_bundle(bundle)
    pipeline.generate(made, load_board(EMULATED[0]), folder)
    x = np.arange(64, dtype=np.int8)
    with pipeline.emulate(folder) as url:
        with open_device(url) as device:
            for label in range(6):
                device.train(x, label=label)
            learned = device.read_head()
            assert device.statistics().step == 6
        with open_device(url) as device:
            assert device.info.step == 6
            assert device.read_head().same_as(learned)
            device.reset_head()
            assert not device.read_head().same_as(learned)
            device.write_head(learned)
            assert device.read_head().same_as(learned)
            assert device.statistics().crc_errors == 0
            assert device.statistics().overruns == 0
