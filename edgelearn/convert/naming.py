"""Readable names of ops and tensors from the names in a model file: what people see in tables and in C.

Keras and TensorFlow leave paths such as `functional_1/conv2d_1/Relu;functional_1/conv2d_1/BiasAdd`; the layer is the
part before the operation's own name. Names are unique in the graph and hold only letters, digits and underscores.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

#: Op -> how TensorFlow calls it at the end of a path, and the name to use where the file gives none. Of an op that is
#: not here, any last part of a path will do.
_ENDINGS: dict[str, tuple[frozenset[str], str]] = {
    "CONV_2D": (frozenset({"Conv2D", "convolution"}), "conv2d"),
    "DEPTHWISE_CONV_2D": (frozenset({"depthwise", "DepthwiseConv2dNative"}), "depthwise_conv2d"),
    "TRANSPOSE_CONV": (frozenset({"conv_transpose", "conv2d_transpose"}), "transpose_conv"),
    "FULLY_CONNECTED": (frozenset({"MatMul", "Tensordot"}), "dense"),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": (frozenset(), "lstm"),
    "BATCH_MATMUL": (frozenset({"MatMul", "BatchMatMulV2", "einsum"}), "batch_matmul"),
    "AVERAGE_POOL_2D": (frozenset({"AvgPool"}), "average_pool"),
    "MAX_POOL_2D": (frozenset({"MaxPool", "MaxPool2d"}), "max_pool"),
    "MEAN": (frozenset({"Mean"}), "mean"),
    "ADD": (frozenset({"add", "Add", "AddV2"}), "add"),
    "PAD": (frozenset({"Pad"}), "pad"),
    "RESHAPE": (frozenset({"Reshape"}), "reshape"),
    "SOFTMAX": (frozenset({"Softmax"}), "softmax"),
}
_BIAS = frozenset({"BiasAdd"})
_GENERIC = re.compile(
    r"(Identity|StatefulPartitionedCall|PartitionedCall|tfl|arith|tensor|output|convolution)([._:]?\w*)?"
)


def op_name(code: str, output: str, weight: str = "", *, layers: Mapping[str, str] | None = None) -> str:
    """A readable name for an op, not yet unique.

    Args:
        code: the op as the schema spells it.
        output: name of its output tensor in the file; the fused parts are joined by semicolons.
        weight: name of its weight tensor in the file, if it has one.
        layers: the layer's own name, for parts of paths that TensorFlow changed.
    """
    endings, fallback = _ENDINGS.get(code, (frozenset(), code.lower()))
    outputs, weights = output.split(";"), weight.split(";") if weight else []
    searches = [(outputs, endings)]
    if weights:
        # A bias belongs to one layer, while a convolution's name may also stand in the names of its neighbours.
        searches = [(outputs, _BIAS), (weights[:1], endings), (outputs, endings), (weights, endings)]
    for paths, wanted in searches:
        for path in paths:
            *parents, last = path.split("/")
            if parents[1:] and parents[-1] == "Tensordot":  # Keras' dense layer on a sequence
                parents.pop()
            if parents and (code not in _ENDINGS or last in wanted or last.rstrip("0123456789_") in wanted):
                return clean((layers or {}).get(parents[-1], parents[-1]))
    if output and not {"/", ";"} & set(output) and not _GENERIC.fullmatch(output):
        return clean(output)
    return fallback


def layer_name(output: str, layers: Mapping[str, str] | None = None) -> str:
    """A readable name of the layer that computes a tensor, for ops that edgelearn does not have; "" for none.

    Args:
        output: name of the tensor in the file.
        layers: as for `op_name`.
    """
    path = output.split(";")[0]
    *parents, last = path.split("/")
    if parents:
        return clean((layers or {}).get(parents[-1], parents[-1]))
    return "" if not last or _GENERIC.fullmatch(last) else clean(last)


def layers_by_scope(scopes: Collection[str], layers: Collection[str]) -> dict[str, str]:
    """Which layer each part of a TensorFlow path belongs to, where Keras's tracing has changed the names.

    Keras enters the scope of a layer twice while it traces, so that TensorFlow makes the second unique: `dense` becomes
    `dense_1`, and `dense_1`, now taken, `dense_1_2`. So each part has one number too many, or none has.

    Args:
        scopes: all parts of all paths.
        layers: names of layers of the model; those with weights are enough.
    """
    if not any(layer not in scopes and f"{layer}_1" in scopes for layer in layers):
        return {}
    return {scope: found[1] for scope in sorted(scopes) if (found := re.fullmatch(r"(.+)_\d+", scope)) is not None}


def tensor_name(name: str) -> str:
    """A readable name for the graph's input from its name in the file, not yet unique."""
    name = name.removeprefix("serving_default_").split(";")[0].split("/")[-1]
    return clean(re.sub(r":\d+$", "", name)) if name else "input"


def clean(name: str) -> str:
    """The name with everything but letters, digits and underscores replaced; it never starts with a digit."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return name if name and not name[0].isdigit() else f"_{name}"


class UniqueNames:
    """Hands out names that were not handed out before: `conv2d`, `conv2d_2`, `conv2d_3`."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, wanted: str) -> str:
        """The wanted name, or the first free one with a number behind it."""
        name, number = wanted, 1
        while name in self._taken:
            number += 1
            name = f"{wanted}_{number}"
        self._taken.add(name)
        return name
