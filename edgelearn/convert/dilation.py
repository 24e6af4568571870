"""Dilated convolutions as TensorFlow's converter leaves them in models of open batch size, made plain again.

TensorFlow computes a dilated convolution as SPACE_TO_BATCH_ND, a convolution without dilation and BATCH_TO_SPACE_ND.
That is a PAD and a convolution with dilation: output place y reads the padded input at y + k * block for tap k. What
the batches add in front is cropped again, so the padding in front is the difference.
"""

from __future__ import annotations

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from edgelearn.convert.tflite_file import FileModel, FileOp, FileQuant, FileTensor

_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
_BETWEEN = (*_CONVOLUTIONS, "RESHAPE", "EXPAND_DIMS", "SQUEEZE")


class _Dilated(Struct, frozen=True, kw_only=True):
    """A dilated convolution.

    Attributes:
        chain: its ops, from SPACE_TO_BATCH_ND to BATCH_TO_SPACE_ND.
        convolution: the one of them that convolves.
        new_axis: where a sequence gets an axis of one element and is an image; None for an image.
        shape: of the input as an image.
        blocks: dilation along height and width.
        amounts: padding before and after height and width.
    """

    chain: tuple[FileOp, ...]
    convolution: FileOp
    new_axis: int | None
    shape: tuple[int, ...]
    blocks: tuple[int, ...]
    amounts: tuple[tuple[int, int], ...]


def with_dilations(model: FileModel) -> FileModel:
    """The model with a PAD and a dilated convolution for each such chain of ops; tensors keep their numbers."""
    for op in model.ops:
        is_first = op.code == "SPACE_TO_BATCH_ND" and len(op.outputs) == 1 and min(op.inputs, default=-1) >= 0
        found = _dilated(model, op) if is_first else None
        if found is not None:
            model = _replaced(model, found)
    return model


