"""Arduino libraries compiled for an 8-bit core with Debian's core, and run in QEMU over its USART: the same bits."""

from __future__ import annotations

import json
import subprocess
import time

import numpy as np
import pytest
from click.testing import CliRunner

from edgelearn import pipeline
from edgelearn.board import Core, Output, board_names, load_board
from edgelearn.bundle import read_bundle
from edgelearn.cli import main
from edgelearn.codegen import SensorSource, emit_arduino, plan_firmware
from edgelearn.convert.litert import ReferenceInterpreter
from edgelearn.errors import EmulatorError
from edgelearn.firmware import arduino_build, emulator
from edgelearn.firmware.emulator import start
from edgelearn.host.device import open_device
from edgelearn.ir.edges import Dequantize, Quantize
from edgelearn.project import read_project
from edgelearn.protocol import Region
from edgelearn.recipe import NO_TRAINING
from edgelearn.training import make_head, plan_training
from tests.emulator.test_kernels import chain, recurrent, scaled
from tests.support.arduino_ops import PARTS, autoencoder, dense_layers, every_op
from tests.support.bundles import small_model
from tests.support.firmware import MODEL_HASH, load_graph, write_project
from tests.support.lossy_proxy import assert_same_head
from tests.support.sensor import NO_LABEL, Rule, sensor_source, teach
from tests.support.tflite_builder import TfliteBuilder
from tests.support.tools import require_tool
from tests.unit.training.heads import head_graph
from tests.vectors.test_completeness import SMALLEST

#: The emulated board that takes Arduino's sketches first.
BOARD = next(
    board
    for board in map(load_board, board_names())
    if board.emulator and board.emulator.engine == "qemu" and board.outputs[0] is Output.ARDUINO
)
#: A board whose kernels are those for DSP instructions.
DSP_BOARD = next(board for board in map(load_board, board_names()) if board.arduino and board.core is Core.CORTEX_M4F)


@pytest.fixture(autouse=True)
def tools():
    for tool in ("avr-gcc", "qemu-system-avr"):
        require_tool(tool)
    assert arduino_build.DEBIAN_CORE.is_dir(), "the Debian package arduino-core-avr is not installed"


