"""The network in plain Python, for reading and for comparison: no viper, no machine code, slow.

    reference = load("model")              # the folder of a package with viper kernels
    reference.predict(bytes_of_the_input)
    reference.learn(label)

It runs under CPython and MicroPython and gives the same bytes as the kernels. The operators of usual networks are here,
and the trainable layer; `Reference` names those that are not. What a kernel does is written as its formula; what its
tables look like is said in edgelearn/codegen/tables.py and, for constants, at the top of kernels_*.py.
"""

import struct

_RECORD_BYTES = 28
_TABLES, _WEIGHTS, _RAM, _FUNCTION = range(4)
_CROSS_ENTROPY = 1
_LARGEST_UPDATE_SHIFT = 24
_RANDOM_SEED = 2463534242
#: round(2^(15 - i/64))
_EXPONENTIALS = [int(2 ** (15 - i / 64) + 0.5) for i in range(65)]


# Arithmetic: whole numbers without limit, where C has 32 bits.


def wrap(value):
    """Modulo 2^32, as int32."""
    return ((value + 0x80000000) & 0xFFFFFFFF) - 0x80000000


def clamp(value, low, high):
    return max(low, min(high, value))


def shift_rounded(value, n):
    """value / 2^n, halves up."""
    return (value + (1 << n >> 1)) >> n


def shift_away(value, n):
    """value / 2^n, halves away from zero."""
    return shift_rounded(value - (1 if value < 0 and n else 0), n)


def multiply_high(a, b):
    """a b / 2^31, halves up."""
    return shift_rounded(a * b, 31)


def requantise_twice(value, multiplier, shift):
    """value multiplier 2^(shift - 31), rounded as LiteRT's CONV_2D and most others do."""
    high = multiply_high(wrap(value << max(shift, 0)), multiplier)
    return shift_away(high, max(-shift, 0))


def requantise_once(value, multiplier, shift):
    """The same, rounded as FULLY_CONNECTED does."""
    return shift_away(value * multiplier, 31 - shift)


class Memory:
    """One row of bytes that addresses point into: tables, constants, and RAM, in which tensors and the head lie."""

    def __init__(self, tables, weights, ram_bytes, places):
        # Address 0 is nothing.
        begin = (16, 16 + len(tables), 16 + len(tables) + len(weights), 0)
        self.begin = begin
        self.bytes = bytearray(16) + bytearray(tables) + bytearray(weights) + bytearray(ram_bytes)
        for at, region in places:
            self.set("I", begin[_TABLES] + at, self.get("I", begin[_TABLES] + at) + begin[region])

    def get(self, kind, at):
        return struct.unpack_from("<" + kind, self.bytes, at)[0]

    def all(self, kind, at, count):
        return list(struct.unpack_from("<%d%s" % (count, kind), self.bytes, at))

    def set(self, kind, at, *values):
        struct.pack_into("<%d%s" % (len(values), kind), self.bytes, at, *values)

    def words(self, at, count):
        """int32 values."""
        return self.all("i", at, count)

    def int8(self, at, count):
        return self.all("b", at, count)


# Kernels: (memory, arguments of the record). Images are [height][width][channel].


def _window(p):
    """Of the parameters that begin with input, output and window: these as dictionaries."""
    names = ("kernel_h", "kernel_w", "stride_h", "stride_w", "dilation_h", "dilation_w", "top", "left")
    return p[0:3], p[3:6], dict(zip(names, p[6:14]))


def _taps(w, y, x, height, width):
    """(row of the window, its column, row of the input, its column) of what lies inside of the input."""
    for i in range(w["kernel_h"]):
        row = y * w["stride_h"] - w["top"] + i * w["dilation_h"]
        for j in range(w["kernel_w"]):
            column = x * w["stride_w"] - w["left"] + j * w["dilation_w"]
            if 0 <= row < height and 0 <= column < width:
                yield i, j, row, column


