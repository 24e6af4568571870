"""Instructions of Armv7-M as far as their cost, their jumps and their use of the stack go.

Estimating cycles and bounding the stack need the class of each instruction, how many words it moves, where it goes and
what it takes from the stack, for images of any compiler on machines that may have no disassembler. The encodings are
those of the Armv7-M Architecture Reference Manual (DDI0403), A5 (Thumb instruction set encoding) and A6 (floating
point); section numbers stand at each group.
"""

from __future__ import annotations

import enum
import functools

from msgspec import Struct

_SP, _LR, _PC = 13, 14, 15


class Kind(enum.Enum):
    """Classes of instructions that differ in cost."""

    LOAD = "load"
    STORE = "store"
    LOAD_DOUBLE = "load double"
    STORE_DOUBLE = "store double"
    LOAD_MULTIPLE = "load multiple"
    STORE_MULTIPLE = "store multiple"
    BRANCH = "branch"
    MULTIPLY = "multiply"
    MULTIPLY_ADD = "multiply-add"
    MULTIPLY_LONG = "multiply long"
    MULTIPLY_ADD_LONG = "multiply-add long"
    DIVIDE = "divide"
    FLOAT_MULTIPLY_ADD = "float multiply-add"
    FLOAT_DIVIDE = "float divide"
    OTHER = "other"


class Instruction(Struct, frozen=True, kw_only=True):
    """One instruction.

    Attributes:
        address: where it stands.
        size_bytes: 2 or 4.
        kind: its class.
        words: registers that a load or store multiple moves.
        target: where it jumps to; None where it does not, or where a register or memory says it.
        is_call: whether the next instruction is returned to.
        is_indirect: whether it jumps to where a register or memory says, other than to return.
        stack_bytes: what it takes from the stack.
        sets_stack: whether it moves the stack pointer by what only running it tells.
    """

    address: int
    size_bytes: int
    kind: Kind = Kind.OTHER
    words: int = 0
    target: int | None = None
    is_call: bool = False
    is_indirect: bool = False
    stack_bytes: int = 0
    sets_stack: bool = False


def decode(code: bytes, address: int) -> tuple[Instruction, ...]:
    """The instructions of a piece of code without data in it; a last one that is cut off is left out."""
    found = []
    offset = 0
    while offset + 2 <= len(code):
        first = int.from_bytes(code[offset : offset + 2], "little")
        # A5.1: these five upper bits begin an instruction of two halfwords.
        if first >> 11 in (0b11101, 0b11110, 0b11111):
            if offset + 4 > len(code):
                break
            second = int.from_bytes(code[offset + 2 : offset + 4], "little")
            instruction = _wide(first, second, address + offset)
        else:
            instruction = _narrow(first, address + offset)
        found.append(instruction)
        offset += instruction.size_bytes
    return tuple(found)


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value


def _narrow(h: int, address: int) -> Instruction:
    """A5.2: 16-bit instructions."""
    make = functools.partial(Instruction, address=address, size_bytes=2)
    top = h >> 12
    loads = bool(h & 0x0800)
    if h >> 6 == 0b0100001101:  # MULS
        return make(kind=Kind.MULTIPLY)
    if h >> 8 in (0x44, 0x46):  # ADD, MOV with high registers
        destination = (h >> 4 & 8) | (h & 7)
        # To PC: a return, or a jump inside the function by a table, as for Armv6-M; pointers are called with BLX or BX.
        return make(
            kind=Kind.BRANCH if destination == _PC else Kind.OTHER,
            sets_stack=destination == _SP,
        )
    if h >> 8 == 0x47:  # BX, BLX
        is_call = bool(h & 0x80)
        return make(kind=Kind.BRANCH, is_call=is_call, is_indirect=is_call or h >> 3 & 15 != _LR)
    if h >> 11 == 0b01001:  # LDR (literal)
        return make(kind=Kind.LOAD)
    if top == 0b0101:
        return make(kind=Kind.LOAD if h >> 9 & 7 >= 3 else Kind.STORE)
    if top in (0b0110, 0b0111, 0b1000, 0b1001):
        return make(kind=Kind.LOAD if loads else Kind.STORE)
    if h >> 9 == 0b1011010:  # PUSH
        words = (h & 0x1FF).bit_count()
        return make(kind=Kind.STORE_MULTIPLE, words=words, stack_bytes=4 * words)
    if h >> 9 == 0b1011110:  # POP
        return make(kind=Kind.LOAD_MULTIPLE, words=(h & 0x1FF).bit_count())
    if h >> 7 == 0b101100001:  # SUB (SP minus immediate)
        return make(stack_bytes=4 * (h & 0x7F))
    if h & 0xF500 == 0xB100:  # CBZ, CBNZ
        offset = (h >> 9 & 1) << 6 | (h >> 3 & 31) << 1
        return make(kind=Kind.BRANCH, target=address + 4 + offset)
    if top == 0b1100:
        words = (h & 0xFF).bit_count()
        return make(kind=Kind.LOAD_MULTIPLE if loads else Kind.STORE_MULTIPLE, words=words)
    if top == 0b1101 and h >> 8 & 15 < 14:
        return make(kind=Kind.BRANCH, target=address + 4 + 2 * _signed(h & 0xFF, 8))
    if h >> 11 == 0b11100:
        return make(kind=Kind.BRANCH, target=address + 4 + 2 * _signed(h & 0x7FF, 11))
    return make()


