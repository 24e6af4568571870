"""Whole models under MicroPython, through the link: the bytes of LiteRT, and after 1,000 steps the bits of NumPy.

In viper on 32-bit Arm with the heap of a Nano 33 BLE, and as machine code on an emulated Cortex-M4F. The heap takes
what was predicted.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from edgelearn import pipeline
from edgelearn.board import Board, Output, load_board
from edgelearn.bundle import read_bundle
from edgelearn.cli import main
from edgelearn.codegen import Kernels, package_need
from edgelearn.convert.litert import ReferenceInterpreter
from edgelearn.errors import DeviceRefusedError, DeviceTimeoutError, DoesNotFitError
from edgelearn.host.device import open_device
from edgelearn.host.telemetry import read_run
from edgelearn.training import make_head, plan_training
from edgelearn.verification import verify_device
from tests.support.bundles import write_model
from tests.support.micropython.armhf import LinkedProgram
from tests.support.micropython.emulated import EmulatedBoard, Repl
from tests.support.models import reference_model

BOARD = "nano33ble"

_MEASURE = """\
import gc
gc.collect()
before = gc.mem_alloc()
import model
from model.link import Link
link = Link(model.load())
gc.collect()
print(gc.mem_alloc() - before)
"""


def convert(folder: Path, model: Path, *options: str) -> Path:
    path = folder / "model.elb"
    result = CliRunner().invoke(main, ["convert", str(model), "-o", str(path), *options])
    assert result.exit_code == 0, result.output
    return path


def files(bundle: Path, folder: Path, kernels: Kernels, board: Board | None = None) -> dict[str, bytes]:
    """What goes onto the board, by its path there."""
    board = board or load_board(BOARD)
    pipeline.generate(read_bundle(bundle), board, folder / "p", output=Output.MICROPYTHON, kernels=kernels)
    package = pipeline.build_package(folder / "p")
    return {path: (package.folder / path).read_bytes() for path in package.sizes_bytes}


def put(repl: Repl, contents: dict[str, bytes]) -> None:
    repl.exec("import os\nos.mkdir('model')")
    for path, data in contents.items():
        repl.put(path, data)


def heap_bytes() -> int:
    python = load_board(BOARD).micropython
    assert python
    return python.heap_bytes


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return convert(tmp_path, write_model(tmp_path / "small.tflite"), "--classes", "6")


@pytest.fixture
def frozen(tmp_path: Path) -> Path:
    return convert(tmp_path, write_model(tmp_path / "small.tflite"), "--head", "none")


@pytest.fixture
def kws(tmp_path: Path) -> Path:
    return convert(tmp_path, reference_model("kws_ref_model"))


@pytest.mark.parametrize(("name", "samples"), [("small", 20), ("kws", 3)])
def test_viper_with_the_heap_of_a_board(name: str, samples: int, tmp_path: Path, request: pytest.FixtureRequest):
    bundle = request.getfixturevalue(name)
    contents = files(bundle, tmp_path, Kernels.VIPER)
    script = contents.pop("main.py").decode()
    with LinkedProgram(script, heap_bytes=heap_bytes(), files=contents, timeout_s=300) as program:
        found = verify_device(bundle, program.url, samples=samples, train_steps=1000 if name == "small" else 20)
        assert not program.errors()
    assert found.is_exact
    assert found.board == BOARD


@pytest.mark.parametrize(("name", "samples"), [("small", 10), ("kws", 5)])
def test_machine_code_on_a_cortex_m4f(name: str, samples: int, tmp_path: Path, request: pytest.FixtureRequest):
    bundle = request.getfixturevalue(name)
    contents = files(bundle, tmp_path, Kernels.NATIVE)
    with EmulatedBoard(heap_bytes=heap_bytes(), count=False, timeout_s=300) as board:
        with board.repl() as repl:
            put(repl, contents)
        with board.repl() as repl:
            repl.start("import main")
        found = verify_device(bundle, board.url, samples=samples, train_steps=60)
    assert found.is_exact


#: A program of somebody's own, without the link: what the head is after so many samples that were learned.
_LEARN = """\
import gc, model
from binascii import hexlify
m = model.load()
with open("x", "rb") as file:
    x = memoryview(file.read())
with open("y", "rb") as file:
    y = file.read()
size = len(x) // len(y)
rows = [x[i * size : i * size + size] for i in range(len(y))]
gc.collect()
gc.disable()
before = gc.mem_alloc()
for i in range(STEPS):
    m.learn(rows[i % len(y)], y[i % len(y)])
print(gc.mem_alloc() - before, m.step)
gc.enable()
for name in ("weights", "residual", "bias", "row_t", "row_rho"):
    print(hexlify(m.head[name]).decode())
