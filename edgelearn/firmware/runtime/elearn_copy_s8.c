/* Strided copies between int8 tensors. Portable. */
#include "elearn_copy_s8.h"

#include "elearn_runs.h"

static void copy_piece(
    const ELEARN_FLASH elearn_copy_piece *p,
    const ELEARN_FLASH elearn_copy_axis *axes,
    const int8_t *input,
    int8_t *output)
{
    /* Copies of what the pieces say: the compiler must take any byte written for a change of it. */
    const elearn_copy_axis last = axes[p->axis_count - 1];
    const int32_t run_bytes = p->run_bytes;
    int32_t place[ELEARN_COPY_AXES] = {0};
    int32_t axis;
    do {
        const int8_t *in = input;
        int8_t *out = output;
        if (run_bytes == 1) {
            for (int32_t i = last.count; i > 0; i--) {
                *out = *in;
                in += last.input_step;
                out += last.output_step;
            }
        } else {
            for (int32_t i = last.count; i > 0; i--) {
                elearn_copy_run(out, in, run_bytes);
                in += last.input_step;
                out += last.output_step;
            }
        }
        for (axis = p->axis_count - 2; axis >= 0; axis--) {
            input += axes[axis].input_step;
            output += axes[axis].output_step;
            if (++place[axis] < axes[axis].count) {
                break;
            }
            input -= axes[axis].count * axes[axis].input_step;
            output -= axes[axis].count * axes[axis].output_step;
            place[axis] = 0;
        }
    } while (axis >= 0);
}

void elearn_copy_s8(const ELEARN_FLASH elearn_copy_params *p, const int8_t *const *inputs, int8_t *const *outputs)
{
    elearn_fill_run(outputs[0], p->fill, p->fill_bytes);
    for (int32_t i = 0; i < p->piece_count; i++) {
        const ELEARN_FLASH elearn_copy_piece *piece = &p->pieces[i];
        copy_piece(piece, &p->axes[piece->first_axis], inputs[piece->input] + piece->input_start,
                   outputs[piece->output] + piece->output_start);
    }
}