def _wide(a: int, b: int, address: int) -> Instruction:
    """A5.3: 32-bit instructions."""
    make = functools.partial(Instruction, address=address, size_bytes=4)
    base = a & 15
    loads = bool(a & 0x10)
    destination = b >> 8 & 15
    if a >> 9 == 0b1110100:
        if not a & 0x40:  # A5.3.5: load and store multiple
            words = b.bit_count()
            pushes = a == 0xE92D
            return make(
                kind=Kind.LOAD_MULTIPLE if loads else Kind.STORE_MULTIPLE,
                words=words,
                stack_bytes=4 * words if pushes else 0,
            )
        # A5.3.6: load and store double or exclusive, table branch
        if a & 0xFFF0 == 0xE8D0 and b & 0xFFE0 == 0xF000:
            return make(kind=Kind.BRANCH)
        if a & 0x0120:  # pre-indexed or written back: LDRD, STRD
            pushes = a == 0xE96D
            return make(
                kind=Kind.LOAD_DOUBLE if loads else Kind.STORE_DOUBLE, stack_bytes=4 * (b & 0xFF) if pushes else 0
            )
        return make(kind=Kind.LOAD if loads else Kind.STORE)
    if a >> 9 == 0b1110101:  # A5.3.11: data processing, shifted register; Rd = 15 is a comparison
        return make(sets_stack=destination == _SP)
    if a >> 9 in (0b1110110, 0b1111110):
        return _vector_move(a, b, address)
    if a >> 8 in (0b11101110, 0b11111110):
        return make(kind=_float_kind(a, b))
    if a >> 11 == 0b11110:
        return _branch(a, b, address) if b & 0x8000 else _immediate(a, b, address)
    if a >> 9 == 0b1111100:  # A5.3.7 to A5.3.10: load and store single
        if not loads:
            pushes = a == 0xF84D and b & 0x0F00 == 0x0D00
            return make(kind=Kind.STORE, stack_bytes=b & 0xFF if pushes else 0)
        if b >> 12 == _PC:
            is_word = a >> 5 & 3 == 2
            # LDR PC, [SP], #4 is POP {PC}; the narrower loads to PC are hints to fetch memory.
            returns = base == _SP and b & 0x0F00 == 0x0B00
            return make(kind=Kind.LOAD if is_word else Kind.OTHER, is_indirect=is_word and not returns)
        return make(kind=Kind.LOAD)
    if a >> 7 == 0b111110110:  # A5.3.16: multiply, 32-bit result
        return make(kind=Kind.MULTIPLY if a >> 4 & 7 == 0 and b >> 12 == 15 else Kind.MULTIPLY_ADD)
    if a >> 7 == 0b111110111:  # A5.3.17: multiply long, divide
        operation = a >> 4 & 7
        if operation in (1, 3):
            return make(kind=Kind.DIVIDE)
        return make(kind=Kind.MULTIPLY_LONG if operation in (0, 2) else Kind.MULTIPLY_ADD_LONG)
    return make()


