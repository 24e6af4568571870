"""Parts of the device's code under 32-bit MicroPython: the files of what was learned, what goes in, how it starts."""

from __future__ import annotations

import pytest
from ai_edge_litert import schema_py_generated as schema

from edgelearn.board import Output, load_board
from edgelearn.codegen import Kernels, emit_micropython, plan_firmware
from edgelearn.host.device import open_device
from edgelearn.ir import Graph
from edgelearn.ir.edges import Edges
from edgelearn.recipe import NO_TRAINING, TrainingPlan
from tests.support.bundles import small_model
from tests.support.firmware import MODEL_HASH, load_graph
from tests.support.micropython import armhf
from tests.support.micropython.armhf import LinkedProgram
from tests.support.tflite_builder import TfliteBuilder
from tests.support.tflite_ops import arg_max
from tests.support.viper import DEVICE
from tests.vectors import test_link as c_link

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


def _package(
    graph: Graph, training: TrainingPlan = NO_TRAINING, *, labels: tuple[str, ...] = (), board: str = "nano33ble"
) -> dict[str, bytes]:
    """The files of a model's package as they are generated, with viper kernels."""
    plan = plan_firmware(
        graph,
        load_board(board),
        training,
        model_hash=MODEL_HASH,
        labels=labels,
        output=Output.MICROPYTHON,
        kernels=Kernels.VIPER,
    )
    made = emit_micropython(plan, name="small")
    return {path: data if isinstance(data, bytes) else data.encode() for path, data in made.items()}


_PUT = """\
from array import array
import model
m = model.load()
def refused(x):
    try:
        m.put(x)
    except ValueError as error:
        return str(error)
"""


def test_what_goes_into_an_int8_input():
    graph = load_graph(small_model())
    tensor = graph.tensor(graph.inputs[0])
    script = (
        f"SCALE, ZERO = {tensor.scale!r}, {tensor.zero_point}\n"
        + _PUT
        + """\
whole = bytes(range(100, 164))
floats = [SCALE * (i - ZERO) for i in range(-20, 44)]
quantised = bytes(i & 255 for i in range(-20, 44))
part = memoryview(b"0" + whole)[1:]
for x in (whole, bytearray(whole), memoryview(whole), part, array("B", whole), array("b", whole)):
    m.inputs[0][:] = bytes(64)
    m.put(x)
    assert bytes(m.inputs[0]) == whole, x
numbers = array("f", floats)
part = memoryview(array("f", [7.0] + floats))[1:]
for x in (floats, tuple(floats), numbers, memoryview(numbers), part, array("d", floats)):
    m.inputs[0][:] = bytes(64)
    m.put(x)
    assert bytes(m.inputs[0]) == quantised, x
whole_numbers = list(range(64))
m.put(whole_numbers)
expected = bytes(m.inputs[0])
for kind in "hHiI":
    m.inputs[0][:] = bytes(64)
    m.put(array(kind, whole_numbers))
    assert bytes(m.inputs[0]) == expected, kind
for x in (bytes(63), bytearray(256), b""):
    assert refused(x) == "the input takes 64 bytes, not %d" % len(x)
for x in (floats[1:], array("f", floats[1:]), array("b", bytes(65)), memoryview(bytes(256)), array("f"), ()):
    assert refused(x) == "input 0 takes 64 numbers or 64 bytes, not %d" % len(x), refused(x)
"""
    )
    _run(script, _package(graph))


def test_what_goes_into_a_float32_input():
    script = (
        _PUT
        + """\
import struct
numbers = [i / 8 for i in range(64)]
whole = struct.pack("<64f", *numbers)
floats = array("f", numbers)
more = memoryview(array("f", [7.0] + numbers))[1:]
for x in (numbers, floats, memoryview(floats), more, array("d", numbers), whole, memoryview(whole), array("B", whole)):
    m.inputs[0][:] = bytes(256)
    m.put(x)
    assert bytes(m.inputs[0]) == whole, x
m.put(array("i", range(64)))
assert bytes(m.inputs[0]) == struct.pack("<64f", *range(64))
assert refused(bytes(64)) == "the input takes 256 bytes, not 64"
for x in (numbers[1:], array("f", numbers[1:]), memoryview(bytes(255)), array("B", bytes(300))):
    assert refused(x) == "input 0 takes 64 numbers or 256 bytes, not %d" % len(x), refused(x)
"""
    )
    builder = TfliteBuilder(1)
    x = builder.input((1, 64), scale=0.5, zero_point=3, float_edge=True)
    model = builder.build(builder.fully_connected(x, units=3))
    _run(script, _package(load_graph(model, edges=Edges.FLOAT)))


