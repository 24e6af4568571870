"""The real firmware on emulated boards: predicts and learns over its serial line, bit for bit like the references."""

from __future__ import annotations

import contextlib
import json
import subprocess

import numpy as np
import pytest
from click.testing import CliRunner

from edgelearn import pipeline
from edgelearn.board import Core, Output, board_names, load_board
from edgelearn.bundle import read_bundle
from edgelearn.cli import main
from edgelearn.errors import DeviceRefusedError, DeviceResetError
from edgelearn.firmware.emulator import start
from edgelearn.firmware.stack_usage import stack_bound
from edgelearn.firmware.toolchain import build_project
from edgelearn.host.device import open_device
from edgelearn.host.link import LinkOptions
from edgelearn.host.telemetry import read_run
from edgelearn.training import make_head, plan_training
from tests.support.bundles import write_model
from tests.support.firmware import generate, write_project
from tests.support.lossy_proxy import ALL_FAULTS, LossyProxy, assert_same_head, teach
from tests.support.models import reference_model
from tests.support.tools import require_tool, require_toolchain
from tests.unit.training.heads import head_graph

#: Bare metal; for Arduino see test_arduino.py.
EMULATED = [
    name
    for name in board_names()
    if (e := (b := load_board(name)).emulator) and e.engine == "qemu" and Output.BARE_METAL in b.outputs
]
#: Boards whose flash cannot be written under QEMU.
READ_ONLY = [name for name in EMULATED if (e := load_board(name).emulator) and not e.saves]
#: For what one board is enough for: a Cortex-M4F.
BOARD = next(name for name in EMULATED if load_board(name).core is Core.CORTEX_M4F)
#: Where floating point is the compiler's library.
NO_FPU_BOARD = next(name for name in EMULATED if load_board(name).core is Core.CORTEX_M3)

#: What the firmware may need at most, whatever the model.
MOST_STACK_BYTES = 1024


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
    assert 0 < found["stack_bytes"] <= found["stack_bound_bytes"] <= MOST_STACK_BYTES
    assert found["flash_model_bytes"] < found["flash_bytes"]


def test_counts_repeat_exactly(bundle):
    require_tool("qemu-system-arm")
    require_toolchain("gnu", BOARD)
    argv = (bundle, "--board", BOARD, "--toolchain", "gnu", "--samples", 4, "--train-steps", 4)
    assert verify(*argv) == verify(*argv)


@pytest.mark.parametrize("toolchain", ["gnu", "zig"])
@pytest.mark.parametrize(
    ("residual", "board"), [("stochastic", BOARD), ("none", BOARD), ("float", BOARD), ("float", NO_FPU_BOARD)]
)
def test_verify_of_other_residuals(bundle, residual, board, toolchain):
    require_tool("qemu-system-arm")
    require_toolchain(toolchain, board)
    argv = (bundle, "--board", board, "--toolchain", toolchain, "--residual", residual)
    found = verify(*argv, "--samples", 8, "--train-steps", 50)
    assert found["output_bytes_different"] == 0
    assert found["head_weights_different"] == (None if residual == "float" else 0)
    assert found["stack_bytes"] <= found["stack_bound_bytes"] <= MOST_STACK_BYTES


@pytest.mark.parametrize(
    ("name", "head", "board"),
    [
        ("kws_ref_model", "trainable", EMULATED[-1]),
        ("kws_ref_model", "none", EMULATED[-1]),
        ("ad01_int8", "trainable", EMULATED[-1]),
        ("ad01_int8", "none", EMULATED[-1]),
        *(("ad01_int8", "trainable", board) for board in EMULATED[:-1] if load_board(board).ram_bytes > 100_000),
        ("pretrainedResnet_quant", "none", BOARD),
    ],
)
def test_reference_models(tmp_path, name, head, board):
    require_tool("qemu-system-arm")
    require_toolchain("gnu", board)
    path = tmp_path / "model.elb"
    run("convert", reference_model(name), "-o", path, *(["--head", "none"] if head == "none" else []))
    argv = (path, "--board", board, "--residual", "stochastic", "--samples", 4, "--train-steps", 8)
    found = verify(*argv)
    assert found["output_bytes_different"] == 0
    assert not found["head_weights_different"]
    assert found["stack_bytes"] <= found["stack_bound_bytes"] <= MOST_STACK_BYTES


