"""What `edgelearn build` says of the stack, and when it refuses."""

from __future__ import annotations

import msgspec
import pytest
from click.testing import CliRunner

from edgelearn import pipeline
from edgelearn.board import Core, board_names, load_board
from edgelearn.cli import main
from edgelearn.errors import DoesNotFitError
from edgelearn.firmware.stack_usage import StackBound
from tests.support.bundles import write_model
from tests.support.tools import require_toolchain

BOARD = next(name for name in board_names() if (b := load_board(name)).core is Core.CORTEX_M4F and b.emulator)


def run(*argv, code=0):
    result = CliRunner().invoke(main, [str(a) for a in argv], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def project(tmp_path):
    require_toolchain("gnu", BOARD)
    run("convert", write_model(tmp_path / "small.tflite"), "-o", tmp_path / "small.elb")
    run("generate", tmp_path / "small.elb", "--board", BOARD, "-o", tmp_path / "project")
    return tmp_path / "project"


def test_build_says_what_the_stack_can_take(project):
    text = run("build", project, "--toolchain", "gnu").output
    assert "the stack can take at most " in text
    assert f"of {load_board(BOARD).stack_bytes:,} bytes: elearn_reset_handler " in text
    assert "an interrupt 108" in text


def test_a_stack_that_is_too_small_is_refused(project, monkeypatch):
    small = msgspec.structs.replace(load_board(BOARD), stack_bytes=256)
    monkeypatch.setattr(pipeline, "load_board", lambda name: small)
    stderr = run("build", project, "--toolchain", "gnu", code=DoesNotFitError.exit_code).stderr
    assert f"bytes of stack, {BOARD} has 256 bytes" in stderr
    assert "elearn_reset_handler" in stderr
    assert "stack_bytes in the board file" in stderr


def test_a_stack_that_is_not_known_is_a_warning(project, monkeypatch):
    unknown = StackBound(size_bytes=None, problem="recursion: a calls a", chain=(), interrupt=())
    monkeypatch.setattr(pipeline, "stack_bound", lambda elf, board: unknown)
    assert "warning: how much stack can be used is not known: recursion: a calls a" in run("build", project).stderr


def test_the_host_has_no_bound(tmp_path):
    require_toolchain("gnu", "host")
    run("convert", write_model(tmp_path / "small.tflite"), "-o", tmp_path / "small.elb")
    run("generate", tmp_path / "small.elb", "--board", "host", "-o", tmp_path / "project")
    assert "the stack can take" not in run("build", tmp_path / "project").output
