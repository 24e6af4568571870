"""How much of what line and device allow a stream of samples reaches, over a clean line of limited speed.

    python -m benchmarks.goodput [--only NAME ...] [--boards NAME ...] [--baud RATE ...] [--docs]

Each model is built for each board that it fits; its samples are streamed by the same loop as `edgelearn stream` through
a line of that speed (pacing.py). The line allows as many samples a second as frames of SAMPLE and RESULT fit into the
fuller direction. What the device allows is measured without the line and without our link: all frames lie ready in its
socket, and it takes them as fast as it can. The emulator has a processor of its own, so that neither line nor host take
time from the device that they wait for; it shares it with whatever else runs, so device and stream are measured in
turn, several times, and the round of the median share stands in the table. "Busy" does not depend on that: the part of
the time in which the line to the device was full, or in which the device had a sample to work on, the larger of the
two. Ends with 1 where less than 90 % is reached of what the slower one allows.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import secrets
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from benchmarks.inference import PAGE, replace_between
from benchmarks.models import Model, prepare
from benchmarks.pacing import BITS_PER_BYTE, PacedLine, Usage
from benchmarks.verify_models import DIGITS, digits
from edgelearn import pipeline
from edgelearn.board import board_names, load_board
from edgelearn.bundle import read_bundle
from edgelearn.errors import DoesNotFitError
from edgelearn.firmware.emulator import start
from edgelearn.host.data import random_dataset
from edgelearn.host.device import open_device
from edgelearn.host.stream import stream
from edgelearn.host.telemetry import StreamOptions, StreamSummary
from edgelearn.host.transport import Transport
from edgelearn.protocol import PROTOCOL_VERSION, READING, FrameReader, MessageType, encode_frame, pack

BOARDS = ("host", "mps2-an386", "netduinoplus2", "microbit")
#: From 64 bytes a sample to 3,072, which come in parts.
MODELS = (DIGITS, "mlp", "ds_cnn", "small_cnn")
BAUDS = (115_200, 1_000_000)
LEAST_SHARE = 0.9
#: Of streaming, for each line of the table.
_SECONDS = 6.0
_ROUNDS = 3
_LEAST_SAMPLES = 24
_PROBE_SAMPLES = 20
_PROBE_S = 2.0
COLUMNS = ("model", "bytes", "board", "baud", "line allows", "device allows", "reached", "share", "busy")


class Row(Struct, frozen=True, kw_only=True):
    """One line of the table; rates in samples a second.

    Attributes:
        sample_bytes: of the model's inputs.
        line, device: what they allow.
        reached: what the stream reached.
        busy: see above.
        repeats: frames that were sent again, for a machine that stood still.
    """

    model: str
    sample_bytes: int
    board: str
    baud: int
    line: float
    device: float
    reached: float
    busy: float
    repeats: int

    @property
    def share(self) -> float:
        """Of what the slower one allows."""
        return self.reached / min(self.line, self.device)


class _Tap:
    """A transport that keeps what crosses it.

    Attributes:
        sent, received: all bytes.
    """

    def __init__(self, inner: Transport) -> None:
        self._inner = inner
        self.name, self.byte_s = inner.name, inner.byte_s
        self.sent = bytearray()
        self.received = bytearray()

    def read(self, timeout_s: float) -> bytes:
        """From the port."""
        data = self._inner.read(timeout_s)
        self.received += data
        return data

    def write(self, data: bytes) -> None:
        """To the port."""
        self.sent += data
        self._inner.write(data)

    def close(self) -> None:
        """Close the port."""
        self._inner.close()


class Wire(Struct, frozen=True, kw_only=True):
    """What crosses the line for random samples.

    Attributes:
        requests: SAMPLE, after SAMPLE_PARTs where it needs them, of all samples.
        sample_bytes: of the model's inputs.
        to_device, to_host: bytes on the wire for one sample.
    """

    requests: tuple[tuple[MessageType, bytes], ...]
    sample_bytes: int
    to_device: float
    to_host: float


def look(url: str) -> Wire:
    """Send a few samples and see what crosses the line."""
    with open_device(url) as device:
        tap = _Tap(device.link.transport)
        device.link.transport = tap
        for x in random_dataset(device.info, None, _PROBE_SAMPLES).samples():
            device.predict(x)
    return Wire(
        requests=tuple((frame.type, frame.payload) for frame in FrameReader().feed(bytes(tap.sent))),
        sample_bytes=sum(tensor.size_bytes for tensor in device.info.inputs),
        to_device=len(tap.sent) / _PROBE_SAMPLES,
        to_host=len(tap.received) / _PROBE_SAMPLES,
    )


def device_rate(url: str, wire: Wire, samples: int) -> float:
    """Samples a second that the device predicts where their frames lie ready for it."""
    first = 1
    hello = pack(MessageType.HELLO, version=PROTOCOL_VERSION, session=secrets.randbits(31) + 1, first_sequence=first)
    requests = itertools.islice(itertools.cycle(wire.requests), samples * len(wire.requests) // _PROBE_SAMPLES)
    data = b"".join(encode_frame(type_, number, payload) for number, (type_, payload) in enumerate(requests, first))
    address, port = url.removeprefix("socket://").split(":")
    results = 0
    reader = FrameReader()
    with socket.create_connection((address, int(port)), timeout=60.0) as line:
        line.sendall(b"\0" + encode_frame(MessageType.HELLO, READING, hello))
        while not any(frame.type is MessageType.HELLO_REPLY for frame in reader.feed(line.recv(65536))):
            pass
        sender = threading.Thread(target=line.sendall, args=(data,))
        started_s = time.monotonic()
        sender.start()
        while results < samples:
            results += sum(frame.type is MessageType.RESULT for frame in reader.feed(line.recv(65536)))
        elapsed_s = time.monotonic() - started_s
        sender.join()
    return samples / elapsed_s


def stream_over(url: str, baud: int, samples: int) -> tuple[StreamSummary, Usage]:
    """Stream over a line of that speed."""
    with PacedLine(url, baud=baud) as line, open_device(line.port, baud=baud) as device:
        summary = stream(device, random_dataset(device.info, None, samples), StreamOptions(train=False))
    return summary, line.usage


@contextlib.contextmanager
def apart(pid: int) -> Iterator[None]:
    """A process has a processor of its own; we and what we start meanwhile have the others, where there are any."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    all_of_them = os.sched_getaffinity(0)
    first, *others = sorted(all_of_them)
    if others:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), {first})
        os.sched_setaffinity(0, others)
    try:
        yield
    finally:
        os.sched_setaffinity(0, all_of_them)


