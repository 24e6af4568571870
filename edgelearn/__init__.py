"""edgelearn: from a pretrained neural network to a microcontroller that keeps learning."""

__version__ = "0.1.0"
