"""Boards in Renode: scripts, command line, a project through it with a stand-in, and Renode itself if it is there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edgelearn.board import Board, board_names, load_board
from edgelearn.cli import main
from edgelearn.errors import EmulatorError, EmulatorMissingError
from edgelearn.firmware import emulator, renode
from edgelearn.host.device import open_device
from edgelearn.ir import LossKind
from edgelearn.training import make_head, plan_training
from tests.support.bundles import write_model
from tests.support.firmware import generate, write_project
from tests.support.tools import optional_tool, require_tool
from tests.unit.training.heads import head_graph

RENODE_BOARDS = [name for name in board_names() if load_board(name).renode]
BOTH = next(name for name in RENODE_BOARDS if load_board(name).emulator)
FEATURES, OUTPUTS = 12, 5

#: Plays Renode: takes ELF and port from the script, and lets QEMU run them.
STAND_IN = """\
#!{python}
import os, re, sys
assert sys.argv[1:4] == ["--disable-xwt", "--plain", "--port"] and sys.argv[5] == "--execute", sys.argv
script = re.fullmatch(r"include @(.*)", sys.argv[6]).group(1).replace("\\\\ ", " ")
text = open(script).read()
description = re.search(r"^machine LoadPlatformDescription @(.*)$", text, re.M).group(1).replace("\\\\ ", " ")
assert "using" in open(description).read()
port = re.search(r"^emulation CreateServerSocketTerminal (\\d+) ", text, re.M).group(1)
image = re.search(r"^sysbus LoadELF @(.*)$", text, re.M).group(1).replace("\\\\ ", " ")
assert text.endswith("start\\n")
os.execvp("qemu-system-arm", ["qemu-system-arm", "-machine", "{machine}", "-kernel", image, "-nographic", "-monitor",
    "none", "-icount", "shift=0,sleep=on", "-serial", f"tcp:127.0.0.1:{{port}},server=on,wait=off,nodelay=on"])
