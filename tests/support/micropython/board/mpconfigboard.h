/* The port's configuration, with what real boards have and it lacks. */
#include "mpconfigport.h"

#undef MICROPY_PY_SYS_STDIO_BUFFER
#define MICROPY_PY_SYS_STDIO_BUFFER (1)
#undef MICROPY_PY_SELECT
#define MICROPY_PY_SELECT (1)
#undef MICROPY_PY_TIME
#define MICROPY_PY_TIME (1)
#undef MICROPY_VFS_ROM_IOCTL
#define MICROPY_VFS_ROM_IOCTL (1)
#undef MICROPY_HW_BOARD_NAME
#define MICROPY_HW_BOARD_NAME "mps2-an386"

/* Who waits for input without a limit sleeps until there is some. */
void machine_support_wait(int timeout_ms);
#define MICROPY_INTERNAL_WFE(timeout_ms) machine_support_wait(timeout_ms)

void machine_support_vm_starts(void);
#define MICROPY_PORT_INIT_FUNC machine_support_vm_starts()