def measure(model: Model, board_name: str, bauds: Sequence[int], folder: Path) -> Iterator[Row]:
    """Build, boot and stream."""
    board = load_board(board_name)
    pipeline.generate(read_bundle(model.trained or model.plain), board, folder, force=True)
    built = pipeline.build(folder)
    with start(board, built.image) as running, apart(running.pid):
        wire = look(running.url)
        rate = device_rate(running.url, wire, _PROBE_SAMPLES)
        for baud in bauds:
            line = baud / BITS_PER_BYTE / max(wire.to_device, wire.to_host)
            rounds = []
            for _ in range(_ROUNDS):
                rate = device_rate(running.url, wire, max(_PROBE_SAMPLES, int(rate * _PROBE_S)))
                samples = max(_LEAST_SAMPLES, int(min(line, rate) * _SECONDS))
                summary, usage = stream_over(running.url, baud, samples)
                rounds.append(
                    Row(
                        model=model.name,
                        sample_bytes=wire.sample_bytes,
                        board=board_name,
                        baud=baud,
                        line=line,
                        device=rate,
                        reached=summary.samples_per_s,
                        busy=max(usage.line_s, usage.device_s) / usage.all_s,
                        repeats=summary.link.retries,
                    )
                )
            yield sorted(rounds, key=lambda row: row.share)[_ROUNDS // 2]


def markdown(rows: Sequence[Row]) -> str:
    """The table in Markdown."""
    text = [f"| {' | '.join(COLUMNS)} |", "|---|---:|---|" + "---:|" * (len(COLUMNS) - 3)]
    for row in rows:
        rates = " | ".join(f"{rate:,.1f}" for rate in (row.line, row.device, row.reached))
        shares = f"{row.share:.0%} | {row.busy:.0%}"
        text.append(f"| {row.model} | {row.sample_bytes:,} | {row.board} | {row.baud:,} | {rates} | {shares} |")
    return "\n".join(text)


def main() -> int:
    """Print the table, and write it where that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=MODELS, choices=MODELS, metavar="NAME")
    parser.add_argument("--boards", nargs="+", default=BOARDS, choices=board_names(), metavar="NAME")
    parser.add_argument("--baud", nargs="+", default=BAUDS, type=int)
    parser.add_argument("--docs", action="store_true", help="write the table of the documentation")
    options = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        for model_name in options.only:
            folder = Path(name) / model_name
            folder.mkdir()
            model = digits(folder) if model_name == DIGITS else prepare(model_name, (), folder)
            for board in options.boards:
                try:
                    for row in measure(model, board, options.baud, folder / "project"):
                        repeats = f" {row.repeats} repeats" if row.repeats else ""
                        print(markdown([row]).splitlines()[-1] + repeats, flush=True)
                        rows.append(row)
                except DoesNotFitError:
                    print(f"{model_name} does not fit {board}", flush=True)
    if options.docs:
        replace_between(PAGE, "goodput", markdown(rows))
    return 1 if any(row.share < LEAST_SHARE for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
