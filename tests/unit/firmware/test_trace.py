"""Counting from a log that was written by hand, of a program of a few instructions."""

from __future__ import annotations

import pytest

from edgelearn.board import Core
from edgelearn.errors import EmulatorError
from edgelearn.firmware.cycles import COST_TABLES
from edgelearn.firmware.image import Function, Image
from edgelearn.firmware.thumb import Kind, decode
from edgelearn.firmware.trace import Trace, Traced

TABLE = COST_TABLES[Core.CORTEX_M4F]

RUN, KERNEL, LAST, FORWARD, LEARN, LINK, COPY = 0x100, 0x200, 0x300, 0x400, 0x500, 0x600, 0x700


def bl(at: int, to: int) -> str:
    return _long_branch(at, to, 0xD000)


def b(at: int, to: int) -> str:
    return _long_branch(at, to, 0x9000)


def _long_branch(at: int, to: int, bits: int) -> str:
    """DDI0403, A7.7.18 and A7.7.12."""
    offset = to - at - 4
    sign = offset >> 24 & 1
    j1, j2 = (1 - (offset >> bit & 1 ^ sign) for bit in (23, 22))
    first = 0xF000 | sign << 10 | offset >> 12 & 0x3FF
    second = bits | j1 << 13 | j2 << 11 | offset >> 1 & 0x7FF
    return (first.to_bytes(2, "little") + second.to_bytes(2, "little")).hex()


#: Name, source and code of each function.
PROGRAM = {
    # push {r4, lr}; bl kernel; nop; bl kernel; pop {r4, lr}; b.w last
    RUN: (
        "elearn_model_run",
        "src/model.c",
        f"10b5 {bl(0x102, KERNEL)} 00bf {bl(0x108, KERNEL)} bde81040 {b(0x110, LAST)}"
        # bl memcpy; bl kernel
        f"{bl(0x114, COPY)} {bl(0x118, KERNEL)}",
    ),
    # ldr r0, [r1]; ldr r2, [r1]; subs r3, #1; bne back to the loads; bl copy; bx lr
    KERNEL: ("elearn_kernel_s8", "runtime/elearn_kernel_s8.c", f"0868 0a68 013b fbd1 {bl(0x208, COPY)} 7047"),
    # muls r0, r1; bx lr
    LAST: ("elearn_last_s8", "runtime/elearn_last_s8.c", "4843 7047"),
    FORWARD: ("elearn_head_forward", "runtime/elearn_head.c", "00bf 7047"),
    LEARN: ("elearn_head_learn", "runtime/elearn_head.c", "00bf 00bf 7047"),
    LINK: ("sample", "runtime/elearn_link.c", f"{bl(0x600, RUN)} {bl(0x604, FORWARD)} {bl(0x608, LEARN)} 00bf 7047"),
    # the library's: nop; bx lr
    COPY: ("memcpy", "", "00bf 7047"),
}


def image() -> Image:
    code = {address: bytes.fromhex(text) for address, (_, _, text) in PROGRAM.items()}
    return Image(
        functions=tuple(
            Function(
                names=(name,),
                source=source,
                address=address,
                size_bytes=len(code[address]),
                instructions=decode(code[address], address),
            )
            for address, (name, source, _) in PROGRAM.items()
        ),
        sections=tuple(code.items()),
    )


class Log:
    """Writes what QEMU would: a translation before the first run of each block."""

    def __init__(self) -> None:
        self.text = ""
        self._translated: set[tuple[int, int]] = set()

    def run(self, begin: int, last: int) -> Log:
        """A block from an address to that of its last instruction."""
        if (begin, last) not in self._translated:
            self._translated.add((begin, last))
            self.text += "----------------\nIN: somewhere\n"
            for address in sorted({begin, last}):
                self.text += f"0x{address:08x}:  0868       ldr      r0, [r1]\n"
            self.text += "\n"
        self.text += f"{self._line(begin, last)}\n"
        return self

    def stop(self, begin: int, last: int) -> Log:
        """A block that was about to run when the emulator had something else to do."""
        self.run(begin, last)
        self.text += f"Stopped execution of TB chain before 0x7f00 [{begin:08x}] somewhere\n"
        return self

    @staticmethod
    def _line(begin: int, last: int) -> str:
        return f"Trace 0: 0x7f{begin:06x}{last:04x} [00000000/{begin:08x}/00000110/ff000000] somewhere"

    def kernel(self, turns: int) -> Log:
        for _ in range(turns):
            self.run(0x200, 0x206)
        return self.run(0x208, 0x208).run(0x700, 0x702).run(0x20C, 0x20C)


def one_sample(log: Log, *, learn: bool = True) -> Log:
    log.run(0x600, 0x600)
    log.run(0x100, 0x102).kernel(3)
    log.run(0x106, 0x108).kernel(1)
    log.run(0x10C, 0x110).run(0x300, 0x302)
    log.run(0x604, 0x604).run(0x400, 0x402)
    if learn:
        log.run(0x608, 0x608).run(0x500, 0x504)
    return log.run(0x60C, 0x60E)


