"""The text of generated projects, file by file; what is stored is also compiled and run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgelearn.board import load_board
from edgelearn.convert.head import mark_head
from edgelearn.convert.litert import ReferenceInterpreter
from edgelearn.firmware.toolchain import build_project
from edgelearn.ir import Graph
from edgelearn.protocol import MessageType, Region, SampleFlag, pack
from edgelearn.training import make_head, plan_training
from tests.support.firmware import build_piped, generate, joined, load_graph, read_requests, talk, write_project
from tests.support.tflite_builder import TfliteBuilder
from tests.support.tools import require_toolchain

BOARDS = ("host", "netduinoplus2")
FILES = ("Makefile", "README.md", "link.ld", "src/elearn_config.h", "src/elearn_protocol.h", "src/model.c")
LABELS = ("zero", "one", "two", "three")
_STORED = Path(__file__).parent / "convolution_and_head"


def _model() -> bytes:
    builder = TfliteBuilder(12)
    x = builder.input((1, 5, 5, 1), scale=0.05, zero_point=-128)
    x = builder.conv_2d(x, filters=2, stride=(2, 2), activation="relu", name="first")
    return builder.build(builder.softmax(builder.fully_connected(builder.reshape(x, (1, 8)), units=3, name="last")))


def _graph() -> Graph:
    return mark_head(load_graph(_model(), "golden"), classes=len(LABELS)).graph


def _files(board_name: str) -> dict[str, str]:
    graph = _graph()
    board = load_board(board_name)
    return generate(graph, board=board, training=plan_training(graph, learning_rate=1e-3), labels=LABELS, name="golden")


def _stored(board_name: str) -> dict[str, Path]:
    return {path: _STORED / board_name / Path(path).name for path in FILES}


@pytest.mark.parametrize("board_name", BOARDS)
def test_the_text_is_the_stored_one(board_name, update_golden):
    files = _files(board_name)
    for path, stored in _stored(board_name).items():
        if path not in files:
            assert path == "link.ld"
            assert not stored.exists()
            continue
        if update_golden:
            stored.parent.mkdir(parents=True, exist_ok=True)
            stored.write_text(files[path], encoding="utf-8")
        assert files[path] == stored.read_text(encoding="utf-8"), f"{path} (--update-golden)"


def _with_stored_text(board_name: str) -> dict[str, str]:
    stored = {path: file.read_text(encoding="utf-8") for path, file in _stored(board_name).items() if file.exists()}
    return {**_files(board_name), **stored}


def test_the_stored_project_learns_as_the_reference_does():
    model, graph = _model(), _graph()
    plan = plan_training(graph, learning_rate=1e-3)
    (layer,) = plan.layers
    index = graph.tensor(layer.features_tensor).source_index
    oracle, head = ReferenceInterpreter(model), make_head(plan)
    rng = np.random.default_rng(0)
    requests = []
    for _ in range(50):
        x = rng.integers(-128, 128, (1, 5, 5, 1)).astype(np.int8)
        label = int(rng.integers(len(LABELS)))
        features = oracle.run(x, [index])[index].reshape(-1)
        head.learn(features, head.forward(features), label=label)
        flags = SampleFlag.TRAIN | SampleFlag.HAS_LABEL
        requests.append((MessageType.SAMPLE, pack(MessageType.SAMPLE, flags=flags, label=label, tail=x.tobytes())))
    weights = read_requests(Region.HEAD_WEIGHTS, head.q.size)
    residual = read_requests(Region.HEAD_RESIDUAL, head.q.size)
    replies = talk(build_piped(_with_stored_text("host")), [*requests, *weights, *residual])
    assert joined(replies[len(requests) : -len(residual)]) == head.q.astype(np.int8).tobytes()
    assert joined(replies[-len(residual) :]) == head.residual.astype(np.uint8).tobytes()


def test_the_stored_project_builds_for_the_board(tmp_path):
    require_toolchain("gnu", "netduinoplus2")
    board = load_board("netduinoplus2")
    write_project(_with_stored_text("netduinoplus2"), tmp_path)
    assert build_project(tmp_path, core=board.core).flash_bytes > 0