def run(*argv):
    result = CliRunner().invoke(main, [str(a) for a in argv], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def bundle_of(model, folder, *options):
    (folder / "model.tflite").write_bytes(model)
    run("convert", folder / "model.tflite", "-o", folder / "model.elb", *options)
    return folder / "model.elb"


def verify(bundle, *options):
    return json.loads(run("verify", bundle, "--board", BOARD.name, *options, "--json").output.splitlines()[-1])


@pytest.mark.parametrize("make", [dense_layers, small_model], ids=["dense", "convolution"])
def test_it_learns_the_same_bits(make, tmp_path):
    found = verify(bundle_of(make(), tmp_path, "--classes", "8"), "--samples", 10, "--train-steps", 220)
    assert found["engine"] == "qemu"
    assert found["output_bytes_compared"] > 4000
    assert found["output_bytes_different"] == 0
    assert found["train_steps"] == 220
    assert found["head_weights_different"] == 0
    assert 100 < found["stack_bytes"] < 512


@pytest.mark.parametrize("residual", ["stochastic", "none", "float"])
def test_it_learns_however_weights_are_stored(residual, tmp_path):
    bundle = bundle_of(dense_layers(), tmp_path, "--classes", "8")
    found = verify(bundle, "--samples", 2, "--train-steps", 40, "--residual", residual)
    assert found["output_bytes_different"] == 0
    assert found["head_weights_different"] == (None if residual == "float" else 0)


def test_an_autoencoder_learns_the_same_bits(tmp_path):
    bundle = bundle_of(autoencoder(), tmp_path, "--loss", "squared-error")
    found = verify(bundle, "--samples", 4, "--train-steps", 60)
    assert found["output_bytes_different"] == 0
    assert found["head_weights_different"] == 0


@pytest.mark.parametrize("part", range(PARTS))
def test_every_op_has_the_bytes_of_the_reference_kernels(part, tmp_path):
    found = verify(bundle_of(every_op(part, 1 + part), tmp_path, "--head", "none"), "--samples", 8)
    assert found["output_bytes_different"] == 0
    assert found["output_bytes_compared"] > 1000


@pytest.mark.parametrize("op", [Quantize, Dequantize])
def test_float_edges(op, tmp_path):
    builder = TfliteBuilder(3)
    out = SMALLEST[op](builder, builder.input((1, 4, 4, 2)))
    bundle = bundle_of(builder.build(out), tmp_path, "--head", "none", "--edges", "float")
    assert verify(bundle, "--samples", 30)["output_bytes_different"] == 0


@pytest.mark.parametrize("make", [chain, recurrent, scaled])
def test_a_library_for_another_board_gives_the_same_bytes_here(make, tmp_path):
    """Kernels for DSP instructions run as their portable twins."""
    model = make(1)
    graph = load_graph(model)
    plan = plan_firmware(graph, DSP_BOARD, NO_TRAINING, model_hash=MODEL_HASH, labels=(), output=Output.ARDUINO)
    files = emit_arduino(plan, name="other")
    assert any("_fours_s8" in path or "_pairs_s8" in path or "folded" in path for path in files)
    folder = write_project(files, tmp_path)
    sources = [path for path in files if path.startswith("src/") and path.endswith((".c", ".cpp"))]
    assert BOARD.arduino is not None
    built = arduino_build.build_library(folder, fqbn=BOARD.arduino.fqbn, sources=sources)
    assert built.ram_bytes + BOARD.stack_bytes <= BOARD.ram_bytes
    (index,) = [graph.tensor(name).source_index for name in graph.outputs]
    oracle = ReferenceInterpreter(model)
    rng = np.random.default_rng(1)
    with start(BOARD, built.elf) as emulator, open_device(emulator.url) as device:
        shape = graph.tensor(graph.inputs[0]).shape
        for _ in range(4):
            x = rng.integers(-128, 128, shape).astype(np.int8)
            device.predict((x,))
            assert device.read_region(Region.OUTPUT) == oracle.run(x, [index])[index].tobytes()


@pytest.mark.parametrize("make", [dense_layers, small_model], ids=["dense", "convolution"])
def test_figures_of_the_linker_are_those_of_the_plan(make, tmp_path):
    """By avr-nm, which is not us; constants are in flash, whose addresses are below those of data."""
    bundle = bundle_of(make(), tmp_path, "--classes", "8")
    run("generate", bundle, "--board", BOARD.name, "--target", "arduino", "-o", tmp_path / "library")
    output = run("build", tmp_path / "library").output
    elf = tmp_path / "library" / "build" / "firmware.elf"
    lines = subprocess.run(["avr-nm", "-S", elf], capture_output=True, text=True, check=True).stdout.splitlines()
    symbols = {f[3]: (int(f[0], 16), int(f[1], 16)) for f in map(str.split, lines) if len(f) == 4}
    project = read_project(tmp_path / "library")
    assert project.output == "arduino"
    for buffer in project.buffers:
        assert symbols[buffer.symbol][1] == buffer.size_bytes
        assert symbols[buffer.symbol][0] >= 0x80_0000
    for constant in project.constants:
        assert symbols[constant.symbol][1] == constant.size_bytes
        assert symbols[constant.symbol][0] < 0x1_0000
    sizes = subprocess.run(["avr-size", elf], capture_output=True, text=True, check=True).stdout.splitlines()[1].split()
    text, data, bss = map(int, sizes[:3])
    assert f"{text + data:,}" in output
    planned = project.buffers_bytes + project.state_estimate_bytes
    assert abs(data + bss - planned) < 150
    linked = text + data - project.constants_bytes
    assert abs(linked - project.code_estimate_bytes) < 0.1 * linked


def test_stream_learns_over_the_emulated_line(tmp_path):
    bundle = bundle_of(dense_layers(), tmp_path, "--classes", "6")
    run("generate", bundle, "--board", BOARD.name, "-o", tmp_path / "library")
    rng = np.random.default_rng(0)
    y = rng.integers(0, 6, 120)
    x = rng.normal(size=(6, 24))[y] + 0.1 * rng.normal(size=(120, 24))
    np.savez(tmp_path / "data.npz", x=x.astype(np.float32), y=y)
    result = run(
        *("stream", "--port", "emulate", "--project", tmp_path / "library", "--data", tmp_path / "data.npz"),
        *("--train", "--lr", "3e-3", "--repeat", 2, "--runs", tmp_path / "runs"),
    )
    assert "240 samples" in result.output
    assert "0 bad frames" in result.output
    assert (
        f"qemu cannot write the memory in which {BOARD.name} saves: the learned head is kept in the run only"
        in result.output
    )


def test_the_head_moves_between_a_device_and_a_bundle(tmp_path):
    bundle = bundle_of(dense_layers(), tmp_path, "--classes", "8")
    run("generate", bundle, "--board", BOARD.name, "-o", tmp_path / "library")
    with pipeline.emulate(tmp_path / "library") as running:
        run("head", "show", "--port", running.url)
        run("head", "pull", "--port", running.url, "--bundle", bundle, "-o", tmp_path / "pulled.elb")
    before, after = read_bundle(bundle), read_bundle(tmp_path / "pulled.elb")
    assert before.model_hash == after.model_hash


def test_a_sketch_without_a_host_is_built_without_the_link(tmp_path):
    bundle = bundle_of(dense_layers(), tmp_path, "--classes", "6")
    run("generate", bundle, "--board", BOARD.name, "-o", tmp_path / "library")
    whole = pipeline.build(tmp_path / "library").ram_bytes
    sketch = tmp_path / "library" / "examples" / "Learn" / "Learn.ino"
    text = sketch.read_text()
    assert "\n\n *" not in text
    text = text.replace("network.begin(Serial);", "network.begin();")
    sketch.write_text(text.replace("network.poll();", "static float x[EL_INPUT_ELEMENTS];\n    network.learn(x, 3);"))
    assert pipeline.build(tmp_path / "library").ram_bytes < whole


def test_a_sketch_learns_from_a_sensor_of_its_own(tmp_path):
    rng = np.random.default_rng(4)
    weights = rng.normal(size=(5, 24)).astype(np.float32) * 0.1
    graph = head_graph(weights, rng.normal(size=5).astype(np.float32), feature_zero_point=-3)
    training = plan_training(graph, learning_rate=1e-3)
    x = rng.integers(-128, 128, (20, 24)).astype(np.int8)
    labels = [int(label) for label in rng.integers(NO_LABEL, 5, 20)]
    plan = plan_firmware(graph, BOARD, training, model_hash=MODEL_HASH, labels=tuple("abcde"))
    sensor = SensorSource(name="sensor.c", text=sensor_source(x, labels))
    files = emit_arduino(plan, name="sensing", sensor=sensor)
    sources = [path for path in files if path.startswith("src/") and path.endswith((".c", ".cpp"))]
    assert BOARD.arduino is not None
    built = arduino_build.build_library(write_project(files, tmp_path), fqbn=BOARD.arduino.fqbn, sources=sources)
    head = make_head(training)
    teach(head, x, labels, Rule(train=True), samples=150)
    with start(BOARD, built.elf) as running, open_device(running.url) as device:
        device.set_sensor(run=True, train=True, samples=150, report_every=50)
        while device.statistics().sensor_samples < 150:
            time.sleep(0.02)
        assert_same_head(device, head)


def test_as_arduino_compiles_it_with_link_time_optimisation(tmp_path, monkeypatch):
    monkeypatch.setattr(arduino_build, "_COMMON", (*arduino_build._COMMON, "-flto"))
    bundle = bundle_of(small_model(), tmp_path)
    found = verify(bundle, "--samples", 6, "--train-steps", 20)
    assert found["output_bytes_different"] == 0
    assert found["head_weights_different"] == 0


def test_an_image_beyond_what_the_emulator_reads_is_refused(tmp_path, monkeypatch):
    bundle = bundle_of(dense_layers(), tmp_path, "--head", "none")
    run("generate", bundle, "--board", BOARD.name, "-o", tmp_path / "library")
    built = pipeline.build(tmp_path / "library")
    monkeypatch.setattr(emulator, "_AVR_READABLE_BYTES", built.flash_bytes - 1)
    with pytest.raises(EmulatorError, match="reads constants from the first"):
        start(BOARD, built.image)
