"""From ops of a `.tflite` to ops of the graph: one file for each family, one function for each op of the schema."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edgelearn.convert.tflite_file import FileOp
from edgelearn.convert.translators import (
    activation,
    convolution,
    dense,
    edges,
    elementwise,
    movement,
    pooling,
    recurrent,
    reduction,
)
from edgelearn.convert.translators.context import Context
from edgelearn.ir import AnyOp

#: What a translator gives: one op of the graph, or several that together do the same.
Translated = AnyOp | tuple[AnyOp, ...]
#: Op of the schema -> its translator.
TRANSLATORS: Mapping[str, Callable[[Context, FileOp], Translated]] = {
    **edges.TRANSLATORS,
    **convolution.TRANSLATORS,
    **dense.TRANSLATORS,
    **recurrent.TRANSLATORS,
    **pooling.TRANSLATORS,
    **reduction.TRANSLATORS,
    **elementwise.TRANSLATORS,
    **activation.TRANSLATORS,
    **movement.TRANSLATORS,
}
