"""Places buffers with lifetimes in one arena, so that buffers alive at the same time never overlap.

The problem is dynamic storage allocation: rectangles of fixed times and heights, packed as low as possible. It is
NP-hard, and the best placement may be larger than the most that is alive at one step. First fit nearly always meets
that bound in a network; where it does not, a search proves for sizes in between that they can or cannot be met.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

ALIGNMENT_BYTES = 4
#: Buffers looked at in all searches together, about two seconds; counted, so that a graph has one placement anywhere.
_WORK = 1_000_000
#: Of one search at first; each round has four times as much.
_FIRST_WORK = 15_000
#: The search calls itself for each buffer; Python allows about a thousand calls.
_MOST_SEARCHED = 300


class Lifetime(Struct, frozen=True, kw_only=True):
    """A buffer and the first and last step at which it must keep its bytes, both included."""

    name: str
    size_bytes: int
    first_step: int
    last_step: int


class Placement(Struct, frozen=True, kw_only=True):
    """Where each buffer lies, and how many bytes are alive at each step.

    Attributes:
        proved_bytes: no placement is smaller than this. At least the lifetime lower bound, more where sizes above it
            were searched in vain.
    """

    buffers: tuple[Lifetime, ...]
    offsets: dict[str, int]
    size_bytes: int
    alive_bytes: tuple[int, ...]
    proved_bytes: int

    @property
    def lower_bound_bytes(self) -> int:
        """The most that is alive at any one step; no placement can be smaller."""
        return max(self.alive_bytes, default=0)

    @property
    def peak_step(self) -> int:
        """The first step at which most is alive."""
        return self.alive_bytes.index(self.lower_bound_bytes)

    @property
    def ratio(self) -> float:
        """Size over the lifetime lower bound; 1 is the best there can be."""
        return self.size_bytes / self.lower_bound_bytes if self.lower_bound_bytes else 1.0

    @property
    def is_optimal(self) -> bool:
        """Whether it is proved that no placement is smaller."""
        return self.size_bytes == self.proved_bytes


def _aligned(size_bytes: int) -> int:
    return -(-size_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


def _meet(one: Lifetime, other: Lifetime) -> bool:
    return one.first_step <= other.last_step and other.first_step <= one.last_step


def _place_in_order(order: Iterable[Lifetime]) -> tuple[dict[str, int], int]:
    """First fit: each buffer at the lowest offset that no buffer alive at the same time takes."""
    placed: list[tuple[int, int, Lifetime]] = []
    total = 0
    for buffer in order:
        offset = 0
        size = _aligned(buffer.size_bytes)
        for start, end, other in placed:
            if not _meet(buffer, other):
                continue
            if start - offset >= size:
                break
            offset = max(offset, end)
        placed.append((offset, offset + size, buffer))
        placed.sort(key=lambda item: item[0])
        total = max(total, offset + size)
    return {buffer.name: start for start, _, buffer in placed}, total


def _always_fitting(buffers: Sequence[Lifetime], capacity_bytes: int) -> list[Lifetime]:
    """Buffers that fit below the capacity wherever the others lie, if placed from the last one to the first.

    The k buffers of its time leave at most k + 1 pieces free; with more free bytes than k + 1 pieces too short for it
    could have, one of them is long enough.
    """
    found: list[Lifetime] = []
    left = list(buffers)
    count = -1
    while count != len(left):
        count = len(left)
        for buffer in tuple(left):
            others = [_aligned(other.size_bytes) for other in left if other is not buffer and _meet(buffer, other)]
            too_short = _aligned(buffer.size_bytes) - ALIGNMENT_BYTES
            if capacity_bytes - sum(others) > (len(others) + 1) * too_short:
                left.remove(buffer)
                found.append(buffer)
    return found


class _OutOfWorkError(Exception):
    """The search was given up."""


class _Search:
    """Whether buffers fit below a capacity: a tree of decisions, with proofs that branches hold nothing.

    Time is cut into sections, in which the same buffers are alive; sections whose buffers are all alive in the
    next one as well need no look. Each section has a floor, below which nothing more can lie. If the buffers fit,
    then they also fit so that each lies on the floor or on top of another one (push all down). So at the section
    with the lowest floor either one of its buffers lies on that floor, or none does and the floor rises to the next
    height at which one can: these are the branches, and no placement is in two of them. Floors rise further where no
    waiting buffer can lie on them; a branch ends where a floor and all that waits above it exceed the capacity.
    Buffers that no longer share sections are searched by themselves, and what failed once is remembered.
    Placements pushed down and raised floors are the canonical solutions and the spatial inference of MiniMalloc
    (Moffitt, "MiniMalloc: A Lightweight Memory Allocator for Hardware-Accelerated Machine Learning", 2023).
    """

    def __init__(self, buffers: Sequence[Lifetime], capacity_bytes: int) -> None:
        self.offsets: dict[int, int] = {}
        self.work = 0
        self._capacity = capacity_bytes
        self._size = [_aligned(buffer.size_bytes) for buffer in buffers]
        sections = _sections(buffers)
        self._first = [min(k for k, alive in enumerate(sections) if i in alive) for i in range(len(buffers))]
        self._last = [max(k for k, alive in enumerate(sections) if i in alive) for i in range(len(buffers))]
        self._failed: set[tuple[tuple[int, ...], tuple[int, ...], int]] = set()
        self._order: Callable[[int], tuple[int, ...]] = self.longest_first

    def longest_first(self, buffer: int) -> tuple[int, ...]:
        """By the number of sections, then by size."""
        return self._first[buffer] - self._last[buffer], -self._size[buffer], buffer

    def largest_area_first(self, buffer: int) -> tuple[int, ...]:
        """By size times sections."""
        return self._size[buffer] * (self._first[buffer] - self._last[buffer] - 1), buffer

    def largest_first(self, buffer: int) -> tuple[int, ...]:
        """By size."""
        return -self._size[buffer], self._first[buffer], buffer

    def run(self, order: Callable[[int], tuple[int, ...]], work: int) -> bool:
        """Whether all fit; `offsets` then has one place for each.

        Args:
            order: which branches come first.
            work: buffers to look at, at most.

        Raises:
            _OutOfWorkError: neither was found out.
        """
        self._order = order
        self.work = work
        floor = [0] * (max(self._last, default=-1) + 1)
        return self._all_fit(list(range(len(self._size))), floor, self._capacity)

    def _all_fit(self, buffers: list[int], floor: list[int], capacity: int) -> bool:
        """Whether buffers fit on the floor, each group that shares no section with the others by itself."""
        groups: list[list[int]] = []
        end = -1
        for buffer in sorted(buffers, key=lambda b: self._first[b]):
            if self._first[buffer] > end:
                groups.append([])
            groups[-1].append(buffer)
            end = max(end, self._last[buffer])
        for group in sorted(groups, key=len):  # noqa: SIM110 - a generator would be a third call for each buffer
            if not self._fit(group, floor, capacity):
                return False
        return True

    def _fit(self, buffers: list[int], floor: list[int], capacity: int) -> bool:
        """Whether buffers fit that share sections one with the next."""
        first, last, size = self._first, self._last, self._size
        start, end = first[buffers[0]], max(last[b] for b in buffers)
        rest = []
        for buffer in buffers:
            if first[buffer] == start and last[buffer] == end:
                # It spans all: whatever lies above it can as well lie below it.
                capacity -= size[buffer]
                self.offsets[buffer] = capacity
            else:
                rest.append(buffer)
        if len(rest) < len(buffers):
            return capacity >= max(floor[start : end + 1]) and self._all_fit(rest, floor, capacity)
        floor = list(floor)
        over = {section: [b for b in buffers if first[b] <= section <= last[b]] for section in range(start, end + 1)}
        waiting = {section: sum(size[b] for b in here) for section, here in over.items()}
        while True:
            self.work -= len(buffers)
            if self.work < 0:
                raise _OutOfWorkError
            lowest = self._raise_floor(buffers, over, floor)
            if any(floor[section] + waiting[section] > capacity for section in over):
                return False
            state = (tuple(buffers), tuple(floor[start : end + 1]), capacity)
            if state in self._failed:
                return False
            section = min(over, key=lambda s: (floor[s], -waiting[s]))
            height = floor[section]
            tried = set()
            for buffer in sorted((b for b in over[section] if lowest[b] == height), key=self._order):
                same = (first[buffer], last[buffer], size[buffer])
                if same in tried:
                    continue
                tried.add(same)
                self.offsets[buffer] = height
                sections = last[buffer] + 1 - first[buffer]
                above = [*floor[: first[buffer]], *[height + size[buffer]] * sections, *floor[last[buffer] + 1 :]]
                if self._all_fit([b for b in buffers if b != buffer], above, capacity):
                    return True
            self._failed.add(state)
            # None of them lies here: those that could must lie on top of another one.
            nexts = []
            for b in over[section]:
                others = (c for c in buffers if c != b and first[c] <= last[b] and first[b] <= last[c])
                on_top = min(lowest[c] + size[c] for c in others)
                nexts.append(lowest[b] if lowest[b] > height else on_top)
            floor[section] = min(nexts)

    def _raise_floor(self, buffers: list[int], over: dict[int, list[int]], floor: list[int]) -> dict[int, int]:
        """The lowest offset of each buffer; floors rise to the lowest of the buffers that will lie on them."""
        while True:
            lowest = {b: max(floor[self._first[b] : self._last[b] + 1]) for b in buffers}
            is_changed = False
            for section, here in over.items():
                height = min(lowest[b] for b in here)
                if height > floor[section]:
                    floor[section] = height
                    is_changed = True
            if not is_changed:
                return lowest


def _sections(buffers: Sequence[Lifetime]) -> list[set[int]]:
    """Who is alive together, in the order of time, without those that are alive together with more as well."""
    found: list[set[int]] = []
    for step in sorted({buffer.first_step for buffer in buffers}):
        alive = {i for i, buffer in enumerate(buffers) if buffer.first_step <= step <= buffer.last_step}
        if found and found[-1] <= alive:
            found.pop()
        found.append(alive)
    return found


def _place_below(
    buffers: Sequence[Lifetime], capacity_bytes: int, work: int, most_work: int
) -> tuple[bool | None, list[Lifetime], int]:
    """Whether the buffers fit below a capacity, None where it was not found out; an order in which first fit does it.

    Returns:
        The answer, the order and the work done.
    """
    easy = _always_fitting(buffers, capacity_bytes)
    hard = [buffer for buffer in buffers if buffer not in easy]
    if len(hard) > _MOST_SEARCHED:
        return None, [], min(work, most_work)
    search = _Search(hard, capacity_bytes)
    done = 0
    for order in (search.longest_first, search.largest_area_first, search.largest_first):
        allowed = min(work, most_work - done)
        try:
            if not search.run(order, allowed):
                return False, [], done + allowed - search.work
            found = sorted(range(len(hard)), key=lambda i: search.offsets[i])
            return True, [*(hard[i] for i in found), *reversed(easy)], done + allowed - search.work
        except _OutOfWorkError:
            done += allowed
    return None, [], done


def place(buffers: Sequence[Lifetime]) -> Placement:
    """Place all buffers, as low as can be proved or found within a bounded amount of work.

    First fit by decreasing size is what TFLite Micro does (Lee and Pisarchyk, "Efficient Memory Management for Deep
    Neural Net Inference", 2020, section 5); while it is above the lower bound, sizes between are searched by halving.
    """
    steps = range(max((buffer.last_step for buffer in buffers), default=0) + 1)
    alive = tuple(sum(_aligned(b.size_bytes) for b in buffers if b.first_step <= s <= b.last_step) for s in steps)
    orders = [
        sorted(buffers, key=lambda b: (-b.size_bytes, b.first_step)),
        sorted(buffers, key=lambda b: (b.first_step, -b.size_bytes)),
        sorted(buffers, key=lambda b: (b.first_step - b.last_step, -b.size_bytes)),
    ]
    offsets, size = min((_place_in_order(order) for order in orders), key=lambda result: result[1])
    proved = max(alive)
    # Buffers rest on one another: every height is a sum of sizes.
    unit = math.gcd(*(_aligned(buffer.size_bytes) for buffer in buffers)) or ALIGNMENT_BYTES
    left, work = _WORK, _FIRST_WORK
    while proved < size and left > 0:
        low = proved
        while low < size and left > 0:
            # The bound itself first: most often it can be met.
            capacity = proved if low == proved else low + (size - unit - low) // 2 // unit * unit
            fits, order, done = _place_below(buffers, capacity, work, left)
            # A search of nothing counts as well, so that the loop ends.
            left -= max(done, len(buffers))
            if fits:
                offsets, size = _place_in_order(order)
            else:
                proved = capacity + unit if fits is False else proved
                low = capacity + unit
        work *= 4
    return Placement(buffers=tuple(buffers), offsets=offsets, size_bytes=size, alive_bytes=alive, proved_bytes=proved)
