"""Finding compilers, building, and what is said when that fails."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from edgelearn import process
from edgelearn.board import COMPILERS, Core, load_board
from edgelearn.errors import BuildError, CompilerMissingError, ProgramMissingError, ProjectError
from edgelearn.firmware import toolchain
from edgelearn.firmware.toolchain import build_project, find_toolchain, project_sources
from tests.support.echo import write_echo_project
from tests.support.tools import optional_tool, require_tool, require_toolchain


@pytest.fixture
def bare_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without any compiler."""

    def missing(argv: tuple[str, ...], **_: object) -> str:
        raise ProgramMissingError(argv[0])

    monkeypatch.setattr(process, "run", missing)
    monkeypatch.setattr(toolchain.importlib.util, "find_spec", lambda name: None)


@pytest.mark.usefixtures("bare_machine")
@pytest.mark.parametrize("core", list(COMPILERS))
def test_no_compiler_says_how_to_get_one(core: Core) -> None:
    with pytest.raises(CompilerMissingError) as caught:
        find_toolchain(core)
    assert "ziglang" in caught.value.cause
    assert "pip install" in caught.value.hint
    assert "apt install" in caught.value.hint
    assert caught.value.exit_code == 33


@pytest.mark.usefixtures("bare_machine")
@pytest.mark.parametrize(("name", "missing"), [("gnu", "arm-none-eabi-gcc"), ("zig", "ziglang")])
def test_the_named_compiler_is_missing(name: str, missing: str) -> None:
    with pytest.raises(CompilerMissingError) as caught:
        find_toolchain(Core.CORTEX_M4F, name)
    assert missing in caught.value.cause


def test_unknown_toolchain() -> None:
    with pytest.raises(CompilerMissingError, match="no toolchain icc"):
        find_toolchain(Core.HOST, "icc")


def test_a_folder_that_is_no_project(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="not a project"):
        project_sources(tmp_path)
    (tmp_path / "Makefile").write_text("all:\n")
    with pytest.raises(ProjectError, match="not a project"):
        project_sources(tmp_path)
    (tmp_path / "Makefile").write_text("SOURCES := \\\n  src/a.c \\\n  src/b.c\n\nX := 1\n")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.c").touch()
    with pytest.raises(ProjectError) as caught:
        project_sources(tmp_path)
    assert "src/b.c is missing" in caught.value.cause
    (tmp_path / "src" / "b.c").touch()
    assert project_sources(tmp_path) == ("src/a.c", "src/b.c")


def test_first_error_is_the_cause_and_all_output_is_kept(tmp_path: Path) -> None:
    require_toolchain("gnu", "host")
    main = (
        "int main(void);\nint main(void) { return nothing_of_that_name; }\nint unused_prototype(void) { return 1; }\n"
    )
    folder = write_echo_project(tmp_path, load_board("host"), main=main)
    with pytest.raises(BuildError) as caught:
        build_project(folder, core=Core.HOST)
    assert "runtime/main.c" in caught.value.message
    assert "nothing_of_that_name" in caught.value.cause
    assert "unused_prototype" in caught.value.output


def test_undefined_reference_is_the_cause(tmp_path: Path) -> None:
    require_toolchain("gnu", "host")
    main = "int main(void);\nint elsewhere(void);\nint main(void) { return elsewhere(); }\n"
    folder = write_echo_project(tmp_path, load_board("host"), main=main)
    with pytest.raises(BuildError) as caught:
        build_project(folder, core=Core.HOST)
    assert "elsewhere" in caught.value.cause


def test_sanitizers_are_for_the_host_only(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="host"):
        build_project(tmp_path, core=Core.CORTEX_M4F, sanitize=True)


def test_local_symbols_of_one_name_are_told_apart(tmp_path: Path) -> None:
    require_toolchain("gnu", "host")
    folder = write_echo_project(
        tmp_path,
        load_board("host"),
        main="int main(void);\nint other(int);\n"
        "static int table[40];\nint main(void) { table[other(1)] = other(2); return table[other(3)]; }\n",
    )
    (folder / "src" / "other.c").write_text(
        "int other(int);\nstatic int table[10];\nint other(int i) { table[i]++; return table[i + 1]; }\n"
    )
    makefile = folder / "Makefile"
    makefile.write_text(makefile.read_text().replace("  runtime/main.c", "  runtime/main.c \\\n  src/other.c"))
    built = build_project(folder, core=Core.HOST, toolchain="gnu")
    tables = {symbol.source: symbol.size_bytes for symbol in built.symbols if symbol.name == "table"}
    assert tables == {"runtime/main.c": 160, "src/other.c": 40}


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_drivers_are_clean_under_every_warning(compiler: str, tmp_path: Path) -> None:
    (optional_tool if compiler == "clang" else require_tool)(compiler)
    folder = write_echo_project(tmp_path, load_board("host"))
    flags = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Wundef", "-Werror"]
    subprocess.run(
        [compiler, *flags, "-Isrc", "-Iruntime", "-c", "-o", "x.o", "port/host_socket.c"], cwd=folder, check=True
    )