def _branch(a: int, b: int, address: int) -> Instruction:
    """A5.3.4: branches and miscellaneous control."""
    sign, j1, j2 = a >> 10 & 1, b >> 13 & 1, b >> 11 & 1
    if b & 0x1000:  # B (T4), BL
        i1, i2 = 1 - (j1 ^ sign), 1 - (j2 ^ sign)
        offset = _signed(sign << 24 | i1 << 23 | i2 << 22 | (a & 0x3FF) << 12 | (b & 0x7FF) << 1, 25)
        is_call = bool(b & 0x4000)
    elif not b & 0x4000 and a >> 7 & 7 != 7:  # B (T3), on a condition
        offset = _signed(sign << 20 | j2 << 19 | j1 << 18 | (a & 0x3F) << 12 | (b & 0x7FF) << 1, 21)
        is_call = False
    else:  # MSR, MRS, hints, barriers
        return Instruction(address=address, size_bytes=4)
    return Instruction(address=address, size_bytes=4, kind=Kind.BRANCH, target=address + 4 + offset, is_call=is_call)


def _immediate(a: int, b: int, address: int) -> Instruction:
    """A5.3.1, A5.3.3: data processing with an immediate."""
    destination, base = b >> 8 & 15, a & 15
    bits = (a >> 10 & 1) << 11 | (b >> 12 & 7) << 8 | b & 0xFF
    operation = a & 0xFBF0
    if destination != _SP:
        return Instruction(address=address, size_bytes=4)
    moves_by_constant = base == _SP and operation in (0xF100, 0xF1A0, 0xF200, 0xF2A0)  # ADD, SUB, ADDW, SUBW
    stack_bytes = 0
    if base == _SP and operation == 0xF1A0:
        stack_bytes = _expand(bits)
    elif base == _SP and operation == 0xF2A0:
        stack_bytes = bits
    return Instruction(address=address, size_bytes=4, stack_bytes=stack_bytes, sets_stack=not moves_by_constant)


def _expand(bits: int) -> int:
    """A5.3.2: ThumbExpandImm of 12 bits."""
    low = bits & 0xFF
    if bits >> 10 == 0:
        return low * (1, 0x00010001, 0x01000100, 0x01010101)[bits >> 8 & 3]
    rotation = bits >> 7
    value = 0x80 | bits & 0x7F
    return (value >> rotation | value << (32 - rotation)) & 0xFFFFFFFF


def _vector_move(a: int, b: int, address: int) -> Instruction:
    """A6.5, A6.6: loads and stores of floating-point registers, one or several, and moves of two at a time."""
    loads = bool(a & 0x10)
    words = 0
    stack_bytes = 0
    is_double = b >> 8 & 15 == 11
    if a & 0xFFE0 == 0xEC40:
        kind = Kind.OTHER
    elif a & 0x0120 == 0x0100:
        single = (Kind.LOAD, Kind.LOAD_DOUBLE) if loads else (Kind.STORE, Kind.STORE_DOUBLE)
        kind = single[is_double]
    else:
        kind = Kind.LOAD_MULTIPLE if loads else Kind.STORE_MULTIPLE
        words = b & 0xFF
        stack_bytes = 4 * words if a & 0xFFBF == 0xED2D else 0
    return Instruction(address=address, size_bytes=4, kind=kind, words=words, stack_bytes=stack_bytes)


def _float_kind(a: int, b: int) -> Kind:
    """A6.4: floating-point data processing; only what takes longer than the rest is told apart."""
    if a >> 8 == 0xFE or b & 0x10:
        return Kind.OTHER
    operation = a >> 4 & 0b1011
    if operation in (0b0000, 0b0001, 0b1001, 0b1010):  # VMLA, VMLS, VNMLA, VNMLS, VFNMA, VFNMS, VFMA, VFMS
        return Kind.FLOAT_MULTIPLY_ADD
    is_square_root = operation == 0b1011 and a & 15 == 1 and b >> 6 & 3 == 3
    return Kind.FLOAT_DIVIDE if operation == 0b1000 or is_square_root else Kind.OTHER
