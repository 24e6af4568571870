"""The link under MicroPython, on an emulated Cortex-M4F: the tests of the C link, and what is the REPL's alone.

Tests of single frames share one board, on which the link starts anew with nothing saved each time that it is interrupted.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from edgelearn.board import Output, load_board
from edgelearn.codegen import emit_micropython, plan_firmware
from edgelearn.firmware.package import compile_package
from edgelearn.host.device import open_device
from edgelearn.host.link import LinkOptions
from edgelearn.ir import Graph
from edgelearn.protocol import MessageType, Region, Status, encode_frame, pack
from edgelearn.recipe import NO_TRAINING, TrainingPlan
from edgelearn.training import make_head
from tests.support.firmware import MODEL_HASH, write_project
from tests.support.lossy_proxy import ALL_FAULTS, LossyProxy, assert_same_head, teach
from tests.support.micropython.emulated import EmulatedBoard
from tests.vectors import test_link as c_link
from tests.vectors.test_link import (  # collected here too: what they say holds for both links
    test_a_broken_frame_uses_up_no_number,  # noqa: F401
    test_a_change_under_a_number_of_reading_is_refused,  # noqa: F401
    test_a_fixed_part_that_is_too_short_is_refused,  # noqa: F401
    test_a_frame_whose_fixed_part_is_not_all_there_is_none,  # noqa: F401
    test_a_late_hello_of_the_session_before_opens_nothing,  # noqa: F401
    test_a_new_session_starts_numbers_anew_and_keeps_the_head,  # noqa: F401
    test_a_question_under_a_number_of_changes_is_refused_in_its_turn,  # noqa: F401
    test_a_refusal_is_kept_like_any_reply,  # noqa: F401
    test_a_repeat_gets_the_same_reply_and_changes_nothing,  # noqa: F401
    test_an_older_request_is_dropped,  # noqa: F401
    test_any_order_of_arrival_is_carried_out_in_order,  # noqa: F401
    test_a_gap_is_told_and_changes_nothing,  # noqa: F401
    test_a_host_of_another_version_opens_nothing,  # noqa: F401
    test_classes_are_renamed,  # noqa: F401
    test_each_change_does_change_something,  # noqa: F401
    test_parts_outside_the_inputs_are_refused,  # noqa: F401
    test_questions_are_answered_as_often_as_asked,  # noqa: F401
    test_resuming_opens_nothing,  # noqa: F401
    test_saving_is_told,  # noqa: F401
    test_the_first_number_never_reads,  # noqa: F401
    test_the_hello_of_the_open_session_forgets_nothing,  # noqa: F401
    test_the_last_replies_are_kept,  # noqa: F401
    test_unknown_types_are_refused,  # noqa: F401
    test_what_was_not_learned_is_told_so,  # noqa: F401
    test_without_a_session_nothing_is_carried_out,  # noqa: F401
    test_wrong_lengths_of_the_tail_are_refused,  # noqa: F401
)

BOARD = "nano33ble"
HEAP_BYTES = 96 * 1024
OPTIONS = LinkOptions(first_timeout_s=0.2, min_timeout_s=0.05, max_timeout_s=0.3, give_up_s=30.0)
#: What mpremote sends first: Ctrl-C, and the carriage return of what comes next.
INTERRUPT = b"\0\r\x03\r"
AGAIN = b"again"

#: In place of main.py: starts the link anew, with nothing saved, whenever it was interrupted.
ANEW = f"""\
import gc, os, sys
import micropython
import model
from model.link import Link
while True:
    for name in ("head.0", "head.1"):
        try:
            os.remove("model/" + name)
        except OSError:
            pass
    gc.collect()
    link = Link(model.load())
    micropython.kbd_intr(-1)
    sys.stdout.buffer.write(b"\\0{AGAIN.decode()}\\0")
    try:
        link.run()
    except KeyboardInterrupt:
        micropython.kbd_intr(-1)
"""


def package(
    folder: Path, graph: Graph, *, training: TrainingPlan = NO_TRAINING, labels: tuple[str, ...] = (), spare: int = 0
) -> dict[str, bytes]:
    """The files of a model's package as they lie on a board."""
    made = plan_firmware(
        graph,
        load_board(BOARD),
        training,
        model_hash=MODEL_HASH,
        labels=labels,
        spare_classes=spare,
        output=Output.MICROPYTHON,
    )
    for path, contents in emit_micropython(made, name="model").items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(contents if isinstance(contents, bytes) else contents.encode())
    compiled = compile_package(folder, architecture="armv7emsp")
    return {path: (compiled.folder / path).read_bytes() for path in compiled.files}


@contextlib.contextmanager
def running(files: Mapping[str, bytes]) -> Iterator[EmulatedBoard]:
    """A board with these files, at its REPL."""
    rom = {path.replace("/", "+"): contents for path, contents in files.items()}
    with EmulatedBoard(heap_bytes=HEAP_BYTES, rom=rom, count=False) as board:
        with board.repl() as repl:
            repl.exec(
                "import os\nos.mkdir('model')\n"
                "for name in os.listdir('/rom'):\n"
                "    with open('/rom/' + name, 'rb') as source, open(name.replace('+', '/'), 'wb') as file:\n"
                "        file.write(source.read())"
            )
        yield board


