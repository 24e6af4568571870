"""The files of an Arduino library, beside those that every output has: https://arduino.github.io/arduino-cli/latest/library-specification/

Only `src/` is on the include path of such a library, and everything in it is compiled: so all C lies flat in `src/`, and
what chooses among kernels for one core is the preprocessor.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from edgelearn import resources
from edgelearn.codegen.render import render

if TYPE_CHECKING:
    from edgelearn.codegen.emit import SensorInput
    from edgelearn.codegen.plan import Plan

#: The C++ around the C, and what a sketch calls.
_CLASS_FILES = ("elearn_arduino.cpp", "elearn_arduino.h")
#: For the editor's colours: the methods of the class, and constants.
_METHODS = (
    *("begin", "poll", "input", "floatInput", "predict", "confidence", "output"),
    *("learn", "learnInput", "save", "steps"),
)
_CONSTANTS = ("ELEARN_BAUD", "EL_OUTPUTS")
#: The longest name of a library is 63 characters.
_NAME_CHARACTERS = 48


def library_name(name: str) -> str:
    """The library's name, and its header's, from the model's."""
    cleaned = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")[:_NAME_CHARACTERS]
    return f"EdgeLearn_{cleaned or 'model'}"


def arduino_files(
    plan: Plan, flat: Mapping[str, str], *, name: str, baud: int, inputs: Sequence[SensorInput]
) -> dict[str, str]:
    """The whole library, by path.

    Args:
        plan: what is generated.
        flat: the device code and the generated C, by file name.
        name: of the model, safe in a comment.
        baud: speed of the serial line in bits a second.
        inputs: of the model.
    """
    arduino = plan.board.arduino
    if arduino is None:
        raise ValueError(f"{plan.board.name} has no Arduino core")
    library = library_name(name)
    plain = re.sub(r"\s+", " ", name)
    files = {f"src/{file}": text for file, text in flat.items()}
    folder = resources.firmware_folder() / "arduino"
    for file in _CLASS_FILES:
        files[f"src/{file}"] = (folder / file).read_text(encoding="utf-8")
    trains = plan.head is not None
    context = {
        "board": plan.board,
        "library": library,
        "name": plain,
        "trains": trains,
        "serial": arduino.serial,
        "model_hash": plan.model_hash,
    }
    files |= {
        "library.properties": render(
            "arduino_library.properties.j2",
            **context,
            sentence=f"The neural network {plain}, which runs on the board in 8-bit integers.",
            paragraph="Its last layer keeps learning on the board; the host sees it over any Stream."
            if trains
            else "The host sees it over any Stream.",
        ),
        "keywords.txt": render("arduino_keywords.txt.j2", **context, methods=_METHODS, constants=_CONSTANTS),
        f"src/{library}.h": render(
            "arduino_header.h.j2",
            **context,
            guard=f"{library.upper()}_H",
            comments=[line.comment for line in inputs],
            inputs=inputs,
            outputs=plan.outputs[0].tensor.elements,
        ),
        "src/elearn_board.h": render("arduino_board.h.j2", **context, baud=baud, ring_bytes=plan.ring_bytes),
        "examples/Learn/Learn.ino": render("arduino_sketch.ino.j2", **context),
        "README.md": render(
            "arduino_readme.md.j2",
            **context,
            buffers_bytes=sum(buffer.size_bytes for buffer in plan.buffers),
            constants_bytes=sum(constant.size_bytes for constant in plan.constants),
        ),
    }
    return files
