"""A sensor in C that gives samples from a table, and what the reference learns from the same samples.

    files = generate(graph, training=plan, sensor=sensor_source(x, labels))
    told = teach(make_head(plan), x, labels, Rule(train=True))      # a Told for each sample; the head has learned

The table is walked by the number of the sample, so that after a reset it goes on where the saved head stood.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from edgelearn.host.device import SensorEvent
from edgelearn.ir import LossKind
from edgelearn.training import IntegerHead

NO_LABEL = -1


def sensor_source(x: npt.NDArray[np.int8], labels: Sequence[int] | None = None, *, ready_every: int = 1) -> str:
    """C text of a sensor.

    Args:
        x: samples [N, elements], given again and again.
        labels: the sensor's own, NO_LABEL for none.
        ready_every: a sample is ready at every so many calls.
    """
    own = [NO_LABEL] * len(x) if labels is None else [int(label) for label in labels]
    rows = ",\n".join("{" + ",".join(str(int(v)) for v in row) + "}" for row in x)
    return f"""/* Gives samples from a table. */
#include <string.h>

#include "elearn_sensor.h"

static const int8_t table[{len(x)}][ELEARN_SENSOR_INPUT_0_ELEMENTS] = {{
{rows}
}};
static const int32_t labels[{len(x)}] = {{{",".join(map(str, own))}}};

bool elearn_sensor_read(elearn_sensor_sample *sample)
{{
    static uint32_t calls;
    const uint32_t row = sample->number % {len(x)}u;
    /* Also where no sample is ready the inputs may have been touched. */
    memset(sample->inputs[0], 0x55, sizeof table[0]);
    if (sample->label != ELEARN_SENSOR_NO_LABEL || ++calls % {ready_every}u != 0u) {{
        return false;
    }}
    memcpy(sample->inputs[0], table[row], sizeof table[row]);
    sample->label = labels[row];
    return true;
}}
"""


class Rule(NamedTuple):
    """What Device.set_sensor sets; `self_label` in Q15."""

    train: bool = False
    label: int | None = None
    target_is_input: bool = False
    self_label: int | None = None


class Told(NamedTuple):
    """What the device has to say of a sample, exactly."""

    samples: int
    prediction: int
    confidence: float
    label: int | None
    has_loss: bool
    step: int
    learned: bool
    self_labelled: bool


def told(event: SensorEvent) -> Told:
    """An event as far as the reference knows it."""
    return Told(
        event.samples,
        event.prediction,
        event.confidence,
        event.label,
        event.loss is not None,
        event.step,
        event.learned,
        event.self_labelled,
    )


def teach(
    head: IntegerHead, x: npt.NDArray[np.int8], labels: Sequence[int] | None, rule: Rule, *, samples: int, step: int = 0
) -> list[Told]:
    """Let the reference learn so many samples of the table as the device has to."""
    events = []
    is_classifier = head.plan.loss is LossKind.CROSS_ENTROPY
    for number in range(samples):
        row = x[number % len(x)]
        own = NO_LABEL if labels is None else int(labels[number % len(x)])
        forward = head.forward(row)
        confidence = int(forward.probabilities.max())
        label = rule.label if rule.label is not None or own == NO_LABEL else own
        self_labelled = False
        if not is_classifier:
            label, learns = None, rule.train and rule.target_is_input
        elif label is not None:
            learns = rule.train
        else:
            learns = self_labelled = rule.train and rule.self_label is not None and confidence >= rule.self_label
        has_loss = rule.target_is_input if not is_classifier else label is not None
        if self_labelled:
            label = forward.prediction
        if learns:
            head.learn(row, forward, label=label, targets=None if is_classifier else head.input_targets(row))
            step += 1
        events.append(
            Told(
                number + 1,
                forward.prediction,
                confidence / 32768,
                label,
                has_loss,
                step,
                learns,
                self_labelled,
            )
        )
    return events
