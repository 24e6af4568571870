# Lists of kernel calls, run by kernels in viper.
import struct

from .functions import FUNCTIONS
from .memory import address

_CALL_BYTES = 28


def prepare(tables, offset):
    calls = []
    while True:
        (number,) = struct.unpack_from("<I", tables, offset)
        if not number:
            return tuple(calls)
        calls.append((FUNCTIONS[number - 1], address(tables) + offset))
        offset += _CALL_BYTES


def run(calls):
    result = 0
    for function, at in calls:
        result = function(at)
    return result
