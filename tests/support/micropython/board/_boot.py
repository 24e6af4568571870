"""Runs first after every reset: mounts the file system, which is in RAM beyond the heap and outlives a reset."""

import sys

import uctypes
import vfs

ADDRESS = 0x21000000
BLOCK_BYTES = 4096
BLOCKS = 512
PAGE_BYTES = 256


class Blocks:
    """A block device of plain memory."""

    def __init__(self, address, blocks):
        self.memory = uctypes.bytearray_at(address, blocks * BLOCK_BYTES)
        self.blocks = blocks

    def readblocks(self, block, into, offset=0):
        start = block * BLOCK_BYTES + offset
        view = memoryview(self.memory)
        into[:] = view[start : start + len(into)]

    def writeblocks(self, block, data, offset=0):
        start = block * BLOCK_BYTES + offset
        self.memory[start : start + len(data)] = data

    def ioctl(self, request, _):
        if request == 4:
            return self.blocks
        if request == 5:
            return BLOCK_BYTES
        return 0


device = Blocks(ADDRESS, BLOCKS)
# The sizes are those of NOR flash; smaller ones would be slow.
try:
    files = vfs.VfsLfs2(device, readsize=PAGE_BYTES, progsize=PAGE_BYTES)
except OSError:
    vfs.VfsLfs2.mkfs(device, readsize=PAGE_BYTES, progsize=PAGE_BYTES)
    files = vfs.VfsLfs2(device, readsize=PAGE_BYTES, progsize=PAGE_BYTES)
vfs.mount(files, "/")
sys.path.append("/lib")
del device, files
