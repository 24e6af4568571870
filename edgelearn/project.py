"""project.json: what `edgelearn generate` wrote into a project, for the commands that build, boot and compare it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import msgspec

from edgelearn.errors import ProjectError, reason

FORMAT_VERSION = 1
FILE_NAME = "project.json"
#: What tells a person about the project.
README = "README.md"
#: Where a project keeps the C file that reads the sensor on the board.
SENSOR_FOLDER = "sensor"


class Buffer(msgspec.Struct, frozen=True, kw_only=True):
    """A named block of memory that the plan placed. `symbol` is its name in the firmware."""

    symbol: str
    size_bytes: int
    purpose: str


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """What a generated project is. Sizes are the plan's; buffers and constants are exact, code is an estimate.

    Attributes:
        model_hash: SHA-256, in hex, of the model the firmware holds.
        bundle_sha256: of the bundle it was generated from, "" where that is not known.
        constants_bytes: weights, biases, scales and the initial head, in flash.
        code_estimate_bytes: code and small constants, as GCC makes them.
        zig_code_estimate_bytes: the same with zig; 0 where that is not known.
        state_estimate_bytes: RAM of the receive ring and the state of link and drivers.
        files: SHA-256, in hex, of each generated file by its path, so that what a person changed is never lost.
        stack_bytes: reserved for the stack.
        output: what the project is, see `edgelearn.board.Output`.
        heap_bytes: of MicroPython's heap that must be free, with all that is imported and a reserve; 0 for C.
    """

    format_version: int
    edgelearn_version: str
    name: str
    board: str
    model_hash: str
    bundle_sha256: str = ""
    residual: str
    buffers: tuple[Buffer, ...]
    constants: tuple[Buffer, ...]
    arena_bytes: int
    code_estimate_bytes: int
    state_estimate_bytes: int
    stack_bytes: int
    output: str = "bare-metal"
    heap_bytes: int = 0
    zig_code_estimate_bytes: int = 0
    files: dict[str, str]

    @property
    def trains(self) -> bool:
        """Whether the model has a trainable layer."""
        return any(buffer.symbol == "head_weights" for buffer in self.buffers)

    @property
    def sensor(self) -> str:
        """The path of the C file that reads the sensor on the board; empty where there is none."""
        return next((path for path in self.files if PurePosixPath(path).parent.name == SENSOR_FOLDER), "")

    @property
    def keeps(self) -> bool:
        """Whether what is learned is kept in the board's memory over a reset."""
        return any(PurePosixPath(path).name == "elearn_store.c" for path in self.files)

    @property
    def constants_bytes(self) -> int:
        """Bytes of all constants."""
        return sum(constant.size_bytes for constant in self.constants)

    @property
    def buffers_bytes(self) -> int:
        """Bytes of all buffers, the arena included."""
        return sum(buffer.size_bytes for buffer in self.buffers)


def encode_project(project: Project) -> str:
    """The text of project.json."""
    return msgspec.json.format(msgspec.json.encode(project), indent=1).decode() + "\n"


def without_file(files: Mapping[str, str | bytes], path: str) -> dict[str, str | bytes]:
    """The contents of a project's files without one of them, which project.json then does not list either."""
    made = msgspec.json.decode(files[FILE_NAME], type=Project)
    listed = {name: digest for name, digest in made.files.items() if name != path}
    text = encode_project(msgspec.structs.replace(made, files=listed))
    return {name: text if name == FILE_NAME else one for name, one in files.items() if name != path}


def read_project(folder: Path) -> Project:
    """Read a project's description.

    Raises:
        ProjectError: the folder is no generated project, or one of another edgelearn.
    """
    path = folder / FILE_NAME
    if folder.is_file():
        made = f"`edgelearn generate {folder} --board BOARD -o DIR` makes one of it"
        raise ProjectError(
            f"{folder} is not a generated project",
            cause="it is a file, and a project is a folder",
            hint=f"{made}; `edgelearn deploy {folder} --board BOARD` flashes it too"
            if folder.suffix == ".elb"
            else "`edgelearn generate OUT.elb --board BOARD -o DIR` makes one",
        )
    try:
        raw = path.read_bytes()
        version = msgspec.json.decode(raw)["format_version"]
        if version != FORMAT_VERSION:
            raise ProjectError(
                f"{folder} was generated in the project format {version}, this edgelearn reads {FORMAT_VERSION}",
                hint="generate it again with this edgelearn",
            )
        return msgspec.json.decode(raw, type=Project)
    except (OSError, msgspec.MsgspecError, KeyError, TypeError) as error:
        raise ProjectError(
            f"{folder} is not a generated project",
            cause=f"{FILE_NAME}: {reason(error)}",
            hint="`edgelearn generate OUT.elb --board BOARD -o DIR` makes one",
        ) from error
