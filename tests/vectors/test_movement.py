"""Ops that move bytes, and resizing: generated C under sanitizers gives the bytes of the LiteRT reference kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given
from hypothesis import strategies as st

from edgelearn.convert.litert import ReferenceInterpreter
from edgelearn.errors import ModelFileError, UnsupportedOpError
from edgelearn.ir.movement import (
    Concatenation,
    Gather,
    MirrorPad,
    Pad,
    PadV2,
    Reshape,
    ResizeBilinear,
    ResizeNearestNeighbor,
    Split,
    StridedSlice,
    Tile,
    Transpose,
)
from tests.support.firmware import load_graph, plan
from tests.support.tflite_builder import INT32, TfliteBuilder
from tests.support.tflite_ops import (
    concatenation,
    gather,
    integers,
    like,
    mirror_pad,
    pad_v2,
    resize,
    split,
    strided_slice,
    tile,
    transpose,
)
from tests.vectors.models import Drawn, check, examples, samples
from tests.vectors.test_passes import same_bytes_without, titles

#: Op -> the op on an input of 1x4x4x2.
SMALLEST = {
    Pad: lambda b, x: b.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)]),
    PadV2: lambda b, x: pad_v2(b, x, [(0, 0), (0, 0), (1, 0), (1, 2)], 3),
    MirrorPad: lambda b, x: mirror_pad(b, x, [(0, 0), (1, 2), (0, 0), (1, 1)], 0),
    Reshape: lambda b, x: b.reshape(x, (1, 32)),
    Concatenation: lambda b, x: concatenation(b, [x, x], 3),
    Split: lambda b, x: split(b, x, 2, [2, 2], equal=True)[0],
    StridedSlice: lambda b, x: strided_slice(b, x, [0, 1], [1, 3], [1, 1], (1, 2, 4, 2)),
    Transpose: lambda b, x: transpose(b, x, (0, 2, 1, 3)),
    Tile: lambda b, x: tile(b, x, (1, 2, 1, 1)),
    Gather: lambda b, x: gather(b, x, 1, [3, 1]),
    ResizeNearestNeighbor: lambda b, x: resize(b, x, "RESIZE_NEAREST_NEIGHBOR", (8, 6), align=False, half=True),
    ResizeBilinear: lambda b, x: resize(b, x, "RESIZE_BILINEAR", (8, 6), align=False, half=True),
}


def _check(drawn: Drawn, x: int, out: int) -> None:
    """Compare C and oracle; an oracle that refuses the model is an error here."""
    ReferenceInterpreter(drawn.builder.build(out))
    check(drawn, x, out)


class Moved(Drawn):
    """A model whose input is reshaped to any shape, so that its first axis can be moved as well."""

    def __init__(self, data: st.DataObject, *, rank: int | None = None, largest: int = 5) -> None:
        super().__init__(data)
        rank = rank or self.integer(1, 5)
        shape = [self.integer(1, largest) for _ in range(rank)]
        if self.choice(False, True):
            shape[-1] = self.integer(1, 40)  # long runs of bytes
        self.input = self.builder.input((1, math.prod(shape)), scale=self.scale(-8, 2), zero_point=self.zero_point())
        self.x = self.builder.reshape(self.input, shape)
        self.shape = tuple(shape)

    def amounts(self, most: Sequence[int]) -> list[tuple[int, int]]:
        """Padding before and after each axis."""
        return [(self.integer(0, n), self.integer(0, n)) for n in most]

    def check(self, out: int) -> None:
        _check(self, self.input, out)


@examples(30)
@given(st.data())
def test_pad(data):
    drawn = Drawn(data)
    x = drawn.image()
    amounts = [(0, 0), *((drawn.integer(0, 3), drawn.integer(0, 3)) for _ in range(2)), (0, 0)]
    _check(drawn, x, drawn.builder.max_pool_2d(drawn.builder.pad(x, amounts), kernel=(1, 1), stride=(1, 1)))


@examples(30)
@given(st.data())
def test_padv2(data):
    drawn = Moved(data)
    amounts = drawn.amounts([3] * len(drawn.shape))
    if drawn.choice(False, True):
        drawn.check(drawn.builder.pad(drawn.x, amounts))
    else:
        drawn.check(pad_v2(drawn.builder, drawn.x, amounts, drawn.integer(-128, 127)))


@examples(20)
@given(st.data())
def test_padding_of_a_sequence_is_folded_into_its_convolution(data):
    drawn = Drawn(data)
    b = drawn.builder
    x = b.input((1, drawn.integer(3, 9), drawn.integer(1, 5)), scale=0.02, zero_point=drawn.zero_point())
    padded = b.pad(x, [(0, 0), (drawn.integer(0, 4), drawn.integer(0, 2)), (0, 0)])
    image = b.reshape(padded, (1, 1, *b.shape(padded)[1:]))
    window = {"kernel": (1, drawn.integer(1, 3)), "stride": (1, 1), "padding": "valid", "dilation": (1, 1)}
    check(drawn, x, drawn.weighted(image, "CONV_2D", window=window, outputs=3))


@examples(30)
@given(st.data())
def test_mirror_pad(data):
    drawn = Moved(data, rank=drawn_rank(data))
    mode = drawn.choice(0, 1)
    amounts = drawn.amounts([n - 1 + mode for n in drawn.shape])
    drawn.check(mirror_pad(drawn.builder, drawn.x, amounts, mode))


def drawn_rank(data: st.DataObject) -> int:
    """LiteRT mirrors few axes."""
    return int(data.draw(st.integers(1, 4)))


@examples(20)
@given(st.data())
def test_reshape(data):
    drawn = Drawn(data)
    x = drawn.image()
    size = math.prod(drawn.builder.shape(x))
    flat = drawn.builder.reshape(x, (1, size))
    check(drawn, x, drawn.weighted(flat, "FULLY_CONNECTED", outputs=3))


@examples(15)
@given(st.data())
def test_squeeze_and_expand_dims(data):
    drawn = Moved(data, rank=3)
    b = drawn.builder
    axis = drawn.integer(0, 3)
    shape = list(drawn.shape)
    shape.insert(axis, 1)
    code = drawn.choice("EXPAND_DIMS", "SQUEEZE")
    if code == "SQUEEZE":
        wide, options = b.reshape(drawn.x, shape), schema.SqueezeOptionsT()
        options.squeezeDims = [axis]
        out = b.op(code, [wide], like(b, wide, drawn.shape), options=options)
    else:
        out = b.op(code, [drawn.x, integers(b, axis)], like(b, drawn.x, shape), options=schema.ExpandDimsOptionsT())
    model = b.build(out)
    assert [op.TITLE for op in load_graph(model).ops] == ["RESHAPE"] * len(load_graph(model).ops)
    drawn.check(transpose(b, out, tuple(range(len(b.shape(out))))[::-1]))


@examples(30)
@given(st.data())
def test_concatenation(data):
    drawn = Moved(data)
    b = drawn.builder
    axis = drawn.integer(0, len(drawn.shape) - 1)
    parts = [drawn.x]
    for _ in range(drawn.integer(1, 3)):
        amounts = [(0, 0)] * len(drawn.shape)
        amounts[axis] = (drawn.integer(0, 3), drawn.integer(0, 2))
        parts.append(pad_v2(b, drawn.x, amounts, drawn.integer(-128, 127)))
    drawn.check(concatenation(b, parts, axis))


@examples(20)
@given(st.data())
def test_pack(data):
    drawn = Moved(data, rank=data.draw(st.integers(1, 4)))
    b = drawn.builder
    parts = [drawn.x, *(_transposed_twice(drawn) for _ in range(drawn.integer(0, 2)))]
    shape = list(drawn.shape)
    options = schema.PackOptionsT()
    options.axis = drawn.integer(-len(shape) - 1, len(shape))
    options.valuesCount = len(parts)
    shape.insert(options.axis % (len(shape) + 1), len(parts))
    drawn.check(b.op("PACK", parts, like(b, drawn.x, shape), options=options, version=2))


def _transposed_twice(drawn: Moved) -> int:
    """Other values of the same shape: reversed."""
    b = drawn.builder
    axes = integers(b, [drawn.integer(0, len(drawn.shape) - 1)])
    return b.op("REVERSE_V2", [drawn.x, axes], like(b, drawn.x, drawn.shape), options=schema.ReverseV2OptionsT())


@examples(40)
@given(st.data())
def test_split(data):
    drawn = Moved(data)
    b = drawn.builder
    axis = drawn.integer(0, len(drawn.shape) - 1)
    count = drawn.choice(*(n for n in range(1, drawn.shape[axis] + 1) if drawn.shape[axis] % n == 0))
    equal = drawn.choice(False, True)
    sizes = [drawn.shape[axis] // count] * count
    if not equal and count > 1:
        moved = drawn.integer(0, sizes[0] - 1)
        sizes[0], sizes[-1] = sizes[0] - moved, sizes[-1] + moved
    parts = split(b, drawn.x, axis if drawn.choice(False, True) else axis - len(drawn.shape), sizes, equal=equal)
    if count == 1:
        drawn.check(transpose(b, parts[0], tuple(range(len(drawn.shape)))[::-1]))
    else:
        # In another order, so that each part is seen.
        drawn.check(concatenation(b, parts[::-1], axis))


@examples(15)
@given(st.data())
def test_unpack(data):
    drawn = Moved(data, rank=data.draw(st.integers(2, 4)))
    b = drawn.builder
    options = schema.UnpackOptionsT()
    options.axis = drawn.integer(-len(drawn.shape), len(drawn.shape) - 1)
    shape = list(drawn.shape)
    options.num = shape.pop(options.axis)
    outs = [like(b, drawn.x, shape) for _ in range(options.num)]
    b.op("UNPACK", [drawn.x], outs, options=options, version=2)
    drawn.check(concatenation(b, [*outs[::-1], outs[0]], 0))


@examples(60)
@given(st.data())
def test_strided_slice(data):
    """Any slice that leaves something, with every mask."""
    drawn = Moved(data, rank=data.draw(st.integers(1, 4)))
    begin, end, strides, shape = [], [], [], []
    masks = dict.fromkeys(("beginMask", "endMask", "ellipsisMask", "newAxisMask", "shrinkAxisMask"), 0)
    axis = 0
    ellipsis = drawn.choice(None, None, *range(len(drawn.shape) + 1))
    while True:
        bit = 1 << len(begin)
        if ellipsis is not None and ellipsis <= axis < len(drawn.shape):
            # LiteRT 2.3 crashes on an ellipsis of no axes.
            skipped = drawn.integer(1, len(drawn.shape) - axis)
            shape += drawn.shape[axis : axis + skipped]
            axis += skipped
            ellipsis = None
            masks["ellipsisMask"] |= bit
            entry = (0, 0, 1)
        elif len(drawn.shape) + masks["newAxisMask"].bit_count() < 5 and drawn.integer(0, 5) == 0:
            masks["newAxisMask"] |= bit
            shape.append(1)
            entry = (0, 0, 1)
        elif axis == len(drawn.shape):
            break
        elif not masks["ellipsisMask"] and drawn.integer(0, 6) == 0 and begin:
            shape += drawn.shape[axis:]
            break
        else:
            limit = drawn.shape[axis]
            first, stride = drawn.integer(0, limit - 1), drawn.choice(1, 1, 2, 3, -1, -2)
            last = drawn.integer(first, limit - 1) if stride > 0 else drawn.integer(0, first)
            stop = last + 1 if stride > 0 else last - 1
            stop_value = stop
            if stop_value < 0:
                stop_value = -limit - 1
            elif drawn.choice(False, True) and stop_value < limit:
                stop_value -= limit
            first_value = first - limit if drawn.choice(False, True) else first
            if drawn.integer(0, 4) == 0:
                masks["shrinkAxisMask"] |= bit
                stride, stop_value = 1, first_value + 1
            else:
                low, high = first, stop
                if drawn.integer(0, 3) == 0:
                    masks["beginMask"] |= bit
                    low = 0 if stride > 0 else limit - 1
                if drawn.integer(0, 3) == 0:
                    masks["endMask"] |= bit
                    high = limit if stride > 0 else -1
                shape.append(len(range(low, high, stride)))
            entry = (first_value, stop_value, stride)
            axis += 1
        for values, value in zip((begin, end, strides), entry, strict=True):
            values.append(value)
    if not begin or not shape or len(begin) > 5:
        return
    drawn.check(strided_slice(drawn.builder, drawn.x, begin, end, strides, shape, **masks))


@examples(30)
@given(st.data())
def test_slice(data):
    drawn = Moved(data)
    b = drawn.builder
    begin = [drawn.integer(0, n - 1) for n in drawn.shape]
    shape = [drawn.integer(1, n - first) for n, first in zip(drawn.shape, begin, strict=True)]
    left = [n - first for n, first in zip(drawn.shape, begin, strict=True)]
    sizes = [-1 if size == rest and drawn.choice(False, True) else size for size, rest in zip(shape, left, strict=True)]
    inputs = [drawn.x, integers(b, begin), integers(b, sizes)]
    out = b.op("SLICE", inputs, like(b, drawn.x, shape), options=schema.SliceOptionsT(), version=2)
    # Something behind it, so that it may run in place.
    drawn.check(transpose(b, out, tuple(range(len(shape)))[::-1]))


@examples(40)
@given(st.data())
def test_transpose(data):
    drawn = Moved(data)
    permutation = drawn.rng.permutation(len(drawn.shape)).tolist()
    drawn.check(transpose(drawn.builder, drawn.x, permutation))


@examples(30)
@given(st.data())
def test_tile(data):
    drawn = Moved(data, largest=3)
    drawn.check(tile(drawn.builder, drawn.x, [drawn.choice(1, 1, 2, 3) for _ in drawn.shape]))


@examples(40)
@given(st.data())
def test_merge_tiles(data):
    """Upsampling as Keras writes it, and other repetitions of repetitions."""
    drawn = Drawn(data)
    b = drawn.builder
    height, width, depth, rows, columns = (drawn.integer(1, 4) for _ in range(5))
    x = b.input((1, height, width, depth))
    now = tile(b, b.reshape(x, (1, height, 1, width, depth)), (1, 1, rows, 1, drawn.choice(1, 1, 2)))
    depth = b.shape(now)[4]
    kind = drawn.choice("upsampling", "flat", "cut")
    if kind == "upsampling":
        now = b.reshape(now, (1, height * rows, width, 1, depth))
        now = tile(b, now, (1, 1, 1, columns, 1))
        now = b.reshape(now, (1, height * rows, width * columns, depth))
    elif kind == "flat":
        now = tile(b, b.reshape(now, (1, height * rows * width, depth)), (1, columns, drawn.integer(1, 2)))
    else:
        size = height * rows * width * depth
        low = drawn.choice(*(n for n in range(1, size + 1) if size % n == 0))
        now = tile(b, b.reshape(now, (1, size // low, low)), (1, columns, 2))
    with_pass, without = same_bytes_without(b.build(now), "merge tiles", samples(drawn, x))
    assert titles(with_pass).count("TILE") <= titles(without).count("TILE")
    if kind == "upsampling":
        assert titles(with_pass).count("TILE") <= 1


@examples(20)
@given(st.data())
def test_broadcast_to(data):
    drawn = Moved(data, rank=data.draw(st.integers(1, 4)), largest=3)
    b = drawn.builder
    shape = [n if n > 1 else drawn.integer(1, 4) for n in drawn.shape]
    shape = [*(drawn.integer(1, 3) for _ in range(drawn.integer(0, 5 - len(shape)))), *shape]
    options = schema.BroadcastToOptionsT()
    drawn.check(
        b.op("BROADCAST_TO", [drawn.x, integers(b, shape)], like(b, drawn.x, shape), options=options, version=2)
    )


@examples(30)
@given(st.data())
def test_gather(data):
    drawn = Moved(data)
    axis = drawn.integer(0, len(drawn.shape) - 1)
    most = drawn.shape[axis] - 1
    indices = [drawn.integer(0, most) for _ in range(drawn.integer(1, 6))]
    drawn.check(gather(drawn.builder, drawn.x, axis, indices))


@examples(60)
@given(st.data())
def test_resize_nearest_neighbor(data):
    drawn = Drawn(data)
    x = drawn.image(largest_side=drawn.choice(4, 13), largest_depth=drawn.choice(3, 20))
    size = (drawn.integer(1, 30), drawn.integer(1, 30))
    align, half = drawn.choice((False, False), (True, False), (False, True), (True, True))
    _check(drawn, x, resize(drawn.builder, x, "RESIZE_NEAREST_NEIGHBOR", size, align=align, half=half))


@examples(60)
@given(st.data())
def test_resize_bilinear(data):
    drawn = Drawn(data)
    x = drawn.image(largest_side=drawn.choice(4, 13), largest_depth=3)
    size = (drawn.integer(1, 30), drawn.integer(1, 30))
    align, half = drawn.choice((False, False), (True, False), (False, True))
    _check(drawn, x, resize(drawn.builder, x, "RESIZE_BILINEAR", size, align=align, half=half))


def test_resizing_that_reads_outside_the_input_is_refused():
    b = TfliteBuilder(0)
    out = resize(b, b.input((1, 1000, 1, 1)), "RESIZE_BILINEAR", (2001, 1), align=False, half=False)
    with pytest.raises(UnsupportedOpError, match=r"1000 resized to 2001, where LiteRT reads outside"):
        load_graph(b.build(out))


@examples(30)
@given(st.data())
def test_depth_and_space(data):
    drawn = Drawn(data)
    b = drawn.builder
    block = drawn.integer(1, 3)
    if drawn.choice(False, True):
        shape = (1, block * drawn.integer(1, 4), block * drawn.integer(1, 4), drawn.integer(1, 5))
        out_shape = (1, shape[1] // block, shape[2] // block, shape[3] * block**2)
        code, options = "SPACE_TO_DEPTH", schema.SpaceToDepthOptionsT()
    else:
        shape = (1, drawn.integer(1, 4), drawn.integer(1, 4), block**2 * drawn.integer(1, 5))
        out_shape = (1, shape[1] * block, shape[2] * block, shape[3] // block**2)
        code, options = "DEPTH_TO_SPACE", schema.DepthToSpaceOptionsT()
    options.blockSize = block
    x = b.input(shape)
    _check(drawn, x, b.op(code, [x], like(b, x, out_shape), options=options))


@examples(30)
@given(st.data())
def test_batch_and_space(data):
    drawn = Drawn(data)
    b = drawn.builder
    blocks = [drawn.integer(1, 3) for _ in range(drawn.integer(1, 2))]
    sides = [drawn.integer(1, 6) for _ in blocks]
    amounts = []
    for side, block in zip(sides, blocks, strict=True):
        before = drawn.integer(0, 3)
        amounts.append((before, -(side + before) % block))
    depth = drawn.integer(1, 4)
    x = b.input((1, *sides, depth))
    across = [(n + before + after) // m for n, (before, after), m in zip(sides, amounts, blocks, strict=True)]
    inputs = [x, integers(b, blocks), integers(b, amounts)]
    out = like(b, x, (math.prod(blocks), *across, depth))
    b.op("SPACE_TO_BATCH_ND", inputs, out, options=schema.SpaceToBatchNDOptionsT(), version=2)
    if drawn.choice(False, True):
        whole = [n * m for n, m in zip(across, blocks, strict=True)]
        crops = [(first := drawn.integer(0, n - 1), drawn.integer(0, n - 1 - first)) for n in whole]
        shape = (1, *(n - before - after for n, (before, after) in zip(whole, crops, strict=True)), depth)
        inputs = [out, integers(b, blocks), integers(b, crops)]
        out = like(b, x, shape)
        b.op("BATCH_TO_SPACE_ND", inputs, out, options=schema.BatchToSpaceNDOptionsT(), version=2)
    _check(drawn, x, out)


@examples(60)
@given(st.data())
def test_dilation_by_batches(data):
    """SPACE_TO_BATCH_ND, a convolution and BATCH_TO_SPACE_ND become one convolution, as in models of open batch."""
    drawn = Drawn(data)
    b = drawn.builder
    is_sequence = drawn.choice(False, True)
    count = 1 if is_sequence else 2
    blocks = [drawn.integer(1, 3) for _ in range(count)]
    kernel = [drawn.integer(1, 3) for _ in range(count)]
    sides = [drawn.integer(1, 9) for _ in range(count)]
    paddings, crops, out_sides = [], [], []
    for block, k, side in zip(blocks, kernel, sides, strict=True):
        extent = (k - 1) * block
        before, after = drawn.choice((0, 0), (extent // 2, extent - extent // 2), (extent, 0))
        extra = -(side + before + after) % block
        if side + before + after + extra < extent + block:
            return  # nothing is left of it
        paddings.append((before, after + extra))
        crops.append((0, extra))
        out_sides.append(side + before + after - extent)
    if min(out_sides) < 1:
        return
    depth = drawn.integer(1, 4)
    x = b.input((1, *sides, depth), scale=0.03, zero_point=drawn.zero_point())
    across = [(n + before + after) // m for n, (before, after), m in zip(sides, paddings, blocks, strict=True)]
    batches = like(b, x, (1, *across, depth))  # the file does not know the batch
    inputs = [x, integers(b, blocks), integers(b, paddings)]
    b.op("SPACE_TO_BATCH_ND", inputs, batches, options=schema.SpaceToBatchNDOptionsT(), version=2)
    if is_sequence:
        new_axis = drawn.choice(1, 2)
        shape = [1, *across, depth]
        shape.insert(new_axis, 1)
        kernel.insert(new_axis - 1, 1)
        axis = integers(b, new_axis)
        batches = b.op("EXPAND_DIMS", [batches, axis], like(b, x, shape), options=schema.ExpandDimsOptionsT())
    window = {"kernel": tuple(kernel), "stride": (1, 1), "padding": "valid", "dilation": (1, 1)}
    kind = drawn.choice("CONV_2D", "DEPTHWISE_CONV_2D")
    out = drawn.weighted(batches, kind, window=window, outputs=3, multiplier=drawn.integer(1, 2), any_scale=False)
    channels = b.shape(out)[3]
    if is_sequence:
        options = schema.SqueezeOptionsT()
        options.squeezeDims = [new_axis]
        flat = [n for i, n in enumerate(b.shape(out)) if i != new_axis]
        out = b.op("SQUEEZE", [out], like(b, out, flat), options=options)
    last = like(b, out, (1, *out_sides, channels))
    inputs = [out, integers(b, blocks), integers(b, crops)]
    b.op("BATCH_TO_SPACE_ND", inputs, last, options=schema.BatchToSpaceNDOptionsT(), version=2)
    titles = {op.TITLE for op in load_graph(b.build(last)).ops}
    assert titles == ({kind, "RESHAPE"} if is_sequence else {kind})
    _check(drawn, x, last)


def test_what_is_no_dilation_is_refused():
    """A strided convolution between the batches: nothing takes its place."""
    b = TfliteBuilder(0)
    x = b.input((1, 8, 8, 2))
    batches = like(b, x, (4, 4, 4, 2))
    inputs = [x, integers(b, [2, 2]), integers(b, [[0, 0], [0, 0]])]
    b.op("SPACE_TO_BATCH_ND", inputs, batches, options=schema.SpaceToBatchNDOptionsT(), version=2)
    out = b.conv_2d(batches, filters=3, kernel=(2, 2), stride=(2, 2))
    last = like(b, out, (1, 4, 4, 3))
    inputs = [out, integers(b, [2, 2]), integers(b, [[0, 0], [0, 0]])]
    b.op("BATCH_TO_SPACE_ND", inputs, last, options=schema.BatchToSpaceNDOptionsT(), version=2)
    with pytest.raises(UnsupportedOpError, match="a batch of 4"):
        load_graph(b.build(last))


def _differing(b: TfliteBuilder, x: int) -> int:
    return b.op("RESHAPE", [x, integers(b, b.shape(x))], b.tensor(b.shape(x), scale=0.5, zero_point=1))


def _six_axes(b: TfliteBuilder, x: int) -> int:
    return transpose(b, b.reshape(x, (1, 2, 2, 2, 2, 2)), (0, 5, 4, 3, 2, 1))


def _computed_axis(b: TfliteBuilder, x: int) -> int:
    axis = b.tensor((), INT32)
    b.op("SHAPE", [x], axis)
    outs = [like(b, x, (1, 4, 4, 1)) for _ in range(2)]
    return b.op("SPLIT", [axis, x], outs, options=schema.SplitOptionsT())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_differing, "differ in scale or zero point"),
        (_six_axes, "at most 5 axes"),
        (_computed_axis, "not constant"),
        (lambda b, x: b.pad(x, [(0, 0), (-1, 0), (0, 0), (0, 0)]), "negative padding"),
    ],
)
def test_what_cannot_be_moved_is_named(make, words):
    builder = TfliteBuilder(0)
    with pytest.raises(UnsupportedOpError, match=words):
        load_graph(builder.build(make(builder, builder.input((1, 4, 4, 2), scale=0.25))))


@pytest.mark.parametrize(
    "make",
    [
        lambda b, x: transpose(b, x, (0, 1, 2, 2)),
        lambda b, x: concatenation(b, [x, x], 1) and split(b, x, 1, [3, 3], equal=False)[0],
        lambda b, x: b.op("TILE", [x, integers(b, [1, 1, 1, 2])], like(b, x, (1, 4, 4, 3))),
        lambda b, x: gather(b, x, 1, [4]),
        lambda b, x: strided_slice(b, x, [0, 3], [1, 5], [1, 1], (1, 2, 4, 2)),
    ],
)
def test_contradictions_are_one_error(make):
    builder = TfliteBuilder(0)
    with pytest.raises(ModelFileError, match="contradicts itself"):
        load_graph(builder.build(make(builder, builder.input((1, 4, 4, 2)))))


def test_a_slice_takes_the_place_of_its_input():
    builder = TfliteBuilder(0)
    x = builder.input((1, 8, 8, 4))
    wide = builder.max_pool_2d(x, kernel=(1, 1), stride=(1, 1))
    out = strided_slice(builder, wide, [0, 2], [1, 7], [1, 1], (1, 5, 8, 4))
    steps = plan(load_graph(builder.build(builder.max_pool_2d(out)))).steps
    assert steps[1].inputs[0].offset == steps[1].outputs[0].offset
