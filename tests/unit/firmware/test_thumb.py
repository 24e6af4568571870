"""The class, size, target and use of the stack of instructions, against encodings by the GNU assembler."""

from __future__ import annotations

import subprocess

import pytest
from elftools.elf.elffile import ELFFile

from edgelearn.firmware.thumb import Instruction, Kind, decode
from tests.support.tools import require_tool

#: Instruction, class, and what else is known of it.
CASES = [
    ("adds r0, r1, r2", Kind.OTHER, {}),
    ("movs r0, #1", Kind.OTHER, {}),
    ("add r9, r1", Kind.OTHER, {}),
    ("mov r8, sp", Kind.OTHER, {}),
    ("muls r0, r1", Kind.MULTIPLY, {}),
    ("ldr r0, [pc, #8]", Kind.LOAD, {}),
    ("ldr r0, [r1, r2]", Kind.LOAD, {}),
    ("ldrsb r0, [r1, r2]", Kind.LOAD, {}),
    ("ldrh r0, [r1, r2]", Kind.LOAD, {}),
    ("strb r0, [r1, r2]", Kind.STORE, {}),
    ("strh r0, [r1, r2]", Kind.STORE, {}),
    ("ldr r0, [r1, #4]", Kind.LOAD, {}),
    ("ldrb r0, [r1, #4]", Kind.LOAD, {}),
    ("ldrh r0, [r1, #4]", Kind.LOAD, {}),
    ("strh r0, [r1, #4]", Kind.STORE, {}),
    ("ldr r0, [sp, #4]", Kind.LOAD, {}),
    ("str r0, [sp, #4]", Kind.STORE, {}),
    ("push {r0, r4, lr}", Kind.STORE_MULTIPLE, {"words": 3, "stack_bytes": 12}),
    ("pop {r0, r4, pc}", Kind.LOAD_MULTIPLE, {"words": 3}),
    ("stmia r0!, {r1, r2}", Kind.STORE_MULTIPLE, {"words": 2}),
    ("ldmia r0!, {r1, r2, r3}", Kind.LOAD_MULTIPLE, {"words": 3}),
    ("sub sp, #24", Kind.OTHER, {"stack_bytes": 24}),
    ("add sp, #24", Kind.OTHER, {}),
    ("bx lr", Kind.BRANCH, {}),
    ("mov pc, lr", Kind.BRANCH, {}),
    ("mov pc, r3", Kind.BRANCH, {}),
    ("bx r3", Kind.BRANCH, {"is_indirect": True}),
    ("blx r3", Kind.BRANCH, {"is_indirect": True, "is_call": True}),
    ("mov sp, r7", Kind.OTHER, {"sets_stack": True}),
    ("add sp, r4", Kind.OTHER, {"sets_stack": True}),
    ("beq.n here", Kind.BRANCH, {"target": 0}),
    ("b.n here", Kind.BRANCH, {"target": 0}),
    ("cbz r0, there", Kind.BRANCH, {"target": "there"}),
    ("cbnz r7, there", Kind.BRANCH, {"target": "there"}),
    ("it eq", Kind.OTHER, {}),
    ("nop", Kind.OTHER, {}),
    ("wfi", Kind.OTHER, {}),
    ("beq.w here", Kind.BRANCH, {"target": 0}),
    ("bne.w there", Kind.BRANCH, {"target": "there"}),
    ("b.w here", Kind.BRANCH, {"target": 0}),
    ("b.w there", Kind.BRANCH, {"target": "there"}),
    ("bl here", Kind.BRANCH, {"target": 0, "is_call": True}),
    ("bl there", Kind.BRANCH, {"target": "there", "is_call": True}),
    ("tbb [pc, r0]", Kind.BRANCH, {}),
    ("tbh [pc, r0, lsl #1]", Kind.BRANCH, {}),
    ("dsb sy", Kind.OTHER, {}),
    ("msr primask, r0", Kind.OTHER, {}),
    ("mrs r0, primask", Kind.OTHER, {}),
    ("push.w {r4-r11, lr}", Kind.STORE_MULTIPLE, {"words": 9, "stack_bytes": 36}),
    ("pop.w {r4-r11, pc}", Kind.LOAD_MULTIPLE, {"words": 9}),
    ("ldmia.w r8!, {r0-r3, r9}", Kind.LOAD_MULTIPLE, {"words": 5}),
    ("stmdb r8!, {r0-r3}", Kind.STORE_MULTIPLE, {"words": 4}),
    ("str r0, [sp, #-4]!", Kind.STORE, {"stack_bytes": 4}),
    ("strd r0, r1, [sp, #-16]!", Kind.STORE_DOUBLE, {"stack_bytes": 16}),
    ("strd r0, r1, [r2]", Kind.STORE_DOUBLE, {}),
    ("ldrd r0, r1, [r2, #8]", Kind.LOAD_DOUBLE, {}),
    ("ldrd r0, r1, [r2], #8", Kind.LOAD_DOUBLE, {}),
    ("ldrex r0, [r1]", Kind.LOAD, {}),
    ("strex r0, r1, [r2]", Kind.STORE, {}),
    ("ldrsb.w r0, [r1], #1", Kind.LOAD, {}),
    ("ldr.w r8, [r1, r2, lsl #2]", Kind.LOAD, {}),
    ("ldr.w r8, [r1, #2000]", Kind.LOAD, {}),
    ("strb.w r8, [r1, #2000]", Kind.STORE, {}),
    ("str.w r8, [r1], #4", Kind.STORE, {}),
    ("pld [r0]", Kind.OTHER, {}),
    ("ldr pc, [r0]", Kind.LOAD, {"is_indirect": True}),
    ("ldr pc, [sp], #4", Kind.LOAD, {}),
    ("sub.w sp, sp, #1024", Kind.OTHER, {"stack_bytes": 1024}),
    ("sub.w sp, sp, #700", Kind.OTHER, {"stack_bytes": 700}),
    ("subw sp, sp, #1003", Kind.OTHER, {"stack_bytes": 1003}),
    ("add.w sp, sp, #1024", Kind.OTHER, {}),
    ("addw sp, sp, #1003", Kind.OTHER, {}),
    ("sub.w sp, sp, r3", Kind.OTHER, {"sets_stack": True}),
    ("cmp.w sp, #0", Kind.OTHER, {}),
    ("movw r3, #0x1234", Kind.OTHER, {}),
    ("movt r9, #0xFEDC", Kind.OTHER, {}),
    ("mov.w r8, #0x01010101", Kind.OTHER, {}),
    ("sxtb16 r0, r1, ror #8", Kind.OTHER, {}),
    ("pkhbt r0, r1, r2, lsl #16", Kind.OTHER, {}),
    ("ssat r0, #8, r1, asr #4", Kind.OTHER, {}),
    ("mul.w r8, r1, r2", Kind.MULTIPLY, {}),
    ("mla r8, r1, r2, r3", Kind.MULTIPLY_ADD, {}),
    ("mls r8, r1, r2, r3", Kind.MULTIPLY_ADD, {}),
    ("smlad r8, r1, r2, r3", Kind.MULTIPLY_ADD, {}),
    ("smlabb r8, r1, r2, r3", Kind.MULTIPLY_ADD, {}),
    ("smmla r8, r1, r2, r3", Kind.MULTIPLY_ADD, {}),
    ("smull r0, r1, r2, r3", Kind.MULTIPLY_LONG, {}),
    ("umull r0, r1, r2, r3", Kind.MULTIPLY_LONG, {}),
    ("smlal r0, r1, r2, r3", Kind.MULTIPLY_ADD_LONG, {}),
    ("umlal r0, r1, r2, r3", Kind.MULTIPLY_ADD_LONG, {}),
    ("smlald r0, r1, r2, r3", Kind.MULTIPLY_ADD_LONG, {}),
    ("sdiv r0, r1, r2", Kind.DIVIDE, {}),
    ("udiv r0, r1, r2", Kind.DIVIDE, {}),
    ("vldr s0, [r0]", Kind.LOAD, {}),
    ("vstr s0, [r0]", Kind.STORE, {}),
    ("vldr d0, [r0]", Kind.LOAD_DOUBLE, {}),
    ("vpush {d8-d10}", Kind.STORE_MULTIPLE, {"words": 6, "stack_bytes": 24}),
    ("vpush {s16, s17}", Kind.STORE_MULTIPLE, {"words": 2, "stack_bytes": 8}),
    ("vpop {d8-d10}", Kind.LOAD_MULTIPLE, {"words": 6}),
    ("vldmia r0!, {s0-s3}", Kind.LOAD_MULTIPLE, {"words": 4}),
    ("vmov s0, r0", Kind.OTHER, {}),
    ("vmov r0, r1, s0, s1", Kind.OTHER, {}),
    ("vmrs APSR_nzcv, fpscr", Kind.OTHER, {}),
    ("vadd.f32 s0, s1, s2", Kind.OTHER, {}),
    ("vmul.f32 s0, s1, s2", Kind.OTHER, {}),
    ("vcvt.f32.s32 s0, s0", Kind.OTHER, {}),
    ("vcmp.f32 s0, s1", Kind.OTHER, {}),
    ("vneg.f32 s0, s1", Kind.OTHER, {}),
    ("vmla.f32 s0, s1, s2", Kind.FLOAT_MULTIPLY_ADD, {}),
    ("vnmls.f32 s0, s1, s2", Kind.FLOAT_MULTIPLY_ADD, {}),
    ("vfma.f32 s0, s1, s2", Kind.FLOAT_MULTIPLY_ADD, {}),
    ("vfms.f32 s0, s1, s2", Kind.FLOAT_MULTIPLY_ADD, {}),
    ("vfnma.f32 s0, s1, s2", Kind.FLOAT_MULTIPLY_ADD, {}),
    ("vdiv.f32 s0, s1, s2", Kind.FLOAT_DIVIDE, {}),
    ("vsqrt.f32 s0, s1", Kind.FLOAT_DIVIDE, {}),
    ("vmaxnm.f32 s0, s1, s2", Kind.OTHER, {}),
    ("vrinta.f32 s0, s1", Kind.OTHER, {}),
]


