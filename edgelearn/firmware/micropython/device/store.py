# What was learned, in files: two that take turns, of which the newer whole one counts.
#
# On littlefs power may fail at any time: until a file is closed it stays as it was. FAT promises less. A file that is
# there is written over in place, which leaves the table that all files share alone; but the directory, which both
# share, is written too, and flash is erased in blocks that may hold parts of both. A cut in that moment can lose both,
# or other files.
#
# A file is: magic, number of the save, three words that say what its bytes mean (model and layout), bytes that follow,
# the parts one after another, CRC-32 of all before it. The file with the greater number is the newest.
import os
import struct
from array import array

from .memory import add_crc

_MAGIC = 0x31444845  # "EHD1"
_HEADER = "<IIIIII"
_HEADER_BYTES = 24
_PIECE_BYTES = 256
_FORGOTTEN = 0xFFFFFFFF  # a length that says that everything before was forgotten


class Store:
    def __init__(self, folder, identity):
        self._paths = (folder + "/head.0", folder + "/head.1")
        self._identity = identity
        self.sequence = 0  # of the newest file
        self._newest = None  # which of the files it is in
        self._is_forgotten = True
        self._crc = array("I", (0,))

    # Number of the newest save; 0 without one, or after it was forgotten.
    def number(self):
        return 0 if self._is_forgotten else self.sequence

    # Whether there is room for both files, with what they take already: not where the file system cannot be written.
    def can_save(self, parts):
        try:
            found = os.statvfs(self._paths[0].rsplit("/", 1)[0] or "/")
        except (AttributeError, OSError):
            return True
        size = _HEADER_BYTES + sum(_bytes(part) for part in parts) + 4
        # Blocks of littlefs begin with pointers.
        wanted = -(-(size + size // 32) // found[1])
        more = sum(max(wanted + -_size(path) // found[1], 0) for path in self._paths)
        # A full littlefs may say that fewer than none are free.
        return more == 0 or more <= found[4]

    # Read the newest save into the parts; whether there is one. On the way nothing is changed until a file is known
    # to be whole.
    def load(self, parts):
        size = sum(_bytes(part) for part in parts)
        for number, path in enumerate(self._paths):
            found = self._check(path, size)
            if found is not None and found[0] > self.sequence:
                self.sequence, self._is_forgotten = found
                self._newest = number
        if self._newest is None or self._is_forgotten:
            return False
        with open(self._paths[self._newest], "rb") as file:
            file.seek(_HEADER_BYTES)
            for part in parts:
                file.readinto(part)
        return True

    # (number, forgotten) of a whole file that was written for this model; None otherwise.
    def _check(self, path, size):
        try:
            with open(path, "rb") as file:
                header = file.read(_HEADER_BYTES)
                if len(header) != _HEADER_BYTES:
                    return None
                magic, sequence, a, b, c, length = struct.unpack(_HEADER, header)
                forgotten = length == _FORGOTTEN
                if magic != _MAGIC or (a, b, c) != self._identity or (length != size and not forgotten):
                    return None
                self._crc[0] = 0
                add_crc(header, 0, len(header), self._crc)
                left = 0 if forgotten else length
                piece = bytearray(_PIECE_BYTES)
                while left:
                    wanted = memoryview(piece)[: min(left, _PIECE_BYTES)]
                    if file.readinto(wanted) != len(wanted):
                        return None
                    add_crc(wanted, 0, len(wanted), self._crc)
                    left -= len(wanted)
                if file.read(4) != bytes(memoryview(self._crc)):
                    return None
                return sequence, forgotten
        except OSError:
            return None

    # Write the parts as the newest save; OSError where the file system refuses, and the save before stays the newest.
    def save(self, parts):
        self._write(sum(_bytes(part) for part in parts), parts)
        self._is_forgotten = False

    # From now on there is no save.
    def forget(self):
        if self._newest is not None:
            self._write(_FORGOTTEN, ())
            self._is_forgotten = True

    def _write(self, length, parts):
        number = 0 if self._newest else 1
        path = self._paths[number]
        header = struct.pack(_HEADER, _MAGIC, self.sequence + 1, *self._identity, length)
        try:
            self._put(path, "r+b", header, parts)
        except OSError:
            # There is no such file yet; or littlefs, which keeps what is there until the new one is whole, has no room.
            _remove(path)
            try:
                self._put(path, "wb", header, parts)
            except OSError:
                # What is half there would take the room that the next save needs.
                _remove(path)
                raise
        # Some file systems write when they please.
        if hasattr(os, "sync"):
            os.sync()
        self.sequence += 1
        self._newest = number

    # What follows in a longer file does not count.
    def _put(self, path, mode, header, parts):
        self._crc[0] = 0
        add_crc(header, 0, len(header), self._crc)
        with open(path, mode) as file:
            _write_all(file, header)
            for part in parts:
                _write_all(file, part)
                add_crc(part, 0, _bytes(part), self._crc)
            _write_all(file, self._crc)


# Of bytes, or of an array of words.
def _bytes(part):
    return 4 * len(part) if isinstance(part, array) else len(part)


# Of a file; 0 where there is none.
def _size(path):
    try:
        return os.stat(path)[6]
    except OSError:
        return 0


def _remove(path):
    try:
        os.remove(path)
    except OSError:
        pass


def _write_all(file, data):
    if file.write(data) != _bytes(data):
        raise OSError(28)  # ENOSPC
