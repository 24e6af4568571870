/* One step of one unit of an LSTM, from the sums of its gates. */
#ifndef ELEARN_LSTM_CELL_S8_H
#define ELEARN_LSTM_CELL_S8_H

#include "elearn_lstm_s8.h"

/* The unit's output; `sums` are those of the input's products, then of the recurrent ones, for each gate. */
int8_t elearn_lstm_unit_s8(const ELEARN_FLASH elearn_lstm_params *p, const int32_t *sums, int16_t *cell);

#endif
