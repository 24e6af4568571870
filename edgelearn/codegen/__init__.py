"""(Graph, Board, TrainingPlan) -> Plan -> {path: contents}. Pure: nothing here writes, or reads but templates."""

from edgelearn.codegen.arduino import emit_arduino
from edgelearn.codegen.emit import SensorSource, contents_bytes, emit_project
from edgelearn.codegen.library import emit_library
from edgelearn.codegen.micropython import check_package, emit_micropython, package_need
from edgelearn.codegen.plan import Kernels, Plan, check_fit, plan_firmware, unkept_words

__all__ = [
    "Kernels",
    "Plan",
    "SensorSource",
    "check_fit",
    "check_package",
    "contents_bytes",
    "emit_arduino",
    "emit_library",
    "emit_micropython",
    "emit_project",
    "package_need",
    "plan_firmware",
    "unkept_words",
]
