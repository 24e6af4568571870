"""Places buffers with lifetimes in one arena, so that buffers alive at the same time never overlap."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from msgspec import Struct

ALIGNMENT_BYTES = 4
_RESTARTS = 300
#: Comparisons of a buffer or a step, at most: about a second.
_WORK = 3_000_000


class Lifetime(Struct, frozen=True, kw_only=True):
    """A buffer and the first and last step at which it must keep its bytes, both included."""

    name: str
    size_bytes: int
    first_step: int
    last_step: int


class Placement(Struct, frozen=True, kw_only=True):
    """Where each buffer lies, and how many bytes are alive at each step.

    Attributes:
        is_optimal: whether it is proved that no placement is smaller: it meets the lower bound, or all were searched.
    """

    buffers: tuple[Lifetime, ...]
    offsets: dict[str, int]
    size_bytes: int
    alive_bytes: tuple[int, ...]
    is_optimal: bool

    @property
    def lower_bound_bytes(self) -> int:
        """The most that is alive at any one step; no placement can be smaller."""
        return max(self.alive_bytes, default=0)

    @property
    def ratio(self) -> float:
        """Size over the lower bound; 1 is the best there can be."""
        return self.size_bytes / self.lower_bound_bytes if self.lower_bound_bytes else 1.0


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


class _Search:
    """Branch and bound over the orders in which buffers rest on one another.

    In some best placement each buffer lies at 0 or right on top of another one of its time, so placing buffers by
    rising offset, each on the highest of those below it, reaches a best placement. What is alive at a step and not yet
    placed must go on top of what is placed there: that bounds each branch.
    """

    def __init__(self, buffers: Sequence[Lifetime], *, size_bytes: int, bound_bytes: int) -> None:
        self.best_bytes = size_bytes
        self.best: dict[str, int] | None = None
        self.is_exhausted = True
        self._bound_bytes = bound_bytes
        self._buffers = sorted(buffers, key=lambda b: (-_aligned(b.size_bytes), b.first_step, b.name))
        steps = max((b.last_step for b in buffers), default=0) + 1
        self._heights = [0] * steps
        self._waiting = [0] * steps
        for buffer in buffers:
            for step in range(buffer.first_step, buffer.last_step + 1):
                self._waiting[step] += _aligned(buffer.size_bytes)
        self._offsets: dict[str, int] = {}
        self._work = _WORK

    def run(self) -> None:
        """Search until the bound is met, all is searched, or the work is done."""
        self._place_next(0)

    def _place_next(self, lowest: int) -> None:
        if len(self._offsets) == len(self._buffers):
            self.best, self.best_bytes = dict(self._offsets), max(self._heights)
            return
        candidates = sorted(
            (max(self._heights[b.first_step : b.last_step + 1]), index)
            for index, b in enumerate(self._buffers)
            if b.name not in self._offsets
        )
        self._work -= len(self._buffers)
        for offset, index in candidates:
            if self.best_bytes == self._bound_bytes:
                return
            if self._work <= 0:
                self.is_exhausted = False
                return
            if offset >= lowest:
                self._try(self._buffers[index], offset)

    def _try(self, buffer: Lifetime, offset: int) -> None:
        steps = range(buffer.first_step, buffer.last_step + 1)
        size = _aligned(buffer.size_bytes)
        before = self._heights[buffer.first_step : buffer.last_step + 1]
        self._work -= len(before)
        for step in steps:
            self._heights[step] = offset + size
            self._waiting[step] -= size
        if all(self._heights[step] + self._waiting[step] < self.best_bytes for step in steps):
            self._offsets[buffer.name] = offset
            self._place_next(offset)
            del self._offsets[buffer.name]
        self._heights[buffer.first_step : buffer.last_step + 1] = before
        for step in steps:
            self._waiting[step] += size


def place(buffers: Sequence[Lifetime]) -> Placement:
    """Place all buffers: the best of several first-fit orders, then, while above the lower bound, of branch and bound.

    The problem is dynamic storage allocation, which is NP-hard; first fit by decreasing size is what TFLite Micro
    does (Lee and Pisarchyk, "Efficient Memory Management for Deep Neural Net Inference", 2020, section 5). The search
    is bounded by counted work, so that the same graph always gives the same placement.
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
    bound = max(alive, default=0)
    is_optimal = best_size == bound
    if not is_optimal:
        search = _Search(buffers, size_bytes=best_size, bound_bytes=bound)
        search.run()
        best_offsets, best_size = search.best or best_offsets, search.best_bytes
        is_optimal = search.is_exhausted or best_size == bound
    return Placement(
        buffers=tuple(buffers),
        offsets=best_offsets,
        size_bytes=best_size,
        alive_bytes=alive,
        is_optimal=is_optimal,
    )