m.save()
"""
_COME_BACK = """\
import model
from binascii import hexlify
m = model.load()
print(m.step, hexlify(m.head["weights"]).decode())
"""


@pytest.mark.parametrize("name", ["small", "kws"])
def test_a_program_learns_a_thousand_samples_without_garbage(name: str, tmp_path: Path, request: pytest.FixtureRequest):
    steps = 1000
    path = request.getfixturevalue(name)
    contents = files(path, tmp_path, Kernels.NATIVE)
    bundle = read_bundle(path)
    training = plan_training(bundle.graph)
    head = make_head(training)
    tensor = bundle.graph.tensor(bundle.graph.inputs[0])
    rng = np.random.default_rng(4)
    x = rng.integers(-128, 128, (25, tensor.elements)).astype(np.int8)
    y = rng.integers(0, training.layers[0].outputs, len(x)).astype(np.uint8)
    oracle = ReferenceInterpreter(bundle.model_tflite)
    index = bundle.graph.tensor(training.layers[0].features_tensor).source_index
    features = [oracle.run(sample, [index])[index].reshape(-1) for sample in x]
    for i in range(steps):
        k = i % len(x)
        step = head.judge(head.forward(features[k]), label=int(y[k]))
        head.learn(features[k], step, label=int(y[k]))
    with EmulatedBoard(heap_bytes=heap_bytes(), timeout_s=300) as board:
        with board.repl() as repl:
            put(repl, {**contents, "x": x.tobytes(), "y": y.tobytes()})
        with board.repl(timeout_s=120) as repl:
            told = repl.exec(_LEARN.replace("STEPS", str(steps))).split()
        with board.repl() as repl:
            came_back = repl.exec(_COME_BACK).split()
    assert told[:2] == ["0", str(steps)], "bytes allocated, steps learned"
    expected = [head.q.astype("i1"), head.residual.astype("u1"), head.bias.astype("<i4")]
    expected += [head.row_t.astype("i1"), head.row_rho.astype("i1")]
    assert told[2:7] == [part.tobytes().hex() for part in expected]
    assert came_back == [str(steps), told[2]]


@pytest.mark.parametrize(
    ("name", "kernels"),
    [
        *(("small", kernels) for kernels in Kernels),
        *(("frozen", kernels) for kernels in Kernels),
        ("kws", Kernels.VIPER),
        ("ad01", Kernels.NATIVE),
    ],
)
def test_the_heap_is_predicted(name: str, kernels: Kernels, tmp_path: Path, request: pytest.FixtureRequest):
    bundle = convert(tmp_path, reference_model("ad01_int8")) if name == "ad01" else request.getfixturevalue(name)
    board = load_board(BOARD)
    assert board.micropython
    roomy = replace(board, micropython=replace(board.micropython, heap_bytes=1 << 20))
    contents = files(bundle, tmp_path, kernels, roomy)
    plan = pipeline.plan(read_bundle(bundle), roomy, output=Output.MICROPYTHON, kernels=kernels)
    predicted = package_need(plan).heap_bytes
    with EmulatedBoard(heap_bytes=1 << 20, timeout_s=300) as emulated:
        with emulated.repl() as repl:
            put(repl, contents)
        with emulated.repl() as repl:
            taken = int(repl.exec(_MEASURE))
    assert abs(taken - predicted) <= max(512, 0.02 * taken), (taken, predicted)


def test_the_commands_of_a_host_work_as_with_any_board(small: Path, tmp_path: Path):
    contents = files(small, tmp_path, Kernels.VIPER)
    script = contents.pop("main.py").decode()
    np.savez(tmp_path / "d.npz", x=np.random.default_rng(1).normal(size=(40, 8, 8, 1)), y=np.arange(40) % 4)
    with LinkedProgram(script, heap_bytes=heap_bytes(), files=contents, timeout_s=300) as program:

        def run(*argv: object, code: int = 0) -> str:
            result = CliRunner().invoke(main, [*(str(word) for word in argv), "--port", program.url])
            assert result.exit_code == code, result.output
            return result.output

        runs = tmp_path / "runs"
        assert "done: 40 samples" in run("stream", "--data", tmp_path / "d.npz", "--train", "--runs", runs)
        (folder,) = runs.iterdir()
        kept = read_run(folder)
        assert [record.step for record in kept.records] == list(range(1, 41))
        assert kept.summary.statistics.heap_free_bytes > 0
        assert "40" in run("head", "show")
        assert "class 4 is fifth" in run("head", "add-class", "fifth")
        run("head", "pull", "--bundle", small, "-o", tmp_path / "learned.elb")
        run("head", "reset")
        run("head", "push", tmp_path / "learned.elb")
        run("head", "save")
        assert "fifth" in run("head", "show")
        assert "the device takes no samples by itself" in run(
            "monitor", "--runs", runs, code=DeviceRefusedError.exit_code
        )
        assert "exact: nothing differs" in run("verify", small, "--samples", 4, "--train-steps", 20)
        assert not program.errors()


def test_a_model_that_the_heap_cannot_hold_is_refused(tmp_path: Path):
    bundle = convert(tmp_path, reference_model("ad01_int8"))
    with pytest.raises(DoesNotFitError) as refused:
        files(bundle, tmp_path, Kernels.NATIVE)
    assert refused.value.available_bytes == heap_bytes()
    assert refused.value.needed_bytes > 2 * heap_bytes()
    assert "weights" in refused.value.cause
    assert not (tmp_path / "p").exists()


def test_the_prompt_is_told_from_a_board_that_is_silent():
    board = EmulatedBoard(heap_bytes=heap_bytes(), count=False)
    with board, pytest.raises(DeviceTimeoutError, match="prompt") as told:
        open_device(board.url, hello_timeout_s=8.0)
    assert told.value.cause.startswith("MicroPython v")
    assert "reset" in told.value.hint