@pytest.mark.parametrize("end", ["float32", "int32", "int64", "int8"])
def test_the_largest_output_allocates_nothing(end: str):
    """Without a trainable layer."""
    builder = TfliteBuilder(3)
    x = builder.input((1, 8), scale=0.5, zero_point=-3)
    out = builder.fully_connected(x, units=20, activation="none")
    if end == "float32":
        out = builder.dequantize(out)
    if end in ("int32", "int64"):
        out = arg_max(builder, out, 1, getattr(schema.TensorType, end.upper()))
    graph = load_graph(builder.build(out), edges=Edges.FLOAT if end == "float32" else Edges.INT8)
    script = """\
import gc, model
m = model.load()
samples = [bytes((i * j * 37 + i) % 256 for j in range(len(m.inputs[0]))) for i in range(40)]
seen = set()
for x in samples:
    answer, output = m.predict(x), m.output()
    assert answer == (output[0] if len(output) == 1 else output.index(max(output))), (answer, output)
    seen.add(answer)
assert len(seen) > 3
gc.collect()
gc.disable()
before = gc.mem_alloc()
for x in samples:
    m.predict(x)
print(gc.mem_alloc() - before)
"""
    assert int(_run(script, _package(graph))) <= 64


def test_without_a_trainable_layer_there_is_nothing_to_learn():
    script = """\
import model
m = model.load()
def refused(f):
    try:
        f()
    except TypeError as error:
        return str(error)
calls = [lambda: m.learn(bytes(64), 1), lambda: m.save(), lambda: m.forget(), lambda: m.reset(), lambda: m.loss]
calls += [lambda: m.learning_rate, lambda: setattr(m, "learning_rate", 0.1), lambda: m.set_target(1)]
for call in calls:
    assert refused(call) == "this model has no trainable layer"
assert m.names == []
"""
    _run(script, _package(load_graph(small_model())))


def test_a_class_is_found_by_its_name():
    """In place: nothing but the name's bytes is allocated, however many classes there are."""
    graph, training = c_link._model()
    labels = ("a", "ab", "b", "longest!", "\u00e4\u00f6")
    script = """\
import gc, model
m = model.load()
names = ("a", "ab", "b", "longest!", "\u00e4\u00f6")
x = bytes(len(m.inputs[0]))
for number, name in enumerate(names):
    m.set_target(name)
    for place in m._label_at:
        assert model.peek16(place) == number
for name in ("", "c", "abc", "longest", "longest!!", "\u00e4"):
    try:
        m.set_target(name)
    except ValueError as error:
        assert str(error) == "there is no class " + name
    else:
        assert False, name
for wrong in (None, 1.0, b"a"):
    try:
        m.set_target(wrong)
    except TypeError as error:
        assert str(error) == "y is the number or the name of a class"
    else:
        assert False, wrong
m.learn(x, "longest!")
gc.collect()
gc.disable()
before = gc.mem_alloc()
for _ in range(10):
    m.learn(x, "longest!")
print((gc.mem_alloc() - before) // 10)
"""
    assert int(_run(script, _package(graph, training, labels=labels))) <= 32


#: In place of the module, of which main.py looks for one function.
_WITHOUT_KBD_INTR = """\
import sys
class Small:
    pass
sys.modules["micropython"] = Small()
"""


@pytest.mark.parametrize(
    ("before", "files", "missing"),
    [
        ("", {}, None),
        ("", {"select.py": b"raise ImportError"}, "select"),
        ("", {"array.py": b"raise ImportError"}, "array"),
        (_WITHOUT_KBD_INTR, {}, "micropython.kbd_intr"),
    ],
)
def test_what_a_small_firmware_lacks_is_said(before: str, files: dict[str, bytes], missing: str | None):
    package = _package(load_graph(small_model()))
    shown = _run(before + package.pop("main.py").decode(), {**package, **files})
    expected = (
        f"MicroPython on this board has no `{missing}`, without which no host can speak to the model.\n"
        "Install a firmware of it that has that.\n"
    )
    assert shown == (expected if missing else "")


@pytest.mark.parametrize(("board", "expected"), [("nrf52840dk", 63), ("nano33ble", 256)])
def test_a_host_is_told_what_the_line_of_the_repl_takes(board: str, expected: int):
    package = _package(load_graph(small_model()), board=board)
    script = package.pop("main.py").decode()
    with (
        LinkedProgram("import sys\nsys.path.insert(0, '.')\n" + script, heap_bytes=400_000, files=package) as program,
        open_device(program.url) as device,
    ):
        assert device.info.receive_bytes == expected
