"""The generated Arduino library: its metadata by Arduino's specification, its text, and that other cores compile it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from edgelearn import pipeline
from edgelearn.board import COMPILE_FLAGS, COMPILERS, Core, Output, board_names, load_board
from edgelearn.bundle import read_bundle
from edgelearn.cli import main
from edgelearn.codegen import check_fit, emit_arduino, plan_firmware
from edgelearn.codegen.arduino import library_name
from edgelearn.convert.head import mark_head
from edgelearn.errors import DoesNotFitError, UnsupportedOpError
from edgelearn.project import read_project
from edgelearn.recipe import NO_TRAINING
from edgelearn.training import plan_training
from tests.support.arduino_ops import dense_layers
from tests.support.bundles import small_model
from tests.support.firmware import MODEL_HASH, load_graph, write_project
from tests.support.tflite_builder import TfliteBuilder
from tests.support.tools import require_tool

BOARDS = [name for name in board_names() if load_board(name).arduino]
ONE_OF_EACH_CORE = {load_board(name).core: name for name in BOARDS}
AVR_BOARD = load_board(next(name for name in BOARDS if load_board(name).core is Core.AVR))

#: Library specification, "library.properties file format" (Arduino CLI 1.0): all fields that this format has, and those
#: that have to be there.
FIELDS = {
    *("name", "version", "author", "maintainer", "sentence", "paragraph", "category", "url", "architectures"),
    *("depends", "dot_a_linkage", "includes", "precompiled", "ldflags"),
}
REQUIRED = {"name", "version", "author", "maintainer", "sentence", "paragraph", "category", "url", "architectures"}
CATEGORIES = {
    *("Display", "Communication", "Signal Input/Output", "Sensors", "Device Control", "Timing", "Data Storage"),
    *("Data Processing", "Other"),
}


def library(board_name=BOARDS[0], *, name="digits", model=None, trains=True):
    board = load_board(board_name)
    graph = load_graph(model or small_model(), name)
    training = NO_TRAINING
    labels = ()
    if trains:
        graph = mark_head(graph, classes=6).graph
        training, labels = plan_training(graph, learning_rate=1e-3), tuple("abcdef")
    plan = plan_firmware(graph, board, training, model_hash=MODEL_HASH, labels=labels, output=Output.ARDUINO)
    return emit_arduino(plan, name=name)


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("trains", [True, False])
def test_properties_are_those_of_the_specification(board, trains):
    files = library(board, trains=trains)
    lines = files["library.properties"].splitlines()
    found = dict(line.split("=", 1) for line in lines)
    assert len(found) == len(lines)
    assert REQUIRED <= found.keys() <= FIELDS
    assert all(value.strip() == value and value for value in found.values())
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 _.\-]{0,62}", found["name"])
    assert re.fullmatch(r"\d+\.\d+\.\d+", found["version"])
    assert found["category"] in CATEGORIES
    assert found["url"].startswith("https://")
    assert found["sentence"].endswith(".")
    assert not found["sentence"].startswith(("Arduino", "A library"))
    for header in found["includes"].split(","):
        assert f"src/{header}" in files
    assert "examples/Learn/Learn.ino" in files
    assert f"#include <{found['includes']}>" in files["examples/Learn/Learn.ino"]


def test_everything_that_is_included_is_there():
    """Only src/ is on the include path, and only files below it are compiled."""
    files = library()
    sources = {path: text for path, text in files.items() if path.endswith((".c", ".cpp", ".h", ".ino"))}
    assert {path.split("/")[0] for path in sources} == {"src", "examples"}
    for path, text in sources.items():
        for header in re.findall(r'^#include "([^"]+)"', text, re.MULTILINE):
            assert f"src/{header}" in files or header == "elearn_sensor.h", (path, header)
    assert "src/main.c" not in files
    assert not any("int main(" in text for path, text in files.items() if path.startswith("src/"))


def test_keywords_are_separated_by_tabs():
    lines = [line for line in library()["keywords.txt"].splitlines() if line and not line.startswith("#")]
    header = library()["src/elearn_arduino.h"]
    for line in lines:
        name, kind = line.split("\t")
        assert kind in {"KEYWORD1", "KEYWORD2", "LITERAL1"}
        assert kind != "KEYWORD2" or re.search(rf"\b{name}\(", header), name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("digits", "EdgeLearn_digits"),
        ("my net (v2)", "EdgeLearn_my_net_v2"),
        ("äöü", "EdgeLearn_model"),
        ("x" * 90, None),
    ],
)
def test_names_suit_files_and_the_specification(name, expected):
    found = library_name(name)
    assert expected is None or found == expected
    assert re.fullmatch(r"[A-Za-z0-9_]{1,63}", found)


def test_a_name_cannot_break_out_of_its_place():
    files = library(name="a */ b\nc=d")
    assert len(files["library.properties"].splitlines()) == len(library()["library.properties"].splitlines())
    assert "*/ b" not in files["examples/Learn/Learn.ino"]


@pytest.mark.parametrize("board", ONE_OF_EACH_CORE.values(), ids=[core.value for core in ONE_OF_EACH_CORE])
def test_a_compiler_for_32_bits_takes_it(board, tmp_path):
    """The C as strictly as elsewhere, the C++ against a stub of the core."""
    require_tool("arm-none-eabi-g++")
    files = library(board)
    folder = write_project(files, tmp_path)
    flags = COMPILERS[Core.CORTEX_M4F].gnu
    c = sorted(path for path in files if path.endswith(".c"))
    stub = Path(__file__).parents[2] / "support" / "arduino"
    strict = [flag for flag in COMPILE_FLAGS if flag not in ("-std=c99", "-Wstrict-prototypes", "-Wmissing-prototypes")]
    cpp = ["-std=gnu++11", "-fno-exceptions", "-fno-rtti", *strict, f"-I{stub}"]
    sketch = ["-x", "c++", "-include", "Arduino.h", "examples/Learn/Learn.ino"]
    for argv in (
        ["arm-none-eabi-gcc", *flags, *COMPILE_FLAGS, "-Isrc", "-fsyntax-only", *c],
        ["arm-none-eabi-g++", *flags, *cpp, "-Isrc", "-fsyntax-only", "src/elearn_arduino.cpp", *sketch],
    ):
        done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_the_one_header_serves_c_and_cpp(tmp_path):
    files = library()
    folder = write_project(files, tmp_path)
    (folder / "own.c").write_text(
        '#include "EdgeLearn_digits.h"\nint steps(void);\nint steps(void) { return (int)el_steps(); }\n'
    )
    require_tool("arm-none-eabi-gcc")
    argv = ["arm-none-eabi-gcc", *COMPILE_FLAGS, "-Isrc", "-fsyntax-only", "own.c"]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def run(*argv):
    return CliRunner().invoke(main, [str(a) for a in argv])


@pytest.fixture
def bundle(tmp_path):
    (tmp_path / "small.tflite").write_bytes(small_model())
    assert run("convert", tmp_path / "small.tflite", "-o", tmp_path / "small.elb").exit_code == 0
    return tmp_path / "small.elb"


def test_target_takes_what_the_board_takes(bundle, tmp_path):
    both = replace(load_board("microbit"), arduino=AVR_BOARD.arduino)
    assert {Output.BARE_METAL, Output.ARDUINO} <= set(both.outputs)
    for output, path in ((Output.ARDUINO, "library.properties"), (Output.BARE_METAL, "link.ld"), (None, "link.ld")):
        folder = tmp_path / str(output)
        pipeline.generate(read_bundle(bundle), both, folder, output=output)
        assert (folder / path).is_file()
        assert read_project(folder).output == (output or Output.BARE_METAL).value


def test_a_target_that_the_board_cannot_take_is_refused(bundle, tmp_path):
    done = run("generate", bundle, "--board", AVR_BOARD.name, "--target", "bare-metal", "-o", tmp_path / "x")
    assert done.exit_code != 0
    assert f"{AVR_BOARD.name} cannot take bare-metal" in done.output
    assert "it takes arduino" in done.output
    assert not (tmp_path / "x").exists()
    done = run("generate", bundle, "--board", "host", "--target", "arduino", "-o", tmp_path / "x")
    assert "host cannot take arduino" in done.output


def avr_plan(model):
    return plan_firmware(load_graph(model), AVR_BOARD, NO_TRAINING, model_hash=MODEL_HASH, labels=())


def test_an_array_that_the_compiler_cannot_hold_is_refused():
    builder = TfliteBuilder(1)
    wide = builder.build(builder.fully_connected(builder.input((1, 200)), units=180))
    with pytest.raises(DoesNotFitError) as caught:
        check_fit(avr_plan(wide))
    assert caught.value.needed_bytes == 36_000
    assert caught.value.available_bytes == 32_767


def test_float64_is_refused():
    plan = avr_plan(dense_layers())
    steps = list(plan.steps)
    at = next(i for i, step in enumerate(steps) if step.call and step.call.constants)
    call = steps[at].call
    steps[at] = replace(steps[at], call=replace(call, constants=(replace(call.constants[0], c_type="double"),)))
    with pytest.raises(UnsupportedOpError, match="float64"):
        check_fit(replace(plan, steps=tuple(steps)))


def test_what_exceeds_ram_is_refused_with_numbers():
    builder = TfliteBuilder(1)
    x = builder.input((1, 40, 40, 1))
    large = builder.build(builder.conv_2d(x, filters=8, kernel=(3, 3), padding="same"))
    with pytest.raises(DoesNotFitError) as caught:
        check_fit(avr_plan(large))
    assert caught.value.memory == "RAM"
    assert caught.value.needed_bytes > AVR_BOARD.ram_bytes


def test_a_sketch_keeps_what_it_learns_where_its_board_can():
    """With the store, the driver and the size of the memory; without training, nothing of it."""
    nvm = AVR_BOARD.nvm
    assert nvm is not None
    keeping, fixed = library(AVR_BOARD.name), library(AVR_BOARD.name, trains=False)
    for path in ("src/elearn_store.c", f"src/{nvm.source}"):
        assert path in keeping
        assert path not in fixed
    assert f"#define ELEARN_NVM_PAGES {nvm.pages}u\n" in keeping["src/elearn_board.h"]
    assert "#define ELEARN_NVM_PAGES 0u\n" in fixed["src/elearn_board.h"]
    assert f"`src/{nvm.source}` keeps saved heads in 4,096 bytes" in keeping["README.md"]
    other = library(next(name for name in BOARDS if (b := load_board(name)).nvm and not b.keeps(Output.ARDUINO)))
    assert "src/elearn_store.c" not in other
    assert "#define ELEARN_NVM_PAGES 0u\n" in other["src/elearn_board.h"]
    assert "| `save()` | false: nothing is kept" in other["README.md"]


def test_a_head_too_large_to_be_kept_learns_all_the_same_and_that_is_said(tmp_path):
    builder = TfliteBuilder(2)
    x = builder.fully_connected(builder.input((1, 8)), units=130, activation="relu", name="features")
    model = builder.build(builder.softmax(builder.fully_connected(x, units=8, name="classes")))
    (tmp_path / "wide.tflite").write_bytes(model)
    assert run("convert", tmp_path / "wide.tflite", "-o", tmp_path / "wide.elb").exit_code == 0
    done = run("generate", tmp_path / "wide.elb", "--board", AVR_BOARD.name, "-o", tmp_path / "p")
    assert done.exit_code == 0, done.output
    said = " ".join(done.output.split())
    # 8 x 130 weights with residual, 8 biases and scales, names, counters and header, in blocks of 64 bytes
    block_bytes = int(re.search(r"a saved head takes ([\d,]+) bytes", said)[1].replace(",", ""))
    assert 2 * 8 * 130 + 6 * 8 + 56 + 32 <= block_bytes < 2 * 8 * 130 + 6 * 8 + 56 + 32 + 8 * 16 + 64
    assert f"two are needed, and {AVR_BOARD.name} has 4,096 for them; --residual stochastic keeps half as much" in said
    assert "#define ELEARN_SAVES 0 " in (tmp_path / "p" / "src" / "elearn_config.h").read_text()
    assert not (tmp_path / "p" / "src" / "elearn_store.c").exists()
    half = ("--residual", "stochastic", "--force")
    done = run("generate", tmp_path / "wide.elb", "--board", AVR_BOARD.name, "-o", tmp_path / "p", *half)
    assert done.exit_code == 0, done.output
    assert "lost at a reset" not in done.output
    assert "#define ELEARN_SAVES 1 " in (tmp_path / "p" / "src" / "elearn_config.h").read_text()
