"""Recipes: what is trainable, how it is stored, and the reference semantics in NumPy."""

from edgelearn.training.head import plan_training
from edgelearn.training.reference import FloatHead, HeadStep, IntegerHead, make_head

__all__ = ["FloatHead", "HeadStep", "IntegerHead", "make_head", "plan_training"]
