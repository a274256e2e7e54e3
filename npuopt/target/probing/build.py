"""From a case and a scheme to a model that asks one question, with a sample to run it on."""

from __future__ import annotations

import math
import tempfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from npuopt.errors import InputError
from npuopt.graph.execution import Session
from npuopt.target.probing.case import OPSET, Case, Data, Fixed, Parameter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from npuopt.target.probing.case import Attribute
    from npuopt.target.probing.quantize import Quantizer

IR_VERSION = 10
NODE = "node"
"""Name of the node that the question is about."""

Array = np.ndarray


@dataclass
class Question:
    """A model that holds one node to ask about.

    Attributes:
        label: of the case.
        op: the op's name in descriptors.
        scheme: in which it is asked; None where the node has no float data.
        model: the model; the node is called NODE.
        sample: inputs to run it on, by name.
    """

    label: str
    op: str
    scheme: str | None
    model: onnx.ModelProto
    sample: dict[str, Array] = field(default_factory=dict[str, Array])


POSITIVE = frozenset({
    "group", "strides", "dilations", "kernel_shape", "num_groups", "blocksize", "size", "hidden_size", "num_outputs",
    "num_heads", "q_num_heads", "kv_num_heads", "output_height", "output_width",
})  # fmt: skip
"""Attributes that the ONNX standard wants positive and its checker does not look at; ONNX Runtime divides by some."""


class InvalidCaseError(ValueError):
    """The case is no valid ONNX, such as an attribute value past what the standard allows."""


def build(case: Case, scheme: str | None, quantizer: Quantizer | None = None, *, must_run: bool = True) -> Question:
    """Make the model of a case.

    Args:
        case: the node.
        scheme: what to call the scheme.
        quantizer: puts QuantizeLinear and DequantizeLinear around it; None leaves it as it is.
        must_run: a case that ONNX Runtime does not run is invalid: the checker lets wrong shapes and indices pass.

    Raises:
        InvalidCaseError: when ONNX does not allow the case.
    """
    draft = Draft(case)
    plain = draft.model()
    made = run_reference(plain, draft.sample) if must_run or quantizer is not None else None
    if must_run and (made is None or any(array.size == 0 for array in made.values())):
        raise InvalidCaseError("ONNX Runtime does not run it" if made is None else "an output is empty")
    if quantizer is None:
        return Question(case.label, case.name, scheme, plain, draft.sample)
    model = quantizer.quantize(draft, made or {})
    return Question(case.label, case.name, scheme, model, draft.sample)


