"""Plan -> {path: text}: C files for somebody's own firmware, one folder with one header (edgelearn.h)."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from msgspec import Struct

from edgelearn import resources
from edgelearn.board import Core
from edgelearn.codegen.emit import comment, describe, emit_project, float_literal
from edgelearn.codegen.plan import Plan
from edgelearn.codegen.render import render
from edgelearn.ir import LossKind
from edgelearn.project import FILE_NAME, encode_project
from edgelearn.protocol import TensorInfo, TensorType

#: Files of a bare-metal project that somebody's own firmware has instead.
_NOT_THEIRS = ("runtime/main.c", "src/elearn_vectors.c")
#: What edgelearn.h is made of, in firmware/runtime/.
API_FILES = ("elearn_api.c", "elearn_quantize.h")
_DEFAULTS = "elearn_port_default.c"
#: What drivers of non-volatile memory include.
_DRIVER_HEADER = "cortex_m_port.h"


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
    files = {"src/edgelearn.h": api_header(plan, name)}
    for path, text in emit_project(plan, name=name, bundle_sha256=bundle_sha256).items():
        folder, _, file = path.rpartition("/")
        if (folder in ("src", "runtime") and path not in _NOT_THEIRS) or (
            folder == "port" and plan.board.nvm and file in (plan.board.nvm.source, _DRIVER_HEADER)
        ):
            files[f"src/{file}"] = text
    firmware = resources.firmware_folder()
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
