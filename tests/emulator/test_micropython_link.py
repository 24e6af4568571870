"""The link under MicroPython, on an emulated Cortex-M4F: the tests of the C link, and what is the REPL's alone.

Tests of single frames share one board, on which the link starts anew, with nothing saved, each time that it is
interrupted.
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
from edgelearn.codegen import Kernels, emit_micropython, plan_firmware
from edgelearn.firmware.package import compile_package
from edgelearn.host.device import Device, open_device
from edgelearn.host.link import LinkOptions
from edgelearn.ir import Graph, LossKind
from edgelearn.protocol import (
    READING,
    MessageType,
    Region,
    SampleFlag,
    Status,
    decode_frame,
    encode_frame,
    pack,
    unpack,
)
from edgelearn.recipe import NO_TRAINING, TrainingPlan
from edgelearn.training import make_head, plan_training
from tests.support.firmware import MODEL_HASH, HostFirmware, build, generate, load_graph
from tests.support.lossy_proxy import ALL_FAULTS, LossyProxy, assert_same_head, teach
from tests.support.micropython.armhf import LinkedProgram
from tests.support.micropython.emulated import EmulatedBoard
from tests.support.tflite_builder import TfliteBuilder
from tests.unit.training.heads import head_graph
from tests.vectors import test_link as c_link
from tests.vectors.test_link import (  # collected here too: what they say holds for both links
    test_a_broken_frame_uses_up_no_number,  # noqa: F401
    test_a_change_under_a_number_of_reading_is_refused,  # noqa: F401
    test_a_fixed_part_that_is_too_short_is_refused,  # noqa: F401
    test_a_frame_whose_fixed_part_is_not_all_there_is_none,  # noqa: F401
    test_a_host_of_another_version_opens_nothing,  # noqa: F401
    test_a_late_hello_of_the_session_before_opens_nothing,  # noqa: F401
    test_a_new_session_starts_numbers_anew_and_keeps_the_head,  # noqa: F401
    test_a_question_under_a_number_of_changes_is_refused_in_its_turn,  # noqa: F401
    test_a_refusal_is_kept_like_any_reply,  # noqa: F401
    test_any_order_of_arrival_is_carried_out_in_order,  # noqa: F401
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
HEAP_BYTES = 72 * 1024
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
    folder: Path,
    graph: Graph,
    *,
    training: TrainingPlan = NO_TRAINING,
    labels: tuple[str, ...] = (),
    spare: int = 0,
    kernels: Kernels | None = None,
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
        kernels=kernels,
    )
    for path, contents in emit_micropython(made, name="model").items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(contents if isinstance(contents, bytes) else contents.encode())
    compiled = compile_package(folder, architecture="armv7emsp")
    return {path: (compiled.folder / path).read_bytes() for path in compiled.sizes_bytes}


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


def start(board: EmulatedBoard) -> None:
    """From the REPL to the first start of the link."""
    with Console(board.url) as console:
        console.send(b"\x02\x04")
        console.read_until(AGAIN + b"\0")


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
        start(board)
        yield board


def a_wire(url: str) -> c_link.Wire:
    """Raw frames to a link that was just started."""
    with Console(url) as console:
        console.send(INTERRUPT)
        console.read_until(AGAIN + b"\0")
    return c_link.Wire(url)


@pytest.fixture
def wire(shared: EmulatedBoard) -> Iterator[c_link.Wire]:
    wire = a_wire(shared.url)
    yield wire
    wire.close()


IMPOSTOR = c_link.IMPOSTORS["class"]
#: The C link is tested with more of each.
LATE_OR_EARLY = {
    "repeat": lambda wire, change: c_link.test_a_repeat_gets_the_same_reply_and_changes_nothing(wire, change, IMPOSTOR),
    "older": lambda wire, change: c_link.test_an_older_request_is_dropped(wire, change, 1000),
    "gap": lambda wire, change: c_link.test_a_gap_is_told_and_changes_nothing(wire, change, READING - 3),
}


@pytest.mark.parametrize("check", LATE_OR_EARLY.values(), ids=LATE_OR_EARLY.keys())
@pytest.mark.parametrize("change", c_link.CHANGES.values(), ids=c_link.CHANGES.keys())
def test_what_is_late_or_early_changes_nothing(wire, change, check):
    check(wire, change)


#: What each side tells of its own memory and time.
OWN = {
    MessageType.RESULT: ("inference_ticks", "train_ticks", "stack_bytes"),
    MessageType.HELLO_REPLY: ("counter_hz", "static_ram_bytes", "stack_size_bytes", "receive_bytes", "reset_cause"),
}


def told(reply: bytes) -> tuple[object, ...]:
    """A reply without that."""
    frame = decode_frame(reply)
    values, tail = unpack(frame.type, frame.payload)
    return frame.type, frame.sequence, {k: v for k, v in values.items() if k not in OWN.get(frame.type, ())}, tail


def any_request(
    random: np.random.Generator, input_bytes: int, outputs: int, useful: tuple[int, ...]
) -> tuple[MessageType, bytes]:
    """One that a device with such a model carries out, or nearly."""
    kind = random.choice(
        ["sample"] * 9 + ["part"] * 2 + ["write", "rate", "class", "reset", "save", "autosave", "forget"]
    )
    if kind == "sample":
        flags = int(random.choice(useful) if random.random() < 0.8 else random.integers(32))
        offset = int(random.choice([0, 0, 0, 0, input_bytes // 2, input_bytes, input_bytes + 1]))
        size = max(input_bytes - offset, 0) + (2 * outputs if flags & SampleFlag.HAS_TARGETS else 0)
        label, threshold = int(random.integers(outputs + 1)), int(random.integers(2**15))
        tail = random.bytes(size + int(random.random() < 0.05))
        return MessageType.SAMPLE, pack(
            MessageType.SAMPLE, flags=flags, label=label, threshold=threshold, offset=offset, tail=tail
        )
    if kind == "part":
        offset = int(random.integers(input_bytes + 2))
        size = int(random.integers(max(input_bytes - offset, 0) + 2))
        return MessageType.SAMPLE_PART, pack(MessageType.SAMPLE_PART, offset=offset, tail=random.bytes(size))
    if kind == "write":
        region, offset = int(random.integers(16)), int(random.integers(12))
        index = int(random.random() < 0.1)
        tail = bytes(random.integers(4, 12, int(random.integers(1, 6)), dtype=np.uint8))
        return MessageType.WRITE, pack(MessageType.WRITE, region=region, index=index, offset=offset, tail=tail)
    if kind == "rate":
        return MessageType.SET_LEARNING_RATE, c_link.rate(
            int(random.integers(2**14, 2**15)), int(random.integers(16, 30))
        )
    if kind == "class":
        return MessageType.SET_CLASS, c_link.a_class(
            int(random.integers(outputs + 1)), random.bytes(int(random.integers(9)))
        )
    if kind == "autosave":
        return MessageType.SET_AUTOSAVE, pack(MessageType.SET_AUTOSAVE, steps=int(random.integers(4)))
    return {"reset": MessageType.RESET_HEAD, "save": MessageType.SAVE, "forget": MessageType.FORGET}[str(kind)], b""


def regression() -> tuple[Graph, TrainingPlan]:
    """An autoencoder of nothing but its head."""
    rng = np.random.default_rng(5)
    weights = rng.normal(size=(12, 12)).astype(np.float32) * 0.1
    bias = rng.normal(size=12).astype(np.float32)
    graph = head_graph(weights, bias, feature_zero_point=3, loss=LossKind.SQUARED_ERROR, output_range=4.0)
    return graph, plan_training(graph, learning_rate=1e-3)


def several() -> tuple[Graph, TrainingPlan]:
    """Three inputs, three outputs, and nothing that trains."""
    builder = TfliteBuilder(1)
    ends = [builder.softmax(builder.fully_connected(builder.input((1, size)), units=2)) for size in (5, 12, 3)]
    return load_graph(builder.build(*ends)), NO_TRAINING


@pytest.mark.parametrize(
    ("make", "input_bytes", "outputs", "useful"),
    [
        (c_link._model, c_link.FEATURES, c_link.OUTPUTS, (0, 2, 3, 3, 17, 19)),
        (regression, 12, 12, (0, 4, 5, 8, 9, 9)),
        (several, 20, 2, (0, 2)),
    ],
    ids=["classes", "squared error", "nothing trains"],
)
def test_every_reply_is_that_of_the_c_link(tmp_path, make, input_bytes, outputs, useful):
    """The same requests to both, most of them right, some repeated or too early."""
    graph, training = make()
    labels = tuple("abcde") if make is c_link._model else ()
    random = np.random.default_rng(7)
    program = build(generate(graph, training=training, labels=labels))
    with (
        running({**package(tmp_path, graph, training=training, labels=labels), "main.py": ANEW.encode()}) as board,
        HostFirmware(program) as firmware,
    ):
        start(board)
        with contextlib.closing(a_wire(board.url)) as mine, contextlib.closing(c_link.Wire(firmware.url)) as its:
            number = 0
            statuses: set[float] = set()
            results = 0
            for turn in range(250):
                if turn % 40 == 0:
                    number = int(random.integers(2**31))
                    type_, sequence = MessageType.HELLO, 2**31 + turn
                    payload = c_link.hello(turn + 1, number)
                elif random.random() < 0.3:
                    type_, sequence = MessageType.READ, 2**31 + turn
                    region = int(random.choice([r for r in range(16) if r != Region.BOARD]))
                    index, offset = int(random.integers(4)), int(random.choice([0, 0, 3, 2**31]))
                    payload = pack(MessageType.READ, region=region, index=index, offset=offset, length=200)
                else:
                    type_, payload = any_request(random, input_bytes, outputs, useful)
                    sequence = (number + int(random.choice([0] * 8 + [-1, -3, 1, 20]))) % READING
                    number += sequence == number
                    number %= READING
                answers = [
                    [told(reply) for reply in wire.send_raw(encode_frame(type_, sequence, payload))]
                    for wire in (mine, its)
                ]
                assert answers[0] == answers[1], (turn, type_, payload)
                results += sum(answer[0] is MessageType.RESULT for answer in answers[0])
                statuses |= {answer[2]["status"] for answer in answers[0] if answer[0] is MessageType.ACK}
            assert len(statuses) > 3
            assert results > 25


def restart(url: str) -> None:
    """From the running link to its next start: Ctrl-C as tools send it, Ctrl-D."""
    with Console(url) as console:
        console.send(INTERRUPT + b"\x04")
        console.read_until(b"soft reboot\r\n")


@pytest.fixture
def board(files: dict[str, bytes]) -> Iterator[EmulatedBoard]:
    """A board on which main.py runs."""
    with running(files) as board:
        with Console(board.url) as console:
            console.send(b"\x02\x04")
            console.read_until(b"soft reboot\r\n")
        yield board


#: Before main.py, in place of the module: a host has time to send Ctrl-C before it is off, raised at the next jump.
_TALKED_TO = """\
import sys
import micropython as whole
class Line:
    calls = 0
    def __getattr__(self, name):
        return getattr(whole, name)
    def kbd_intr(self, byte):
        self.calls += 1
        sys.stdout.write("call %d." % self.calls)
        if self.calls < 3:
            sum(range(1000000))
        whole.kbd_intr(byte)