def conv2d(m, params, image, output, _scratch):
    p = m.words(params, 23)
    (height, width, channels), (out_height, out_width, outputs), w = _window(p)
    zero, out_zero, low, high, depth, group_outputs, weights_at, _, table = p[14:]
    row_bytes = (w["kernel_h"] * w["kernel_w"] * depth + 3) & -4
    of_channels = []
    for c in range(outputs):
        weights = [value - 128 for value in m.all("B", weights_at + c * row_bytes, row_bytes)]
        weights = weights[: w["kernel_h"] * w["kernel_w"] * depth]
        first, _, _, _, _, multiplier, shift = m.words(table + 28 * c, 7)
        of_channels.append((weights, first + (zero + 128) * sum(weights), multiplier, shift))
    for y in range(out_height):
        for x in range(out_width):
            taps = list(_taps(w, y, x, height, width))
            for c, (weights, bias, multiplier, shift) in enumerate(of_channels):
                total = bias
                begin = c // group_outputs * depth
                for i, j, row, column in taps:
                    values = m.int8(image + (row * width + column) * channels + begin, depth)
                    of_tap = (i * w["kernel_w"] + j) * depth
                    for k in range(depth):
                        total += weights[of_tap + k] * (values[k] - zero)
                total = wrap(requantise_twice(wrap(total), multiplier, shift) + out_zero)
                m.set("b", output + (y * out_width + x) * outputs + c, clamp(total, low, high))


