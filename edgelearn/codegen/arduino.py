"""Plan -> {path: text}: a library for Arduino, by Arduino's "Library specification" (format 1.5).

Only `src/` is on the include path of such a library, and everything in it is compiled: all C lies flat in `src/`, and
the preprocessor chooses among the kernels for the core that is compiled for.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from edgelearn import resources
from edgelearn.codegen.board_files import nvm_values
from edgelearn.codegen.emit import SensorSource, comment, describe, device_files
from edgelearn.codegen.library import API_FILES, api_header
from edgelearn.codegen.plan import BAUD, Plan
from edgelearn.codegen.render import render
from edgelearn.ir import LossKind
from edgelearn.project import FILE_NAME, SENSOR_FOLDER, encode_project

#: The C++ around the C, and what a sketch calls.
_CLASS_FILES = ("elearn_arduino.cpp", "elearn_arduino.h")
#: For the editor's colours.
_METHODS = (
    *("begin", "poll", "predict", "learn", "learnItself", "prediction", "confidence", "output", "status"),
    *("input", "setLearningRate", "save", "reset", "steps"),
)
_CONSTANTS = ("ELEARN_BAUD", "EL_INPUT_ELEMENTS", "EL_OUTPUT_ELEMENTS")
#: A library's name has 63 characters at most.
_NAME_CHARACTERS = 48


def library_name(name: str) -> str:
    """The library's name, and its header's, from the model's."""
    cleaned = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")[:_NAME_CHARACTERS]
    return f"EdgeLearn_{cleaned or 'model'}"


def emit_arduino(
    plan: Plan, *, name: str, bundle_sha256: str = "", sensor: SensorSource | None = None
) -> dict[str, str]:
    """The text of every file of the library, by its path in it.

    Args:
        plan: what is generated, for a board that has an Arduino core.
        name: of the model.
        bundle_sha256: of the bundle it comes from.
        sensor: what reads a sensor on the board; None where all samples come from the host or the sketch.
    """
    arduino = plan.board.arduino
    if arduino is None:
        raise ValueError(f"{plan.board.name} has no Arduino core")
    firmware = resources.firmware_folder()
    own = device_files(plan, name=name, sensor=sensor)
    files = {f"src/{PurePosixPath(path).name}": text for path, text in own.items()}
    for folder, sources in (("runtime", API_FILES), ("arduino", _CLASS_FILES)):
        for source in sources:
            files[f"src/{source}"] = (firmware / folder / source).read_text(encoding="utf-8")
    if plan.board.nvm:
        driver = plan.board.nvm.source
        files[f"src/{driver}"] = (firmware / "port" / driver).read_text(encoding="utf-8")
    if sensor:
        files[f"src/{SENSOR_FOLDER}/{sensor.name}"] = sensor.text
    library = library_name(name)
    head = plan.head
    values = {
        "board": plan.board,
        "library": library,
        "name": re.sub(r"\s+", " ", comment(name)),
        "trains": head is not None,
        "classifies": bool(head and head.loss is LossKind.CROSS_ENTROPY),
        "serial": arduino.serial,
    }
    files |= {
        "library.properties": render("arduino_library.properties.j2", **values),
        "keywords.txt": render("arduino_keywords.txt.j2", **values, methods=_METHODS, constants=_CONSTANTS),
        f"src/{library}.h": render(
            "arduino_header.h.j2", **values, guard=f"{library.upper()}_H", model_hash=plan.model_hash
        ),
        "src/edgelearn.h": api_header(plan, name),
        "src/elearn_board.h": render(
            "arduino_board.h.j2", **values, **nvm_values(plan.board), baud=BAUD, ring_bytes=plan.ring_bytes
        ),
        "examples/Learn/Learn.ino": render("arduino_sketch.ino.j2", **values),
        "README.md": render(
            "arduino_readme.md.j2",
            **values,
            store=plan.store,
            buffers_bytes=sum(buffer.size_bytes for buffer in plan.buffers),
            constants_bytes=sum(constant.size_bytes for constant in plan.constants),
        ),
    }
    files[FILE_NAME] = encode_project(describe(plan, files, name=name, bundle_sha256=bundle_sha256))
    return dict(sorted(files.items()))
