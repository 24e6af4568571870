"""Firmware onto a board, by the means that people already have.

    image.py    what of an ELF file lies in flash; as HEX, BIN and UF2 (uf2.py)
    guard.py    refuses an image that would write over a bootloader, or could not start
    ports.py    serial ports and USB devices: which are there, which board each is, waiting for one that comes back
    again.py    the port of a board that has been flashed, among those of its like
    drives.py   drives of bootloaders and interface chips
    tool.py     what every flasher is: its command, and what its failures mean
    choose.py   which way can be used now
    run.py      flashes

One module stands for each flasher: pyocd, openocd, stlink, dfu_util, bossac, nrfutil, drive, arduino_cli, esptool. Each
gives its exact command and the failures that it is known to print; `methods.py` lists them all. micropython/ puts
packages onto boards where MicroPython runs, without a program.

Nothing here erases a whole chip. Flashers write the pages that the image covers; where one erases more, its module says
so. A chip that is locked against debuggers stays locked: the message names the command with which a person may
unlock it, and what that erases.
"""
