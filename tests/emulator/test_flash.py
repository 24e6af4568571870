"""`edgelearn flash` with real images: both compilers' are safe for their boards, and one that boots says hello."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from edgelearn import pipeline
from edgelearn.board import Core, Output, board_names, load_board
from edgelearn.cli import main
from edgelearn.firmware.flash.guard import check_image
from edgelearn.firmware.flash.image import read_image, to_bin
from edgelearn.firmware.flash.run import written_ranges
from edgelearn.firmware.flash.tool import Format
from edgelearn.project import read_project
from tests.support.bundles import write_model
from tests.support.flashing import Bench
from tests.support.tools import require_tool, require_toolchain

#: The first board of each core that is flashed with bare-metal firmware.
BOARDS = {
    board.core: board.name
    for board in map(load_board, reversed(board_names()))
    if board.flash and Output.BARE_METAL in board.outputs
}
PINNED = next(
    board
    for board in map(load_board, board_names())
    if board.emulator and board.uart and not board.uart.reaches_usb and board.flash
)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    model = write_model(folder / "small.tflite")
    invoke("convert", model, "-o", folder / "small.elb")
    return folder / "small.elb"


def invoke(*argv: object) -> str:
    result = CliRunner().invoke(main, [str(word) for word in argv], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize(("core", "toolchain"), [(Core.CORTEX_M0, "zig"), (Core.CORTEX_M4F, "gnu")])
def test_real_images_are_safe(bundle: Path, tmp_path: Path, core: Core, toolchain: str) -> None:
    board = load_board(BOARDS[core])
    require_toolchain(toolchain, board.name)
    invoke("generate", bundle, "--board", board.name, "-o", tmp_path / "project")
    built = pipeline.build(tmp_path / "project", toolchain=toolchain)
    image = read_image(built.image)
    for format_ in Format:
        check_image(board, image, written_ranges(image, format_))
    assert image.size_bytes == built.flash_bytes
    for path in built.result.files:
        if path.suffix == ".bin":
            assert path.read_bytes() == to_bin(image)


def test_the_program_says_which_model_it_runs(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The flasher is a stand-in, the emulator the board that comes up with the image, its port that of an adapter."""
    require_toolchain("gnu", PINNED.name)
    require_tool("qemu-system-arm")
    project = tmp_path / "project"
    invoke("generate", bundle, "--board", PINNED.name, "-o", project)
    invoke("build", project)
    with pipeline.emulate(project) as running:
        bench = Bench(tmp_path / "bench", monkeypatch)
        bench.program("openocd", ("** Verified OK **\n", 0))
        bench.plug("1-1", 0x1209, 0x1234, serial="E1", product="CMSIS-DAP")
        said = invoke("flash", project, "--method", "openocd", "--port", running.url)
    assert f"flashed {PINNED.name} with openocd" in said
    assert f"it runs the model {read_project(project).model_hash[:16]}; stream to it with --port {running.url}" in said
    assert len(bench.calls("openocd")) == 1
