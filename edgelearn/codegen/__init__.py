"""(Graph, Board, TrainingPlan) -> Plan -> {path: text}. Pure: nothing here reads or writes but templates."""

from edgelearn.codegen.emit import SensorSource, emit_project
from edgelearn.codegen.plan import Plan, check_fit, plan_firmware, plan_on

__all__ = ["Plan", "SensorSource", "check_fit", "emit_project", "plan_firmware", "plan_on"]
