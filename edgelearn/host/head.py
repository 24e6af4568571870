"""The learned head as it lies in a device's RAM, its values in real units, and its `.npz` file."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgelearn.bundle import write_atomically
from edgelearn.errors import HeadError, reason
from edgelearn.protocol import Region, ResidualCode

#: Region and little-endian element type of each array of a head with int8 weights, in the order they are written.
INT8_PARTS: tuple[tuple[str, Region, str], ...] = (
    ("q", Region.HEAD_WEIGHTS, "<i1"),
    ("l", Region.HEAD_RESIDUAL, "<u1"),
    ("bias", Region.HEAD_BIAS, "<i4"),
    ("row_t", Region.HEAD_ROW_T, "<i1"),
    ("row_rho", Region.HEAD_ROW_RHO, "<i1"),
    ("row_m", Region.HEAD_ROW_M, "<u2"),
    ("row_r", Region.HEAD_ROW_R, "<u2"),
)
#: The same for a head with float weights.
FLOAT_PARTS: tuple[tuple[str, Region, str], ...] = (
    ("q", Region.HEAD_WEIGHTS, "<f4"),
    ("bias", Region.HEAD_BIAS, "<f4"),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class HeadState:
    """The arrays of a head of C outputs on F features, exactly as the device holds them.

    Attributes:
        residual: how the weights are stored.
        feature_scale: s_x of the features.
        logit_fraction_bits: fb; logits are int32 with that many fraction bits, biases have 8 more.
        q: [C,F] int8, or float32 with float weights.
        bias: [C] int32, or float32 with float weights.
        l: [C,F] uint8 with an int8 residual, else None.
        row_t: [C] int8, with row_m the scale of a row: 2^fb s_x s_w = M 2^-t. None with float weights.
        row_rho: [C] int8, with row_r its inverse: 256 s_x / s_w = R 2^-rho. None with float weights.
        row_m: [C] uint16, None with float weights.
        row_r: [C] uint16, None with float weights.
    """

    residual: ResidualCode
    feature_scale: float
    logit_fraction_bits: int
    q: npt.NDArray[Any]
    bias: npt.NDArray[Any]
    l: npt.NDArray[np.uint8] | None = None  # noqa: E741  (its name in every formula)
    row_t: npt.NDArray[np.int8] | None = None
    row_rho: npt.NDArray[np.int8] | None = None
    row_m: npt.NDArray[np.uint16] | None = None
    row_r: npt.NDArray[np.uint16] | None = None

    @property
    def parts(self) -> tuple[tuple[str, Region, str], ...]:
        """The arrays that this kind of head has: attribute, region, element type."""
        return head_parts(self.residual)

    def bytes_of(self, name: str) -> bytes:
        """The bytes of one array as they lie on the device."""
        for part, _, dtype in self.parts:
            if part == name:
                return np.ascontiguousarray(getattr(self, name)).astype(dtype, copy=False).tobytes()
        raise HeadError(f"a head with {self.residual.name.lower()} residual has no {name}")

    def weights(self) -> npt.NDArray[np.float64]:
        """The weights in real units, float64 [C,F]."""
        if self.residual is ResidualCode.FLOAT:
            return self.q.astype(np.float64)
        assert self.row_m is not None  # noqa: S101
        assert self.row_t is not None  # noqa: S101
        row_scale = np.ldexp(self.row_m.astype(np.float64), -self.row_t.astype(np.int32))
        row_scale /= 2.0**self.logit_fraction_bits * self.feature_scale
        residual = 0.0 if self.l is None else self.l.astype(np.float64) - 128.0
        return np.asarray((256.0 * self.q + residual) * row_scale[:, None] / 256.0, dtype=np.float64)

    def biases(self) -> npt.NDArray[np.float64]:
        """The biases in real units, float64 [C]."""
        if self.residual is ResidualCode.FLOAT:
            return self.bias.astype(np.float64)
        return np.asarray(self.bias * 2.0 ** -(self.logit_fraction_bits + 8), dtype=np.float64)

    def same_as(self, other: HeadState) -> bool:
        """Whether every array is the same, bit for bit."""
        return self.residual is other.residual and all(
            self.bytes_of(name) == other.bytes_of(name) for name, _, _ in self.parts
        )


def head_parts(residual: ResidualCode) -> tuple[tuple[str, Region, str], ...]:
    """The arrays that a head has with this residual: attribute, region, element type."""
    if residual is ResidualCode.FLOAT:
        return FLOAT_PARTS
    return tuple(part for part in INT8_PARTS if part[0] != "l" or residual is ResidualCode.INT8)


def save_head(head: HeadState, path: Path) -> None:
    """Write a head to an `.npz` file, whole or not at all: its raw arrays, and `weights` and `biases` in real units.

    Raises:
        StorageError: it could not be written.
    """
    arrays: dict[str, Any] = {name: getattr(head, name) for name, _, _ in head.parts}
    buffer = io.BytesIO()
    np.savez(
        buffer,
        residual=np.int64(head.residual),
        feature_scale=np.float64(head.feature_scale),
        logit_fraction_bits=np.int64(head.logit_fraction_bits),
        weights=head.weights().astype(np.float32),
        biases=head.biases().astype(np.float32),
        **arrays,
    )
    write_atomically(path, buffer.getvalue())


def load_head(path: Path) -> HeadState:
    """Read a head from a file that `save_head` wrote.

    Raises:
        HeadError: the file is missing, damaged or holds no head.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            residual = ResidualCode(int(file["residual"]))
            arrays: dict[str, Any] = {
                name: file[name].astype(dtype, casting="equiv") for name, _, dtype in head_parts(residual)
            }
            return HeadState(
                residual=residual,
                feature_scale=float(file["feature_scale"]),
                logit_fraction_bits=int(file["logit_fraction_bits"]),
                **arrays,
            )
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, EOFError) as error:
        raise HeadError(
            f"{path} holds no learned head",
            cause=reason(error),
            hint="`edgelearn stream --train` leaves one in its run",
        ) from error
