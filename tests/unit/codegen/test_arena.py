"""Placement in the arena: nothing that lives at the same time overlaps."""

from __future__ import annotations

import itertools
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from edgelearn.codegen.arena import ALIGNMENT_BYTES, Lifetime, _Search, place

PLAIN = settings(derandomize=True, deadline=None, database=None, max_examples=150)


@st.composite
def lifetimes(draw):
    found = []
    for number in range(draw(st.integers(0, 12))):
        first = draw(st.integers(0, 9))
        last = draw(st.integers(first, 10))
        size = draw(st.integers(1, 400))
        found.append(Lifetime(name=f"b{number}", size_bytes=size, first_step=first, last_step=last))
    return found


@PLAIN
@given(lifetimes())
def test_what_lives_together_lies_apart(buffers):
    placement = place(buffers)
    assert set(placement.offsets) == {buffer.name for buffer in buffers}
    for one, other in itertools.combinations(buffers, 2):
        if one.first_step <= other.last_step and other.first_step <= one.last_step:
            a, b = placement.offsets[one.name], placement.offsets[other.name]
            assert a + one.size_bytes <= b or b + other.size_bytes <= a
    for buffer in buffers:
        offset = placement.offsets[buffer.name]
        assert offset >= 0
        assert offset % ALIGNMENT_BYTES == 0
        assert offset + buffer.size_bytes <= placement.size_bytes


@PLAIN
@given(lifetimes())
def test_the_size_is_between_the_bound_and_everything_apart(buffers):
    placement = place(buffers)
    rounded = [-(-buffer.size_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES for buffer in buffers]
    alive = [
        sum(size for size, b in zip(rounded, buffers, strict=True) if b.first_step <= step <= b.last_step)
        for step in range(11)
    ]
    assert placement.lower_bound_bytes == max(alive)
    assert placement.lower_bound_bytes <= placement.size_bytes <= sum(rounded)


@PLAIN
@given(lifetimes())
def test_it_is_the_same_each_time(buffers):
    assert place(buffers) == place(list(buffers))


def test_a_chain_needs_its_two_largest_neighbours_only():
    sizes = [100, 64, 400, 32, 200]
    chain = [Lifetime(name=str(i), size_bytes=s, first_step=i, last_step=i + 1) for i, s in enumerate(sizes)]
    placement = place(chain)
    assert placement.size_bytes == placement.lower_bound_bytes == 464


def smallest(buffers):
    """The best of every order, each buffer at the lowest multiple of four that is free."""
    best = None
    for order in itertools.permutations(buffers):
        placed = []
        for buffer in order:
            size = -(-buffer.size_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
            rivals = [
                (start, end)
                for start, end, other in placed
                if other.first_step <= buffer.last_step and buffer.first_step <= other.last_step
            ]
            starts = [0, *(end for _, end in rivals)]
            offset = min(s for s in starts if all(s + size <= start or s >= end for start, end in rivals))
            placed.append((offset, offset + size, buffer))
        size = max((end for _, end, _ in placed), default=0)
        best = size if best is None else min(best, size)
    return best or 0


@settings(PLAIN, max_examples=60)
@given(lifetimes())
def test_few_buffers_are_placed_as_well_as_can_be(buffers):
    buffers = buffers[:6]
    placement = place(buffers)
    assert placement.is_optimal
    assert placement.size_bytes == smallest(buffers)


@settings(PLAIN, max_examples=60)
@given(lifetimes())
def test_the_search_alone_finds_the_best(buffers):
    """From a placement that is as bad as can be, with no bound to stop at."""
    buffers = buffers[:6]
    search = _Search(buffers, size_bytes=10**6, bound_bytes=-1)
    search.run()
    assert search.is_exhausted
    assert search.best_bytes == smallest(buffers)


def test_many_buffers_are_placed_near_the_bound():
    generator = random.Random(5)
    buffers = []
    for number in range(150):
        first = generator.randrange(100)
        last = min(100, first + generator.randrange(1, 6))
        buffers.append(
            Lifetime(name=str(number), size_bytes=generator.randrange(1, 40_000), first_step=first, last_step=last)
        )
    placement = place(buffers)
    assert placement.lower_bound_bytes <= placement.size_bytes
    assert placement.ratio < 1.05
