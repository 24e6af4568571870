"""The cost of blocks, by hand from the tables of the cores' reference manuals."""

from __future__ import annotations

import pytest

from edgelearn.board import COMPILERS, Core
from edgelearn.firmware.cycles import COST_TABLES, block_cycles
from edgelearn.firmware.thumb import Instruction, Kind

M3, M4, M7 = (COST_TABLES[core] for core in (Core.CORTEX_M3, Core.CORTEX_M4F, Core.CORTEX_M7F))


def block(*kinds: Kind | tuple[Kind, int]) -> list[Instruction]:
    pairs = [kind if isinstance(kind, tuple) else (kind, 0) for kind in kinds]
    return [
        Instruction(address=4 * number, size_bytes=4, kind=kind, words=words)
        for number, (kind, words) in enumerate(pairs)
    ]


@pytest.mark.parametrize(
    ("kinds", "cycles"),
    [
        ([Kind.OTHER], 1),
        ([Kind.STORE], 1),
        ([Kind.LOAD], 2),
        ([Kind.LOAD, Kind.LOAD, Kind.LOAD], 2 + 1 + 1),
        ([Kind.STORE, Kind.LOAD], 1 + 1),
        ([Kind.LOAD, Kind.OTHER, Kind.LOAD], 2 + 1 + 2),
        ([Kind.LOAD, Kind.STORE, Kind.STORE], 2 + 1 + 1),
        ([(Kind.LOAD_MULTIPLE, 4), Kind.LOAD], 5 + 2),
        ([Kind.LOAD, (Kind.LOAD_MULTIPLE, 8), (Kind.STORE_MULTIPLE, 9)], 2 + 9 + 10),
        ([Kind.LOAD_DOUBLE, Kind.STORE_DOUBLE], 3 + 3),
        ([Kind.DIVIDE], 8),
        ([Kind.MULTIPLY, Kind.MULTIPLY_ADD, Kind.MULTIPLY_LONG, Kind.MULTIPLY_ADD_LONG], 4),
        ([Kind.FLOAT_DIVIDE, Kind.FLOAT_MULTIPLY_ADD], 14 + 3),
    ],
)
def test_cortex_m4(kinds: list[Kind | tuple[Kind, int]], cycles: int) -> None:
    assert block_cycles(block(*kinds), M4, taken=False) == cycles
    assert block_cycles(block(*kinds, Kind.BRANCH), M4, taken=False) == cycles + 1
    assert block_cycles(block(*kinds, Kind.BRANCH), M4, taken=True) == cycles + 3


def test_a_block_that_runs_on_has_no_branch_to_pay_for() -> None:
    assert block_cycles(block(Kind.OTHER, Kind.OTHER), M4, taken=True) == 2


def test_cortex_m3_multiplies_slowly() -> None:
    kinds = (Kind.MULTIPLY, Kind.MULTIPLY_ADD, Kind.MULTIPLY_LONG, Kind.MULTIPLY_ADD_LONG)
    assert block_cycles(block(*kinds), M3, taken=False) == 1 + 2 + 4 + 5.5


def test_cortex_m7_is_a_cortex_m4_times_the_ratio_of_their_benchmarks() -> None:
    kinds = (Kind.LOAD, Kind.LOAD, (Kind.LOAD_MULTIPLE, 3), Kind.BRANCH)
    assert block_cycles(block(*kinds), M7, taken=True) == pytest.approx(10 * 3.42 / 5.01)
    assert any("publishes no timings" in text for text in M7.assumptions)


def test_every_emulated_core_has_a_table_with_sources() -> None:
    assert set(COST_TABLES) == set(COMPILERS) - {Core.HOST}
    assert all(table.sources and table.assumptions for table in COST_TABLES.values())