@pytest.mark.parametrize("name", READ_ONLY)
def test_flash_that_cannot_be_written_is_not_asked_for(tmp_path, bundle, name):
    require_tool("qemu-system-arm")
    require_toolchain("gnu", name)
    project = tmp_path / "p"
    run("generate", bundle, "--board", name, "-o", project)
    np.savez(tmp_path / "d.npz", x=np.zeros((12, 8, 8, 1), np.float32), y=np.zeros(12, np.int64))
    at = ("--port", "emulate", "--project", project)
    said = run("stream", *at, "--data", tmp_path / "d.npz", "--train", "--runs", tmp_path / "runs").output
    assert f"qemu cannot write the memory in which {name} saves: the learned head is kept in the run only" in said
    assert "has not saved" not in said
    (folder,) = (tmp_path / "runs").iterdir()
    assert read_run(folder).summary.notices == ()
    assert "class 4 is spare" in run("head", "add-class", "spare", *at).output


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
    require_toolchain("gnu", BOARD)
    folder = tmp_path / "p"
    made = read_bundle(bundle)
    pipeline.generate(made, load_board(BOARD), folder)
    x = np.arange(64, dtype=np.int8)
    with pipeline.emulate(folder) as running:
        with open_device(running.url) as device:
            for label in range(6):
                device.train(x, label=label)
            learned = device.read_head()
            assert device.statistics().step == 6
        with open_device(running.url) as device:
            assert device.info.step == 6
            assert device.read_head().same_as(learned)
            device.reset_head()
            assert not device.read_head().same_as(learned)
            device.write_head(learned)
            assert device.read_head().same_as(learned)
            assert device.statistics().crc_errors == 0
            assert device.statistics().overruns == 0


def head_firmware(folder, board):
    """Firmware for a model that is nothing but its head; its image and the reference."""
    rng = np.random.default_rng(7)
    weights = rng.normal(size=(4, 20)).astype(np.float32) * 0.1
    graph = head_graph(weights, rng.normal(size=4).astype(np.float32))
    training = plan_training(graph, learning_rate=1e-3)
    write_project(generate(graph, board=board, training=training), folder)
    return build_project(folder, core=board.core, toolchain="gnu").elf, make_head(training)


OPTIONS = LinkOptions(first_timeout_s=0.2, min_timeout_s=0.05, max_timeout_s=0.3, give_up_s=30.0)


@pytest.mark.parametrize("name", EMULATED)
def test_no_sample_is_lost_or_applied_twice_over_a_bad_line(tmp_path, name):
    require_tool("qemu-system-arm")
    require_toolchain("gnu", name)
    board = load_board(name)
    image, head = head_firmware(tmp_path, board)
    with (
        start(board, image) as running,
        LossyProxy(running.url, ALL_FAULTS, seed=5) as line,
        open_device(line.url, options=OPTIONS) as device,
    ):
        teach(device, head, samples=250, seed=5)
        statistics = device.statistics()
        assert device.counters.retries > 15
    assert statistics.step == 250
    assert statistics.repeats > 15
    assert statistics.gaps > 15
    assert statistics.crc_errors > 5