class Console:
    """What a person at a terminal sends and sees."""

    def __init__(self, url: str) -> None:
        host, port = url.removeprefix("socket://").split(":")
        self._socket = socket.create_connection((host, int(port)), timeout=20)

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def read_until(self, wanted: bytes) -> bytes:
        """What comes up to there."""
        seen = b""
        while wanted not in seen:
            data = self._socket.recv(4096)
            assert data, seen
            seen += data
        return seen

    def __enter__(self) -> Console:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


@pytest.fixture(scope="module")
def plan() -> TrainingPlan:
    return c_link._model()[1]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    graph, training = c_link._model()
    return package(tmp_path_factory.mktemp("package"), graph, training=training, labels=tuple("abcde"))


@pytest.fixture(scope="module")
def shared(files: dict[str, bytes]) -> Iterator[EmulatedBoard]:
    """A board whose link starts anew each time that it is interrupted."""
    with running({**files, "main.py": ANEW.encode()}) as board:
        with Console(board.url) as console:
            console.send(b"\x02\x04")
            console.read_until(AGAIN + b"\0")
        yield board


@pytest.fixture
def wire(shared: EmulatedBoard) -> Iterator[c_link.Wire]:
    with Console(shared.url) as console:
        console.send(INTERRUPT)
        console.read_until(AGAIN + b"\0")
    wire = c_link.Wire(shared.url)
    yield wire
    wire.close()


def restart(url: str) -> None:
    """From the running link to its next start, as a person does it: Ctrl-C, Ctrl-D."""
    with Console(url) as console:
        console.send(b"\0\x03")
        console.read_until(b">>> ")
        console.send(b"\x04")
        console.read_until(b"soft reboot\r\n")


@pytest.fixture
def board(files: dict[str, bytes]) -> Iterator[EmulatedBoard]:
    """A board on which main.py runs."""
    with running(files) as board:
        with Console(board.url) as console:
            console.send(b"\x02\x04")
            console.read_until(b"soft reboot\r\n")
        yield board


def test_no_sample_is_lost_or_applied_twice_over_a_bad_line(board, plan):
    with (
        LossyProxy(board.url, ALL_FAULTS, seed=1) as line,
        open_device(line.url, options=OPTIONS) as device,
    ):
        teach(device, make_head(plan), samples=200, seed=1)
        statistics = device.statistics()
        assert device.counters.retries > 10
    assert statistics.step == 200
    assert statistics.repeats > 10
    assert statistics.gaps > 10
    assert statistics.crc_errors > 3


def test_samples_allocate_nothing(board):
    x = np.zeros(c_link.FEATURES, np.int8)
    with open_device(board.url) as device:
        device.statistics()
        allocated = []
        for samples in (1, 1, 1001):
            for number in range(samples):
                device.result(device.submit(x, train=True, label=number % c_link.OUTPUTS))
            allocated.append(device.statistics().heap_allocated_bytes)
        after = device.statistics()
    assert after.collections == 0
    assert allocated[2] - allocated[1] == allocated[1] - allocated[0]
    assert 0 < after.heap_largest_free_bytes <= after.heap_free_bytes
    assert HEAP_BYTES * 0.9 < after.heap_bytes < HEAP_BYTES


def test_collections_are_noticed(board):
    """Each STATISTICS looks for the largest block, which takes one or more."""
    with open_device(board.url) as device:
        before = device.statistics().collections
        for _ in range(3):
            device.statistics()
        read = [device.read_region(Region.HEAD_WEIGHTS) for _ in range(300)]
        assert len(set(read)) == 1
        assert device.statistics().collections > before


def test_a_soft_reset_brings_back_what_was_saved(board, plan):
    head = make_head(plan)
    with open_device(board.url, options=OPTIONS) as device:
        assert (device.info.boot, device.info.can_save, device.info.saves) == (1, True, 0)
        teach(device, head, samples=20, seed=1)
        device.save()
        # Learned, and not saved.
        device.result(device.submit(np.zeros(c_link.FEATURES, np.int8), train=True, label=1))
    restart(board.url)
    with open_device(board.url, options=OPTIONS) as device:
        assert (device.info.boot, device.info.saves, device.info.step, device.info.saved_step) == (2, 1, 20, 20)
        assert_same_head(device, head)
        teach(device, head, samples=20, seed=2)