sys.modules["micropython"] = Line()
"""


def test_a_host_that_talks_already_does_not_stop_the_start(files):
    with running({**files, "main.py": _TALKED_TO.encode() + files["main.py"]}) as board:
        with Console(board.url) as console:
            console.send(b"\x02\x04")
            for call in (1, 2):
                console.read_until(b"call %d." % call)
                console.send(b"\x03")
            console.read_until(b"call 3.")
        with open_device(board.url) as device:
            assert device.info.board == BOARD


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


def allocated_by_samples(device: Device, *, with_targets: bool = False) -> int:
    """Bytes that 60 samples which are learned take of the heap: so few that none would be collected meanwhile."""
    info = device.info
    x = np.zeros(info.feature_elements, np.int8)
    device.statistics()
    allocated = []
    for samples in (1, 1, 61):
        for number in range(samples):
            label = None if with_targets else number % info.output_elements
            targets = np.full(info.output_elements, number, np.int16) if with_targets else None
            device.result(device.submit(x, train=True, label=label, targets=targets))
        allocated.append(device.statistics().heap_allocated_bytes)
    assert device.statistics().collections == 0
    return allocated[2] - allocated[1]


def test_samples_allocate_nothing(board):
    with open_device(board.url) as device:
        # What STATISTICS takes and gives back is not always the same.
        assert abs(allocated_by_samples(device)) < 100
        after = device.statistics()
    assert 0 < after.heap_largest_free_bytes <= after.heap_free_bytes
    assert HEAP_BYTES * 0.9 < after.heap_bytes < HEAP_BYTES


#: Where addresses are objects on the heap, for they have more than 30 bits.
_LOOK = """\
import sys
sys.path.insert(0, ".")
from model.memory import address
sys.stderr.write("%d" % (address(bytearray(16)) >> 24 & 255))
"""


@pytest.mark.parametrize("make", [c_link._model, regression], ids=["classes", "squared error"])
def test_samples_allocate_nothing_where_addresses_are_high(tmp_path, make):
    graph, training = make()
    files = package(tmp_path, graph, training=training, kernels=Kernels.VIPER)
    script = _LOOK + files.pop("main.py").decode()
    # A heap of this size lies above 0x4000_0000.
    with (
        LinkedProgram(script, heap_bytes=HEAP_BYTES, files=files) as program,
        open_device(program.url) as device,
    ):
        assert abs(allocated_by_samples(device, with_targets=make is regression)) < 100
        assert int(program.errors()) >= 0x40


def test_collections_are_noticed(board):
    """Those that MicroPython itself makes, when what requests leave behind has filled the heap."""
    with open_device(board.url) as device:
        for _ in range(5):
            assert device.statistics().collections == 0, "its own, to find the largest block, do not count"
        for _ in range(900):
            device.read_region(Region.BOARD)
        assert 1 <= device.statistics().collections <= 4


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
                line._send_to_device(INTERRUPT + b"\x04")
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
    a_sample = encode_frame(MessageType.SAMPLE, 1, c_link.sample())
    for before in (b"", frame[:1], frame[:9], *(a_sample[:size] for size in (23, 24, 25))):
        with Console(board.url) as console:
            console.send(before)
            time.sleep(0.3)
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
