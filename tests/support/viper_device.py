"""Runs on MicroPython: the kernel calls of many models, for tests/support/viper.py.

argv: a file of models. Each is a line of JSON and then bytes: tables and weights, as edgelearn/codegen/tables.py makes
them, and the inputs of each run. For each run it writes a line: bytes that the calls left on the heap, what the last
one gave, and the bytes that are asked for, in hexadecimal; the first and the third where the run is read.
"""

import binascii
import gc
import json
import struct
import sys

import uctypes

_RECORD_BYTES = 28


def load(model, file):
    """Where the regions begin, tables with addresses in them, weights and RAM."""
    tables = bytearray(file.read(model["tables_bytes"]))
    weights = bytearray(file.read(model["weights_bytes"]))
    ram = bytearray(model["ram_bytes"])
    begins = [uctypes.addressof(part) for part in (tables, weights, ram)] + [0]  # functions are numbers
    for at, region in model["places"]:
        struct.pack_into("<I", tables, at, struct.unpack_from("<I", tables, at)[0] + begins[region])
    return begins, tables, weights, ram


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
    with open(sys.argv[1], "rb") as file:  # noqa: PTH123
        while True:
            line = file.readline()
            if not line:
                return
            model = json.loads(line)
            begins, tables, weights, ram = load(model, file)
            functions = kernels(model["functions"])
            lists = {name: calls_of(tables, begin, functions) for name, begin in model["lists"].items()}
            views = [memoryview(part) for part in (tables, weights, ram)]
            for name, words, inputs, is_read in model["runs"]:
                for at, value, region in words:
                    struct.pack_into("<I", tables, at, value + begins[region])
                for offset, size in inputs:
                    file.readinto(views[2][offset : offset + size])
                if is_read:
                    gc.collect()
                    before = gc.mem_alloc()
                result = run(lists[name])
                kept = gc.mem_alloc() - before if is_read else 0
                outputs = b""
                if is_read:
                    outputs = b"".join([bytes(views[region][at : at + size]) for region, at, size in model["outputs"]])
                sys.stdout.write(f"{kept} {int(result or 0)} {binascii.hexlify(outputs).decode() or '-'}\n")


main()
