"""(Graph, Board, TrainingPlan) -> Plan -> {path: text}. Pure: nothing here reads or writes but templates."""

from edgelearn.codegen.arduino import emit_arduino
from edgelearn.codegen.emit import SensorSource, emit_project
from edgelearn.codegen.library import emit_library
from edgelearn.codegen.plan import Plan, check_fit, plan_firmware, unkept_words

__all__ = [
    "Plan",
    "SensorSource",
    "check_fit",
    "emit_arduino",
    "emit_library",
    "emit_project",
    "plan_firmware",
    "unkept_words",
]
