"""Places buffers with lifetimes in one arena, so that buffers alive at the same time never overlap."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from msgspec import Struct

ALIGNMENT_BYTES = 4
_RESTARTS = 300


class Lifetime(Struct, frozen=True, kw_only=True):
    """A buffer and the first and last step at which it must keep its bytes, both included."""

    name: str
    size_bytes: int
    first_step: int
    last_step: int


class Placement(Struct, frozen=True, kw_only=True):
    """Where each buffer lies, and how many bytes are alive at each step."""

    offsets: dict[str, int]
    size_bytes: int
    alive_bytes: tuple[int, ...]

    @property
    def lower_bound_bytes(self) -> int:
        """The most that is alive at any one step; no placement can be smaller."""
        return max(self.alive_bytes, default=0)


def _aligned(size_bytes: int) -> int:
    return -(-size_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


def _place_in_order(order: Iterable[Lifetime]) -> tuple[dict[str, int], int]:
    """First fit: each buffer at the lowest offset that no buffer alive at the same time takes."""
    placed: list[tuple[int, int, Lifetime]] = []
    total = 0
    for buffer in order:
        offset = 0
        size = _aligned(buffer.size_bytes)
        for start, end, other in placed:
            if other.first_step > buffer.last_step or other.last_step < buffer.first_step:
                continue
            if start - offset >= size:
                break
            offset = max(offset, end)
        placed.append((offset, offset + size, buffer))
        placed.sort(key=lambda item: item[0])
        total = max(total, offset + size)
    return {buffer.name: start for start, _, buffer in placed}, total


def place(buffers: Sequence[Lifetime]) -> Placement:
    """Place all buffers: the best of several first-fit orders and, while above the lower bound, of seeded shuffles.

    The problem is dynamic storage allocation, which is NP-hard; first fit by decreasing size is what TFLite Micro
    does (Lee and Pisarchyk, "Efficient Memory Management for Deep Neural Net Inference", 2020, section 5).
    """
    last = max((buffer.last_step for buffer in buffers), default=0)
    alive = tuple(
        sum(_aligned(b.size_bytes) for b in buffers if b.first_step <= step <= b.last_step) for step in range(last + 1)
    )
    orders = [
        sorted(buffers, key=lambda b: (-b.size_bytes, b.first_step)),
        sorted(buffers, key=lambda b: (b.first_step, -b.size_bytes)),
        sorted(buffers, key=lambda b: (b.first_step - b.last_step, -b.size_bytes)),
    ]
    best_offsets, best_size = min((_place_in_order(order) for order in orders), key=lambda result: result[1])
    shuffled = list(orders[0])
    generator = random.Random(0)  # noqa: S311 - a search, and the same each time
    for _ in range(_RESTARTS):
        if best_size == max(alive):
            break
        generator.shuffle(shuffled)
        offsets, size = _place_in_order(shuffled)
        if size < best_size:
            best_offsets, best_size = offsets, size
    return Placement(offsets=best_offsets, size_bytes=best_size, alive_bytes=alive)
