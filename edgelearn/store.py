"""The log of records that keeps what was learned: how large a record is, how many there are, how long the memory lasts.

The same arithmetic as in `firmware/runtime/elearn_store.c`, for the plan, which refuses what has no room, and for the
host, which tells how long a rate of saving can go on.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from edgelearn.board import NonVolatileMemory
from edgelearn.protocol import MessageType, encoded_bytes, message
from edgelearn.recipe import Residual

#: Of a record, before its parts: HEADER_BYTES of elearn_store.c.
HEADER_BYTES = 32
#: Fewer would leave none while one is erased.
LEAST_BLOCKS = 2

#: The counters that are kept beside the head: elearn_state of runtime/elearn_state.h.
STATE_BYTES = 56

_SECONDS_A_YEAR = 365.25 * 24 * 3600


class StoreLayout(Struct, frozen=True, kw_only=True):
    """How records of one size lie in the pages.

    Attributes:
        record_bytes: header, parts and padding.
        block_bytes: what is erased before a record is written to its first place.
        blocks: how many blocks the pages make; fewer than `LEAST_BLOCKS` cannot keep anything.
        records_per_block: places in a block.
        erase_cycles: how often a block may be erased; 0 where it does not wear.
        erase_ms: the longest that erasing a block takes.
    """

    record_bytes: int
    block_bytes: int
    blocks: int
    records_per_block: int
    erase_cycles: int
    erase_ms: int

    @property
    def fits(self) -> bool:
        """Whether there are blocks enough."""
        return self.blocks >= LEAST_BLOCKS

    @property
    def least_nvm_bytes(self) -> int:
        """Bytes of pages that the least blocks take."""
        return LEAST_BLOCKS * self.block_bytes

    @property
    def saves(self) -> int | None:
        """How many records can be written before the pages wear out; None where they do not wear.

        Each record takes the next place, round and round, and a block is erased once in a round.
        """
        if not self.erase_cycles:
            return None
        return self.erase_cycles * self.blocks * self.records_per_block

    def years(self, saves_a_day: float) -> float | None:
        """Years until the pages wear out at that rate; None where they do not wear.

        Raises:
            ValueError: the rate is not positive.
        """
        if saves_a_day <= 0:
            raise ValueError(f"{saves_a_day} saves a day")
        saves = self.saves
        return None if saves is None else saves / saves_a_day * 24 * 3600 / _SECONDS_A_YEAR


class FlashLife(Struct, frozen=True, kw_only=True):
    """How long the pages last.

    Attributes:
        record_bytes: of one saved head.
        saves: how many can be written before the pages wear out; None where they do not wear.
        autosave_steps: training steps between two that the device saves by itself; 0: it does not.
        samples_per_s: that are learned at most.
        saves_a_day: what that makes in the worst case.
        years: until the pages wear out then; None where they do not, or nothing is saved by itself.
    """

    record_bytes: int
    saves: int | None
    autosave_steps: int
    samples_per_s: float
    saves_a_day: float
    years: float | None


def flash_life(layout: StoreLayout, *, autosave_steps: int, samples_per_s: float) -> FlashLife:
    """How long the pages last at that rate."""
    saves_a_day = most_saves_a_day(samples_per_s, autosave_steps)
    return FlashLife(
        record_bytes=layout.record_bytes,
        saves=layout.saves,
        autosave_steps=autosave_steps,
        samples_per_s=samples_per_s,
        saves_a_day=saves_a_day,
        years=layout.years(saves_a_day) if saves_a_day else None,
    )


def line_samples_per_s(input_bytes: int, baud: int) -> float:
    """The most samples that a serial line carries in a second: what a device can be taught by its host."""
    frame_bytes = encoded_bytes(message(MessageType.SAMPLE).size_bytes + input_bytes)
    return baud / 10 / frame_bytes


def head_part_bytes(*, outputs: int, features: int, residual: Residual, label_bytes: int) -> tuple[int, ...]:
    """Sizes of the parts of a record that keeps a head: weights, residual, biases, scales, names, counters.

    Args:
        outputs: of the trainable layer.
        features: that it takes.
        residual: how its weights are stored.
        label_bytes: of a name that can be changed, 0 where none can.
    """
    weights = outputs * features
    is_float = residual is Residual.FLOAT
    sizes = (
        4 * weights if is_float else weights,
        weights if residual is Residual.INT8 else 0,
        4 * outputs,
        0 if is_float else 2 * outputs,
        label_bytes * outputs,
        STATE_BYTES,
    )
    return tuple(size for size in sizes if size)


def store_layout(nvm: NonVolatileMemory, part_bytes: Iterable[int]) -> StoreLayout:
    """The layout of records with parts of these sizes.

    Args:
        nvm: the board's pages.
        part_bytes: size of each part of a record.
    """
    units = -(-(HEADER_BYTES + sum(part_bytes)) // nvm.write_bytes)
    record_bytes = units * nvm.write_bytes
    block_pages = -(-record_bytes // nvm.page_bytes)
    block_bytes = block_pages * nvm.page_bytes
    return StoreLayout(
        record_bytes=record_bytes,
        block_bytes=block_bytes,
        blocks=nvm.pages // block_pages,
        records_per_block=block_bytes // record_bytes,
        erase_cycles=nvm.erase_cycles,
        erase_ms=nvm.erase_ms * block_pages,
    )


def most_saves_a_day(samples_per_s: float, autosave_steps: int) -> float:
    """The most that autosave writes in a day.

    Args:
        samples_per_s: the highest rate of training samples.
        autosave_steps: training steps between two records; 0 where it is off.
    """
    return samples_per_s * 24 * 3600 / autosave_steps if autosave_steps else 0.0
