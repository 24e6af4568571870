# Addresses of buffers, and words at addresses: what the kernels work with.
from array import array

import micropython

# Of CRC-32, for four bits at a time.
_crc_table = array(
    "I",
    b"\x00\x00\x00\x00\x64\x10\xb7\x1d\xc8\x20\x6e\x3b\xac\x30\xd9\x26"
    b"\x90\x41\xdc\x76\xf4\x51\x6b\x6b\x58\x61\xb2\x4d\x3c\x71\x05\x50"
    b"\x20\x83\xb8\xed\x44\x93\x0f\xf0\xe8\xa3\xd6\xd6\x8c\xb3\x61\xcb"
    b"\xb0\xc2\x64\x9b\xd4\xd2\xd3\x86\x78\xe2\x0a\xa0\x1c\xf2\xbd\xbd",
)


@micropython.viper
def address(buffer) -> int:
    return int(ptr8(buffer))


# Add to each word of the tables that holds an address the begin of its region. A place is the word's offset in bytes,
# a multiple of four, and in the lowest bits the number of the region.
@micropython.viper
def relocate(tables: ptr32, places: ptr32, count: int, regions: ptr32):
    for i in range(count):
        place = places[i]
        tables[place >> 2] += regions[place & 3]


@micropython.viper
def poke(at: ptr32, value: int):
    at[0] = value


# An address may be too large a number to be no object, which is why it is formed here.
@micropython.viper
def poke_address(at: ptr32, buffer: ptr8, offset: int):
    at[0] = int(buffer) + offset


@micropython.viper
def peek16(at: ptr16) -> int:
    return int(at[0])


# The number of the largest of `count` int8 values.
@micropython.viper
def largest_s8(values: ptr8, count: int) -> int:
    best = 0
    most = -1
    for i in range(count):
        value = int(values[i]) ^ 128
        if value > most:
            most = value
            best = i
    return best


# The same of float32 values, none of them a NaN: their bits are in order where the lower ones of negative values are
# turned.
@micropython.viper
def largest_f32(values: ptr32, count: int) -> int:
    lower = 1
    lower = (lower << 31) ^ -1
    best = 0
    most = lower ^ -1
    for i in range(count):
        value = values[i]
        if value < 0:
            value ^= lower
        if value > most:
            most = value
            best = i
    return best


# The number of a name, of so many bytes, among `count` that take `size` bytes each, filled up with zeros; -1 without.
@micropython.viper
def find_name(names: ptr8, size: int, count: int, name: ptr8, name_bytes: int) -> int:
    for i in range(count):
        at = i * size
        same = 0
        while same < size:
            wanted = 0
            if same < name_bytes:
                wanted = int(name[same])
            if int(names[at + same]) != wanted:
                break
            same += 1
        if same == size:
            return i
    return -1


# Copy `count` bytes. Slices of memoryviews would allocate.
@micropython.viper
def copy(to: ptr8, begin: int, source: ptr8, count: int):
    for i in range(count):
        to[begin + i] = source[i]


# CRC-32 as in IEEE 802.3 of `count` bytes, going on from crc[0], which is 0 to begin with. A word that is given or
# returned would be an object on the heap.
@micropython.viper
def add_crc(data: ptr8, begin: int, count: int, crc: ptr32):
    table = ptr32(_crc_table)
    value = int(crc[0]) ^ -1
    for i in range(begin, begin + count):
        value ^= int(data[i])
        value = table[value & 15] ^ ((value >> 4) & 0x0FFFFFFF)
        value = table[value & 15] ^ ((value >> 4) & 0x0FFFFFFF)
    crc[0] = value ^ -1
