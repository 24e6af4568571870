"""Generates, builds and runs firmware on this machine for tests, under the address and undefined-behaviour sanitizers.

    files = generate(graph)                      # {path: text}, as `edgelearn generate` writes them
    outputs = run_model(files, samples)          # a frozen model alone: int8 in, int8 out
    with HostFirmware(build(files)) as firmware, open_device(firmware.url) as device: ...

Objects are kept for the life of the process, so that in most builds only model.c is compiled.
"""

from __future__ import annotations

import atexit
import hashlib
import itertools
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt
from msgspec import structs

from edgelearn.board import COMPILE_FLAGS, INCLUDE_FLAGS, SANITIZE_FLAGS, Board, load_board
from edgelearn.codegen import Plan, SensorSource, emit_project, plan_firmware
from edgelearn.codegen.lowering import Target
from edgelearn.convert.passes import run_passes
from edgelearn.convert.tflite_loader import load_tflite
from edgelearn.ir import Graph
from edgelearn.ir.edges import Edges
from edgelearn.protocol import (
    PROTOCOL_VERSION,
    READING,
    Frame,
    FrameReader,
    MessageType,
    Region,
    encode_frame,
    message,
    pack,
    unpack,
)
from edgelearn.recipe import NO_TRAINING, TrainingPlan
from tests.support.tools import require_tool

MODEL_HASH = "0123456789abcdef" * 4
_OPTIMIZATION = "-O1"

#: Reads samples from stdin until it ends and writes the model's outputs of each to stdout.
_RUNNER = """\
#include <stdio.h>
#include "elearn_model.h"
int main(void);
int main(void)
{
    const elearn_model *m = &elearn_the_model;
    for (;;) {
        for (unsigned i = 0; i < ELEARN_INPUT_COUNT; i++) {
            if (fread(m->inputs[i].bytes, 1, m->inputs[i].size_bytes, stdin) != m->inputs[i].size_bytes) {
                return 0;
            }
        }
        elearn_model_run();
        for (unsigned i = 0; i < ELEARN_OUTPUT_COUNT; i++) {
            (void)fwrite(m->outputs[i].bytes, 1, m->outputs[i].size_bytes, stdout);
        }
    }
}
"""

#: A port whose serial line is stdin and stdout; the firmware ends where its input ends.
_PIPE_PORT = """\
#include <stdio.h>
#include <stdlib.h>
#include "elearn_port.h"
void elearn_port_init(void) { (void)setvbuf(stdin, NULL, _IONBF, 0); }
uint32_t elearn_port_read(uint8_t *destination, uint32_t size)
{
    const size_t count = fread(destination, 1, size, stdin);
    if (count == 0) {
        exit(0);
    }
    return (uint32_t)count;
}
void elearn_port_write(const uint8_t *source, uint32_t size) { (void)fwrite(source, 1, size, stdout); }
void elearn_port_wait(void) { }
void elearn_port_pause(void) { }
uint32_t elearn_port_ticks(void) { return 0; }
uint32_t elearn_port_counter_hz(void) { return 0; }
int elearn_port_can_write(void) { return 1; }
uint32_t elearn_port_clock_ms(void) { return 0; }
uint32_t elearn_port_overruns(void) { return 0; }
uint32_t elearn_port_ring_bytes(void) { return 0; }
uint32_t elearn_port_count_start(uint32_t remembered) { return remembered + 1u; }
const elearn_port_start *elearn_port_last_start(void)
{
    static const elearn_port_start start = {0, 0, 0, 0, 0, 0, 0, 0};
    return &start;
}
void elearn_port_forget_faults(void) { }
void elearn_port_feed(void) { }
uint32_t elearn_port_static_ram_bytes(void) { return 0; }
uint32_t elearn_port_stack_size_bytes(void) { return 0; }
uint32_t elearn_port_stack_bytes(void) { return 0; }
void elearn_port_stack_mark(void) { }
uint32_t elearn_port_stack_since_mark(void) { return 0; }
"""

Request = tuple[MessageType, bytes]


def load_graph(model: bytes, name: str = "model", edges: Edges = Edges.INT8) -> Graph:
    """The graph of an int8 `.tflite` after all passes."""
    return run_passes(load_tflite(model, name=name, edges=edges))


def plan(
    graph: Graph,
    *,
    board: Board | None = None,
    training: TrainingPlan = NO_TRAINING,
    labels: tuple[str, ...] = (),
    spare_classes: int = 0,
    target: Target | None = None,
) -> Plan:
    """The plan for a board, the host by default."""
    board = board or load_board("host")
    return plan_firmware(
        graph, board, training, model_hash=MODEL_HASH, labels=labels, spare_classes=spare_classes, target=target
    )


def generate(
    graph: Graph,
    *,
    board: Board | None = None,
    training: TrainingPlan = NO_TRAINING,
    labels: tuple[str, ...] = (),
    spare_classes: int = 0,
    name: str = "model",
    target: Target | None = None,
    sensor: str | None = None,
) -> dict[str, str]:
    """The generated project, {path: text}."""
    made = plan(graph, board=board, training=training, labels=labels, spare_classes=spare_classes, target=target)
    made = structs.replace(made, senses=sensor is not None)
    return emit_project(made, name=name, sensor=SensorSource(name="sensor.c", text=sensor) if sensor else None)


def write_project(files: dict[str, str], folder: Path) -> Path:
    """Write a generated project; returns the folder."""
    for path, text in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    return folder


def build(files: dict[str, str], *, compiler: str = "cc", flags: tuple[str, ...] = SANITIZE_FLAGS) -> Path:
    """The whole firmware for the host as a program; returns its path, which lives as long as this process."""
    return _link(files, sorted(path for path in files if path.endswith(".c")), compiler, flags)


