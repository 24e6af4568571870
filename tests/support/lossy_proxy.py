"""A TCP line between host and device that loses, cuts, corrupts, repeats, delays and reorders what crosses it.

    with LossyProxy(firmware.url, Faults(lose=0.05)) as line, open_device(line.url) as device: ...

Faults are drawn for each frame from a seed, in both directions. The host's connection outlives the device's: where the
device goes away the line waits for one at `target`, which a test may change. A host that was cut off may come back.
"""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from types import TracebackType

import numpy as np
from msgspec import Struct

from edgelearn.host.device import Device, PendingSample
from edgelearn.training import IntegerHead

_LOOPBACK = "127.0.0.1"
_POLL_S = 0.02


class Faults(Struct, frozen=True, kw_only=True):
    """What goes wrong, as shares of the frames."""

    lose: float = 0.0
    #: One byte goes missing, the closing zero too.
    cut: float = 0.0
    #: One bit is turned over.
    corrupt: float = 0.0
    #: Two neighbouring bytes change places.
    swap: float = 0.0
    #: Arrives twice.
    duplicate: float = 0.0
    #: Arrives after one to three later frames instead of in its place.
    hold: float = 0.0
    #: Arrives, and once more after one to four later frames.
    replay: float = 0.0
    #: The line stops for `pause_s` before it.
    pause: float = 0.0
    #: Random bytes come before it.
    garbage: float = 0.0
    #: The host's connection is closed after it.
    disconnect: float = 0.0
    pause_s: float = 0.04


NO_FAULTS = Faults()

#: Every fault, so often that about one exchange in four needs a repeat.
ALL_FAULTS = Faults(
    lose=0.02,
    cut=0.02,
    corrupt=0.02,
    swap=0.02,
    duplicate=0.03,
    hold=0.02,
    replay=0.05,
    pause=0.01,
    garbage=0.03,
)


class _Direction:
    """One direction of the line: cuts its bytes into frames and does to each what its seed says."""

    def __init__(self, faults: Faults, seed: int) -> None:
        self._faults = faults
        self._random = random.Random(seed)
        self._partial = b""
        self._held: list[tuple[int, bytes]] = []
        self.seen: Counter[str] = Counter()
        self.wants_disconnect = False

    def feed(self, data: bytes, send: Callable[[bytes], None]) -> None:
        *frames, self._partial = (self._partial + data).split(b"\0")
        for frame in frames:
            send(self._treated(frame + b"\0") if frame else b"\0")

    def _happens(self, name: str) -> bool:
        happens = self._random.random() < getattr(self._faults, name)
        self.seen[name] += happens
        return happens

    def _treated(self, frame: bytes) -> bytes:
        self.seen["frames"] += 1
        self.wants_disconnect = self.wants_disconnect or self._happens("disconnect")
        if self._happens("pause"):
            time.sleep(self._faults.pause_s)
        out = self._random.randbytes(self._random.randint(1, 40)) if self._happens("garbage") else b""
        held, self._held = self._held, []
        if not self._happens("lose"):
            if self._happens("hold"):
                self._held.append((self._random.randint(1, 3), frame))
            else:
                out += self._damaged(frame)
        if self._happens("duplicate"):
            out += frame
        if self._happens("replay"):
            self._held.append((self._random.randint(1, 4), frame))
        for left, late in held:
            if left == 1:
                out += late
            else:
                self._held.append((left - 1, late))
        return out

    def _damaged(self, frame: bytes) -> bytes:
        broken = bytearray(frame)
        if self._happens("cut"):
            del broken[self._random.randrange(len(broken))]
        if self._happens("corrupt"):
            broken[self._random.randrange(len(broken))] ^= 1 << self._random.randrange(8)
        if self._happens("swap") and len(broken) > 1:
            first = self._random.randrange(len(broken) - 1)
            broken[first], broken[first + 1] = broken[first + 1], broken[first]
        return bytes(broken)


