"""The emitted text: deterministic, valid C whatever the names are, and labels that come back as they went in."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from edgelearn.board import load_board
from edgelearn.codegen.plan import identifier
from edgelearn.host.device import open_device
from edgelearn.ir import Graph
from edgelearn.protocol import Region
from edgelearn.recipe import Residual
from edgelearn.training import plan_training
from tests.support.firmware import HostFirmware, build, build_piped, generate, joined, load_graph, read_requests, talk
from tests.support.tflite_builder import TfliteBuilder
from tests.support.tflite_ops import arg_max
from tests.support.tools import optional_tool
from tests.unit.codegen.networks import models, small, trainable

PLAIN = settings(derandomize=True, deadline=None, database=None, max_examples=100)


@pytest.mark.parametrize("name", models())
def test_the_same_text_each_time_and_no_path_of_this_machine(name):
    model = models()[name]()
    files, again = generate(load_graph(model)), generate(load_graph(model))
    assert files == again
    assert list(files) == sorted(files)
    here = (str(Path(__file__).resolve().parents[3]), str(Path.home()), "/tmp/")
    for path, text in files.items():
        assert not any(part in text for part in here), path
        assert text.endswith("\n")
        assert all(len(line) <= 250 for line in text.splitlines()), path


def test_the_address_of_int64_is_of_no_type_that_needs_eight_bytes():
    b = TfliteBuilder(1)
    places = arg_max(b, b.input((1, 4, 3)), 1, schema.TensorType.INT64)
    text = generate(load_graph(b.build(places)))["src/model.c"]
    assert re.search(r"elearn_arg_max_s8\(&\w+, arena\.bytes \+ \d+, \(void \*\)\(arena\.bytes \+ \d+\)\);", text)


def test_the_watchdog_is_fed_between_layers_of_a_slow_network():
    board = load_board("microbit")
    graph = load_graph(small())
    usual = generate(graph, board=board)["src/model.c"]
    assert "elearn_port_feed" not in usual, "the main loop feeds it"
    port = replace(board.port, defines={**board.port.defines, "ELEARN_WATCHDOG_MS": 1})
    text = generate(graph, board=replace(board, port=port))["src/model.c"]
    run = text[text.index("void elearn_model_run(void)") :]
    calls = re.findall(r"^    (elearn_\w+)\(", run, re.MULTILINE)
    assert calls[::2] == ["elearn_port_feed"] * len(calls[1::2])
    assert len(calls) > 2
    assert '#include "elearn_port.h"' in text


@PLAIN
@given(st.text(max_size=30))
@example("")
@example("0")
@example("int")
@example("日本")
@example("a/b:0")
def test_identifiers_are_valid(name):
    assert re.fullmatch(r"[a-z_][a-z0-9_]*", identifier(name))


def _renamed(graph: Graph, names: list[str]) -> Graph:
    ops = tuple(replace(op, name=name) for op, name in zip(graph.ops, names, strict=True))
    return replace(graph, ops=ops)


@pytest.mark.parametrize(
    "names",
    [
        ["int", "for", "static", "main"],
        ["a b", "a/b", "a:b", "a_b"],
        ["arena", "head_weights", "labels", "trainable"],
        ["*/ evil", "/* open", "??/", "\\"],
        ["elearn_conv2d_s8", "elearn_model_run", "elearn_the_model", "NULL"],
        ["日本", "", "1", "é"],
        ["a", "a_weights", "a_scales", "a_bias"],
        ["head", "exp", "index", "memcpy"],
        ["x", "x_2", "X", "x 2"],
        ["x" * 300, "x" * 301, "bytes", "int8_t"],
    ],
)
def test_any_op_name_gives_c_that_compiles(names):
    graph = _renamed(trainable(small()), names)
    build(generate(graph, training=plan_training(graph), name="*/ a model ??/ of \\ mine\n*/ \\"))


def _labels_back(labels: tuple[str, ...]) -> tuple[str, ...]:
    files = generate(load_graph(small()), labels=labels)
    size = len("\n".join(labels).encode())
    return tuple(joined(talk(build_piped(files), read_requests(Region.LABELS, size))).decode().split("\n"))


TRICKY = (
    'a "quoted" one',
    "back\\slash \\n \\0 \\x41",
    "??= ??/ ??' ??( trigraphs",
    "Größe 大きい 🎉",
    "percent %s %n {{ jinja }} {% raw %}",
    "octal\x01" + "7",
    "tab\there",
    "*/ comment",
)


def test_labels_come_back_as_they_went_in():
    assert _labels_back(TRICKY) == TRICKY


@settings(PLAIN, max_examples=15)
@given(
    st.lists(
        st.text(st.characters(exclude_characters="\n\0", exclude_categories=["Cs"]), min_size=1), min_size=1, max_size=9
    )
)
def test_any_labels_come_back(labels):
    assert _labels_back(tuple(labels)) == tuple(labels)


def test_a_session_reads_the_labels():
    program = build(generate(load_graph(small()), labels=("ä", "b", "c")))
    with HostFirmware(program) as firmware, open_device(firmware.url) as device:
        assert device.info.labels == ("ä", "b", "c")
        assert device.info.board == "host"


@pytest.mark.parametrize("residual", list(Residual))
@pytest.mark.parametrize("compiler", ["cc", "clang"])
def test_every_residual_compiles_without_a_warning(residual, compiler):
    if compiler == "clang":
        optional_tool(compiler)
    graph = trainable(small())
    build(generate(graph, training=plan_training(graph, residual=residual)), compiler=compiler)


@pytest.mark.parametrize("sensor", ["", '#include "elearn_sensor.h"\n'], ids=["host", "sensor"])
@pytest.mark.parametrize("board", ["host", "netduinoplus2", "mps2-an386", "nano33ble"])
@pytest.mark.parametrize("trains", [True, False])
def test_the_readme_names_every_file_and_only_what_is_there(board, trains, sensor):
    graph = trainable(small()) if trains else load_graph(small())
    training = plan_training(graph, learning_rate=1e-5)
    files = generate(graph, board=load_board(board), training=training, name="a `name` */", sensor=sensor or None)
    readme = files["README.md"]
    assert "network `a 'name' " in readme
    assert ("--train" in readme) == trains == ("--predict" not in readme)
    table = readme.split("## Which file is whose")[1]
    named = [
        word for row in re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE) for word in re.findall(r"`([^`]+)`", row)
    ]
    named = [f"src/{word}" if word.startswith("elearn_") else word for word in named]
    for word in named:
        assert any(path == word or path.startswith(word.rstrip("*")) for path in files), word
    for path in files:
        assert path == "README.md" or any(path == word or path.startswith(word.rstrip("*")) for word in named), path
    assert ("`pio run`" in readme) == ("platformio.ini" in files)
    assert ("sensor/sensor.c" in readme) == bool(sensor)
    assert not re.search(r"\n{3,}", readme)
    assert "  " not in re.sub(r"^ +| {4}#", "", readme, flags=re.MULTILINE)
