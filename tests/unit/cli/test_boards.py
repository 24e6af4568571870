"""`edgelearn boards`: the list, one board, and which hold a bundle."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgelearn import resources
from edgelearn.board import Board, Core, Output, board_names, load_board
from edgelearn.board.ways import Drive, method_of
from edgelearn.cli import main
from edgelearn.errors import BoardFileError, UnknownBoardError
from tests.support.bundles import write_model
from tests.support.tflite_builder import TfliteBuilder

BOARDS = [load_board(name) for name in board_names()]
SMALLEST = min((board for board in BOARDS if board.core is not Core.HOST), key=lambda board: board.ram_bytes).name


def run(*argv: object) -> Result:
    return CliRunner().invoke(main, ["boards", *(str(word) for word in argv)])


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return write_model(tmp_path / "small.tflite")


@pytest.fixture
def huge(tmp_path: Path) -> Path:
    """2,048 x 4,000 weights: 16 MB of RAM, more than any board has."""
    builder = TfliteBuilder(1)
    x = builder.reshape(builder.input((1, 32, 64, 1)), (1, 2048))
    path = tmp_path / "huge.tflite"
    path.write_bytes(builder.build(builder.fully_connected(x, units=4000)))
    return path


def test_the_list_has_outputs_and_ways() -> None:
    result = run()
    assert result.exit_code == 0
    heading = result.output.split("───")[0]
    for column in ("board", "core", "outputs", "flash with", "emulator"):
        assert column in heading
    words = set(result.output.replace(",", " ").split())
    assert set(board_names()) <= words
    assert {method_of(way) for board in BOARDS for way in board.flash} <= words


def test_the_list_as_json() -> None:
    found = json.loads(run("--json").output)
    assert [board["name"] for board in found] == list(board_names())


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_one_board_in_full(board: Board) -> None:
    result = run(board.name)
    assert result.exit_code == 0
    assert board.title in result.output
    for source in board.sources:
        assert source in result.output
    for kept in board.kept:
        assert f"0x{kept.origin:08X}" in result.output
        assert kept.holder in result.output
    found = json.loads(run(board.name, "--json").output)
    assert found["name"] == board.name
    assert [tuple(one["serial_prefixes"]) for one in found["usb"]] == [one.serial_prefixes for one in board.usb]
    for way, shown in zip(board.flash, found["flash"], strict=True):
        if isinstance(way, Drive):
            assert shown["programs_at"] == way.programs_at
            assert (shown["earlier"] or {}).get("before") == (str(way.earlier.before) if way.earlier else None)


def test_an_unknown_board_is_named_with_the_closest() -> None:
    result = run(board_names()[0] + "x")
    assert result.exit_code != 0
    assert board_names()[0] in result.stderr


@pytest.mark.parametrize(
    ("name", "words", "absent"),
    [
        (board_names()[0].upper(), f"did you mean `{board_names()[0]}`", "known boards"),
        ("zzzzz", "`edgelearn boards` lists them", board_names()[0]),
        ("./mine.toml", "then the board's name is mine", board_names()[0]),
        (f"boards/{board_names()[0]}.toml", f"give the name, {board_names()[0]}", "zzz"),
    ],
)
def test_a_board_of_another_name(name: str, words: str, absent: str) -> None:
    result = run(name)
    assert result.exit_code == UnknownBoardError.exit_code
    assert words in result.stderr
    assert absent not in result.stderr
    assert (str(resources.boards_folder()) in result.stderr) == name.endswith(".toml")


def test_which_boards_hold_a_small_model(small: Path) -> None:
    result = run("--fits", small)
    assert result.exit_code == 0
    lines = result.output.splitlines()
    for board in BOARDS:
        told = [line.split() for line in lines if line.split()[:1] == [board.name]]
        compared = {Output.BARE_METAL, Output.ARDUINO, Output.MICROPYTHON} & set(board.outputs)
        assert len(told) == (0 if board.core is Core.HOST else len(compared))
        assert all("yes" in words for words in told)
    assert "would help" not in result.output


def test_the_same_as_json(small: Path) -> None:
    found = json.loads(run("--fits", small, "--residual", "none", "--json").output)
    assert found["residual"] == "none"
    assert found["trains"]
    assert [board["board"] for board in found["boards"]] == [b.name for b in BOARDS if b.core is not Core.HOST]
    for board in found["boards"]:
        for output in board["outputs"]:
            for need in output["needs"]:
                assert need["margin_bytes"] == need["available_bytes"] - need["needed_bytes"]


def test_a_bundle_that_no_board_holds(huge: Path) -> None:
    result = run("--fits", huge)
    assert result.exit_code == 32
    assert " yes " not in result.output
    assert f"\n{SMALLEST}, " in result.output
    assert "missing: " in result.output
    assert "the largest part is the trainable layer" in result.output
    assert "would help: " in result.output


def test_one_board_and_a_bundle(huge: Path, small: Path) -> None:
    assert run(SMALLEST, "--fits", small).exit_code == 0
    result = run(SMALLEST, "--fits", huge)
    assert result.exit_code == 32
    others = [board.name for board in BOARDS if board.name != SMALLEST]
    assert not any(line.split()[:1] == [name] for name in others for line in result.output.splitlines())


def test_pages_that_are_too_few(huge: Path) -> None:
    host = next(board.name for board in BOARDS if board.core is Core.HOST)
    result = run(host, "--fits", huge)
    assert result.exit_code == 32
    assert "bytes of non-volatile memory" in result.output
    assert "missing" not in result.output


def test_residual_needs_fits() -> None:
    result = run("--residual", "none")
    assert result.exit_code == 2
    assert "--residual goes with --fits" in result.stderr


def test_files_of_somebodys_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: Path) -> None:
    """In folders of their own: found by name wherever a board is named, and before a file of ours."""
    text = (resources.boards_folder() / f"{SMALLEST}.toml").read_text(encoding="utf-8")
    new, instead = tmp_path / "new", tmp_path / "instead"
    for folder, name in ((new, "mine"), (instead, SMALLEST)):
        folder.mkdir()
        own = re.sub(r"^name = .*$", f'name = "{name}"', text, count=1, flags=re.MULTILINE)
        own = re.sub(r"^title = .*$", f'title = "A {folder.name} one"', own, count=1, flags=re.MULTILINE)
        (folder / f"{name}.toml").write_text(own, encoding="utf-8")
    monkeypatch.setenv(resources.OWN_BOARDS, os.pathsep.join((str(new), str(instead))))
    assert set(board_names()) == {*(board.name for board in BOARDS), "mine"}
    assert "A new one" in run("mine").output
    assert "A instead one" in run(SMALLEST).output
    bundle, project = str(tmp_path / "small.elb"), str(tmp_path / "p")
    for argv in (["convert", str(small), "-o", bundle], ["generate", bundle, "--board", "mine", "-o", project]):
        done = CliRunner().invoke(main, argv)
        assert done.exit_code == 0, done.output
    monkeypatch.delenv(resources.OWN_BOARDS)
    told = CliRunner().invoke(main, ["build", project])
    assert told.exit_code == UnknownBoardError.exit_code
    assert "there is no board mine" in told.stderr


def test_a_folder_of_ones_own_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(resources.OWN_BOARDS, str(tmp_path / "absent"))
    for argv in (["boards"], ["boards", SMALLEST], ["devices"]):
        told = CliRunner().invoke(main, argv)
        assert told.exit_code == BoardFileError.exit_code
        assert f"{tmp_path / 'absent'} is no folder of board files" in told.stderr
        assert resources.OWN_BOARDS in told.stderr


@pytest.fixture
def one_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A boards folder in which one file of a person is not valid; its name."""
    folder = tmp_path / "boards"
    shutil.copytree(resources.boards_folder(), folder)
    text = (folder / f"{SMALLEST}.toml").read_text(encoding="utf-8")
    (folder / "mine.toml").write_text(
        text.replace(f'name = "{SMALLEST}"', 'name = "mine"\nclok_hz = 3'), encoding="utf-8"
    )
    monkeypatch.setattr(resources, "boards_folder", lambda: folder)
    return "mine"


@pytest.mark.parametrize(
    "argv",
    [("boards",), ("boards", "--json"), ("boards", "--fits", "MODEL"), ("devices",), ("doctor", "--json")],
)
def test_a_broken_file_stops_nothing_else(argv: tuple[str, ...], one_is_broken: str, small: Path) -> None:
    result = CliRunner().invoke(main, [str(small) if word == "MODEL" else word for word in argv])
    assert result.exit_code == 0, result.output
    warned = [line for line in result.stderr.splitlines() if "warning" in line]
    assert len(warned) == 1
    assert f"{one_is_broken}.toml is not a valid board file, and is left out: " in warned[0]
    assert "clok_hz" in warned[0]
    assert "clok_hz" not in result.stdout


def test_a_broken_file_does_not_concern_another_board(one_is_broken: str) -> None:
    result = run(SMALLEST)
    assert result.exit_code == 0
    assert not result.stderr


def test_a_broken_file_is_told_in_full_to_who_asks_for_it(one_is_broken: str) -> None:
    result = run(one_is_broken)
    assert result.exit_code == BoardFileError.exit_code
    assert "clok_hz" in result.stderr
    assert "did you mean `clock_hz`?" in result.stderr
    assert "warning" not in result.stderr
