"""Small variants of the benchmark's networks, from Keras to emulated cores: the same bytes as the reference kernels."""

from __future__ import annotations

import pytest

from benchmarks.models import prepare
from edgelearn.board import Core, board_names, load_board
from edgelearn.verification import verify
from tests.support.tools import require_package, require_tool, require_toolchain

#: A board of each core that is emulated.
BOARDS = {
    board.core: board.name
    for board in map(load_board, board_names())
    if board.emulator and board.port.sources and board.core is not Core.HOST
}
#: Its arena alone is larger than the RAM of 16 KiB.
TOO_LARGE = {("mobilenet", Core.CORTEX_M0)}
#: Those that between them have every op of the ten.
NETWORKS = ("mobilenet", "tcn", "autoencoder", "lstm", "unet", "squeeze_excite")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Keras, when it saves
@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name, tmp_path):
    require_package("tensorflow")
    require_package("sklearn")
    require_tool("qemu-system-arm")
    model = prepare(name, (), tmp_path, small=True)
    for core, board in BOARDS.items():
        if (name, core) in TOO_LARGE:
            continue
        require_toolchain("gnu", board)
        project = tmp_path / board
        found = verify(
            model.plain, load_board(board), project, data=model.data, samples=8, train_steps=0, toolchain="gnu"
        )
        assert found.output_bytes_different == 0, board
        assert found.output_bytes_compared > 0
