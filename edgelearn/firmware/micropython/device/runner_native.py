# Lists of kernel calls, run by machine code.
from .memory import address
from .native import run  # noqa: F401


def prepare(tables, offset):
    return address(tables) + offset
