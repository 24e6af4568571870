"""Drive a learning device from your own Python program: predict, learn, look at what it knows.

    edgelearn generate digits.elb --board host -o firmware && edgelearn emulate firmware
    python examples/train_from_python.py socket://127.0.0.1:NNNN samples.npz

The port may be any: a serial device such as /dev/ttyACM0, or what `edgelearn emulate` prints. The `.npz` holds x, in
the model's input units, and y, class numbers.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from edgelearn.host.data import load_dataset
from edgelearn.host.device import open_device


def main(port: str, data: Path) -> None:
    """Learn every sample once, each after predicting it."""
    with open_device(port) as device:
        dataset = load_dataset(data, device.info, train=True)
        if dataset.labels is None:
            raise SystemExit(f"{data} has no labels")
        print(f"{device.info.board}: {len(dataset)} samples, classes {', '.join(device.info.labels)}")
        device.set_learning_rate(2e-3)
        correct = []
        for sample, label in zip(dataset.samples(), dataset.labels, strict=True):
            result = device.train(sample, label=int(label))  # predicted first, then learned
            correct.append(result.prediction == label)
        print(f"prequential accuracy {np.mean(correct):.1%}")
        largest = np.abs(device.read_head().weights()).max(axis=1)
        print("largest weight of each class:", np.array2string(largest, precision=3))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