class Draft:
    """The node in float: its inputs, their values, its outputs with their types."""

    def __init__(self, case: Case) -> None:
        for name in POSITIVE.intersection(case.attributes):
            value = case.attributes[name]
            if any(isinstance(one, int) and one < 1 for one in (value if isinstance(value, tuple) else (value,))):
                raise InvalidCaseError(f"{name} is {value}")
        self.case = case
        self.random = np.random.default_rng(zlib.crc32(case.label.encode()))
        self.sample: dict[str, Array] = {}
        self.constants: dict[str, Array] = {}
        self.names: list[str] = []
        for index, item in enumerate(case.inputs):
            name = "" if item is None else f"x{index}"
            self.names.append(name)
            if isinstance(item, Data):
                self.sample[name] = self.draw(item)
            elif isinstance(item, Parameter):
                self.constants[name] = self.draw(item)
            elif isinstance(item, Fixed):
                values = np.asarray(item.value, dtype=item.dtype)
                holder = self.sample if item.run_time else self.constants
                holder[name] = values if item.shape is None else values.reshape(item.shape)
        while self.names and not self.names[-1]:
            self.names.pop()
        self.outputs = [f"y{index}" for index in range(case.outputs)]
        self.output_infos: list[onnx.ValueInfoProto] = []

    def draw(self, item: Data | Parameter) -> Array:
        """Draw values for an input. Floats are evenly spaced over the range, both ends included, in random order.

        So no two are so close that rounding changes which is larger.
        """
        count = math.prod(item.shape)
        if item.dtype == "bool":
            return self.random.integers(0, 2, item.shape).astype(bool)
        if item.dtype.startswith("float"):
            values = np.linspace(item.high, item.low, count)
            return self.random.permutation(values).reshape(item.shape).astype(item.dtype)
        values = self.random.integers(int(item.low), int(item.high), item.shape)
        return np.where(values == 0, max(int(item.low), 0), values).astype(item.dtype)

    def node(self) -> onnx.NodeProto:
        """Return the node that is asked about."""
        case = self.case
        return make_node(case.op_type, self.names, self.outputs, NODE, case.attributes, case.domain)

    def model(self) -> onnx.ModelProto:
        """Return the node alone, checked, with inferred outputs.

        Raises:
            InvalidCaseError: when ONNX does not allow it.
        """
        inputs = [value_info(name, array) for name, array in self.sample.items()]
        initializers = [numpy_helper.from_array(array, name) for name, array in self.constants.items()]
        graph = helper.make_graph(
            [self.node()], "question", inputs, [_untyped(name) for name in self.outputs], initializers
        )
        model = wrap(graph, self.case.domain)
        try:
            model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
        except (onnx.shape_inference.InferenceError, RuntimeError):
            model = wrap(graph, self.case.domain)
        if not all(_has_static_shape(info) for info in model.graph.output):
            self._declare_outputs(model)
        self.output_infos = list(model.graph.output)
        try:
            check_model(model)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            raise InvalidCaseError(" ".join(str(error).split())[:200]) from error
        return model

    def _declare_outputs(self, model: onnx.ModelProto) -> None:
        """Declare outputs as ONNX Runtime computes them, where inference does not say it all.

        So a shape that depends on a run-time value is still static for this sample.
        """
        made = run_reference(model, self.sample)
        if made is None:
            raise InvalidCaseError("neither shape inference nor ONNX Runtime says what its outputs are")
        del model.graph.output[:]
        model.graph.output.extend(value_info(name, made[name]) for name in self.outputs)


def _untyped(name: str) -> onnx.ValueInfoProto:
    return onnx.ValueInfoProto(name=name)


def _has_static_shape(info: onnx.ValueInfoProto) -> bool:
    tensor = info.type.tensor_type
    return tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in tensor.shape.dim)


def run_reference(model: onnx.ModelProto, sample: dict[str, Array]) -> dict[str, Array] | None:
    """Run a model in ONNX Runtime on the CPU; None where it has no kernel for it."""
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        file.write(model.SerializeToString())
        file.flush()
        try:
            return Session(Path(file.name), threads=1, quiet=True).run(sample)
        except InputError:
            return None


def value_info(name: str, array: Array) -> onnx.ValueInfoProto:
    """Declare an array."""
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)


def make_node(
    op_type: str,
    inputs: Sequence[str],
    outputs: Sequence[str],
    name: str,
    attributes: Mapping[str, Attribute] = MappingProxyType({}),
    domain: str = "",
) -> onnx.NodeProto:
    """Make a node."""
    node = helper.make_node(op_type, inputs, outputs, name, domain=domain)
    for key, value in attributes.items():
        plain = list(value) if isinstance(value, tuple) else value
        node.attribute.append(helper.make_attribute(key, plain))
    return node


def check_model(model: onnx.ModelProto) -> None:
    """Hold a model to the ONNX standard."""
    onnx.checker.check_model(model.SerializeToString())  # pyright: ignore[reportUnknownMemberType] -- os.PathLike without argument


def wrap(graph: onnx.GraphProto, domain: str = "") -> onnx.ModelProto:
    """Make a model of a graph."""
    imports = [helper.make_opsetid("", OPSET)]
    if domain:
        imports.append(helper.make_opsetid(domain, 1))
    return helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION)


def is_float_info(info: onnx.ValueInfoProto) -> bool:
    """Say whether a value holds float32 data."""
    return info.type.tensor_type.elem_type == TensorProto.FLOAT