@pytest.fixture(scope="module")
def assembled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The code of each case, with `here` at its beginning and `there` 8 bytes behind the instruction."""
    require_tool("arm-none-eabi-gcc")
    folder = tmp_path_factory.mktemp("thumb")
    lines = [".syntax unified", ".thumb"]
    for number, (text, _, _) in enumerate(CASES):
        lines += [f'.section .case{number}, "ax"', ".p2align 2", "1:", _labelled(text)]
        lines += ["nop.w", "nop.w", "2: nop"]
    source, elf = folder / "cases.s", folder / "cases.o"
    source.write_text("\n".join(lines) + "\n")
    cpu = ("-mcpu=cortex-m7", "-mthumb", "-mfpu=fpv5-d16", "-mfloat-abi=hard")
    subprocess.run(["arm-none-eabi-gcc", *cpu, "-c", "-o", str(elf), str(source)], check=True, capture_output=True)
    with elf.open("rb") as file:
        image = ELFFile(file)
        return {text: _section(image, f".case{number}") for number, (text, _, _) in enumerate(CASES)}


def _labelled(text: str) -> str:
    filler = "\nmoveq r0, r1" if text == "it eq" else ""
    return text.replace("there", "2f").replace("here", "1b") + filler


def _section(image: ELFFile, name: str) -> bytes:
    section = image.get_section_by_name(name)
    assert section is not None
    return bytes(section.data())


@pytest.mark.parametrize(("text", "kind", "rest"), CASES, ids=[text for text, _, _ in CASES])
def test_decode(assembled: dict[str, bytes], text: str, kind: Kind, rest: dict[str, object]) -> None:
    code = assembled[text]
    first, *others = decode(code, 0)
    assert sum(one.size_bytes for one in (first, *others)) == len(code)
    size_bytes = others[0].address
    target = size_bytes + 8 if rest.get("target") == "there" else rest.get("target")
    assert first == Instruction(address=0, size_bytes=size_bytes, kind=kind, **{**rest, "target": target})


def test_addresses_and_what_is_cut_off() -> None:
    code = bytes.fromhex("00bf 2de9f04f 00bf 2de9")  # nop, push.w, nop, half of another
    assert [(one.address, one.size_bytes) for one in decode(code, 0x100)] == [(0x100, 2), (0x102, 4), (0x106, 2)]
    assert decode(b"", 0) == ()
    assert decode(b"\x00", 0) == ()