def _dilated(model: FileModel, first: FileOp) -> _Dilated | None:
    """What the chain that begins with an op computes; None where that is no dilated convolution."""
    chain = _chain(model, first)
    convolutions = [op for op in chain if op.code in _CONVOLUTIONS]
    if len(convolutions) != 1 or len(convolutions[0].inputs) < 2:
        return None
    (convolution,), last = convolutions, chain[-1]
    x, out = model.tensors[first.inputs[0]], model.tensors[last.outputs[0]]
    constants = [_numbers(model, op, position) for op in (first, last) for position in (1, 2)]
    blocks, paddings, last_blocks, crops = constants
    kernel = model.tensors[convolution.inputs[1]].shape[1:3]
    sizes, out_sizes = list(x.shape[1:-1]), list(out.shape[1:-1])
    counts = {len(sizes), len(out_sizes), len(blocks), len(paddings) // 2, len(crops) // 2}
    steps = {convolution.number(name, 1) for name in ("StrideH", "StrideW", "DilationHFactor", "DilationWFactor")}
    if counts not in ({1}, {2}) or blocks != last_blocks or len(kernel) != 2 or steps != {1}:
        return None
    if convolution.word("Padding", "VALID") != "VALID" or not _keeps_quants(model, chain, convolution):
        return None
    fronts = [padding - crop for padding, crop in zip(paddings[::2], crops[::2], strict=True)]
    new_axis = None
    if len(sizes) == 1:
        # The convolution sees the sequence as an image of one row, or of one column.
        new_axis = 1 if model.tensors[convolution.inputs[0]].shape[1:2] == (1,) else 2
        for values, alone in ((sizes, 1), (out_sizes, 1), (blocks, 1), (fronts, 0)):
            values.insert(new_axis - 1, alone)
    backs = [
        outputs + (taps - 1) * block - size - front
        for outputs, taps, block, size, front in zip(out_sizes, kernel, blocks, sizes, fronts, strict=True)
    ]
    if min(*fronts, *backs) < 0 or min(blocks) < 1:
        return None
    return _Dilated(
        chain=chain,
        convolution=convolution,
        new_axis=new_axis,
        shape=(x.shape[0], *sizes, x.shape[-1]),
        blocks=tuple(blocks),
        amounts=tuple(zip(fronts, backs, strict=True)),
    )


def _chain(model: FileModel, first: FileOp) -> tuple[FileOp, ...]:
    """The ops that each read the result of the one before, alone, to BATCH_TO_SPACE_ND; empty where there is none."""
    chain = [first]
    while chain[-1].code != "BATCH_TO_SPACE_ND":
        result = chain[-1].outputs[0]
        readers = [op for op in model.ops if result in op.inputs]
        if len(readers) != 1 or result in model.outputs or readers[0] in chain:
            return ()
        (reader,) = readers
        if reader.code not in (*_BETWEEN, "BATCH_TO_SPACE_ND") or reader.inputs[0] != result:
            return ()
        if len(reader.outputs) != 1:
            return ()
        chain.append(reader)
    return tuple(chain)


def _numbers(model: FileModel, op: FileOp, position: int) -> list[int]:
    """The numbers of a constant input; none where it is not constant."""
    if position >= len(op.inputs) or op.inputs[position] < 0:
        return []
    tensor = model.tensors[op.inputs[position]]
    if tensor.type != "INT32" or len(tensor.data) % 4:
        return []
    return [int(n) for n in np.frombuffer(tensor.data, "<i4")]


def _keeps_quants(model: FileModel, chain: tuple[FileOp, ...], convolution: FileOp) -> bool:
    """Whether only the convolution changes the quantisation."""
    expected = model.tensors[chain[0].inputs[0]].quant
    for op in chain:
        if op is convolution:
            expected = model.tensors[op.outputs[0]].quant
        if model.tensors[op.outputs[0]].quant != expected:
            return False
    return True


def _replaced(model: FileModel, found: _Dilated) -> FileModel:
    """The model with the dilated convolution where BATCH_TO_SPACE_ND was."""
    tensors = list(model.tensors)
    x, out = tensors[found.chain[0].inputs[0]], tensors[found.chain[-1].outputs[0]]
    convolution, axis = found.convolution, found.new_axis
    ops: list[FileOp] = []

    def tensor(type_: str, shape: tuple[int, ...], quant: FileQuant | None, data: bytes = b"") -> int:
        made = FileTensor(
            index=len(tensors),
            name="",
            type=type_,
            shape=shape,
            dynamic_axes=(),
            quant=quant,
            data=data,
            is_sparse=False,
            is_variable=False,
            is_in_file=False,
        )
        tensors.append(made)
        return made.index

    def op(code: str, inputs: tuple[int, ...], output: int) -> int:
        ops.append(FileOp(index=convolution.index, code=code, inputs=inputs, outputs=(output,), options={}))
        return output

    source, result = x.index, out.index
    if axis is not None:
        source = op("RESHAPE", (source,), tensor("INT8", found.shape, x.quant))
        result = tensor("INT8", (*out.shape[:axis], 1, *out.shape[axis:]), out.quant)
    if any(n for pair in found.amounts for n in pair):
        amounts = np.array([(0, 0), *found.amounts, (0, 0)], "<i4")
        shape = tuple(size + int(pair.sum()) for size, pair in zip(found.shape, amounts, strict=True))
        constant = tensor("INT32", (4, 2), None, amounts.tobytes())
        source = op("PAD", (source, constant), tensor("INT8", shape, x.quant))
    options = convolution.options | {"DilationHFactor": found.blocks[0], "DilationWFactor": found.blocks[1]}
    ops.append(replace(convolution, inputs=(source, *convolution.inputs[1:]), outputs=(result,), options=options))
    if axis is not None:
        op("RESHAPE", (result,), out.index)
    place = model.ops.index(found.chain[-1])
    kept = tuple(op for op in model.ops[:place] if op not in found.chain)
    return replace(model, tensors=tuple(tensors), ops=(*kept, *ops, *model.ops[place + 1 :]))
