"""Goodput of predict streaming over a paced line, beside what line and device each allow, as a table.

    python -m benchmarks.goodput [MODEL.tflite ...] [--boards NAME ...] [--seconds 8]

The firmware runs as on a board, in QEMU or as a process, behind a line that carries 115,200 or 1,000,000 bits a second
each way. The line allows what the longer of SAMPLE and RESULT frames leaves of it. The device allows what it does
without such a line, asked by a client that keeps its window full and does nothing else. Beside both stands the rate of
`edgelearn stream --predict`. All by the clock of this machine: a busy one gives less. Ends with 1 where the goodput is
below 90 % of what the slower of both allows.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from msgspec import Struct

from benchmarks.models import Model, prepare
from benchmarks.paced_line import BITS_PER_BYTE, paced_line
from benchmarks.verify_models import digits
from edgelearn import pipeline
from edgelearn.board import load_board
from edgelearn.bundle import read_bundle
from edgelearn.errors import DoesNotFitError
from edgelearn.host.data import Dataset, load_dataset
from edgelearn.host.device import Device, open_device
from edgelearn.host.stream import stream
from edgelearn.host.telemetry import StreamOptions
from edgelearn.protocol import READING, FrameReader, MessageType, encode_frame, message, pack

BAUDS = (115_200, 1_000_000)
BOARDS = ("host", "mps2-an386", "netduinoplus2", "microbit")
HEADER = ("model", "board", "baud", "bytes a sample", "line allows", "device allows", "stream", "of the slower")
LEAST_SHARE = 0.9


class Goodput(Struct, frozen=True, kw_only=True):
    """One line of the table; rates in samples a second."""

    model: str
    board: str
    baud: int
    sample_bytes: int
    line_hz: float
    device_hz: float
    stream_hz: float

    @property
    def share(self) -> float:
        """Of what the slower of line and device allows."""
        return self.stream_hz / min(self.line_hz, self.device_hz)


def measure(model: Model, board_name: str, folder: Path, seconds: float) -> list[Goodput]:
    """Measure a model on a board; empty where it does not fit."""
    project = folder / f"{model.name}-{board_name}"
    try:
        pipeline.generate(read_bundle(model.plain), load_board(board_name), project)
    except DoesNotFitError:
        return []
    pipeline.build(project)
    with pipeline.emulate(project) as running:
        with open_device(running.url) as device:
            sample_bytes = wire_bytes(device)
            device_hz = full_window_hz(device, load_dataset(model.data, device.info), seconds)
        found = []
        for baud in BAUDS:
            line_hz = baud / BITS_PER_BYTE / max(sample_bytes, result_bytes())
            samples = max(20, round(seconds * min(line_hz, device_hz)))
            with paced_line(running.url, baud=baud) as url, open_device(url) as device:
                dataset = load_dataset(model.data, device.info)
                passes = -(-samples // dataset.pass_samples)
                summary = stream(device, dataset, StreamOptions(train=False, repeat=passes, limit=samples))
            found.append(
                Goodput(
                    model=model.name,
                    board=board_name,
                    baud=baud,
                    sample_bytes=sample_bytes,
                    line_hz=line_hz,
                    device_hz=device_hz,
                    stream_hz=summary.samples_per_s,
                )
            )
    return found


def result_bytes() -> int:
    """Bytes of a RESULT on the wire."""
    return len(encode_frame(MessageType.RESULT, 1, bytes(message(MessageType.RESULT).size_bytes)))


def sample_frames(device: Device, inputs: bytes, first: int) -> list[bytes]:
    """The frames of one sample as the protocol wants them, encoded; what does not fit one goes before in parts."""
    most = device.info.max_payload_bytes
    frames: list[bytes] = []
    offset = 0
    room = most - message(MessageType.SAMPLE).size_bytes
    part = most - message(MessageType.SAMPLE_PART).size_bytes
    while len(inputs) - offset > room:
        piece = inputs[offset : offset + min(part, len(inputs) - room - offset)]
        payload = pack(MessageType.SAMPLE_PART, offset=offset, tail=piece)
        frames.append(encode_frame(MessageType.SAMPLE_PART, (first + len(frames)) % READING, payload))
        offset += len(piece)
    payload = pack(MessageType.SAMPLE, flags=0, label=0, threshold=0, offset=offset, tail=inputs[offset:])
    return [*frames, encode_frame(MessageType.SAMPLE, (first + len(frames)) % READING, payload)]


def wire_bytes(device: Device) -> int:
    """Bytes of one sample on the wire."""
    inputs = bytes(sum(tensor.size_bytes for tensor in device.info.inputs))
    return sum(map(len, sample_frames(device, inputs, 1)))


def full_window_hz(device: Device, dataset: Dataset, seconds: float) -> float:
    """Samples a second of a device whose window is always full. The device's session is of no more use afterwards."""
    lessons = dataset.lessons(repeat=1, shuffle=False, seed=0, limit=32)
    inputs = [b"".join(array.tobytes() for array in lesson.inputs) for lesson in lessons if lesson is not None]
    transport, reader = device.link.transport, FrameReader()
    number, done, waiting_bytes = device.link.first_sequence, 0, 0
    queue: list[bytes] = []
    waiting: list[bytes] = []
    begin_s = time.perf_counter()
    while time.perf_counter() - begin_s < seconds:
        if not queue:
            queue = sample_frames(device, inputs[done % len(inputs)], number)
            number = (number + len(queue)) % READING
        if not waiting or (waiting_bytes + len(queue[0]) <= device.info.receive_bytes and len(waiting) < 8):
            waiting.append(queue.pop(0))
            waiting_bytes += len(waiting[-1])
            transport.write(waiting[-1])
            continue
        for frame in reader.feed(transport.read(1.0)):
            waiting_bytes -= len(waiting.pop(0))
            done += frame.type is MessageType.RESULT
    return done / (time.perf_counter() - begin_s)


def text(line: Goodput) -> str:
    """A row of the table."""
    rates = " | ".join(f"{rate:,.0f}" for rate in (line.line_hz, line.device_hz, line.stream_hz))
    start = f"| {line.model} | {line.board} | {line.baud:,} | {line.sample_bytes:,} "
    return f"{start}| {rates} | {100 * line.share:.0f} % |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="goodput over a paced line")
    parser.add_argument(
        "files", type=Path, nargs="*", help="int8 .tflite files, beside the digits of the demonstration"
    )
    parser.add_argument("--boards", nargs="+", default=list(BOARDS))
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement, about")
    options = parser.parse_args()
    print(f"| {' | '.join(HEADER)} |\n|---|---" + "|---:" * (len(HEADER) - 2) + "|", flush=True)
    lines: list[Goodput] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = [digits(folder)]
        models += [prepare(file.stem, options.files, folder) for file in options.files]
        for model in models:
            for board in options.boards:
                found = measure(model, board, folder, options.seconds)
                print("\n".join(map(text, found)) or f"| {model.name} | {board} | does not fit |", flush=True)
                lines += found
    slow = [line for line in lines if line.share < LEAST_SHARE]
    print(f"\n{len(lines) - len(slow)} of {len(lines)} at {100 * LEAST_SHARE:.0f} % or more of what the slower allows")
    sys.exit(1 if slow else 0)


if __name__ == "__main__":
    main()
