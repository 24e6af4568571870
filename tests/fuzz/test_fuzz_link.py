"""Runs the C fuzz target of the link on small trainable models under sanitizers; see fuzz_link.c.

With clang's libFuzzer where it is installed, otherwise with the target's own generator; seeds are fixed. 20,000 inputs
for all models together, or EDGELEARN_FUZZ_INPUTS of them (`make fuzz` sets a million, which are far more than ten
million bytes for the device).
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from edgelearn.board import SANITIZE_FLAGS, Board, load_board
from edgelearn.ir import LossKind
from edgelearn.recipe import NO_TRAINING, Residual
from edgelearn.training import plan_training
from tests.support.firmware import generate, load_graph, write_project
from tests.support.tflite_builder import TfliteBuilder
from tests.unit.training.heads import head_graph

RUNS = int(os.environ.get("EDGELEARN_FUZZ_INPUTS", "20000"))
TARGET = Path(__file__).parent / "fuzz_link.c"
CASES = (
    *((loss, residual) for loss in LossKind for residual in Residual),
    (None, Residual.INT8),
)
#: Samples and labels of any value, and now and then none.
SENSOR = """#include "elearn_sensor.h"
bool elearn_sensor_read(elearn_sensor_sample *sample)
{
    static uint32_t random = 1;
    int8_t *x = sample->inputs[0];
    for (int32_t i = 0; i < ELEARN_SENSOR_INPUT_0_ELEMENTS; i++) {
        random = random * 1664525u + 1013904223u;
        x[i] = (int8_t)((int32_t)(random >> 24) - 128);
    }
    sample->label = (int32_t)((random >> 16) % 12u) - 2;
    return random % 256u > 40u;
}
"""
_INCLUDES = ("-Isrc", "-Iruntime", "-Iport")


def _project(loss: LossKind | None, residual: Residual) -> dict[str, str]:
    rng = np.random.default_rng(1)
    if loss is None:
        builder = TfliteBuilder(1)
        x = builder.conv_2d(builder.input((1, 4, 4, 2)), filters=3)
        return generate(
            load_graph(builder.build(builder.softmax(builder.mean(x)))), training=NO_TRAINING, sensor=SENSOR
        )
    # As many outputs as inputs, so that the input can be the target.
    weights = rng.normal(size=(6, 6)).astype(np.float32)
    graph = head_graph(weights, rng.normal(size=6).astype(np.float32), loss=loss, feature_scale=0.4, output_range=50.0)
    training = plan_training(graph, residual=residual, learning_rate=1e-3)
    labels = ("a", "b", "c", "d", "", "") if loss is LossKind.CROSS_ENTROPY else ()
    return generate(
        graph, board=_board(), training=training, labels=labels, spare_classes=2 if labels else 0, sensor=SENSOR
    )


def _board() -> Board:
    """The host with a small flash memory, for the target's own driver."""
    board = load_board("host")
    assert board.nvm is not None
    return replace(board, nvm=replace(board.nvm, page_bytes=512, pages=6))


@functools.cache
def _has_libfuzzer() -> bool:
    if shutil.which("clang") is None:
        return False
    program = "#include <stddef.h>\nint LLVMFuzzerTestOneInput(const unsigned char *d, size_t n) { return !d && n; }"
    argv = ["clang", "-fsanitize=fuzzer,address,undefined", "-x", "c", "-", "-o", os.devnull]
    return subprocess.run(argv, input=program.encode(), capture_output=True, check=False).returncode == 0


def _build(folder: Path, files: dict[str, str], *, libfuzzer: bool) -> Path:
    write_project({path: text for path, text in files.items() if path != "runtime/main.c"}, folder)
    sources = [path for path in files if path.endswith(".c") and not path.startswith("port/")]
    sources.remove("runtime/main.c")
    flags = ["clang", "-fsanitize=fuzzer"] if libfuzzer else ["cc", "-DELEARN_FUZZ_MAIN"]
    flags += ["-std=c99", "-g", "-O1", *SANITIZE_FLAGS, *_INCLUDES]
    done = subprocess.run(
        [*flags, "-o", "fuzz_link", *sources, TARGET, "-lm"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder / "fuzz_link"


def _corpus(folder: Path) -> Path:
    """What libFuzzer starts from: random inputs, some of them short."""
    corpus = folder / "corpus"
    corpus.mkdir()
    rng = np.random.default_rng(11)
    for number in range(300):
        size = int(rng.integers(1, rng.choice([16, 64, 600])))
        (corpus / str(number)).write_bytes(rng.integers(0, 256, size).astype(np.uint8).tobytes())
    return corpus


@pytest.mark.parametrize(("loss", "residual"), CASES, ids=lambda value: "frozen" if value is None else str(value.value))
def test_no_input_harms_the_device(loss, residual, tmp_path):
    libfuzzer = _has_libfuzzer()
    program = _build(tmp_path, _project(loss, residual), libfuzzer=libfuzzer)
    runs = max(1, RUNS // len(CASES))
    argv: list[str | Path] = [program, "7", str(runs)]
    if libfuzzer:
        argv = [program, f"-runs={runs}", "-seed=7", "-max_len=600", "-len_control=0", "-timeout=20", _corpus(tmp_path)]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-6000:]
    assert fuzzed_bytes(done.stderr) > 20 * runs


def fuzzed_bytes(said: str) -> int:
    """How many bytes the device was fed, as the target says at its end."""
    found = re.findall(r"^(\d+) bytes fuzzed$", said, re.MULTILINE)
    assert len(found) == 1, said[-2000:]
    return int(found[0])


def test_the_generator_of_our_own_finds_no_harm_either(tmp_path):
    """What runs where clang's libFuzzer is not installed."""
    program = _build(tmp_path, _project(LossKind.CROSS_ENTROPY, Residual.INT8), libfuzzer=False)
    done = subprocess.run([program, "3", "1000"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-6000:]
    assert done.stdout == "1000 inputs\n"
    assert fuzzed_bytes(done.stderr) > 100_000
