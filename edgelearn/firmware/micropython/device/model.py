# A network that goes on learning: `import model; m = model.load(); m.predict(x); m.learn(x, y); m.save()`.
#
# Nothing is allocated in predict() and learn() where x is bytes and y a number. What is of this model alone stands in
# facts.py and the .bin files; this file is the same for every model.
import gc

# What imports leave behind lies between what stays, until no large piece fits any more: it is collected at once, up to
# the end of load().
_usual_threshold = gc.threshold()
gc.collect()
gc.threshold(2048)

import math
import os
import struct
from array import array

from micropython import const

from . import facts
from .memory import address, copy, find_name, largest_f32, largest_s8, peek16, poke, poke_address, relocate

# Counters that are saved with the head: their places in Model.counters.
STEP = const(0)
BOOT = const(1)
AUTOSAVE_STEPS = const(2)
MANTISSA = const(3)
EXPONENT = const(4)
CLASSES = const(5)
SESSION = const(6)
NEXT_SEQUENCE = const(7)

_INT8 = const(0)
_INT32 = const(1)
_INT64 = const(2)
_FLOAT32 = const(3)
_LOGITS = const(4)
_CROSS_ENTROPY = const(1)

# A tuple that stands in a function is made each time.
_BYTES = (bytes, bytearray)
_ARRAYS = (array, memoryview)


class _Key:
    def __getitem__(self, key):
        return key


# The key of a whole slice, which would otherwise be allocated each time.
_ALL = _Key()[:]


def load():
    """The network with what it learned last, as far as it was saved."""
    folder = __file__.rsplit("/", 1)[0]
    # In ROM nothing can be saved: what was learned lies beside main.py then.
    model = Model(folder, os.getcwd().rstrip("/") if folder.startswith("/rom/") else folder)
    gc.collect()
    gc.threshold(_usual_threshold)
    return model


