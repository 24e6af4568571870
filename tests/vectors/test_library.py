"""The functions of edgelearn.h in a program of somebody's own: real numbers in, the bits of the references out."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgelearn.board import COMPILE_FLAGS, COMPILERS, SANITIZE_FLAGS, load_board
from edgelearn.codegen import emit_library
from edgelearn.convert.litert import ReferenceInterpreter
from edgelearn.errors import LearningRateError
from edgelearn.ir import Graph, LossKind, Quant, quantize_array
from edgelearn.ir.edges import Edges
from edgelearn.recipe import NO_TRAINING, Residual, TrainingPlan
from edgelearn.training import make_head, plan_training
from tests.support.firmware import load_graph, plan, write_project
from tests.support.tflite_builder import TfliteBuilder
from tests.support.tools import require_tool
from tests.unit.training.heads import head_graph

FEATURES, OUTPUTS, SAMPLES = 12, 5, 60
SCALE, ZERO_POINT = 0.05, -3

#: Reads the learning rate, then samples with label or targets; writes what each function answered, and at the end what
#: was learned.
PROGRAM = """\
#include <stdio.h>
#include "edgelearn.h"
#include "elearn_model.h"
static float sample[EL_INPUT_ELEMENTS];
static float targets[EL_OUTPUT_ELEMENTS];
static void put(const void *bytes, size_t size) { (void)fwrite(bytes, 1, size, stdout); }
static int get(void *bytes, size_t size) { return fread(bytes, 1, size, stdin) == size; }
int main(int count, char **arguments)
{
    const char mode = arguments[1][0];
    float rate;
    uint32_t label = 0;
    (void)count;
    el_status status = el_init();
    if (status != EL_OK || !get(&rate, sizeof rate)) {
        return 1;
    }
    if (rate >= 0.0f && el_set_learning_rate(rate) != EL_OK) {
        return 2;
    }
    while (get(sample, sizeof sample)) {
        el_result result = {0, 0.0f, false};
        if (mode == 'l') {
            status = get(&label, sizeof label) ? el_learn(sample, label, &result) : EL_BAD_LABEL;
        } else if (mode == 't') {
            status = get(targets, sizeof targets) ? el_learn_targets(sample, targets, &result) : EL_BAD_TARGET;
        } else {
            status = mode == 'i' ? el_learn_itself(sample, &result) : el_predict(sample, &result);
        }
        const int32_t answer[3] = {(int32_t)status, (int32_t)result.prediction, result.learned};
        put(answer, sizeof answer);
        for (uint32_t i = 0; i < EL_OUTPUT_ELEMENTS; i++) {
            const float value = el_output(i);
            put(&value, sizeof value);
        }
    }
    const int32_t last[2] = {(int32_t)el_steps(), (int32_t)(arguments[2][0] == 's' ? el_save() : EL_OK)};
    put(last, sizeof last);
#if ELEARN_TRAINABLE_COUNT
    const elearn_trainable *t = &elearn_the_model.trainable[0];
    const size_t weights = (size_t)t->params->outputs * (size_t)t->params->features;
    put(&t->state->learning_rate_mantissa, 2);
    put(&t->state->learning_rate_exponent, 1);
    put(t->state->weights, weights);
#if ELEARN_HEAD_HAS_RESIDUAL
    put(t->state->residual, weights);
#endif
    put(t->state->bias, 4u * (size_t)t->params->outputs);
#endif
    return el_output(EL_OUTPUT_ELEMENTS) != 0.0f || el_input(99) || el_output_bytes(99);
}
"""


def program(graph: Graph, folder: Path, training: TrainingPlan = NO_TRAINING, board: str = "host") -> Path:
    files = emit_library(plan(graph, board=load_board(board), training=training), name="a library")
    write_project({**files, "main.c": PROGRAM}, folder)
    sources = [str(path) for path in sorted((folder / "src").glob("*.c"))]
    argv = ["cc", "-O1", *COMPILE_FLAGS, *SANITIZE_FLAGS, f"-I{folder / 'src'}", *sources, str(folder / "main.c")]
    done = subprocess.run([*argv, "-o", str(folder / "program"), "-lm"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "program"


class Answers:
    """What the program wrote."""

    def __init__(self, raw: bytes, samples: int, outputs: int) -> None:
        row = np.dtype([("status", "<i4"), ("prediction", "<i4"), ("learned", "<i4"), ("output", "<f4", (outputs,))])
        self.rows = np.frombuffer(raw, row, samples)
        self._rest = raw[row.itemsize * samples :]
        self.steps, self.saved = (int(v) for v in np.frombuffer(self._take(8), "<i4"))

    def _take(self, size: int) -> bytes:
        taken, self._rest = self._rest[:size], self._rest[size:]
        assert len(taken) == size
        return taken

    def check_head(self, head) -> None:
        assert (int.from_bytes(self._take(2), "little"), self._take(1)[0]) == (head.mantissa, head.exponent)
        assert self._take(head.q.size) == head.q.astype(np.int8).tobytes()
        if head.plan.residual is Residual.INT8:
            assert self._take(head.q.size) == head.residual.astype(np.uint8).tobytes()
        assert self._take(4 * len(head.bias)) == head.bias.astype("<i4").tobytes()


def run(path: Path, mode: str, sent: list[bytes], *, rate: float = -1.0, save: bool = False, flash: Path | None = None):
    raw = np.float32(rate).tobytes() + b"".join(sent)
    environment = os.environ | ({"ELEARN_NVM_FILE": str(flash)} if flash else {})
    argv = [str(path), mode, "s" if save else "n"]
    done = subprocess.run(argv, input=raw, capture_output=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert not done.stderr
    return done.stdout


def learner(loss: LossKind, outputs: int = OUTPUTS, residual: Residual = Residual.INT8):
    rng = np.random.default_rng(4)
    weights = rng.normal(size=(outputs, FEATURES)).astype(np.float32) * 0.1
    bias = rng.normal(size=outputs).astype(np.float32) * 0.1
    graph = head_graph(weights, bias, loss=loss, feature_scale=SCALE, feature_zero_point=ZERO_POINT)
    return graph, plan_training(graph, residual=residual, learning_rate=3e-3)


def real_samples(count: int = SAMPLES, elements: int = FEATURES) -> np.ndarray:
    """Inside, at the ends of and beyond what int8 holds, with exact ties."""
    rng = np.random.default_rng(7)
    x = rng.normal(0.0, 4.0, (count, elements)).astype(np.float32)
    x[0, :4] = (1e30, -1e30, 127.5 * SCALE, -0.5 * SCALE)
    x[1] = (np.arange(elements) - 6.5).astype(np.float32) * np.float32(SCALE)
    return x


def features_of(x: np.ndarray) -> np.ndarray:
    return quantize_array(x, Quant(scale=(SCALE,), zero_point=(ZERO_POINT,)))


@pytest.mark.parametrize("residual", [Residual.INT8, Residual.STOCHASTIC])
def test_classes_are_learned_with_the_bits_of_the_reference(residual, tmp_path):
    graph, training = learner(LossKind.CROSS_ENTROPY, residual=residual)
    x = real_samples()
    labels = np.random.default_rng(1).integers(OUTPUTS, size=SAMPLES)
    sent = [row.tobytes() + np.uint32(label).tobytes() for row, label in zip(x, labels, strict=True)]
    answers = Answers(run(program(graph, tmp_path, training), "l", sent, rate=2e-3), SAMPLES, OUTPUTS)
    head = make_head(training)
    head.set_learning_rate(float(np.float32(2e-3)))
    for features, label, row in zip(features_of(x), labels, answers.rows, strict=True):
        step = head.forward(features)
        assert (row["status"], row["learned"], row["prediction"]) == (0, 1, step.prediction)
        np.testing.assert_array_equal(row["output"], (step.probabilities / 32768).astype(np.float32))
        head.learn(features, step, label=int(label))
    assert answers.steps == SAMPLES
    answers.check_head(head)


def test_numbers_are_learned_with_the_bits_of_the_reference(tmp_path):
    graph, training = learner(LossKind.SQUARED_ERROR)
    (layer,) = training.layers
    x = real_samples()
    real = np.random.default_rng(2).normal(0.0, 1.0, (SAMPLES, OUTPUTS)).astype(np.float32)
    real[0, :3] = (1e9, -1e9, 0.0)
    sent = [row.tobytes() + targets.tobytes() for row, targets in zip(x, real, strict=True)]
    answers = Answers(run(program(graph, tmp_path, training), "t", sent), SAMPLES, OUTPUTS)
    scaled = np.ldexp(real.astype(np.float64), layer.logit_fraction_bits - layer.target_shift)
    targets = np.clip(np.copysign(np.floor(np.abs(scaled) + 0.5), scaled), -32768, 32767).astype(np.int16)
    head = make_head(training)
    for features, target, row in zip(features_of(x), targets, answers.rows, strict=True):
        step = head.forward(features)
        assert (row["status"], row["learned"]) == (0, 1)
        np.testing.assert_array_equal(
            row["output"], np.ldexp(step.logits.astype(np.float32), -layer.logit_fraction_bits)
        )
        head.learn(features, step, targets=head.scaled_targets(target))
    answers.check_head(head)


def test_a_model_that_learns_otherwise_says_so(tmp_path):
    graph, training = learner(LossKind.CROSS_ENTROPY)
    path = program(graph, tmp_path, training)
    x = real_samples()[0].tobytes()
    refused = {
        mode: Answers(run(path, mode, [sent]), 1, OUTPUTS)
        for mode, sent in (("l", x + np.uint32(OUTPUTS).tobytes()), ("t", x + bytes(4 * OUTPUTS)), ("i", x))
    }
    assert {mode: int(answers.rows["status"][0]) for mode, answers in refused.items()} == {"l": 5, "t": 10, "i": 10}
    assert not any(answers.steps for answers in refused.values())


@pytest.mark.parametrize("rate", [0.0, 1.0, 0.5, 1e-3, 3.0517578e-05, 1e-6])
def test_learning_rates_are_encoded_as_the_host_does(rate, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "rates"
    graph, training = learner(LossKind.CROSS_ENTROPY)
    path = folder / "program" if (folder / "program").exists() else program(graph, folder, training)
    head = make_head(training)
    argv = [str(path), "p", "n"]
    done = subprocess.run(argv, input=np.float32(rate).tobytes(), capture_output=True, check=False)
    try:
        head.set_learning_rate(float(np.float32(rate)))
    except LearningRateError:
        assert done.returncode == 2
        return
    assert done.returncode == 0, done.stderr
    Answers(done.stdout, 0, OUTPUTS).check_head(head)


def test_what_was_saved_is_there_after_a_restart(tmp_path):
    graph, training = learner(LossKind.CROSS_ENTROPY)
    path = program(graph, tmp_path, training)
    flash = tmp_path / "flash"
    head = make_head(training)
    for part in (slice(0, 20), slice(20, SAMPLES)):
        sent = [row.tobytes() + np.uint32(1).tobytes() for row in real_samples()[part]]
        answers = Answers(run(path, "l", sent, save=True, flash=flash), len(sent), OUTPUTS)
        assert answers.saved == 0
        for features in features_of(real_samples()[part]):
            head.learn(features, head.forward(features), label=1)
        assert answers.steps == part.stop
        answers.check_head(head)


def frozen(edges: Edges = Edges.INT8) -> tuple[bytes, Graph]:
    builder = TfliteBuilder(3)
    x = builder.input((1, FEATURES), scale=SCALE, zero_point=ZERO_POINT, float_edge=edges is Edges.FLOAT)
    y = builder.fully_connected(x, units=OUTPUTS, name="last")
    model = builder.build(builder.dequantize(y) if edges is Edges.FLOAT else y)
    return model, load_graph(model, edges=edges)


@pytest.mark.parametrize("edges", list(Edges))
def test_a_model_that_learns_nothing_gives_the_outputs_of_litert(edges, tmp_path):
    model, graph = frozen(edges)
    real = real_samples(21)[1:]  # without what no int32 holds, where LiteRT is undefined
    answers = Answers(run(program(graph, tmp_path), "p", [row.tobytes() for row in real]), 20, OUTPUTS)
    oracle = ReferenceInterpreter(model)
    quant = graph.tensor(graph.outputs[0]).quant
    for row, values in zip(real, answers.rows, strict=True):
        sample = row if edges is Edges.FLOAT else features_of(row)
        expected = oracle.run(sample.reshape(1, FEATURES), [oracle.output_index])[oracle.output_index].reshape(-1)
        assert (values["status"], values["prediction"]) == (0, int(np.argmax(expected)))
        if edges is Edges.INT8:
            assert quant is not None
            expected = np.float32(quant.scale[0]) * (expected.astype(np.float32) - np.float32(quant.zero_point[0]))
        np.testing.assert_array_equal(values["output"], expected)


@pytest.mark.parametrize("board", ["host", "netduinoplus2", "microbit"])
def test_the_example_compiles_for_the_board(board, tmp_path):
    flags = COMPILERS[load_board(board).core]
    require_tool(flags.program)
    for number, (graph, training) in enumerate(
        (learner(LossKind.CROSS_ENTROPY), learner(LossKind.SQUARED_ERROR), (frozen()[1], NO_TRAINING))
    ):
        folder = tmp_path / str(number)
        files = emit_library(plan(graph, board=load_board(board), training=training), name='*/ "')
        assert ("gives the flags of the core" in files["README.md"]) == bool(flags.gnu)
        assert " ".join(flags.gnu) in files["README.md"]
        write_project(files, folder)
        sources = [*(folder / "src").glob("*.c"), folder / "examples" / "minimal.c"]
        argv = [flags.program, *flags.gnu, "-O2", *COMPILE_FLAGS, "-fsyntax-only", f"-I{folder / 'src'}"]
        done = subprocess.run([*argv, *map(str, sources)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        if board != "host":
            argv = [flags.program.replace("gcc", "g++"), *flags.gnu, "-std=gnu++11", "-Wall", "-Wextra", "-Werror"]
            header = str(folder / "src" / "edgelearn.h")
            done = subprocess.run(
                [*argv, "-fsyntax-only", "-x", "c++", header], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr


def test_the_example_is_built_with_cmake_and_runs(tmp_path):
    require_tool("cmake")
    graph, training = learner(LossKind.CROSS_ENTROPY)
    folder = write_project(emit_library(plan(graph, training=training), name="mine"), tmp_path / "their folder" / "net")
    (folder.parent / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.13)\nproject(theirs C)\nadd_subdirectory(net)\n"
        "add_executable(theirs net/examples/minimal.c)\ntarget_link_libraries(theirs edgelearn m)\n"
    )
    for argv in (
        ["cmake", "-S", str(folder.parent), "-B", str(tmp_path / "b")],
        ["cmake", "--build", str(tmp_path / "b")],
    ):
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    assert subprocess.run([tmp_path / "b" / "theirs"], check=False).returncode == 0