def build_runner(files: dict[str, str]) -> Path:
    """The model and its kernels without link and driver: samples on stdin, outputs on stdout."""
    files = {**files, "src/model.c": files["src/model.c"] + _RUNNER}
    return _link(files, ["src/model.c", *_kernels(files)], "cc", SANITIZE_FLAGS)


def run_model(files: dict[str, str], samples: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """The int8 outputs of a frozen model, one row for each sample; a sanitizer's complaint is an error."""
    return np.frombuffer(run_model_bytes(files, samples.tobytes()), np.int8).reshape(len(samples), -1)


def run_model_bytes(files: dict[str, str], samples: bytes) -> bytes:
    """The bytes of all outputs of a frozen model, for samples of the bytes of all inputs."""
    program = build_runner(files)
    done = subprocess.run([program], input=samples, capture_output=True, check=False)
    program.unlink()
    if done.returncode != 0:
        raise AssertionError(done.stderr.decode(errors="replace"))
    return done.stdout


def build_piped(files: dict[str, str]) -> Path:
    """The whole firmware for the host with stdin and stdout as its serial line, for `talk`."""
    files = {path: text for path, text in files.items() if path != "port/host_socket.c"}
    files["port/pipe.c"] = _PIPE_PORT
    return _link(files, sorted(path for path in files if path.endswith(".c")), "cc", SANITIZE_FLAGS)


def talk(program: Path, requests: Sequence[Request]) -> list[Frame]:
    """Start a device, open a session, send all requests at once and return the reply to each."""
    hello = pack(MessageType.HELLO, version=PROTOCOL_VERSION, session=1, first_sequence=1)
    sent = encode_frame(MessageType.HELLO, READING, hello)
    changes, numbers = itertools.count(1), [READING]
    for number, (type_, payload) in enumerate(requests, start=1):
        numbers.append(next(changes) if message(type_).changes_state else READING | number)
        sent += encode_frame(type_, numbers[-1], payload)
    done = subprocess.run([program], input=sent, capture_output=True, check=False)
    if done.returncode != 0 or done.stderr:
        raise AssertionError(done.stderr.decode(errors="replace"))
    replies = list(FrameReader().feed(done.stdout))
    assert [frame.sequence for frame in replies] == numbers
    return replies[1:]


def read_requests(region: Region, size_bytes: int) -> list[Request]:
    """The requests that read a region of that size; `joined` puts the replies together."""
    step = 200
    return [
        (MessageType.READ, pack(MessageType.READ, region=region, index=0, offset=offset, length=step))
        for offset in range(0, size_bytes, step)
    ]


def joined(replies: Sequence[Frame]) -> bytes:
    """The bytes of a region from the replies to its requests."""
    return b"".join(unpack(MessageType.READ_REPLY, frame.payload).tail for frame in replies)


class HostFirmware:
    """A running host firmware. Leaving the context ends it and fails if it did not end cleanly."""

    def __init__(self, program: Path) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        self._process = subprocess.Popen([program], stdout=subprocess.PIPE, stderr=self._log)
        assert self._process.stdout is not None
        line = self._process.stdout.readline().decode()
        assert line.startswith("port "), line
        self.url = line.split()[1]

    def __enter__(self) -> HostFirmware:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        code = self._process.wait(timeout=20)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._log.seek(0)
        said = self._log.read().decode(errors="replace")
        self._log.close()
        if code != 0 or said:
            raise AssertionError(f"the firmware ended with code {code}: {said}")


def _kernels(files: dict[str, str]) -> Iterable[str]:
    return sorted(path for path in files if re.fullmatch(r"runtime/elearn_\w+_s8\.c", path))


def _link(files: dict[str, str], sources: Iterable[str], compiler: str, flags: tuple[str, ...]) -> Path:
    objects = [_compiled(files, source, compiler, flags) for source in sources]
    with tempfile.NamedTemporaryFile(dir=_cache(), prefix="firmware_", delete=False) as file:
        program = Path(file.name)
    _run([compiler, *flags, *_linker(), "-o", str(program), *map(str, objects), "-lm"], _cache())
    return program


@cache
def _linker() -> tuple[str, ...]:
    """Thousands of programs are linked: gold takes half the time, where it is installed."""
    return ("-fuse-ld=gold",) if shutil.which("ld.gold") else ()


def _compiled(files: dict[str, str], source: str, compiler: str, flags: tuple[str, ...]) -> Path:
    needed = {source: files[source], **_headers(files, source)}
    argv = (compiler, *flags, _OPTIMIZATION, *COMPILE_FLAGS, *INCLUDE_FLAGS)
    key = hashlib.sha256(repr((argv, sorted(needed.items()))).encode()).hexdigest()[:24]
    target = _cache() / f"{key}.o"
    if not target.exists():
        folder = _cache() / key
        write_project(needed, folder)
        _run([*argv, "-c", "-o", str(target), source], folder)
        shutil.rmtree(folder)
    return target


def _headers(files: dict[str, str], source: str) -> dict[str, str]:
    """The project's own headers that a file includes, directly or not."""
    by_name = {Path(path).name: path for path in files if path.endswith(".h")}
    found: dict[str, str] = {}
    waiting = [source]
    while waiting:
        for name in re.findall(r'^#include "([^"]+)"', files[waiting.pop()], re.MULTILINE):
            path = by_name.get(name)
            if path is not None and path not in found:
                found[path] = files[path]
                waiting.append(path)
    return found


def _run(argv: list[str], folder: Path) -> None:
    require_tool(argv[0])
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@cache
def _cache() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="edgelearn_test_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