class LossyProxy:
    """Use as a context manager; `url` is the host's end.

    Attributes:
        target: the device's port, `socket://host:port`.
        to_device, to_host: how often each fault happened.
    """

    def __init__(self, target: str, faults: Faults = NO_FAULTS, *, seed: int = 0) -> None:
        self.target = target
        self._to_device = _Direction(faults, 2 * seed)
        self._to_host = _Direction(faults, 2 * seed + 1)
        self._server = socket.create_server((_LOOPBACK, 0))
        self._server.settimeout(_POLL_S)
        self.url = f"socket://{_LOOPBACK}:{self._server.getsockname()[1]}"
        self._stopping = threading.Event()
        self._device: socket.socket | None = None
        self._host: socket.socket | None = None
        self._threads: list[threading.Thread] = []

    @property
    def to_device(self) -> Counter[str]:
        return self._to_device.seen

    @property
    def to_host(self) -> Counter[str]:
        return self._to_host.seen

    def __enter__(self) -> LossyProxy:
        self._start(self._serve)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(timeout=10)
            assert not thread.is_alive()
        self._server.close()

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _serve(self) -> None:
        """Takes one host after the other; what they say is one stream."""
        self._connect()
        self._start(self._carry_to_host)
        while not self._stopping.is_set():
            try:
                host, _ = self._server.accept()
            except TimeoutError:
                continue
            host.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            host.settimeout(_POLL_S)
            with host:
                self._host = host
                self._carry_to_device(host)
                self._host = None

    def _carry_to_device(self, host: socket.socket) -> None:
        while not self._stopping.is_set():
            try:
                data = host.recv(65536)
            except TimeoutError:
                data = None
            except OSError:
                return
            if data == b"":
                return
            if data:
                self._to_device.feed(data, self._send_to_device)
            if self._to_device.wants_disconnect or self._to_host.wants_disconnect:
                self._to_device.wants_disconnect = self._to_host.wants_disconnect = False
                return

    def _connect(self) -> None:
        """One attempt; what is sent while there is no device is lost."""
        address, port = self.target.removeprefix("socket://").split(":")
        with contextlib.suppress(OSError):
            device = socket.create_connection((address, int(port)), timeout=1.0)
            device.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            device.settimeout(_POLL_S)
            self._device = device

    def _send_to_device(self, data: bytes) -> None:
        device = self._device
        if device is not None and data:
            with contextlib.suppress(OSError):
                device.sendall(data)

    def _send_to_host(self, data: bytes) -> None:
        host = self._host
        if host is not None and data:
            with contextlib.suppress(OSError):
                host.sendall(data)

    def _carry_to_host(self) -> None:
        while not self._stopping.is_set():
            device = self._device
            if device is None:
                time.sleep(_POLL_S)
                self._connect()
                continue
            try:
                data = device.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                data = b""
            if data:
                self._to_host.feed(data, self._send_to_host)
            else:
                self._device = None
                device.close()
        if self._device is not None:
            self._device.close()


def teach(device: Device, head: IntegerHead, *, samples: int, seed: int, compare: bool = True) -> None:
    """Train a model that is nothing but its head, and the reference, on the same samples; compare every bit.

    As many samples are under way as the device allows. Each result is compared, so that a sample that was lost, applied
    twice or overtaken shows at the next one.
    """
    rng = np.random.default_rng(seed)
    first = device.statistics().step
    prototypes = rng.integers(-128, 128, (head.plan.outputs, head.plan.features))
    waiting: deque[tuple[PendingSample, tuple[int, ...]]] = deque()
    for number in range(samples):
        label = int(rng.integers(head.plan.outputs))
        noise = rng.integers(-60, 61, head.plan.features)
        x = np.clip(prototypes[label] + noise, -128, 127).astype(np.int8)
        step = head.judge(head.forward(x), label=label)
        want = first + number + 1, step.prediction, step.loss_a, step.loss_b
        waiting.append((device.submit(x, train=True, label=label), want))
        head.learn(x, step, label=label)
        while waiting and waiting[0][0].is_done:
            _check(device, *waiting.popleft())
    for pending, want in waiting:
        _check(device, pending, want)
    if compare:
        assert_same_head(device, head)


def _check(device: Device, pending: PendingSample, want: tuple[int, ...]) -> None:
    result = device.result(pending)
    assert (result.step, result.prediction, result.loss_a, result.loss_b) == want


def assert_same_head(device: Device, head: IntegerHead) -> None:
    """The device's head has the bits of the reference."""
    learned = device.read_head()
    for mine, its in (
        (head.q, learned.q),
        (head.residual, learned.l),
        (head.bias, learned.bias),
        (head.row_t, learned.row_t),
        (head.row_rho, learned.row_rho),
    ):
        np.testing.assert_array_equal(mine, its)
