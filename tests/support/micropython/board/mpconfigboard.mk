# A board of MicroPython's port for QEMU: Arm's MPS2 with a Cortex-M4F, given to its make as BOARD_DIR; with a file
# system, a ROM file system, select, time and Ctrl-C, which that port's own boards lack and real ones have.

QEMU_ARCH = arm
QEMU_MACHINE = mps2-an386

CFLAGS += -mthumb -mcpu=cortex-m4 -mfpu=fpv4-sp-d16 -mfloat-abi=hard
CFLAGS += -DQEMU_SOC_MPS2 -DMICROPY_HW_MCU_NAME='"Cortex-M4F"'
CFLAGS += -I$(BOARD_DIR) -DMP_CONFIGFILE='"mpconfigboard.h"'

# What main.c and the port's drivers would call, machine_support.c answers.
LDFLAGS += -mthumb -mcpu=cortex-m4 -mfpu=fpv4-sp-d16 -mfloat-abi=hard
LDFLAGS += $(addprefix -Xlinker --wrap=,uart_init uart_rx_chr mp_hal_stdio_poll exit gc_init)
LDFLAGS += $(addprefix -Xlinker --wrap=,pyexec_friendly_repl pyexec_raw_repl)

LDSCRIPT = $(BOARD_DIR)/memory.ld
SRC_BOARD_O = shared/runtime/gchelper_native.o shared/runtime/gchelper_thumb2.o
USER_C_MODULES = $(BOARD_DIR)/c

# The most; who starts the board says how much of it is used.
MICROPY_HEAP_SIZE = 2097152
MICROPY_VFS_LFS2 = 1
FROZEN_MANIFEST = $(BOARD_DIR)/manifest.py
# Debian leaves the library of modules out; the manifest needs none of it.
MPY_LIB_DIR = $(TOP)
MPY_CROSS_FLAGS += -march=armv7emsp
