"""What machine code brings along of a compiler's library (elearn_support.c), here against Python's numbers."""

from __future__ import annotations

import ctypes
import itertools
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgelearn.machine_code import folder
from tests.support.tools import require_tool

#: Where sums and products carry, wrap and change signs.
WORDS = [0, 1, 2, 3, 7, 0xFFFF, 0x10000, 0x10001, 0x7FFFFFFF, 0x80000000, 0x80000001, 0xFFFFFFFE, 0xFFFFFFFF]
_RENAMED = [f"-D{name}=own_{name}" for name in ("memcpy", "memmove", "memset")]


@pytest.fixture(scope="module")
def support(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    require_tool("cc")
    library: Path = tmp_path_factory.mktemp("support") / "support.so"
    flags = ["-std=c99", "-O1", "-shared", "-fPIC", "-fno-builtin", "-fno-tree-loop-distribute-patterns"]
    source = folder() / "elearn_support.c"
    subprocess.run(["cc", *flags, "-D__ARM_ARCH=6", *_RENAMED, str(source), "-o", str(library)], check=True)
    return ctypes.CDLL(str(library))


def signed(value: int, bits: int) -> int:
    value %= 1 << bits
    return value - (1 << bits) if value >> (bits - 1) else value


def words() -> list[int]:
    rng = np.random.default_rng(3)
    return WORDS + [int(v) >> int(rng.integers(0, 32)) for v in rng.integers(0, 1 << 32, 60)]


def test_products_of_64_bits(support: ctypes.CDLL):
    multiply = support.__aeabi_lmul
    multiply.argtypes, multiply.restype = [ctypes.c_int64] * 2, ctypes.c_int64
    values = [(high << 32) | low for high, low in zip(words(), words()[::-1], strict=True)] + words()
    for a, b in itertools.product(values, repeat=2):
        assert multiply(signed(a, 64), signed(b, 64)) == signed(a * b, 64)


def test_quotients_and_remainders(support: ctypes.CDLL):
    divide, divide_signed = support.__aeabi_uidivmod, support.__aeabi_idivmod
    divide.argtypes, divide.restype = [ctypes.c_uint32] * 2, ctypes.c_uint64
    divide_signed.argtypes, divide_signed.restype = [ctypes.c_int32] * 2, ctypes.c_uint64
    for a, b in itertools.product(words(), [word for word in words() if word]):
        found = divide(a, b)
        assert (found & 0xFFFFFFFF, found >> 32) == divmod(a, b)
        x, y = signed(a, 32), signed(b, 32)
        found = divide_signed(x, y)
        quotient = abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)
        assert signed(found, 32) == signed(quotient, 32), (x, y)
        assert signed(found >> 32, 32) == x - quotient * y, (x, y)


@pytest.mark.parametrize("name", ["own_memcpy", "own_memmove"])
def test_copies_at_any_address(support: ctypes.CDLL, name: str):
    copy = getattr(support, name)
    copy.argtypes, copy.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t], ctypes.c_void_p
    for to, source, size in itertools.product(range(0, 24, 1), range(0, 24, 1), (0, 1, 3, 4, 5, 9, 17)):
        if name == "own_memcpy" and source < to < source + size:
            continue  # only what follows may overlap
        memory = bytearray(range(64))
        expected = bytes(memory[source : source + size])
        buffer = (ctypes.c_char * 64).from_buffer(memory)
        begin = ctypes.addressof(buffer)
        assert copy(begin + to, begin + source, size) == begin + to
        assert memory[to : to + size] == expected
        assert memory[to + size :][:8] == bytearray(range(64))[to + size :][:8]


def test_filling_at_any_address(support: ctypes.CDLL):
    fill = support.own_memset
    fill.argtypes, fill.restype = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t], ctypes.c_void_p
    for at, size, value in itertools.product(range(9), range(20), (0, 200, -1)):
        memory = bytearray(b"\x55" * 40)
        begin = ctypes.addressof((ctypes.c_char * 40).from_buffer(memory))
        assert fill(begin + at, value, size) == begin + at
        assert memory == b"\x55" * at + bytes([value & 255]) * size + b"\x55" * (40 - at - size)
