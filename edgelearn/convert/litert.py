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

from edgelearn.convert.oracle import elus_as_tables, sums_as_means, with_older_op
from edgelearn.convert.quiet import captured_output
from edgelearn.errors import MissingPackageError, ModelFileError
from edgelearn.words import count

if TYPE_CHECKING:
    import numpy.typing as npt

#: Package and version whose reference kernels are the oracle; the same pin as in pyproject.toml.
ORACLE = ("ai-edge-litert", "2.3.0")
#: Module -> name of the distribution, in order of preference.
_PACKAGES = (("ai_edge_litert", "ai-edge-litert"), ("tflite_runtime", "tflite-runtime"))


class ReferenceInterpreter:
    """Runs an int8 model through the reference kernels and gives any of its tensors.

    Int8 samples for a model with float edges are fed so that the int8 tensor behind its QUANTIZE is exactly the given
    one.
    """

    def __init__(self, model: bytes) -> None:
        """Load a model.

        Args:
            model: the bytes of a `.tflite`.

        Raises:
            MissingPackageError: neither interpreter package is installed.
            ModelFileError: the interpreter refuses the model.
        """
        module = _interpreter_module()
        try:
            with captured_output():
                self._interpreter = _made_interpreter(module, elus_as_tables(sums_as_means(model), module))
                self._inputs: list[dict[str, Any]] = self._interpreter.get_input_details()
                self._behind: dict[int, tuple[np.float32, int]] = {}
                self._output_indices = tuple(int(d["index"]) for d in self._interpreter.get_output_details())
        except (LookupError, RuntimeError, ValueError) as error:
            raise ModelFileError("the LiteRT interpreter refuses the model", cause=_first_line(error)) from error

    @property
    def output_index(self) -> int:
        """The number of the model's first output tensor."""
        return self._output_indices[0]

    @property
    def output_indices(self) -> tuple[int, ...]:
        """The numbers of the model's output tensors."""
        return self._output_indices

    def run(
        self, sample: npt.NDArray[Any] | Sequence[npt.NDArray[Any]], tensor_indices: Sequence[int]
    ) -> dict[int, npt.NDArray[Any]]:
        """Run one sample, from a state of zero where the model has one.

        Args:
            sample: an array for each input in the order of the file, or the array of the only one; any shape with as
                many elements as the input. Int8 in the quantisation of the model's first int8 tensor, or float32 for
                a float input.
            tensor_indices: numbers of the tensors to return, as `ir.Tensor.source_index` has them.

        Returns:
            A copy of each tensor, by its number.

        Raises:
            ModelFileError: the interpreter fails on the model, or a number is not a tensor of it.
        """
        arrays = (sample,) if isinstance(sample, np.ndarray) else tuple(sample)
        if len(arrays) != len(self._inputs):
            raise ModelFileError(f"the model has {count(len(self._inputs), 'input')}, the sample {len(arrays)}")
        values = [self._fed(details, array) for details, array in zip(self._inputs, arrays, strict=True)]
        try:
            self._interpreter.reset_all_variables()
            for details, value in zip(self._inputs, values, strict=True):
                self._interpreter.set_tensor(details["index"], value)
            self._interpreter.invoke()
            return {index: self._interpreter.get_tensor(index) for index in tensor_indices}
        except (ValueError, RuntimeError) as error:
            raise ModelFileError("the LiteRT interpreter fails on the model", cause=_first_line(error)) from error

    def run_on_zeros(self, tensor_indices: Sequence[int]) -> dict[int, npt.NDArray[Any]]:
        """Run once with all inputs zero, for tensors that do not depend on them; see `run`."""
        return self.run([np.zeros(details["shape"], details["dtype"]) for details in self._inputs], tensor_indices)

    def _fed(self, details: Mapping[str, Any], values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """What an input is set to."""
        if details["dtype"] == np.float32 and values.dtype == np.int8:
            index = int(details["index"])
            if index not in self._behind:
                self._behind[index] = self._quantisation_behind(index)
            scale, zero_point = self._behind[index]
            values = (values.astype(np.float32) - np.float32(zero_point)) * scale
        return values.astype(details["dtype"]).reshape(details["shape"])

    def _quantisation_behind(self, input_index: int) -> tuple[np.float32, int]:
        # The interpreter's list of ops says what reads the input; it is the same private call in both packages.
        details: Mapping[int, Mapping[str, Any]] = {d["index"]: d for d in self._interpreter.get_tensor_details()}
        for op in self._interpreter._get_ops_details():
            if op["op_name"] == "QUANTIZE" and input_index in op["inputs"]:
                scale, zero_point = details[int(op["outputs"][0])]["quantization"]
                return np.float32(scale), int(zero_point)
        raise ModelFileError("the model has a float input without a QUANTIZE behind it")


def _made_interpreter(module: Any, model: bytes) -> Any:
    try:
        interpreter = module.Interpreter(
            model_content=model,
            num_threads=1,
            experimental_op_resolver_type=module.OpResolverType.BUILTIN_REF,
            experimental_preserve_all_tensors=True,
        )
        interpreter.allocate_tensors()
    except ValueError as error:
        older = with_older_op(model, str(error))
        if older is None:
            raise
        return _made_interpreter(module, older)
    return interpreter


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