"""


def stand_in(folder: Path, monkeypatch, text: str) -> None:
    folder.mkdir()
    program = folder / "renode"
    program.write_text(text)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def learner():
    rng = np.random.default_rng(4)
    weights = rng.normal(size=(OUTPUTS, FEATURES)).astype(np.float32) * 0.1
    graph = head_graph(weights, np.zeros(OUTPUTS, np.float32), loss=LossKind.CROSS_ENTROPY, feature_zero_point=-3)
    return graph, plan_training(graph, learning_rate=3e-3)


def project(board: Board, folder: Path) -> Path:
    graph, training = learner()
    write_project(generate(graph, board=board, training=training, labels=tuple("abcde")), folder)
    done = CliRunner().invoke(main, ["build", str(folder), "--toolchain", "gnu"])
    assert done.exit_code == 0, done.output
    return folder / "build" / "firmware.elf"


def learns_as_the_reference(url: str) -> None:
    head = make_head(learner()[1])
    rng = np.random.default_rng(1)
    with open_device(url) as device:
        for _ in range(50):
            x, label = rng.integers(-128, 128, FEATURES).astype(np.int8), int(rng.integers(OUTPUTS))
            step = head.forward(x)
            assert device.train(x, label=label).prediction == step.prediction
            head.learn(x, step, label=label)
        learned = device.read_head()
    np.testing.assert_array_equal(learned.q, head.q)
    np.testing.assert_array_equal(learned.l, head.residual)
    np.testing.assert_array_equal(learned.bias, head.bias)


@pytest.mark.parametrize("name", RENODE_BOARDS)
def test_scripts_name_everything(name, tmp_path):
    board = load_board(name)
    assert board.renode is not None
    files = renode.files(board, tmp_path / "my image.elf", tmp_path / "scripts", port=4321)
    assert "$" not in "".join(files.values())
    lines = files["board.resc"].splitlines()
    assert 'emulation CreateServerSocketTerminal 4321 "serial" false' in lines
    assert f"connector Connect sysbus.{board.renode.uart} serial" in lines
    assert f"sysbus LoadELF @{tmp_path}/my\\ image.elf" in lines
    assert lines.index(f"machine LoadPlatformDescription @{tmp_path}/scripts/board.repl") < lines.index("start")
    assert files["board.repl"].startswith(f'using "{board.renode.platform}"\n')
    for model in (word for word in files["board.repl"].split('"') if word.endswith(".peripheral")):
        compile(Path(model).read_text(), model, "exec")


def test_the_command_line(tmp_path):
    assert renode.argv(tmp_path / "board.resc", monitor_port=1234) == (
        *("renode", "--disable-xwt", "--plain", "--port", "1234"),
        *("--execute", f"include @{tmp_path}/board.resc"),
    )


def test_a_path_that_scripts_cannot_hold_is_refused(tmp_path):
    with pytest.raises(EmulatorError, match="cannot be given the path"):
        renode.files(load_board(BOTH), tmp_path / 'an "image".elf', tmp_path, port=1)


def test_a_board_learns_behind_the_stand_in(tmp_path, monkeypatch):
    require_tool("qemu-system-arm")
    require_tool("arm-none-eabi-gcc")
    board = load_board(BOTH)
    assert board.emulator is not None
    stand_in(tmp_path / "bin", monkeypatch, STAND_IN.format(python=sys.executable, machine=board.emulator.machine))
    image = project(board, tmp_path / "a project")
    with emulator.start(board, image, engine="renode") as running:
        assert running.engine == "renode"
        learns_as_the_reference(running.url)
    assert {path.name for path in (image.parent / "renode").iterdir()} == {"board.repl", "board.resc"}


def test_the_robot_file_runs(tmp_path, monkeypatch):
    """As the workflow runs it with Renode, with the stand-in."""
    require_tool("qemu-system-arm")
    require_tool("arm-none-eabi-gcc")
    board = load_board(BOTH)
    assert board.emulator is not None
    stand_in(tmp_path / "bin", monkeypatch, STAND_IN.format(python=sys.executable, machine=board.emulator.machine))
    command = tmp_path / "bin" / "edgelearn"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m edgelearn "$@"\n')
    command.chmod(0o755)
    write_model(tmp_path / "small.tflite")
    convert = CliRunner().invoke(main, ["convert", str(tmp_path / "small.tflite"), "-o", str(tmp_path / "small.elb")])
    assert convert.exit_code == 0, convert.output
    robot = [sys.executable, "-m", "robot", "--outputdir", str(tmp_path / "out"), "--test", "STM32F405"]
    file = Path(__file__).parents[1] / "renode" / "learn.robot"
    variables = ["--variable", f"MODEL:{tmp_path / 'small.elb'}", "--variable", "TRAIN_STEPS:20"]
    done = subprocess.run([*robot, *variables, str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_renode_that_fails_says_why(tmp_path, monkeypatch):
    require_tool("arm-none-eabi-gcc")
    stand_in(tmp_path / "bin", monkeypatch, "#!/bin/sh\necho 'There was an error executing command' >&2\nexit 3\n")
    image = project(load_board(BOTH), tmp_path / "p")
    with pytest.raises(EmulatorError, match="ended with code 3") as caught:
        emulator.start(load_board(BOTH), image, engine="renode")
    assert "There was an error" in caught.value.cause


def test_what_cannot_be_is_refused(tmp_path, monkeypatch):
    board = load_board(BOTH)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(EmulatorMissingError) as caught:
        emulator.require_emulator(board, "renode")
    assert "renode.io" in caught.value.hint
    host = load_board("host")
    with pytest.raises(EmulatorMissingError, match="renode does not emulate host"):
        emulator.require_emulator(host, "renode")
    stand_in(tmp_path / "bin", monkeypatch, "#!/bin/sh\n")
    with pytest.raises(EmulatorError, match="what flash keeps"):
        emulator.start(board, tmp_path / "x.elf", engine="renode", nvm_file=tmp_path / "flash")


@pytest.mark.parametrize("name", RENODE_BOARDS)
def test_a_board_learns_in_renode(name, tmp_path):
    optional_tool("renode")
    require_tool("arm-none-eabi-gcc")
    image = project(load_board(name), tmp_path / "p")
    with emulator.start(load_board(name), image, engine="renode") as running:
        learns_as_the_reference(running.url)
