"""Plan -> {path: text}: C files for somebody's own firmware, one folder with one header (edgelearn.h)."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from msgspec import Struct

from edgelearn import resources
from edgelearn.board import Core
from edgelearn.board.compilers import COMPILERS
from edgelearn.board.drivers import driver, driver_names
from edgelearn.codegen.board_files import board_header
from edgelearn.codegen.emit import comment, describe, device_files, float_literal
from edgelearn.codegen.plan import BAUD, Plan
from edgelearn.codegen.render import render
from edgelearn.ir import LossKind
from edgelearn.project import FILE_NAME, encode_project
from edgelearn.protocol import TensorInfo, TensorType

#: What edgelearn.h is made of, in firmware/runtime/.
API_FILES = ("elearn_api.c", "elearn_quantize.h")
_DEFAULTS = "elearn_port_default.c"


class _End(Struct, frozen=True, kw_only=True):
    """An input or output as edgelearn.h describes it."""

    comment: str
    elements: int
    initializer: str


def emit_library(plan: Plan, *, name: str, bundle_sha256: str = "") -> dict[str, str]:
    """The text of every file of the library, by its path in it.

    Args:
        plan: what is generated.
        name: of the model.
        bundle_sha256: of the bundle it comes from.
    """
    own = device_files(plan, name=name)
    files = {f"src/{PurePosixPath(path).name}": text for path, text in own.items()}
    files["src/edgelearn.h"] = api_header(plan, name)
    files["src/elearn_board.h"] = board_header(plan.board, baud=BAUD, ring_bytes=plan.ring_bytes)
    firmware = resources.firmware_folder()
    nvm = plan.board.nvm
    for file in (nvm.source, *sorted(driver(nvm.source).includes & set(driver_names()))) if nvm else ():
        files[f"src/{file}"] = (firmware / "port" / file).read_text(encoding="utf-8")
    for file in API_FILES:
        files[f"src/{file}"] = (firmware / "runtime" / file).read_text(encoding="utf-8")
    files[f"src/{_DEFAULTS}"] = (firmware / "library" / _DEFAULTS).read_text(encoding="utf-8")
    sources = sorted(PurePosixPath(path).name for path in files if path.endswith(".c"))
    head = plan.head
    values = {
        "name": comment(name),
        "board": plan.board,
        "trains": head is not None,
        "classifies": bool(head and head.loss is LossKind.CROSS_ENTROPY),
        "targets": _targets(plan),
        "classes": plan.classes,
    }
    files["examples/minimal.c"] = render("library_minimal.c.j2", **values)
    files["CMakeLists.txt"] = render("library_CMakeLists.txt.j2", name=comment(name), sources=sources)
    files["library.json"] = render(
        "library.json.j2", identifier=re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_") or "model"
    )
    files["README.md"] = render(
        "library_README.md.j2",
        **values,
        saves=plan.store is not None,
        core_flags=" ".join(COMPILERS[plan.board.core].gnu) if plan.board.core in COMPILERS else "",
        in_flash=plan.board.core is not Core.HOST,
        constants_bytes=sum(constant.size_bytes for constant in plan.constants),
        code_bytes=plan.code_estimate_bytes,
        arena_bytes=plan.arena_bytes,
        head_bytes=sum(buffer.size_bytes for buffer in plan.buffers if buffer.purpose == "head"),
        link_bytes=sum(buffer.size_bytes for buffer in plan.buffers if buffer.purpose == "link"),
    )
    files[FILE_NAME] = encode_project(describe(plan, files, name=name, bundle_sha256=bundle_sha256))
    return dict(sorted(files.items()))


def _targets(plan: Plan) -> int:
    """Numbers that a sample is learned with; 0 where it is a class, or nothing is learned."""
    return plan.head.outputs if plan.head and plan.head.loss is not LossKind.CROSS_ENTROPY else 0


def api_header(plan: Plan, name: str) -> str:
    """The text of edgelearn.h."""
    head = plan.head
    labels = [comment(label) for label in plan.labels]
    return render(
        "edgelearn.h.j2",
        name=comment(name),
        classifies=bool(head and head.loss is LossKind.CROSS_ENTROPY),
        targets=_targets(plan),
        inputs=[_end(end.tensor) for end in plan.inputs],
        outputs=[_end(end.tensor) for end in plan.outputs],
        input_elements=sum(end.tensor.elements for end in plan.inputs),
        labels=labels,
        spare=bool(head and plan.classes and plan.classes < head.outputs),
    )


def _end(tensor: TensorInfo) -> _End:
    kind = "INT32" if tensor.type is TensorType.LOGITS else tensor.type.name
    quantised = f", scale {tensor.scale:.9g}, zero point {tensor.zero_point}" if tensor.scale else ""
    return _End(
        comment=comment(f"{tensor.name}: {tensor.elements} x {kind.lower()}{quantised}"),
        elements=tensor.elements,
        initializer=f"{{EL_{kind}, {tensor.elements}u, {float_literal(tensor.scale)}, {tensor.zero_point}}}",
    )
