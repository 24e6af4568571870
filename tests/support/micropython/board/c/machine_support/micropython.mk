SRC_USERMOD_C += $(USERMOD_DIR)/machine_support.c