class Model:
    """A network and its trainable last layer.

    Attributes:
        inputs, outputs: bytes of each, as they lie in memory.
        prediction: what the last predict() gave.
        counters: array of what is saved beside the head: see STEP and so on.
        saved: the same as they were saved last; zeros without a save.
    """

    def __init__(self, folder, saves):
        from .runner import prepare, run

        # The largest first.
        gc.collect()
        self._tables = bytearray(facts.TABLES_BYTES)
        self._ram = bytearray(facts.RAM_BYTES)
        self._weights = _weights(folder + "/weights.bin")
        begin = address(self._tables)
        ram = address(self._ram)
        self._relocate(folder + "/tables.bin", begin, ram)
        self.inputs = self._ends(facts.INPUTS)
        self.outputs = self._ends(facts.OUTPUTS)
        self.prediction = 0
        self._input = address(self.inputs[0])
        self._run = run
        self._predict = prepare(self._tables, facts.PREDICT)
        self.counters = array("I", (0,) * 8)
        self.saved = array("I", (0,) * 8)
        self._counted_from = 0
        self._result = 0
        self.result = bytearray(12)
        self.store = None
        if facts.OUTPUTS_OF_HEAD:
            self._prepare_head(saves, prepare, begin)
        else:
            self.counters[BOOT] = 1

    def _relocate(self, path, begin, ram):
        with open(path, "rb") as file:
            _fill(file, self._tables)
            regions = array("I", (begin, address(self._weights), ram, 0))
            places = bytearray(4 * min(facts.PLACES, 64))
            left = facts.PLACES
            while left:
                count = min(left, 64)
                _fill(file, memoryview(places)[: 4 * count])
                relocate(self._tables, places, count, regions)
                left -= count

    def _ends(self, places):
        ram = memoryview(self._ram)
        return tuple(ram[offset : offset + size] for offset, size, _, _, _ in places)

    def _prepare_head(self, saves, prepare, begin):
        tables = memoryview(self._tables)
        self._loss = prepare(self._tables, facts.LOSS)
        self._learn = prepare(self._tables, facts.LEARN)
        self._reset = prepare(self._tables, facts.RESET)
        self._rate = prepare(self._tables, facts.RATE)
        self._row_t = prepare(self._tables, facts.ROW_T)
        self._row_rho = prepare(self._tables, facts.ROW_RHO)
        self._label_at = tuple(begin + offset for offset in facts.LABEL)
        self._targets_at = tuple(begin + offset for offset in facts.TARGETS)
        for offset in facts.INPUT:
            poke(begin + offset, self._input)
        self._mantissa_at, self._exponent_at = begin + facts.MANTISSA, begin + facts.EXPONENT
        self._result = begin + facts.RESULT
        self.result = tables[facts.RESULT : facts.RESULT + 12]
        # With this there are 30 attributes: 29 would fill their table, and each call of a method search it in vain.
        self._is_classifier = facts.LOSS_KIND == _CROSS_ENTROPY
        # What the update reads in place of a class: an int16 for each output.
        if not self._is_classifier:
            self.targets = array("h", (0,) * facts.OUTPUTS_OF_HEAD)
        self.learning_rate_bytes = tables[facts.STATE_RATE : facts.STATE_RATE + 3]
        ram = memoryview(self._ram)
        self.features = ram[facts.FEATURES_OFFSET : facts.FEATURES_OFFSET + facts.FEATURES]
        self.head = {name: ram[offset : offset + size] for name, (offset, size) in facts.HEAD.items()}
        self._parts = [self.head[name] for name in facts.SAVED]
        if facts.STATE_RANDOM:
            self._parts.append(tables[facts.STATE_RANDOM : facts.STATE_RANDOM + 4])
        self._parts.append(self.counters)
        self.reset_all()
        from .store import Store

        self.store = Store(saves, facts.IDENTITY)
        if self.store.load(self._parts):
            self.set_rate(self.counters[MANTISSA], self.counters[EXPONENT])
            self._note_saved()
        self.counters[SESSION] = 0
        self.counters[NEXT_SEQUENCE] = 0
        self.counters[BOOT] += 1

    # What goes in

    def put(self, x):
        """Make x the input: bytes as they are, or numbers, which are quantised where the input is int8.

        An array or memoryview whose items are bytes is bytes, any other is numbers. With several inputs x is a tuple
        of such.
        """
        if len(self.inputs) == 1:
            self._put(0, x)
        else:
            if len(x) != len(self.inputs):
                raise ValueError("the model has %d inputs" % len(self.inputs))
            for number, part in enumerate(x):
                self._put(number, part)

    def _put(self, number, x):
        _, size, kind, scale, zero_point = facts.INPUTS[number]
        to = self.inputs[number]
        if self._put_bytes(to, x, size, kind):
            return
        count = size if kind == _INT8 else size // 4
        if len(x) != count:
            raise ValueError("input %d takes %d numbers or %d bytes, not %d" % (number, count, size, len(x)))
        for i, value in enumerate(x):
            if kind == _INT8:
                to[i] = quantise(value, scale, zero_point) & 255
            else:
                struct.pack_into("<f", to, 4 * i, value)

    # Take bytes, or items that lie in memory as those of the input do; whether x is such.
    def _put_bytes(self, to, x, size, kind):
        if isinstance(x, _BYTES):
            if len(x) != size:
                raise ValueError("the input takes %d bytes, not %d" % (size, len(x)))
        elif not isinstance(x, _ARRAYS):
            return False
        elif len(x) == size:
            try:
                to[_ALL] = x
                return True
            except ValueError:
                return False  # its items are larger than a byte
        else:
            view = memoryview(x)
            is_float = kind == _FLOAT32 and 4 * len(x) == size and isinstance(x[0], float)
            if not is_float or address(view[1:]) - address(view) != 4:
                return False
        copy(to, 0, x, size)
        return True

    # What comes out

    def predict(self, x=None):
        """The number of the class, or of the largest output; without x of what is in `inputs`."""
        if x is not None:
            self.put(x)
        self._run(self._predict)
        self.prediction = peek16(self._result) if self._result else self._largest()
        return self.prediction

    def _largest(self):
        _, size, kind, _, _ = facts.OUTPUTS[0]
        if kind == _INT8:
            return largest_s8(self.outputs[0], size)
        if kind == _FLOAT32:
            return largest_f32(self.outputs[0], size // 4)
        # One integer is the answer itself; several are numbers of classes, whose largest says nothing.
        return peek16(self.outputs[0]) if size == (4 if kind == _INT32 else 8) else 0

    @property
    def confidence(self):
        """Probability of the last prediction; 0 where nothing is classified by a trainable layer."""
        return struct.unpack("<H", self.result[2:4])[0] / 32768 if self._result else 0.0

    def output(self, number=0):
        """An output of the last prediction as a list of real numbers; probabilities of the classes that are learned."""
        _, size, kind, scale, zero_point = facts.OUTPUTS[number]
        if kind == _LOGITS:
            if self._is_classifier:
                return [value / 32768 for value in _unpacked("H", self.head["probabilities"])]
            return [value / (1 << facts.LOGIT_FRACTION_BITS) for value in _unpacked("i", self.head["logits"])]
        if kind == _INT8:
            return [scale * (value - zero_point) for value in _unpacked("b", self.outputs[number])]
        return list(_unpacked({_INT32: "i", _INT64: "q", _FLOAT32: "f"}[kind], self.outputs[number]))

    # Learning

    def learn(self, x, y=None):
        """Predict, then learn: what was predicted before.

        Args:
            x: as for predict().
            y: number or name of the class; with a squared error the outputs wanted, or None for the input itself.
        """
        prediction = self.predict(x)
        label = self.set_target(y)
        self._run(self._loss)
        self.train(label)
        if self.is_save_due():
            self.save()
        return prediction

    def set_target(self, y):
        """What the last prediction should have been, for loss and train(); the number of the class, if it is one."""
        _need_head()
        if self._is_classifier:
            if not isinstance(y, int):
                y = self._number_of(y)
            if not 0 <= y < facts.OUTPUTS_OF_HEAD:
                raise ValueError("classes are 0 to %d" % (facts.OUTPUTS_OF_HEAD - 1))
            self.use_label(y)
            return y
        if y is None:
            if not facts.INPUT_IS_TARGET:
                raise ValueError("the input of this model cannot be its target")
            self.use_targets(None)
        else:
            factor = 1 << max(facts.LOGIT_FRACTION_BITS - facts.TARGET_SHIFT, 0)
            for i in range(facts.OUTPUTS_OF_HEAD):
                self.targets[i] = max(min(_rounded(y[i] * factor), 32767), -32768)
            self.use_targets(self.targets)
        return None

    # The names are compared where they lie: a list of them would be long.
    def _number_of(self, name):
        if not isinstance(name, str):
            raise TypeError("y is the number or the name of a class")
        if facts.LABEL_BYTES:
            wanted = name.encode()
            number = -1
            if 0 < len(wanted) <= facts.LABEL_BYTES:
                number = find_name(self.head["names"], facts.LABEL_BYTES, self.counters[CLASSES], wanted, len(wanted))
        else:
            names = self.names
            number = names.index(name) if name in names else -1
        if number < 0:
            raise ValueError("there is no class " + name)
        return number

    def use_label(self, number):
        """Take a class, one that there is, as what the last prediction should have been."""
        for place in self._label_at:
            poke(place, number)

    def use_targets(self, buffer, begin=0):
        """Read the targets, int16 of each output, from byte `begin` of a buffer; None is the input itself."""
        for place in self._targets_at:
            if buffer is None:
                poke(place, 0)
            else:
                poke_address(place, buffer, begin)

    def train(self, label=None):
        """One step of gradient descent on the last prediction and what was set as its target: a class by its number."""
        self._run(self._learn)
        counters = self.counters
        counters[STEP] += 1
        if facts.CLASSES and label is not None and label >= counters[CLASSES]:
            counters[CLASSES] = label + 1

    def measure(self):
        """Form the loss of the last prediction against what was set as its target: see loss."""
        self._run(self._loss)

    @property
    def loss(self):
        """Of the last sample that was learned, before it was; None before the first."""
        _need_head()
        a, b = struct.unpack("<II", self.result[4:12])
        if self._is_classifier:
            if not b:
                return None
            return a / (1 << facts.LOGIT_FRACTION_BITS) + math.log(b / 32768)
        squares = (a * 65536 + b) * 2.0 ** (2 * (facts.ERROR_SHIFT - facts.LOGIT_FRACTION_BITS))
        return squares / facts.OUTPUTS_OF_HEAD

    @property
    def step(self):
        """Training steps since the head was as generated."""
        return self.counters[STEP]

    @property
    def learning_rate(self):
        """Of the trainable layer; setting one that an update could not represent raises ValueError."""
        _need_head()
        mantissa, exponent = struct.unpack("<HB", self.learning_rate_bytes)
        return mantissa * 2.0**-exponent

    @learning_rate.setter
    def learning_rate(self, value):
        _need_head()
        mantissa, exponent = 0, 0
        if value:
            fraction, exponent = math.frexp(value)
            mantissa, exponent = round(fraction * 32768), 15 - exponent
            if mantissa == 32768:
                mantissa, exponent = 16384, exponent - 1
        if not 0 <= value <= 1 or not 0 <= exponent <= 63 or not self.set_rate(mantissa, exponent):
            raise ValueError("a learning rate of %s is not from 0 to 1, or too small or large for this layer" % value)

    def set_rate(self, mantissa, exponent):
        """Set the learning rate mantissa 2^-exponent; whether it can be represented."""
        poke(self._mantissa_at, mantissa)
        poke(self._exponent_at, exponent)
        return bool(self._run(self._rate))

    def accepts(self, is_row_t, at, count):
        """Whether the layer could work with `count` bytes at an address as row_t, or as row_rho, of some outputs."""
        begin = address(self._tables)
        places = facts.ROW_T_VALUES if is_row_t else facts.ROW_RHO_VALUES
        poke(begin + places[0], at)
        poke(begin + places[1], count)
        return bool(self._run(self._row_t if is_row_t else self._row_rho))

    def constant(self, place):
        """Bytes of the weights."""
        return memoryview(self._weights)[place[0] : place[0] + place[1]]

    # Classes

    @property
    def names(self):
        """Of the classes, or of the outputs."""
        if not facts.LABEL_BYTES:
            return _labels()
        names = bytes(self.head["names"])
        size = facts.LABEL_BYTES
        return [str(names[size * i : size * i + size].rstrip(b"\0"), "utf-8") for i in range(self.counters[CLASSES])]

    def add_class(self, name):
        """Take a spare output for a class that the network has never seen; its number."""
        number = self.counters[CLASSES]
        self._check_name(name)
        if not self.set_class(number, name.encode()):
            raise ValueError("there is no spare output left")
        return number

    def rename(self, number, name):
        """Give a class another name."""
        if not 0 <= number < self.counters[CLASSES]:
            raise ValueError("there is no class %d" % number)
        self._check_name(name)
        self.set_class(number, name.encode())

    def _check_name(self, name):
        if not facts.LABEL_BYTES:
            raise TypeError("the names of this model are fixed")
        if not 0 < len(name.encode()) <= facts.LABEL_BYTES:
            raise ValueError("a name has 1 to %d bytes" % facts.LABEL_BYTES)
        if name in self.names:
            raise ValueError("there is a class %s already" % name)

    def set_class(self, number, name):
        """Name a class, or with the number after the last add one, which starts with zero weights; whether it went."""
        size = facts.LABEL_BYTES
        if number > self.counters[CLASSES] or number >= facts.OUTPUTS_OF_HEAD or not 0 < len(name) <= size:
            return False
        if number == self.counters[CLASSES]:
            count = facts.FEATURES
            for i in range(number * count, (number + 1) * count):
                self.head["weights"][i] = 0
                if "residual" in self.head:
                    self.head["residual"][i] = 128
            self.head["bias"][4 * number : 4 * number + 4] = bytes(4)
            self.counters[CLASSES] += 1
        self.head["names"][size * number : size * (number + 1)] = name + bytes(size - len(name))
        return True

    # What was learned

    def save(self):
        """Keep what was learned over a reset; OSError where the file system refuses, and the save before stays."""
        _need_head()
        counters = self.counters
        counters[MANTISSA], counters[EXPONENT] = struct.unpack("<HB", self.learning_rate_bytes)
        session, sequence = counters[SESSION], counters[NEXT_SEQUENCE]
        if not session:
            # All requests of the session that was saved last are still learned.
            counters[SESSION], counters[NEXT_SEQUENCE] = self.saved[SESSION], self.saved[NEXT_SEQUENCE]
        try:
            self.store.save(self._parts)
            self._note_saved()
        finally:
            counters[SESSION], counters[NEXT_SEQUENCE] = session, sequence

    def _note_saved(self):
        self.saved[:] = self.counters
        self._counted_from = self.counters[STEP]

    def is_save_due(self):
        """Whether as many steps have passed since the last save as are to be between two."""
        steps = self.counters[AUTOSAVE_STEPS]
        return steps and self.counters[STEP] - self._counted_from >= steps

    def can_save(self):
        """Whether there is something to save and the file system has room for it."""
        return self.store is not None and self.store.can_save(self._parts)

    def forget(self):
        """Start as generated after the next reset."""
        _need_head()
        self.store.forget()
        for i in range(8):
            self.saved[i] = 0
        self._counted_from = self.counters[STEP]

    def reset(self):
        """Be as generated again, with the learning rate of now where that is possible; what was saved stays."""
        _need_head()
        mantissa, exponent = struct.unpack("<HB", self.learning_rate_bytes)
        self.reset_all()
        self.set_rate(mantissa, exponent)

    def reset_all(self):
        """Be as generated again, with the learning rate that was generated too."""
        self._run(self._reset)
        self.counters[STEP] = self._counted_from = 0
        self.counters[CLASSES] = facts.CLASSES
        size = facts.LABEL_BYTES
        if size:
            names = self.head["names"]
            for number, name in enumerate(_labels()):
                name = name.encode()
                names[size * number : size * (number + 1)] = name + bytes(size - len(name))


def _need_head():
    if not facts.OUTPUTS_OF_HEAD:
        raise TypeError("this model has no trainable layer")


def _labels():
    return str(facts.LABELS, "utf-8").split("\n") if facts.LABELS else []


def quantise(value, scale, zero_point):
    """The int8 nearest to a real number, halves away from zero."""
    return max(min(_rounded(value / scale) + zero_point, 127), -128)


def _rounded(value):
    return int(value + 0.5) if value >= 0 else -int(0.5 - value)


def _fill(file, data):
    if file.readinto(data) != len(data):
        raise ValueError("a file of the model is cut short")


def _unpacked(kind, data):
    return struct.unpack("<%d%s" % (len(data) // struct.calcsize(kind), kind), data)


def _weights(path):
    """The constants: where they lie where that is memory that a processor reads, else copied."""
    gc.collect()
    with open(path, "rb") as file:
        try:
            # Of a file in ROMFS.
            data = memoryview(file)
            if address(data) & 3 == 0:
                return data
        except TypeError:
            pass
        data = bytearray(facts.WEIGHTS_BYTES)
        _fill(file, data)
        return data