def counted(text: str, *, piece_bytes: int = 1 << 20) -> Traced:
    trace = Trace(image())
    raw = text.encode()
    for begin in range(0, len(raw), piece_bytes):
        trace.feed(raw[begin : begin + piece_bytes])
    trace.finish()
    return trace.result(TABLE)


def test_each_call_is_a_layer() -> None:
    traced = counted(one_sample(Log()).text)
    first, second, last = traced.layers
    assert [work.calls for work in traced.layers] == [("elearn_kernel_s8",), ("elearn_kernel_s8",), ("elearn_last_s8",)]
    # The call with what is before it, the loop, and the end of the kernel with the function that it calls.
    assert first.instructions == 2 + 3 * 4 + 1 + 2 + 1
    assert second.instructions == 2 + 1 * 4 + 1 + 2 + 1
    assert last.instructions == 2 + 2
    # push of two words 3, call 3; loads 2 + 1, subtraction 1, jump 3, 3 and 1; call 3, nop 1, return 3, return 3.
    assert first.cycles == 3 + 3 + 3 * 4 + (3 + 3 + 1) + 3 + 1 + 3 + 3
    assert last.cycles == (3 + 3) + (1 + 3)
    assert first.mix[Kind.LOAD] == 6
    assert last.mix == {Kind.LOAD_MULTIPLE: 1, Kind.BRANCH: 2, Kind.MULTIPLY: 1}


def test_the_trainable_layer_is_counted_by_itself() -> None:
    traced = counted(one_sample(one_sample(Log()), learn=False).text)
    assert traced.forward is not None
    assert traced.learn is not None
    assert (traced.forward.instructions, traced.learn.instructions) == (2 * 2, 3)
    assert counted(one_sample(Log(), learn=False).text).learn is None


def test_samples_add_up() -> None:
    once, thrice = counted(one_sample(Log()).text), counted(one_sample(one_sample(one_sample(Log()))).text)
    assert [work.instructions for work in thrice.layers] == [3 * work.instructions for work in once.layers]
    assert [work.cycles for work in thrice.layers] == [3 * work.cycles for work in once.layers]


@pytest.mark.parametrize("piece_bytes", [1, 7, 100, 1000])
def test_pieces_of_any_size(piece_bytes: int) -> None:
    text = one_sample(one_sample(Log())).text
    assert counted(text, piece_bytes=piece_bytes) == counted(text)


def test_a_block_that_did_not_run_does_not_count() -> None:
    log = Log().run(0x600, 0x600).run(0x100, 0x102).stop(0x200, 0x206).kernel(2)
    log.run(0x106, 0x108).stop(0x200, 0x206).kernel(1).run(0x60C, 0x60E)
    first, second = counted(log.text).layers
    assert first.instructions == 2 + 2 * 4 + 4
    assert second.instructions == 2 + 1 * 4 + 4


def test_a_call_that_was_cut_in_two_is_one_layer() -> None:
    """At the end of a page QEMU ends a block wherever it is."""
    log = Log().run(0x100, 0x100).run(0x102, 0x102).kernel(1).run(0x106, 0x108).kernel(1)
    log.run(0x10C, 0x10C).run(0x60C, 0x60E)
    first, second = counted(log.text).layers
    assert first.instructions == 1 + 1 + 4 + 4
    assert second.instructions == 2 + 4 + 4 + 1, "the way back counts with the last call"


def test_a_call_of_the_library_counts_with_the_kernel_after_it() -> None:
    log = Log().run(0x114, 0x114).run(0x700, 0x702).run(0x118, 0x118).kernel(1).run(0x60C, 0x60E)
    (work,) = counted(log.text).layers
    assert work.calls == ("elearn_kernel_s8",)
    assert work.instructions == 1 + 2 + 1 + 4 + 4


def test_a_translation_that_is_made_anew_replaces_the_old_one() -> None:
    log = Log().run(0x100, 0x102).run(0x200, 0x206).run(0x200, 0x202).run(0x204, 0x206)
    (work,) = counted(log.text).layers
    assert work.instructions == 2 + 4 + 2 + 2


def test_nothing_traced() -> None:
    assert counted("") == Traced(layers=(), forward=None, learn=None)
    assert counted("qemu: a warning\nand more\n").layers == ()


def test_a_log_that_is_written_in_another_way() -> None:
    with pytest.raises(EmulatorError, match="cannot be read"):
        counted("Trace 0: 0x7f00 [00000000/00000200/00000110/ff000000] somewhere\n")
    with pytest.raises(EmulatorError, match="not in the image"):
        counted(Log().run(0x9000, 0x9002).text)