def test_a_stream_goes_on_over_a_reset(board, plan):
    """The host sends again what was learned and not saved: the head has the bits of one that was never reset."""
    head = make_head(plan)
    rng = np.random.default_rng(3)
    with LossyProxy(board.url) as line, open_device(line.url, options=OPTIONS) as device:
        device.survive()
        for number in range(60):
            x = rng.integers(-128, 128, c_link.FEATURES).astype(np.int8)
            label = number % c_link.OUTPUTS
            if number == 20:
                device.save()
            if number == 40:
                line._send_to_device(b"\0\x03")
                time.sleep(0.8)
                line._send_to_device(b"\x04")
            device.result(device.submit(x, train=True, label=label))
            head.learn(x, head.judge(head.forward(x), label=label), label=label)
        assert_same_head(device, head)
        assert device.statistics().step == 60


def test_noise_never_ends_the_link(wire):
    """Random bytes, and frames with random damage; a link that ended would start anew and say so."""
    random = np.random.default_rng(6)
    wire.hello(first=1)
    for _ in range(8):
        wire.send_raw(random.integers(0, 256, 500, dtype=np.uint8).tobytes() + b"\0")
    for number in range(150):
        type_ = MessageType(random.choice([int(kind) for kind in MessageType if kind < 0x80]))
        frame = bytearray(encode_frame(type_, int(random.integers(2**32)), random.bytes(int(random.integers(60)))))
        for _ in range(int(random.integers(3))):
            frame[int(random.integers(len(frame)))] = int(random.integers(256))
        wire.send_raw(bytes(frame) + b"\0")
        assert number < 5 or wire.statistic("frames") > number // 2
    assert wire.statistic("framing_errors") > 10
    assert wire.statistic("crc_errors") > 3


def test_every_region(shared, wire, plan):
    wire.close()
    with open_device(shared.url) as device:
        assert device.info.board == BOARD
        assert device.info.labels == tuple("abcde")
        assert (device.info.feature_elements, device.info.output_elements) == (c_link.FEATURES, c_link.OUTPUTS)
        assert device.info.counter_hz == 1_000_000
        assert 10_000 < device.info.static_ram_bytes < HEAP_BYTES
        head = make_head(plan)
        assert_same_head(device, head)
        kept = device.read_head()
        np.testing.assert_array_equal(kept.row_m, head.row_m)
        np.testing.assert_array_equal(kept.row_r, head.row_r)
        teach(device, head, samples=5, seed=4)
        x = np.arange(c_link.FEATURES, dtype=np.int8)
        result = device.predict(x)
        assert device.read_region(Region.INPUT) == device.read_region(Region.FEATURES) == x.tobytes()
        logits = np.frombuffer(device.read_region(Region.LOGITS), "<i4")
        assert result.prediction == int(np.argmax(logits))
        probabilities = np.frombuffer(device.read_region(Region.PROBABILITIES), "<u2") / 32768
        assert result.confidence == probabilities.max()
        device.write_head(kept)
        assert_same_head(device, make_head(plan))
        for region, status in (
            (Region.OUTPUT, Status.BAD_REGION),
            (Region.HEAD_ROW_M, Status.READ_ONLY),
            (Region.HEAD_ROW_RHO, Status.BAD_VALUE),
        ):
            payload = pack(MessageType.WRITE, region=region, index=0, offset=0, tail=b"\x80")
            answer = device.link.wait(device.link.submit(MessageType.WRITE, payload))
            assert answer.status == status, region


def test_whoever_knocks_gets_the_repl(board):
    """Also where a host died within a frame, and where it has just said something."""
    frame = encode_frame(MessageType.HELLO, 2**31, c_link.hello())
    for before in (b"", frame, frame[:1], frame[:9], encode_frame(MessageType.SAMPLE, 1, c_link.sample())[:25]):
        with Console(board.url) as console:
            console.send(before)
        with board.repl(soft_reset=False) as repl:
            assert repl.exec("print(1 + 1)") == "2\n"
        with Console(board.url) as console:
            console.send(b"\x02\x04")
            console.read_until(b"soft reboot\r\n")
        with open_device(board.url) as device:
            assert device.info.board == BOARD


@pytest.mark.parametrize("key", [b"\x03", b"\x04", b"\x01", b"\r\x03"])
def test_keys_of_a_person_get_the_repl(board, key):
    with Console(board.url) as console:
        console.send(b"\0" + key)
        assert b"KeyboardInterrupt" in console.read_until(b">>> ")


@pytest.mark.parametrize(
    ("name", "damage", "says"),
    [
        ("model/facts.mpy", None, b"no module named"),
        ("model/facts.mpy", lambda data: b"M\x05" + data[2:], b"incompatible .mpy file"),
        ("model/tables.bin", lambda data: data[:-8], b"cut short"),
        ("model/weights.bin", None, b"ENOENT"),
    ],
)
def test_a_broken_package_ends_at_the_repl(files, name, damage, says):
    broken = {path: contents for path, contents in files.items() if path != name}
    if damage is not None:
        broken[name] = damage(files[name])
    with running(broken) as board, Console(board.url) as console:
        console.send(b"\x02\x04")
        shown = console.read_until(b">>> ") + console.read_until(b">>> ")
    assert says in shown
    assert shown.count(b"cannot be loaded") == 1
    assert b"Traceback" not in shown
