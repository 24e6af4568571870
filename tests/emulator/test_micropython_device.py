"""Parts of the device's code under 32-bit MicroPython: the files of what was learned, what goes in, how it starts."""

from __future__ import annotations

import pytest

from tests.support.micropython import armhf
from tests.support.viper import DEVICE

#: Of the package, without a model.
_STORE = {
    "model/__init__.py": b"",
    "model/memory.py": (DEVICE / "memory.py").read_bytes(),
    "model/store.py": (DEVICE / "store.py").read_bytes(),
}

_PARTS = """\
from array import array
from model.store import Store
IDENTITY = (1, 2, 3)
def parts(value, size=SIZE):
    return [bytearray(bytes([value]) * size), array("I", [value] * 8)]
def loaded(folder, size=SIZE):
    store = Store(folder, IDENTITY)
    found = parts(99, size)
    there = store.load(found)
    values = set(found[0]) | set(found[1])
    assert len(values) == 1, values
    assert there == (values != {99})
    return values.pop() if there else None
"""

#: Disks from far too small to large enough, on each of which something else lies too.
_SMALL_DISKS = """\
import os, vfs
class Disk:
    def __init__(self, count):
        self.data = bytearray(512 * count)
    def readblocks(self, number, into, offset=0):
        at = 512 * number + offset
        into[:] = memoryview(self.data)[at : at + len(into)]
    def writeblocks(self, number, data, offset=0):
        at = 512 * number + offset
        self.data[at : at + len(data)] = data
    def ioctl(self, what, argument):
        return {4: len(self.data) // 512, 5: 512}.get(what, 0)

for other in range(0, 24):
    disk = Disk(BLOCKS)
    vfs.KIND.mkfs(disk)
    vfs.mount(vfs.KIND(disk), "/disk")
    os.mkdir("/disk/model")
    with open("/disk/other", "wb") as file:
        file.write(bytes(512 * other))
    if LEFT:
        before = Store("/disk/model", (7, 7, 7))
        for value in range(2):
            before.save(parts(value))
    store = Store("/disk/model", IDENTITY)
    assert not store.load(parts(99))
    can_save = store.can_save(parts(0))
    saves = 0
    try:
        for value in range(8):
            store.save(parts(value))
            saves += 1
            assert store.can_save(parts(0)) or not can_save
    except OSError as error:
        assert error.errno == 28, error
    # What was there before an error is there after it.
    assert loaded("/disk/model") == (saves - 1 if saves else None)
    print(can_save, saves)
    vfs.umount("/disk")
"""


def _run(script: str, files: dict[str, bytes] = _STORE) -> str:
    done = armhf.run("import sys\nsys.path.insert(0, '.')\n" + script, heap_bytes=400_000, files=files)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize(("kind", "blocks", "room"), [("VfsLfs2", 32, 18), ("VfsFat", 64, 20)])
def test_where_there_is_said_to_be_room_every_save_goes(kind: str, blocks: int, room: int):
    """Also over files that another model left, which take that room already."""
    script = (_PARTS + _SMALL_DISKS).replace("SIZE", "2000").replace("KIND", kind).replace("BLOCKS", str(blocks))
    empty = [line.split() for line in _run(script.replace("LEFT", "False")).splitlines()]
    assert all(saves == "8" for can_save, saves in empty if can_save == "True"), empty
    # The answer is not far from the truth.
    assert [saves for _, saves in empty].count("8") == room
    assert room - 2 <= [can_save for can_save, _ in empty].count("True") <= room
    left = _run(script.replace("LEFT", "True").replace("range(0, 24)", f"range({room})")).splitlines()
    assert left == ["True 8"] * room


_BROKEN = """\
import os
os.mkdir("saved")
store = Store("saved", IDENTITY)
store.save(parts(1))
store.save(parts(2))
whole = {}
for name in ("head.0", "head.1"):
    with open("saved/" + name, "rb") as file:
        whole[name] = file.read()
def write(name, data):
    with open("saved/" + name, "wb") as file:
        file.write(data)
def broken(data):
    for size in range(0, len(data), 7):
        yield data[:size]
    yield data[:-1]
    for at in range(0, len(data), 7):
        yield data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]
count = 0
for name, other, value in (("head.0", "head.1", 1), ("head.1", "head.0", 2)):
    for data in broken(whole[name]):
        write(name, data)
        assert loaded("saved") == value, (name, len(data))
        count += 1
        if count % 20 == 0:
            # And the next save goes where the broken one was.
            store = Store("saved", IDENTITY)
            assert store.load(parts(99))
            store.save(parts(3))
            assert loaded("saved") == 3
            write(other, b"")
            assert loaded("saved") == 3
        if count % 20 == 1:
            write(other, data)
            assert loaded("saved") is None
        write(other, whole[other])
    write(name, whole[name])
    assert loaded("saved") == 2
print(count)
"""


def test_a_broken_file_is_passed_over():
    """Cut anywhere or with a wrong byte: the other one counts; without any the head stays as generated."""
    assert int(_run((_PARTS + _BROKEN).replace("SIZE", "600"))) > 300


def test_a_shorter_save_counts_where_a_longer_one_was():
    """What follows in the file, of another model or of before what was forgotten, is not read."""
    script = """\
import os
os.mkdir("saved")
long = Store("saved", (7, 7, 7))
long.save(parts(1, 5000))
long.save(parts(2, 5000))
store = Store("saved", IDENTITY)
for value in (3, 4, 5):
    store.save(parts(value))
    assert loaded("saved") == value
store.forget()
assert loaded("saved") is None
store.save(parts(6))
assert loaded("saved") == 6
print(os.stat("saved/head.0")[6])
"""
    assert int(_run((_PARTS + script).replace("SIZE", "600"))) > 5000
