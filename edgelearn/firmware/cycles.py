"""What an instruction costs: one table for each core, and the estimate of a block of instructions from it.

The tables are published timings, with the middle taken where those are ranges; they are no model of the pipeline, and
none was compared with hardware. Counts of instructions are exact; cycles from here are estimates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from edgelearn.board import Core
from edgelearn.firmware.thumb import Instruction, Kind

#: Of every table.
ASSUMPTIONS = (
    "memory without wait states",
    "no bus contention",
    "an instruction that a condition skips costs the same",
    "a return that loads the program counter costs no more than its other loads",
)


class CostTable(Struct, frozen=True, kw_only=True):
    """The cost of instructions on a core, in cycles.

    Attributes:
        sources: the documents the costs come from.
        assumptions: what it takes for granted, besides `ASSUMPTIONS`.
        cycles: of a class of instructions; 1 for a class that is not in it.
        neighbour: of a LOAD right after another LOAD or STORE.
        branch_taken: of a BRANCH that is taken; one that is not costs 1.
        scale: all of it is multiplied by this.
    """

    sources: tuple[str, ...]
    assumptions: tuple[str, ...]
    cycles: Mapping[Kind, float]
    neighbour: float
    branch_taken: float
    scale: float = 1.0


#: A load or store multiple of n registers takes this and one more for each.
_MULTIPLE_CYCLES = 1.0

_CORTEX_M4 = CostTable(
    sources=("Arm DDI0439, Cortex-M4 Technical Reference Manual, 3.3.1 and 7.2.3 (instruction sets with cycles)",),
    assumptions=(
        "a load takes 2 cycles, 1 right after another load or store",
        "a taken branch takes 3 (the manual: 2 to 4)",
        "a division takes 8 (2 to 12)",
    ),
    cycles={
        Kind.LOAD: 2,
        Kind.LOAD_DOUBLE: 3,
        Kind.STORE_DOUBLE: 3,
        Kind.DIVIDE: 8,
        Kind.FLOAT_DIVIDE: 14,
        Kind.FLOAT_MULTIPLY_ADD: 3,
    },
    neighbour=1,
    branch_taken=3,
)

#: An entry for each core that has an emulator which traces.
COST_TABLES: Mapping[Core, CostTable] = {
    Core.CORTEX_M0: CostTable(
        sources=("Arm DDI0432, Cortex-M0 Technical Reference Manual, 3.3 (instruction set with cycles)",),
        assumptions=(
            "a taken branch takes 3 (a call with BL takes 4)",
            "a multiplication takes 1, which chips may build with 32",
        ),
        cycles={Kind.LOAD: 2, Kind.STORE: 2},
        neighbour=2,
        branch_taken=3,
    ),
    Core.CORTEX_M3: CostTable(
        sources=("Arm DDI0337, Cortex-M3 Technical Reference Manual, 3.3.1 (instruction set with cycles)",),
        assumptions=(
            *_CORTEX_M4.assumptions,
            "a long multiply takes 4 (3 to 5) and one that accumulates 5.5 (4 to 7)",
        ),
        cycles={
            Kind.LOAD: 2,
            Kind.LOAD_DOUBLE: 3,
            Kind.STORE_DOUBLE: 3,
            Kind.DIVIDE: 8,
            Kind.MULTIPLY_ADD: 2,
            Kind.MULTIPLY_LONG: 4,
            Kind.MULTIPLY_ADD_LONG: 5.5,
        },
        neighbour=1,
        branch_taken=3,
    ),
    Core.CORTEX_M4F: _CORTEX_M4,
    Core.CORTEX_M7F: CostTable(
        sources=(
            *_CORTEX_M4.sources,
            "Arm's product pages of Cortex-M4 and Cortex-M7: 3.42 and 5.01 CoreMark/MHz",
        ),
        assumptions=(
            "Arm publishes no timings of the Cortex-M7, which starts up to two instructions in a cycle: "
            "taken are those of the Cortex-M4, times 3.42 / 5.01, the ratio of the two cores' CoreMark/MHz",
            "code and data in tightly coupled memory or in the caches, which the firmware leaves off",
        ),
        cycles=_CORTEX_M4.cycles,
        neighbour=_CORTEX_M4.neighbour,
        branch_taken=_CORTEX_M4.branch_taken,
        scale=3.42 / 5.01,
    ),
}


def block_cycles(instructions: Sequence[Instruction], table: CostTable, *, taken: bool) -> float:
    """The cycles of instructions that run one after the other.

    Args:
        instructions: in the order in which they run; only the last can be a branch.
        table: of the core.
        taken: whether what runs next is not what follows the last one in memory.
    """
    total = 0.0
    previous = Kind.OTHER
    for instruction in instructions:
        kind = instruction.kind
        if kind is Kind.BRANCH:
            total += table.branch_taken if taken else 1
        elif kind in (Kind.LOAD_MULTIPLE, Kind.STORE_MULTIPLE):
            total += _MULTIPLE_CYCLES + instruction.words
        elif kind is Kind.LOAD and previous in (Kind.LOAD, Kind.STORE):
            total += table.neighbour
        else:
            total += table.cycles.get(kind, 1)
        previous = kind
    return total * table.scale