@pytest.mark.parametrize("name", EMULATED)
def test_stack_of_each_phase(tmp_path, name):
    """Inference, update and saving each use some, and none more than the image says is possible."""
    require_tool("qemu-system-arm")
    require_toolchain("gnu", name)
    board = load_board(name)
    image, head = head_firmware(tmp_path, board)
    bound = stack_bound(image, board).size_bytes
    with start(board, image) as running, open_device(running.url) as device:
        nothing = device.statistics()
        device.predict(np.zeros(20, np.int8))
        predicted = device.statistics()
        teach(device, head, samples=30, seed=2)
        taught = device.statistics()
        if name in READ_ONLY:
            with pytest.raises(DeviceRefusedError, match="its memory did not take the head"):
                device.save()
            # By itself it tries once, and tells; not at each step again.
            device.set_autosave(2)
            teach(device, head, samples=9, seed=3)
            assert device.statistics().failed_saves == 1
        else:
            device.save()
        saved = device.statistics()
    phases = [(s.inference_stack_bytes, s.train_stack_bytes, s.save_stack_bytes) for s in (nothing, predicted, taught)]
    assert phases[0] == (0, 0, 0)
    assert phases[1][0] > 0
    assert phases[1][1:] == (0, 0)
    assert phases[2][0] >= phases[1][0]
    assert phases[2][1] > 0
    assert phases[2][2] == 0
    assert saved.save_stack_bytes > 0
    assert (saved.saves, saved.saved_step, saved.step) == ((0, 0, 39) if name in READ_ONLY else (1, 30, 30))
    most = [saved.inference_stack_bytes, saved.train_stack_bytes, saved.save_stack_bytes]
    assert max(most) <= saved.stack_bytes <= bound <= MOST_STACK_BYTES
    assert bound < saved.stack_size_bytes


@pytest.mark.parametrize("name", EMULATED)
def test_classes_and_parts_on_a_board(tmp_path, name):
    """Names, added classes, a sample in parts and one that the device labels itself."""
    require_tool("qemu-system-arm")
    require_toolchain("gnu", name)
    board = load_board(name)
    features = 1100
    rng = np.random.default_rng(7)
    graph = head_graph(rng.normal(size=(3, features)).astype(np.float32) * 0.02, np.zeros(3, np.float32))
    training = plan_training(graph, learning_rate=1e-4)
    files = generate(graph, board=board, training=training, labels=("one", "two", ""), spare_classes=1)
    write_project(files, tmp_path)
    image = build_project(tmp_path, core=board.core, toolchain="gnu").elf
    head = make_head(training)
    with start(board, image) as running, open_device(running.url) as device:
        assert (device.info.classes_in_use, device.info.label_bytes) == (2, 16)
        assert device.info.max_payload_bytes < features
        device.set_class(2, "three")
        head.q[2], head.residual[2], head.bias[2] = 0, 128, 0
        teach(device, head, samples=12, seed=3)
        x = rng.integers(-128, 128, features).astype(np.int8)
        step = head.forward(x)
        none = device.result(device.submit(x, train=True, self_label=1.1))
        assert (none.learned, none.step) == (False, 12)
        learned = device.result(device.submit(x, train=True, self_label=0.0))
        assert (learned.learned, learned.self_labelled, learned.step) == (True, True, 13)
        assert learned.prediction == step.prediction
        head.learn(x, head.judge(step, label=step.prediction), label=step.prediction)
        assert_same_head(device, head)
    with start(board, image) as running, open_device(running.url) as device:
        assert device.info.labels == ("one", "two", "")


def test_a_board_that_is_started_anew_says_so(tmp_path):
    require_tool("qemu-system-arm")
    require_toolchain("gnu", BOARD)
    board = load_board(BOARD)
    image, _ = head_firmware(tmp_path, board)
    x = np.zeros(20, np.int8)
    with contextlib.ExitStack() as stack:
        before = stack.enter_context(contextlib.ExitStack())
        line = stack.enter_context(LossyProxy(before.enter_context(start(board, image)).url))
        device = stack.enter_context(open_device(line.url, options=OPTIONS))
        for _ in range(5):
            device.train(x, label=1)
        before.close()
        line.target = stack.enter_context(start(board, image)).url
        with pytest.raises(DeviceResetError, match="was reset"):
            device.train(x, label=1)
