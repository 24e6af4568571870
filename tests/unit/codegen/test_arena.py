"""Placement in the arena: nothing that lives at the same time overlaps."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgelearn.codegen import arena
from edgelearn.codegen.arena import ALIGNMENT_BYTES, Lifetime, place

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


@st.composite
def full(draw, most=8):
    """Every step is full to the same height: what ends makes room for what starts. Hard to place without gaps."""
    capacity = draw(st.integers(3, 8))
    alive, found = [], []

    def start(free, step):
        while free:
            size = draw(st.integers(1, min(free, 4)))
            alive.append((size, step))
            free -= size

    def end(index, step):
        size, first = alive.pop(index)
        found.append(Lifetime(name=f"b{len(found)}", size_bytes=4 * size, first_step=first, last_step=step))
        return size

    start(capacity, 0)
    steps = draw(st.integers(1, 5))
    for step in range(1, steps):
        leaving = draw(st.integers(1, len(alive)))
        start(sum(end(draw(st.integers(0, len(alive) - 1)), step - 1) for _ in range(leaving)), step)
    while alive:
        end(0, steps - 1)
    return found[:most]


def buffers_of(*rows):
    """Lifetimes from (bytes, first step, last step)."""
    return [Lifetime(name=f"b{i}", size_bytes=s, first_step=f, last_step=n) for i, (s, f, n) in enumerate(rows)]


def check(placement, buffers):
    """Each buffer has one place, aligned and within the arena, that no other one of its time takes."""
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
    assert placement.lower_bound_bytes <= placement.proved_bytes <= placement.size_bytes


@PLAIN
@given(lifetimes() | full(most=40))
def test_what_lives_together_lies_apart(buffers):
    check(place(buffers), buffers)


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
@given(lifetimes().map(lambda buffers: buffers[:7]) | full(most=7))
def test_few_buffers_are_placed_as_well_as_can_be(buffers):
    placement = place(buffers)
    assert placement.is_optimal
    assert placement.size_bytes == placement.proved_bytes == smallest(buffers)


@settings(PLAIN, max_examples=100)
@given(lifetimes().map(lambda buffers: buffers[:6]) | full(most=6), st.integers(-8, 4))
def test_the_search_says_what_fits(buffers, excess):
    """Each order of branches by itself, at capacities around the smallest."""
    best = smallest(buffers)
    capacity = max(0, best + 4 * excess)
    search = arena._Search(buffers, capacity)
    for order in (search.longest_first, search.largest_area_first, search.largest_first):
        assert search.run(order, 10**6) == (capacity >= best)
    fits, order, _ = arena._place_below(buffers, capacity, 10**6, 10**6)
    assert fits == (capacity >= best)
    if fits:
        assert len(order) == len(buffers)
        assert arena._place_in_order(order)[1] <= capacity


@settings(PLAIN, max_examples=100)
@given(lifetimes(), st.integers(0, 500), st.randoms(use_true_random=False))
def test_what_always_fits_fits_after_any_placement_of_the_rest(buffers, spare, generator):
    total = sum(-(-buffer.size_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES for buffer in buffers)
    capacity = (total // 2 + spare) // ALIGNMENT_BYTES * ALIGNMENT_BYTES
    easy = arena._always_fitting(buffers, capacity)
    rest = [buffer for buffer in buffers if buffer not in easy]
    generator.shuffle(rest)
    if arena._place_in_order(rest)[1] <= capacity:
        assert arena._place_in_order([*rest, *reversed(easy)])[1] <= capacity


@pytest.mark.parametrize(
    ("rows", "first_fit", "best"),
    [
        ([(16, 0, 0), (8, 0, 1), (8, 1, 1), (8, 1, 2), (16, 2, 2)], 32, 24),
        ([(12, 0, 0), (4, 0, 1), (8, 1, 1), (12, 2, 2), (4, 1, 3), (12, 3, 3)], 20, 16),
        ([(16, 0, 0), (8, 1, 1), (8, 2, 2), (8, 1, 3), (4, 3, 3), (4, 3, 4), (12, 4, 4)], 20, 16),
    ],
)
def test_where_first_fit_fails_the_search_meets_the_bound(rows, first_fit, best):
    buffers = buffers_of(*rows)
    by_size = sorted(buffers, key=lambda buffer: (-buffer.size_bytes, buffer.first_step))
    assert arena._place_in_order(by_size)[1] >= first_fit
    placement = place(buffers)
    check(placement, buffers)
    assert placement.size_bytes == placement.lower_bound_bytes == best
    assert placement.ratio == 1
    assert placement.is_optimal


ABOVE = buffers_of((12, 0, 0), (12, 0, 1), (4, 2, 2), (8, 1, 2), (4, 1, 3), (8, 2, 3), (12, 3, 4), (12, 4, 4))


def test_the_best_can_be_above_the_lifetime_bound_and_is_proved():
    placement = place(ABOVE)
    check(placement, ABOVE)
    assert placement.lower_bound_bytes == 24
    assert placement.size_bytes == placement.proved_bytes == smallest(ABOVE) == 28
    assert placement.is_optimal
    assert placement.ratio == pytest.approx(28 / 24)


def test_without_work_first_fit_is_taken_and_nothing_is_claimed(monkeypatch):
    monkeypatch.setattr(arena, "_WORK", 0)
    placement = place(ABOVE)
    check(placement, ABOVE)
    assert placement.size_bytes >= 28
    assert placement.proved_bytes == 24
    assert not placement.is_optimal


@pytest.mark.parametrize("name", ["_MOST_SEARCHED", "_FIRST_WORK"])
def test_what_cannot_be_searched_is_given_up(monkeypatch, name):
    monkeypatch.setattr(arena, name, 1)
    monkeypatch.setattr(arena, "_WORK", 100)
    placement = place(ABOVE)
    check(placement, ABOVE)
    assert not placement.is_optimal


def test_the_search_goes_as_deep_as_it_may():
    """Each lies on the one before it, so that one call is in the other."""
    count = arena._MOST_SEARCHED
    stairs = buffers_of(*((4 + 4 * (i % 3), i, count + i) for i in range(count)))
    search = arena._Search(stairs, sum(buffer.size_bytes for buffer in stairs))
    assert search.run(search.longest_first, 10**9)


def test_nothing_to_place():
    placement = place([])
    assert (placement.size_bytes, placement.ratio, placement.is_optimal) == (0, 1.0, True)


def test_a_network_of_scratch_skips_and_shared_buffers_meets_the_bound():
    """Chains with tensors kept for later, scratch of one step, several inputs and outputs."""
    generator = random.Random(5)
    for _ in range(20):
        with_scratch = (step for step in range(80) if generator.random() < 0.6)
        rows = [(generator.choice([64, 320, 1568, 2592]), step, step) for step in with_scratch]
        size = 16_384
        for step in range(80):
            size = min(60_000, max(16, int(size * generator.choice([0.25, 0.5, 1, 1, 1, 2, 3]))))
            rows.append((size, 0 if step < 3 else step, 81 if generator.random() < 0.05 else step + 1))
            if generator.random() < 0.2:
                rows.append((size, step, min(81, step + generator.randrange(2, 9))))
        buffers = buffers_of(*rows)
        placement = place(buffers)
        check(placement, buffers)
        assert placement.size_bytes == placement.lower_bound_bytes


def test_many_buffers_of_random_sizes_are_proved():
    generator = random.Random(5)
    rows = []
    for _ in range(150):
        first = generator.randrange(100)
        rows.append((generator.randrange(1, 40_000), first, min(100, first + generator.randrange(1, 6))))
    buffers = buffers_of(*rows)
    placement = place(buffers)
    check(placement, buffers)
    assert placement.is_optimal
