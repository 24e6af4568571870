"""The one adapter over the LiteRT interpreter: its reference kernels, which are the oracle for every int8 byte.

`ai_edge_litert` is used where it is installed, else `tflite_runtime`. The oracle for bits is the pinned
`ai_edge_litert`; other versions load and run models but may round differently.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgelearn.convert.quiet import captured_output
from edgelearn.convert.sums import sums_as_means
from edgelearn.errors import MissingPackageError, ModelFileError

if TYPE_CHECKING:
    import numpy.typing as npt

#: Package and version whose reference kernels are the oracle; the same pin as in pyproject.toml.
ORACLE = ("ai-edge-litert", "2.3.0")
#: Module -> name of the distribution, in order of preference.
_PACKAGES = (("ai_edge_litert", "ai-edge-litert"), ("tflite_runtime", "tflite-runtime"))


class ReferenceInterpreter:
    """Runs an int8 model through the reference kernels and gives any of its tensors.

    A model with float edges is fed so that the int8 tensor behind its QUANTIZE is exactly the given one.
    """

    def __init__(self, model: bytes) -> None:
        """Load a model.

        Args:
            model: the bytes of a `.tflite` with one input.

        Raises:
            MissingPackageError: neither interpreter package is installed.
            ModelFileError: the interpreter refuses the model.
        """
        module = _interpreter_module()
        try:
            with captured_output():
                self._interpreter: Any = module.Interpreter(
                    model_content=sums_as_means(model),
                    num_threads=1,
                    experimental_op_resolver_type=module.OpResolverType.BUILTIN_REF,
                    experimental_preserve_all_tensors=True,
                )
                self._interpreter.allocate_tensors()
                inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
                self._input_index: int = inputs[0]["index"]
                self._input_shape: tuple[int, ...] = tuple(int(n) for n in inputs[0]["shape"])
                self._input_dtype: np.dtype[Any] = np.dtype(inputs[0]["dtype"])
                self._output_index: int = outputs[0]["index"]
                self._float_scale, self._float_zero_point = np.float32(1.0), 0
                if self._input_dtype == np.float32:
                    self._float_scale, self._float_zero_point = self._quantisation_behind_the_input()
        except (LookupError, RuntimeError, ValueError) as error:
            raise ModelFileError("the LiteRT interpreter refuses the model", cause=_first_line(error)) from error

    @property
    def output_index(self) -> int:
        """The number of the model's first output tensor."""
        return self._output_index

    def run(self, sample: npt.NDArray[np.int8], tensor_indices: Sequence[int]) -> dict[int, npt.NDArray[Any]]:
        """Run one sample, from a state of zero where the model has one.

        Args:
            sample: int8 input, in the quantisation of the model's first int8 tensor; any shape with as many elements
                as the model's input.
            tensor_indices: numbers of the tensors to return, as `ir.Tensor.source_index` has them.

        Returns:
            A copy of each tensor, by its number.

        Raises:
            ModelFileError: the interpreter fails on the model, or a number is not a tensor of it.
        """
        values: npt.NDArray[Any] = np.asarray(sample, dtype=np.int8).reshape(self._input_shape)
        if self._input_dtype == np.float32:
            values = (values.astype(np.float32) - np.float32(self._float_zero_point)) * self._float_scale
        try:
            self._interpreter.reset_all_variables()
            self._interpreter.set_tensor(self._input_index, values)
            self._interpreter.invoke()
            return {index: self._interpreter.get_tensor(index) for index in tensor_indices}
        except (ValueError, RuntimeError) as error:
            raise ModelFileError("the LiteRT interpreter fails on the model", cause=_first_line(error)) from error

    def _quantisation_behind_the_input(self) -> tuple[np.float32, int]:
        # The interpreter's list of ops says what reads the input; it is the same private call in both packages.
        details: Mapping[int, Mapping[str, Any]] = {d["index"]: d for d in self._interpreter.get_tensor_details()}
        for op in self._interpreter._get_ops_details():
            if op["op_name"] == "QUANTIZE" and self._input_index in op["inputs"]:
                scale, zero_point = details[int(op["outputs"][0])]["quantization"]
                return np.float32(scale), int(zero_point)
        raise ModelFileError("the model has a float input without a QUANTIZE behind it")


def interpreter_version() -> tuple[str, str]:
    """Name and version of the interpreter package that is used.

    Raises:
        MissingPackageError: neither interpreter package is installed.
    """
    package = _interpreter_module().__name__.partition(".")[0]
    distribution = dict(_PACKAGES)[package]
    try:
        return distribution, importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return distribution, "unknown"


def require_oracle() -> None:
    """Make sure that the interpreter is the one whose reference kernels are the oracle for bits.

    Raises:
        MissingPackageError: it is another one, or another version; their bits differ.
    """
    if interpreter_version() != ORACLE:
        name, version = interpreter_version()
        raise MissingPackageError(
            f"{' '.join(ORACLE)} (here is {name} {version})", extra="litert", purpose="comparing bits"
        )


def _interpreter_module() -> Any:
    for package, _ in _PACKAGES:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return importlib.import_module(f"{package}.interpreter")
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] != package:
                raise
    raise MissingPackageError("ai-edge-litert", extra="litert", purpose="running the int8 model on this computer")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