def depthwise_conv2d(m, params, image, output, _scratch):
    p = m.words(params, 23)
    (height, width, channels), (out_height, out_width, outputs), w = _window(p)
    zero, out_zero, low, high, _, multiple, weights_at, _, table = p[14:]
    count = w["kernel_h"] * w["kernel_w"]
    for c in range(outputs):
        weights = m.words(weights_at + 4 * c * count, count)
        first, _, _, _, _, multiplier, shift = m.words(table + 28 * c, 7)
        bias = first + (zero + 128) * sum(weights)
        for y in range(out_height):
            for x in range(out_width):
                total = bias
                for i, j, row, column in _taps(w, y, x, height, width):
                    value = m.get("b", image + (row * width + column) * channels + c // multiple)
                    total += weights[i * w["kernel_w"] + j] * (value - zero)
                total = wrap(requantise_twice(wrap(total), multiplier, shift) + out_zero)
                m.set("b", output + (y * out_width + x) * outputs + c, clamp(total, low, high))


def fully_connected(m, params, values_at, output, _scratch):
    rows, features, outputs, zero, out_zero, low, high, weights_at, _, table = m.words(params, 10)
    row_bytes = (features + 3) & -4
    for row in range(rows):
        values = m.int8(values_at + row * features, features)
        for c in range(outputs):
            weights = [value - 128 for value in m.all("B", weights_at + c * row_bytes, features)]
            first, multiplier, shift = m.words(table + 12 * c, 3)
            total = first + (zero + 128) * sum(weights)
            for k in range(features):
                total += weights[k] * (values[k] - zero)
            total = requantise_once(wrap(total), multiplier, shift) + out_zero
            m.set("b", output + row * outputs + c, clamp(total, low, high))


def _pool(m, params, image, output, reduce):
    p = m.words(params, 18)
    (height, width, channels), (out_height, out_width, _), w = _window(p)
    w["dilation_h"] = w["dilation_w"] = 1
    for y in range(out_height):
        for x in range(out_width):
            taps = list(_taps(w, y, x, height, width))
            # Some pools write over their input: all is read before.
            pixel = []
            for c in range(channels):
                values = [m.get("b", image + (row * width + column) * channels + c) for _, _, row, column in taps]
                pixel.append(clamp(reduce(values), p[14], p[15]))
            m.set("b", output + (y * out_width + x) * channels, *pixel)


def max_pool2d(m, params, image, output):
    _pool(m, params, image, output, max)


def average(values):
    """Halves away from zero."""
    total, count = sum(values), len(values)
    rounded = (abs(total) + count // 2) // count
    return rounded if total > 0 else -rounded


def average_pool2d(m, params, image, output):
    _pool(m, params, image, output, average)


def mean(m, params, image, output):
    outer, outer_step, inner, inner_step, channels, *p = m.words(params, 15)
    count1, step1, count2, step2, count3, step3, out_zero, offset, multiplier, shift = p
    for i in range(outer):
        for j in range(inner):
            sums = []
            for c in range(channels):
                begin = image + i * outer_step + j * inner_step + c
                places = [
                    begin + a * step1 + b * step2 + d * step3
                    for a in range(count1)
                    for b in range(count2)
                    for d in range(count3)
                ]
                sums.append(sum([m.get("b", place) for place in places]) - offset)
            for c in range(channels):
                value = requantise_twice(sums[c], multiplier, shift) + out_zero
                m.set("b", output + (i * inner + j) * channels + c, clamp(value, -128, 127))


def lookup(m, params, values_at, output):
    elements, table = m.words(params, 2)
    for i in range(elements):
        m.bytes[output + i] = m.bytes[table + m.bytes[values_at + i]]


def add_folded(m, params, first, second, output):
    elements, multiplier1, multiplier2, offset, shift, low, high, _ = m.words(params, 8)
    for i in range(elements):
        total = m.get("b", first + i) * multiplier1 + m.get("b", second + i) * multiplier2 + offset
        m.set("b", output + i, clamp((total >> shift) - 128, low, high))


def copy(m, params, inputs, outputs):
    pieces, piece_count, axes, fill_bytes, fill = m.words(params, 5)
    output = m.get("I", outputs)
    m.bytes[output : output + fill_bytes] = bytes([fill & 255]) * fill_bytes
    for piece in range(piece_count):
        number_in, number_out, source, target, run, first_axis, count = m.words(pieces + 28 * piece, 7)
        source += m.get("I", inputs + 4 * number_in)
        target += m.get("I", outputs + 4 * number_out)
        steps = [m.words(axes + 12 * (first_axis + axis), 3) for axis in range(count)]
        _copy(m, steps, source, target, run)


def _copy(m, axes, source, target, run):
    if not axes:
        for k in range(run):
            m.bytes[target + k] = m.bytes[source + k]
        return
    count, input_step, output_step = axes[0]
    for i in range(count):
        _copy(m, axes[1:], source + i * input_step, target + i * output_step, run)


def reciprocal(a):
    """1 / (1 + a) in Q0.31 for 0 <= a < 1 in Q0.31: three Newton steps in Q2.29."""
    half = (a + 0x80000000) >> 1
    x = 1515870810 + multiply_high(half, -1010580540)  # 48/17 - 32/17 d
    for _ in range(3):
        x += multiply_high(x, (1 << 29) - multiply_high(half, x)) << 2
    return min(x << 1, 0x7FFFFFFF)


def softmax(m, params, values_at, output):
    rows, columns, table, count = m.words(params, 4)
    exponentials = m.words(table, count)
    for row in range(rows):
        values = m.int8(values_at + row * columns, columns)
        # Inputs that are far below the largest count nothing.
        below = [max(values) - value for value in values]
        terms = [exponentials[b] if b < count else 0 for b in below]
        total = sum([shift_rounded(e, 12) for e in terms])
        right = 35
        while total < 0x80000000:
            total <<= 1
            right -= 1
        factor = reciprocal(total - 0x80000000)
        for c in range(columns):
            value = 0
            if below[c] < count and right < 32:
                value = min(255, shift_rounded(multiply_high(factor, terms[c]), right))
            m.set("b", output + row * columns + c, value - 128)


KERNELS = {
    "elearn_conv2d_s8": conv2d,
    "elearn_depthwise_conv2d_s8": depthwise_conv2d,
    "elearn_fully_connected_s8": fully_connected,
    "elearn_max_pool2d_s8": max_pool2d,
    "elearn_average_pool2d_s8": average_pool2d,
    "elearn_mean_s8": mean,
    "elearn_lookup_s8": lookup,
    "elearn_add_folded_s8": add_folded,
    "elearn_copy_s8": copy,
    "elearn_softmax_table_s8": softmax,
}


class Head:
    """The trainable layer: see edgelearn/training/head.py for the formulas and the reason of each.

    A weight is u = 256 q + l. Integers stand in RAM, as the kernels have them.
    """

    def __init__(self, m, params, state, residual):
        self.m, self.params, self.state, self.residual = m, params, state, residual
        self.features, self.outputs = m.words(params, 2)
        self.loss, self.zero, self.logit_bits, self.gradient_bits = struct.unpack_from("<BbBb", m.bytes, params + 8)
        self.error_shift, self.target_shift, self.row_t_min = struct.unpack_from("<BBb", m.bytes, params + 12)
        self.input_zero, self.input_mantissa, self.input_shift = struct.unpack_from("<bhb", m.bytes, params + 19)
        names = ("weights", "residual", "bias", "row_t", "row_rho", "row_k", "logits", "probabilities")
        self.at = dict(zip(names, m.all("I", state, 8)))
        self.initial = m.all("I", params + 28, 5)
        self.row_m, self.row_r = m.all("I", params + 48, 2)

    def reset(self):
        m, weights = self.m, self.outputs * self.features
        sizes = (weights, weights, 4 * self.outputs, self.outputs, self.outputs)
        for name, source, size in zip(("weights", "residual", "bias", "row_t", "row_rho"), self.initial, sizes):
            at = self.at[name]
            if at:
                m.bytes[at : at + size] = m.bytes[source : source + size] if source else b"\x80" * size
        m.set("I", self.state + 36, _RANDOM_SEED)
        self.set_rate(m.get("H", self.params + 16), m.get("B", self.params + 18))

    def set_rate(self, mantissa, exponent):
        """Learn at mantissa 2^-exponent; False, and nothing changes, where an update could not represent it."""
        m = self.m
        if mantissa:
            rho = min(m.int8(self.at["row_rho"], self.outputs))
            if not 1 << 14 <= mantissa < 1 << 15 or self._bias_shift(exponent) < 0:
                return False
            if self._update_shift(exponent, rho) < 1:
                return False
        m.set("H", self.state + 32, mantissa)
        m.set("B", self.state + 34, exponent)
        row_r = m.all("H", self.row_r, self.outputs)
        m.set("H", self.at["row_k"], *[shift_rounded(mantissa * r, 15) for r in row_r])
        return True

    def _bias_shift(self, exponent):
        return exponent + self.gradient_bits - self.logit_bits - 8

    def _update_shift(self, exponent, rho):
        return exponent + rho + self.gradient_bits - 30

    def forward(self, values_at, result):
        m = self.m
        values = [value - self.zero for value in m.int8(values_at, self.features)]
        logits = []
        for row in range(self.outputs):
            weights = m.int8(self.at["weights"] + row * self.features, self.features)
            total = sum([weight * value for weight, value in zip(weights, values)])
            high, low = total >> 15, total & 0x7FFF
            factor = m.get("H", self.row_m + 2 * row)
            t = m.get("b", self.at["row_t"] + row)
            if t > 15:
                logit = shift_rounded(high * factor + shift_rounded(low * factor, 15), t - 15)
            else:
                logit = (high * factor << (15 - t)) + shift_rounded(low * factor, t)
            logits.append(logit + shift_rounded(m.get("i", self.at["bias"] + 4 * row) >> 7, 1))
        m.set("i", self.at["logits"], *logits)
        best = logits.index(max(logits))
        confidence = total = 0
        if self.loss == _CROSS_ENTROPY:
            terms = [self._exponential(logits[best] - logit) for logit in logits]
            total = sum(terms)
            probabilities = [((term << 15) + (total >> 1)) // total for term in terms]
            m.set("H", self.at["probabilities"], *probabilities)
            confidence = probabilities[best]
        m.set("H", result, best, confidence)
        m.set("I", result + 4, 0, total)

    def _exponential(self, distance):
        """exp(-distance) in Q15, by a table of powers of two."""
        bits = self.logit_bits - 12
        distance = distance >> bits if bits >= 0 else distance << -bits
        v = min(distance, 65535) * 23637 >> 10
        if v >> 16 > 15:
            return 0
        i = v >> 10 & 63
        step = (_EXPONENTIALS[i] - _EXPONENTIALS[i + 1]) * (v & 1023)
        return (_EXPONENTIALS[i] - shift_rounded(step, 10)) >> (v >> 16)

    def gradient(self, row, label, targets, image):
        m = self.m
        if self.loss == _CROSS_ENTROPY:
            g = m.get("H", self.at["probabilities"] + 2 * row) - (32768 if row == label else 0)
        else:
            if targets:
                target = m.get("h", targets + 2 * row) << self.target_shift
            else:
                target = (m.get("b", image + row) - self.input_zero) * self.input_mantissa
                shift = self.input_shift
                target = shift_rounded(target, shift) if shift >= 0 else target << -shift
            g = shift_rounded(m.get("i", self.at["logits"] + 4 * row) - target, self.error_shift)
        return clamp(g, -32767, 32767)

    def judge(self, label, targets, image, result):
        m = self.m
        if self.loss == _CROSS_ENTROPY:
            logits = m.words(self.at["logits"], self.outputs)
            m.set("I", result + 4, logits[m.get("H", result)] - logits[label])
            return
        squares = [self.gradient(row, label, targets, image) ** 2 for row in range(self.outputs)]
        m.set("I", result + 4, sum([s >> 16 for s in squares]), sum([s & 0xFFFF for s in squares]))

    def learn(self, values_at, label, targets, image):
        m = self.m
        mantissa, exponent = m.get("H", self.state + 32), m.get("B", self.state + 34)
        if not mantissa:
            return
        values = [value - self.zero for value in m.int8(values_at, self.features)]
        for row in range(self.outputs):
            g = self.gradient(row, label, targets, image)
            k = shift_rounded(g * m.get("H", self.at["row_k"] + 2 * row), 15)
            shift = self._update_shift(exponent, m.get("b", self.at["row_rho"] + row))
            if k and shift <= _LARGEST_UPDATE_SHIFT:
                self._update(row, values, k, shift)
            if self._bias_shift(exponent) <= 30:
                at = self.at["bias"] + 4 * row
                bias = m.get("i", at) - shift_rounded(g * mantissa, self._bias_shift(exponent))
                m.set("i", at, clamp(bias, -0x80000000, 0x7FFFFFFF))

    def _update(self, row, values, k, shift):
        m, begin = self.m, row * self.features
        saturated = False
        for i in range(self.features):
            u = self._weight(begin + i) - shift_rounded(k * values[i], shift)
            kept = clamp(u, -32768, 32767)
            saturated = saturated or u != kept
            self._keep(begin + i, kept)
        t_at, rho_at = self.at["row_t"] + row, self.at["row_rho"] + row
        if saturated and m.get("b", t_at) > self.row_t_min:
            # Twice the row's scale, half the numbers
            for i in range(self.features):
                self._keep(begin + i, (self._weight(begin + i, is_random=False) - 127 >> 1) + 128)
            m.set("b", t_at, m.get("b", t_at) - 1)
            m.set("b", rho_at, m.get("b", rho_at) + 1)

    def _weight(self, i, is_random=True):
        """u = 256 q + l: l is kept, drawn at random, or always a half."""
        m = self.m
        low = 128
        if self.residual == "int8":
            low = m.bytes[self.at["residual"] + i]
        elif self.residual == "stochastic" and is_random:
            v = m.get("I", self.state + 36)
            v ^= v << 13 & 0xFFFFFFFF
            v ^= v >> 17
            v ^= v << 5 & 0xFFFFFFFF
            m.set("I", self.state + 36, v)
            low = v >> 24
        return 256 * m.get("b", self.at["weights"] + i) + low

    def _keep(self, i, u):
        self.m.set("b", self.at["weights"] + i, u >> 8)
        if self.residual == "int8":
            self.m.bytes[self.at["residual"] + i] = u & 255


_OF_HEAD = ("forward", "loss", "learn", "reset", "set_learning_rate")


class Reference:
    """The calls of a model.

    Args:
        tables, weights, ram_bytes: as they are for the kernels; addresses are still offsets in their regions.
        places: (offset in the tables, number of the region) of each word that is an address.
        functions: that records name by number, from 1 on.

    Raises:
        ValueError: a function is not in the reference.
    """

    def __init__(self, tables, weights, ram_bytes, places, functions):
        known = list(KERNELS) + ["elearn_head_" + name for name in _OF_HEAD]
        known += ["elearn_head_accepts_row_t", "elearn_head_accepts_row_rho"]
        missing = [name for name in functions if name.split("@")[0] not in known]
        if missing:
            raise ValueError("not in the reference: " + ", ".join(missing))
        self.memory = Memory(tables, weights, ram_bytes, places)
        self.functions = functions

    def address(self, region, offset):
        return self.memory.begin[region] + offset

    def run(self, offset):
        """A list of calls; what the last one gave."""
        at = self.memory.begin[_TABLES] + offset
        result = None
        while self.memory.get("I", at):
            number, *arguments = self.memory.all("I", at, 7)
            result = self._call(self.functions[number - 1], arguments)
            at += _RECORD_BYTES
        return result

    def _call(self, function, arguments):
        m = self.memory
        name, _, residual = function.partition("@")
        if name in KERNELS:
            kernel = KERNELS[name]
            # Records have room for more arguments than most kernels take.
            return kernel(m, *arguments[: _ARGUMENTS.get(name, 3)])
        head = Head(m, arguments[0], arguments[1], residual)
        if name.endswith("_forward"):
            return head.forward(arguments[2], arguments[3])
        if name.endswith("_loss"):
            return head.judge(arguments[2], arguments[3], arguments[4], arguments[5])
        if name.endswith("_learn"):
            return head.learn(arguments[2], arguments[3], arguments[4], arguments[5])
        if name.endswith("_reset"):
            return head.reset()
        if name.endswith("_set_learning_rate"):
            return head.set_rate(arguments[2], arguments[3])
        raise ValueError("not in the reference: " + function)


#: Parameters, inputs, outputs and scratch, where they are not three.
_ARGUMENTS = {
    "elearn_conv2d_s8": 4,
    "elearn_depthwise_conv2d_s8": 4,
    "elearn_fully_connected_s8": 4,
    "elearn_add_folded_s8": 4,
}


class Model:
    """A package's network: what `model.load()` gives, as far as it predicts and learns classes."""

    def __init__(self, facts, reference):
        self.facts, self.reference = facts, reference
        if facts["OUTPUTS_OF_HEAD"]:
            reference.run(facts["RESET"])

    def predict(self, x):
        """The number of the class, of an int8 input as bytes; without a trainable layer that of the largest output."""
        facts, reference = self.facts, self.reference
        offset, size = facts["INPUTS"][0][:2]
        if len(x) != size:
            raise ValueError("the input takes %d bytes, not %d" % (size, len(x)))
        at = reference.address(_RAM, offset)
        reference.memory.bytes[at : at + size] = x
        reference.run(facts["PREDICT"])
        if facts["OUTPUTS_OF_HEAD"]:
            return reference.memory.get("H", reference.address(_TABLES, facts["RESULT"]))
        outputs = self.output()
        return outputs.index(max(outputs))

    def output(self):
        """The first output's int8, or the logits of the trainable layer."""
        facts, reference = self.facts, self.reference
        if facts["OUTPUTS_OF_HEAD"]:
            return reference.memory.words(reference.address(_RAM, facts["HEAD"]["logits"][0]), facts["OUTPUTS_OF_HEAD"])
        offset, size = facts["OUTPUTS"][0][:2]
        return reference.memory.int8(reference.address(_RAM, offset), size)

    def learn(self, label):
        """One step on what was predicted last."""
        facts, reference = self.facts, self.reference
        for at in facts["LABEL"]:
            reference.memory.set("I", reference.address(_TABLES, at), label)
        reference.run(facts["LOSS"])
        reference.run(facts["LEARN"])


def load(folder):
    """The network of a package with viper kernels, from its folder `model`.

    Raises:
        ValueError: it has machine code, whose tables are packed for it; or operators that are not in the reference.
    """
    facts = {}
    with open(folder + "/facts.py") as file:
        exec(file.read(), facts)
    lines = ()
    try:
        with open(folder + "/functions.py") as file:
            lines = file.read().split("FUNCTIONS = (")[1].split("\n")
    except OSError:
        pass
    if not lines:
        raise ValueError("the package has no viper kernels: generate it with --kernels viper")
    functions = [line.strip(" ,") for line in lines if line.startswith("    ")]
    residual = {0: "none", 1: "int8", 2: "stochastic"}.get(facts.get("RESIDUAL", 0), "")
    functions = [name + "@" + residual if name.startswith("elearn_head_") else name for name in functions]
    with open(folder + "/tables.bin", "rb") as file:
        tables = file.read(facts["TABLES_BYTES"])
        words = struct.unpack("<%dI" % facts["PLACES"], file.read(4 * facts["PLACES"]))
    with open(folder + "/weights.bin", "rb") as file:
        weights = file.read()
    places = [(word & -4, word & 3) for word in words]
    return Model(facts, Reference(tables, weights, facts["RAM_BYTES"], places, functions))
