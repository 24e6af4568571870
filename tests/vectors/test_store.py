"""The store of learned heads on a model of flash: power cuts at every operation, wear, and flash that fails.

EDGELEARN_STORE_SAVES saves are cut everywhere in each geometry (`make soak` asks for more).
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.store import GEOMETRIES, Geometry, build_store_model, run_store_model
from tests.support.tools import require_tool

SAVES = int(os.environ.get("EDGELEARN_STORE_SAVES", "14"))


@pytest.fixture(scope="module", params=GEOMETRIES, ids=lambda geometry: geometry.name)
def model(request, tmp_path_factory) -> tuple[Geometry, Path]:
    require_tool("cc")
    geometry: Geometry = request.param
    return geometry, build_store_model(tmp_path_factory.mktemp(geometry.name), geometry)


def record_bytes(geometry: Geometry) -> int:
    whole = 32 + sum(geometry.parts) + geometry.write_bytes - 1
    return whole // geometry.write_bytes * geometry.write_bytes


def places(geometry: Geometry) -> tuple[int, int]:
    """Blocks, and records in each."""
    pages = -(-record_bytes(geometry) // geometry.page_bytes)
    return geometry.pages // pages, pages * geometry.page_bytes // record_bytes(geometry)


def test_a_power_cut_at_any_operation_leaves_the_old_or_the_new(model):
    geometry, program = model
    blocks, in_block = places(geometry)
    # Twice round; where a block holds hundreds of records, around the change from the last block to the first.
    saves = min(max(SAVES, 2 * blocks * in_block + 1), 3 * SAVES)
    first = max(0, 2 * blocks * in_block - saves // 2)
    found = run_store_model(program, "exhaustive", first, saves, 11, *geometry.parts)
    # At least the units of a record, cut before, after and three times inside, for each save; in an EEPROM without the
    # bytes that stay ones, which are most of a fifth of the values.
    units = record_bytes(geometry) // geometry.write_bytes
    assert int(found.split()[0]) >= saves * 5 * units * (0.8 if geometry.is_eeprom else 1)


def test_all_pages_wear_alike(model):
    geometry, program = model
    blocks, in_block = places(geometry)
    rounds = 6
    least, most = map(int, run_store_model(program, "wear", rounds * blocks * in_block, *geometry.parts).split())
    used_pages = blocks * -(-record_bytes(geometry) // geometry.page_bytes)
    assert most == rounds
    assert least == (rounds if used_pages == geometry.pages else 0)
    least, most = map(int, run_store_model(program, "wear", rounds * blocks * in_block + 1, *geometry.parts).split())
    assert most == rounds + 1


class Script:
    """Commands for the model with what their answers may be."""

    def __init__(self) -> None:
        self.commands: list[str] = []
        self.expected: list[str] = []

    def add(self, command: str, expected: str = "ok") -> None:
        self.commands.append(command)
        self.expected.append(expected)

    def check(self, program: Path, geometry: Geometry, *, seed: int = 1) -> None:
        text = "\n".join([*self.commands, ""])
        answers = run_store_model(program, "script", seed, *geometry.parts, commands=text).split()
        assert list(zip(self.commands, answers, strict=True)) == list(zip(self.commands, self.expected, strict=True))


def test_flash_that_never_was_erased(model):
    geometry, program = model
    script = Script()
    script.add("junk")
    script.add("load", "0")
    script.add("sequence", "0")
    for value in range(1, 6):
        script.add(f"save {value}", "1")
        script.add("sequence", str(value))
        script.add("reboot")
        script.add("load", str(value))
    script.check(program, geometry)


@pytest.mark.parametrize("kind", [1, 2], ids=["erases badly", "does not answer"])
def test_flash_that_fails_says_so_and_keeps_the_old(model, kind):
    geometry, program = model
    script = Script()
    script.add("save 7", "1")
    for page in range(geometry.pages):
        script.add(f"bad {page} {kind}")
    _, in_block = places(geometry)
    # A page that can be programmed but not erased takes records as long as it has room.
    kept = in_block if kind == 1 else 1
    for value in range(8, 8 + in_block + 2):
        script.add(f"save {value}", "1" if value < 7 + kept else "0")
        script.add("sequence", str(min(value - 6, kept)))
        script.add("load", str(min(value, 6 + kept)))
    script.add("reboot")
    script.add("load", str(6 + kept))
    script.add("forget", "0")
    script.add("load", str(6 + kept))
    for page in range(geometry.pages):
        script.add(f"bad {page} 0")
    script.add("save 99", "1")
    script.add("load", "99")
    script.check(program, geometry)


def test_a_bad_page_is_passed_over(model):
    geometry, program = model
    blocks, in_block = places(geometry)
    if blocks < 3:
        pytest.skip("optional: with two blocks none can be passed over")
    for kind in (1, 2, 3):
        script = Script()
        script.add("save 1", "1")
        script.add(f"bad {geometry.pages // blocks} {kind}")
        for value in range(2, 3 * blocks * in_block):
            script.add(f"save {value}", "1")
            script.add("load", str(value))
        script.check(program, geometry)


def test_forgetting(model):
    geometry, program = model
    script = Script()
    script.add("forget", "1")
    script.add("load", "0")
    script.add("save 5", "1")
    script.add("save 6", "1")
    script.add("forget", "1")
    script.add("sequence", "0")
    script.add("load", "0")
    script.add("reboot")
    script.add("load", "0")
    script.add("forget", "1")
    script.add("load", "0")
    script.add("save 8", "1")
    script.add("load", "8")
    script.check(program, geometry)


CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["save", "save", "save", "save", "forget", "reboot"]),
        st.integers(1, 10**6),
        st.none() | st.tuples(st.integers(0, 2), st.integers(1, 400)),
    ),
    max_size=40,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=CHANGES, seed=st.integers(1, 2**32 - 1), junk=st.booleans())
def test_any_sequence_of_saves_cuts_and_forgets(model, changes, seed, junk):
    geometry, program = model
    commands = ["junk"] * junk
    for kind, value, cut in changes:
        how = f" {cut[0]} {cut[1]}" if cut else ""
        commands += [{"save": f"save {value}{how}", "forget": f"forget{how}"}.get(kind, "reboot"), "load"]
    text = "".join(f"{command}\n" for command in commands)
    answers = run_store_model(program, "script", seed, *geometry.parts, commands=text).split()
    there = 0
    allowed = {0}
    for command, answer in zip(commands, answers, strict=True):
        words = command.split()
        if words[0] in ("save", "forget"):
            new = int(words[1]) if words[0] == "save" else 0
            assert answer in (("1", "2") if len(words) > 2 else ("1",)), command
            allowed = {new} if answer == "1" else {there, new}
        elif words[0] == "load":
            there = int(answer)
            assert there in allowed
            allowed = {there}
