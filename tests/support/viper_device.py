"""Runs on MicroPython: the kernel calls of many models, for tests/support/viper.py.

argv: a file of models. Each is a line of JSON and then bytes: tables and weights, as edgelearn/codegen/tables.py makes
them, and the inputs of each run. For each run it writes a line: bytes that the calls left on the heap, what the last one
gave, and the bytes of RAM that are asked for, in hexadecimal.
"""

import binascii
import gc
import json
import struct
import sys

import uctypes

_RECORD_BYTES = 28


def load(model, file):
    """Tables with addresses in them, weights and RAM."""
    tables = bytearray(file.read(model["tables_bytes"]))
    weights = bytearray(file.read(model["weights_bytes"]))
    ram = bytearray(model["ram_bytes"])
    begins = [uctypes.addressof(part) for part in (tables, weights, ram)] + [0]  # functions are numbers
    for at, region in model["places"]:
        struct.pack_into("<I", tables, at, struct.unpack_from("<I", tables, at)[0] + begins[region])
    return tables, weights, ram


def kernels(named):
    """Functions by name; what stands behind `@` is told by the file."""
    return [getattr(__import__(file), name.split("@")[0]) for name, file in named]


def calls_of(tables, begin, functions):
    """Function and record of each call of a list. Records are views, so that a call makes no object."""
    calls = []
    while True:
        number = struct.unpack_from("<I", tables, begin)[0]
        if number == 0:
            return calls
        calls.append((functions[number - 1], memoryview(tables)[begin : begin + _RECORD_BYTES]))
        begin += _RECORD_BYTES


def run(calls):
    result = None
    for function, record in calls:
        result = function(record)
    return result


def main():
    with open(sys.argv[1], "rb") as file:
        while True:
            line = file.readline()
            if not line:
                return
            model = json.loads(line)
            tables, weights, ram = load(model, file)
            functions = kernels(model["functions"])
            lists = {name: calls_of(tables, begin, functions) for name, begin in model["lists"].items()}
            view = memoryview(ram)
            for name, arguments, inputs in model["runs"]:
                for at, value in arguments:
                    struct.pack_into("<I", tables, at, value)
                for offset, size in inputs:
                    file.readinto(view[offset : offset + size])
                calls = lists[name]
                gc.collect()
                before = gc.mem_alloc()
                result = run(calls)
                kept = gc.mem_alloc() - before
                outputs = b"".join([bytes(view[offset : offset + size]) for offset, size in model["outputs"]])
                print(kept, int(result or 0), binascii.hexlify(outputs).decode() or "-")


main()
