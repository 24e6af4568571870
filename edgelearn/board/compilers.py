"""What each core needs from each compiler; read by the generated build files and by `edgelearn build` alike."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from edgelearn.board.parts import Core


class CompilerFlags(msgspec.Struct, frozen=True, kw_only=True):
    """What a core needs from each compiler, for compiling and for linking.

    Attributes:
        program: the compiler that the Makefile asks for.
        gnu: flags of GCC, and of clang where it takes the place of the host's compiler.
        gnu_link: further flags for linking.
        zig: flags of `zig cc`, which is clang with its own linker and run-time support.
        zig_link: further flags for linking.
    """

    program: str
    gnu: tuple[str, ...]
    gnu_link: tuple[str, ...]
    zig: tuple[str, ...]
    zig_link: tuple[str, ...]


#: The one place where the device code's optimisation is chosen.
OPTIMIZATION = "-O2"

#: For every core and compiler. No multiply is fused with an add, so that float code gives the same bits everywhere.
COMPILE_FLAGS = (
    "-std=c99",
    "-g",
    "-ffunction-sections",
    "-fdata-sections",
    "-ffp-contract=off",
    "-Wall",
    "-Wextra",
    "-Wconversion",
    "-Wshadow",
    "-Wstrict-prototypes",
    "-Wmissing-prototypes",
    "-Werror",
)

#: Folders of a generated project that hold C files and headers.
INCLUDE_FLAGS = ("-Isrc", "-Iruntime", "-Iport")

#: For a build that stops at the first memory error or undefined behaviour; only on a host.
SANITIZE_FLAGS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")

_BARE_METAL_LINK = ("-Tlink.ld", "-Wl,--gc-sections")


def _cortex_m(gnu: tuple[str, ...], *, zig_target: str, zig_cpu: str) -> CompilerFlags:
    return CompilerFlags(
        program="arm-none-eabi-gcc",
        gnu=gnu,
        gnu_link=("-nostartfiles", "--specs=nano.specs", *_BARE_METAL_LINK),
        zig=(
            "-target",
            zig_target,
            f"-mcpu={zig_cpu}",
            "-ffreestanding",
            "-fomit-frame-pointer",
            "-fno-unwind-tables",
            "-fno-asynchronous-unwind-tables",
            "-fno-sanitize=undefined",
        ),
        zig_link=("-nostdlib", "-rtlib=compiler-rt", "-Wl,-e,elearn_reset_handler", *_BARE_METAL_LINK),
    )


#: Both the generated Makefile and `edgelearn build` read this table. Only single precision is asked of any FPU: a
#: Cortex-M7 has double precision as an option.
COMPILERS: Mapping[Core, CompilerFlags] = {
    Core.CORTEX_M0: _cortex_m(
        ("-mcpu=cortex-m0", "-mthumb", "-mfloat-abi=soft"),
        zig_target="thumb-freestanding-eabi",
        zig_cpu="cortex_m0",
    ),
    Core.CORTEX_M3: _cortex_m(
        ("-mcpu=cortex-m3", "-mthumb", "-mfloat-abi=soft"),
        zig_target="thumb-freestanding-eabi",
        zig_cpu="cortex_m3",
    ),
    Core.CORTEX_M4F: _cortex_m(
        ("-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"),
        zig_target="thumb-freestanding-eabihf",
        zig_cpu="cortex_m4+vfp4d16sp",
    ),
    Core.CORTEX_M7F: _cortex_m(
        ("-mcpu=cortex-m7", "-mthumb", "-mfpu=fpv5-sp-d16", "-mfloat-abi=hard"),
        zig_target="thumb-freestanding-eabihf",
        zig_cpu="cortex_m7-fp64",
    ),
    Core.HOST: CompilerFlags(
        program="cc",
        gnu=(),
        gnu_link=(),
        zig=("-fomit-frame-pointer", "-fno-sanitize=undefined"),
        zig_link=(),
    ),
}
