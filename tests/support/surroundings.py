"""Property tests that are aimed: the pass's pattern is always there, what is drawn is what surrounds it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import onnx
import onnx.checker
import onnx.numpy_helper
import onnx.shape_inference
import onnx_ir as ir
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from onnx import helper

from npuopt.graph import infer_shapes, to_proto
from npuopt.pipeline.checks import structural_faults
from support.numbers import assert_close, run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hypothesis.strategies import SearchStrategy

    from npuopt.pipeline import Pass

Drawn = TypeVar("Drawn")
OPSET, IR_VERSION = 24, 12
COMPANY = ("none", "none", "none", "second user", "graph output", "captured by a subgraph")
ORIGIN = ("initializer", "initializer", "initializer", "run-time input", "initializer that is an input too")


@dataclass
class Surroundings:
    """A graph under construction in which values get company by the draw. Values are names.

    What nobody reads in the end becomes a graph output, unless it is added to `unread`.
    """

    draw: Callable[[SearchStrategy[Drawn]], Drawn]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    inputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    feeds: dict[str, np.ndarray] = field(default_factory=dict)
    functions: list[onnx.FunctionProto] = field(default_factory=list)
    known: list[onnx.ValueInfoProto] = field(default_factory=list)

    def choose(self, *options: Drawn) -> Drawn:
        """Draw one of these."""
        return self.draw(st.sampled_from(options))

    def input(self, *shape: int, dtype: str = "float32", declared: Sequence[int | str] | None = None) -> str:
        """Add a graph input of this shape, declared with other (symbolic) dims if given; floats hold edge values."""
        generator = np.random.default_rng(self.draw(st.integers(0, 2**16)))
        if dtype == "bool":
            array = generator.integers(0, 2, shape).astype(dtype)
        elif np.dtype(dtype).kind in "iu":
            array = generator.integers(0 if dtype.startswith("u") else -4, 5, shape).astype(dtype)
        else:
            array = np.asarray(generator.normal(0, 2, shape)).astype(dtype)
            array[generator.random(shape) < 0.2] = self.choose(0.0, -0.0)
        return self._input(array, declared)

    def constant(self, array: np.ndarray, *, varies: bool = True) -> str:
        """Add a constant, which may be drawn to be a run-time input or overridable instead."""
        origin = self.choose(*ORIGIN) if varies else "initializer"
        if origin == "run-time input":
            return self._input(array, None)
        name = f"constant_{len(self.initializers)}"
        self.initializers.append(onnx.numpy_helper.from_array(array, name))
        if origin == "initializer that is an input too":
            self.inputs.append(helper.make_tensor_value_info(name, _element_type(array), array.shape))
            if self.draw(st.booleans()):  # overridden with something else that is as valid
                self.feeds[name] = np.flip(array) if array.ndim else array
        return name

    def op(self, op_type: str, *inputs: str, company: bool = True, domain: str = "", **attributes: object) -> str:
        """Add a one-output node; its value may be drawn to be seen elsewhere too."""
        return self.ops(op_type, *inputs, outputs=1, company=company, domain=domain, **attributes)[0]

    def ops(
        self, op_type: str, *inputs: str, outputs: int, company: bool = True, domain: str = "", **attributes: object
    ) -> list[str]:
        """Add a node with several outputs; each may be drawn to be seen elsewhere too."""
        stem = f"{op_type.lower()}_{len(self.nodes)}"
        names = [f"{stem}_{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(op_type, inputs, names, name=stem, domain=domain, **attributes))
        for name in names if company else ():
            self._keep_company(name)
        return names

    def declare(self, name: str, *shape: int, dtype: str = "float32") -> str:
        """Say type and shape of what an op of another domain makes and the graph reads: ONNX does not infer them."""
        self.known.append(helper.make_tensor_value_info(name, _element_type(np.zeros((), dtype)), shape))
        return name

    def model(self) -> ir.Model:
        """Return the graph, checked, with its shapes inferred."""
        read = {name for node in self.nodes for name in _reads(node)}
        made = [name for node in self.nodes for name in node.output]
        outputs = list(dict.fromkeys([*self.outputs, *(name for name in made if name not in {*read, *self.unread})]))
        proto = onnx.shape_inference.infer_shapes(
            self.draft(outputs), check_type=True, strict_mode=True, data_prop=True
        )
        assume(all(value.type.tensor_type.HasField("shape") for value in proto.graph.output))  # else it is not valid
        onnx.checker.check_model(proto, full_check=True)
        model = ir.from_proto(proto)
        infer_shapes(model)
        return model

    def draft(self, outputs: Sequence[str]) -> onnx.ModelProto:
        """Return the graph so far with these outputs, whose types are not known yet."""
        results = [onnx.ValueInfoProto(name=name) for name in outputs]
        graph = helper.make_graph(self.nodes, "drawn", self.inputs, results, self.initializers, value_info=self.known)
        functions = {(item.domain, item.name): item for item in self.functions}
        domains = {domain for domain, _ in functions} | {node.domain for node in self.nodes if node.domain}
        imports = [helper.make_opsetid("", OPSET)]
        imports += [helper.make_opsetid(domain, 1) for domain in sorted(domains)]
        return helper.make_model(
            graph, functions=list(functions.values()), opset_imports=imports, ir_version=IR_VERSION
        )

    def _input(self, array: np.ndarray, declared: Sequence[int | str] | None) -> str:
        name = f"input_{len(self.inputs)}"
        self.inputs.append(helper.make_tensor_value_info(name, _element_type(array), declared or array.shape))
        self.feeds[name] = array
        return name

    def _keep_company(self, name: str) -> None:
        company = self.choose(*COMPANY)
        if company == "graph output":
            self.outputs.append(name)
        elif company == "second user":
            self.nodes.append(helper.make_node("Shape", [name], [f"{name}_seen"]))
            self.nodes.append(helper.make_node("Identity", [name], [f"{name}_copied"]))
            self.outputs.append(f"{name}_copied")
        elif company == "captured by a subgraph":
            condition = self._input(np.array(self.draw(st.booleans())), None)
            branches = [
                helper.make_graph(
                    [helper.make_node("Identity", [name], [f"{name}_{branch}"])],
                    branch,
                    [],
                    [onnx.ValueInfoProto(name=f"{name}_{branch}")],
                )
                for branch in ("then", "else")
            ]
            taken = f"{name}_taken"
            self.nodes.append(
                helper.make_node("If", [condition], [taken], then_branch=branches[0], else_branch=branches[1])
            )
            self.outputs.append(taken)


def check_surroundings(
    pass_: Pass,
    build: Callable[[Surroundings], object],
    *,
    examples: int = 30,
    least_hits: float = 0.3,
    tolerance: float | None = None,
) -> None:
    """Run `pass_` on many drawn surroundings of one pattern and compare the numbers in ONNX Runtime.

    Args:
        pass_: the pass.
        build: adds the pattern to the surroundings; draws whatever else may vary.
        examples: how many graphs.
        least_hits: the share of graphs that the pass must have changed, or the test is not aimed.
        tolerance: as in `assert_close`.
    """
    hits: list[bool] = []

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],  # shrinking would cost more than the small graphs are worth
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def property_holds(data: st.DataObject) -> None:
        surroundings = Surroundings(data.draw)
        build(surroundings)
        model = surroundings.model()
        expected = run(model, surroundings.feeds)
        report = pass_(model, None)
        assert not structural_faults(model)
        onnx.checker.check_model(to_proto(model), full_check=True)
        assert_close(expected, run(model, surroundings.feeds), tolerance)
        assert not pass_(model, None).changed, "the second run changed something"
        hits.append(bool(report.changed))

    property_holds()
    rate = sum(hits) / len(hits)
    print(f"{pass_.name}: changed {sum(hits)} of {len(hits)} drawn graphs")
    assert rate >= least_hits, f"{pass_.name} changed only {rate:.0%} of the drawn graphs"


def _element_type(array: np.ndarray) -> int:
    return helper.np_dtype_to_tensor_dtype(array.dtype)


def _reads(node: onnx.NodeProto) -> list[str]:
    names = list(node.input)
    for attribute in node.attribute:
        for inner in attribute.g.node:
            names += _reads(inner)
    return names
