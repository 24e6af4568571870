"""CMake builds the same program as a project's Makefile; what PlatformIO is told is what we compile with."""

from __future__ import annotations

import configparser
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgelearn.board import COMPILERS, Core, PlatformIo, load_board
from edgelearn.ir import LossKind
from edgelearn.training import plan_training
from tests.support.firmware import generate, write_project
from tests.support.tools import require_tool
from tests.unit.training.heads import head_graph


def project(board, **options) -> dict[str, str]:
    rng = np.random.default_rng(0)
    graph = head_graph(rng.normal(size=(4, 8)).astype(np.float32), np.zeros(4, np.float32), loss=LossKind.CROSS_ENTROPY)
    return generate(graph, board=board, training=plan_training(graph), labels=tuple("abcd"), **options)


def run(*argv: str | Path) -> None:
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["netduinoplus2", "microbit"])
def test_cmake_builds_the_bytes_that_make_builds(name, tmp_path):
    require_tool("cmake")
    require_tool("arm-none-eabi-gcc")
    folder = write_project(project(load_board(name)), tmp_path / "a project")
    run("make", "-C", folder)
    run("cmake", "-S", folder, "-B", folder / "build" / "cmake")
    run("cmake", "--build", folder / "build" / "cmake")
    built = (folder / "build" / "cmake" / "firmware.bin").read_bytes()
    assert built == (folder / "build" / "firmware.bin").read_bytes()
    assert len(built) > 1000


def test_cmake_builds_for_this_machine(tmp_path):
    require_tool("cmake")
    require_tool("cc")
    sensor = (
        '#include "elearn_sensor.h"\nbool elearn_sensor_read(elearn_sensor_sample *s) { int unused; return false; }\n'
    )
    folder = write_project(project(load_board("host"), sensor=sensor), tmp_path)
    run("cmake", "-S", folder, "-B", folder / "build" / "cmake")
    run("cmake", "--build", folder / "build" / "cmake")
    assert (folder / "build" / "cmake" / "firmware.elf").is_file()


def test_platformio_is_told_what_we_compile_with():
    board = load_board("netduinoplus2")
    assert board.platformio is not None
    files = project(board)
    ini = configparser.ConfigParser()
    ini.read_string(files["platformio.ini"])
    section = ini[f"env:{board.name}"]
    assert (section["platform"], section["board"]) == (board.platformio.platform, board.platformio.board)
    chosen = {word[2:-1] for word in section["build_src_filter"].split() if word.startswith("+<")}
    assert chosen == {path for path in files if path.endswith(".c")}
    for flag in COMPILERS[board.core].gnu:
        assert flag in section["build_flags"].split()
        assert f'"{flag}"' in files["platformio_link.py"]
    compile(files["platformio_link.py"], "platformio_link.py", "exec")


def test_a_board_that_platformio_does_not_know_has_no_file_for_it():
    board = load_board("mps2-an386")
    assert board.platformio is None
    assert not any("platformio" in path for path in project(board))
    host = load_board("host")
    assert host.core is Core.HOST
    assert host.platformio == PlatformIo(platform="native")
    assert "platformio_link.py" not in project(host)
