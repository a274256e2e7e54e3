"""What must hold of every pass on every graph that its tests rewrite, beyond what the rewrite is about."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx.checker
import onnx.compose
import onnx_ir as ir
from onnx import helper

from npuopt.graph import infer_shapes, to_proto
from npuopt.pipeline import Lowering
from npuopt.pipeline.checks import structural_faults
from support.numbers import assert_close, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from npuopt.graph import Model
    from npuopt.pipeline import Pass
    from npuopt.target import Target
    from support.numbers import Arrays

MARK = {"marked by": "the test"}
CONDITION = "is_taken"


def assert_invariants(
    pass_: Pass, source: onnx.ModelProto, target: Target | None, draws: Sequence[Arrays], tolerance: float | None
) -> None:
    """Apply `pass_` to marked and to nested copies of `source`.

    Checked: what the pass does not rewrite keeps its names and annotations; a lowering makes no op but those that
    it says it `produces`; and the same graph inside a branch still computes the same.
    """
    assert_keeps_annotations(pass_, source, target)
    names_values = hasattr(pass_, "encodings")  # which another graph does not have
    if not names_values and not any(attr.HasField("g") for node in source.graph.node for attr in node.attribute):
        assert_works_in_a_branch(pass_, source, target, draws[:1], tolerance)


def assert_keeps_annotations(pass_: Pass, source: onnx.ModelProto, target: Target | None) -> None:
    """Mark everything that can be marked, run the pass, and look for the marks on what is still there."""
    model = _read(source)
    _mark(model)
    before = {node: [value.name for value in node.outputs] for node in model.graph.all_nodes()}
    pass_(model, target)
    assert model.metadata_props == MARK
    assert model.graph.metadata_props == MARK
    assert model.graph.doc_string == "kept"
    for value in (*model.graph.inputs, *model.graph.outputs):
        assert value.metadata_props == MARK, f"{pass_.name} loses the annotations of {value.name}"
    after = list(model.graph.all_nodes())
    for node in after:
        if node in before:
            assert node.metadata_props == MARK, f"{pass_.name} loses the annotations of {node.name}"
            assert node.doc_string == "kept", f"{pass_.name} loses the doc string of {node.name}"
    graph_outputs = {value.name for value in model.graph.outputs}
    shared = Counter(name for names in before.values() for name in names)
    for node in after:
        renamed = [
            value.name
            for value, name in zip(node.outputs, before.get(node, []), strict=False)
            if value.name != name and shared[name] == 1  # one of two that meet when branches go has to give way
        ]
        strays = {name for name in renamed if name not in graph_outputs and not _made_way(name, graph_outputs)}
        assert not strays, f"{pass_.name} renames {strays}, which it does not rewrite"
    if isinstance(pass_, Lowering):
        strays = {node.op_type for node in after if node not in before} - pass_.produces
        assert not strays, f"{pass_.name} makes {', '.join(sorted(strays))}, which it does not declare"


def assert_works_in_a_branch(
    pass_: Pass, source: onnx.ModelProto, target: Target | None, draws: Sequence[Arrays], tolerance: float | None
) -> None:
    """Put the whole graph into both branches of an If and compare the numbers of each."""
    proto = in_branches(source)
    if proto is None:
        return
    model = _read(proto)
    runs = [{**draw, CONDITION: np.array(taken)} for draw in draws for taken in (True, False)]
    expected = [run(model, feeds) for feeds in runs]
    pass_(model, target)
    assert not structural_faults(model)
    onnx.checker.check_model(to_proto(model), full_check=True)
    for feeds, outputs in zip(runs, expected, strict=True):
        assert_close(outputs, run(model, feeds), tolerance)


def in_branches(source: onnx.ModelProto) -> onnx.ModelProto | None:
    """Return a model whose If has `source`'s graph as both branches, or None where that cannot be written.

    A branch may not return what it does not make, and it has no inputs: those are captured, so an initializer that
    is an input too has no place.
    """
    made = {name for node in source.graph.node for name in node.output}
    constants = {tensor.name for tensor in source.graph.initializer}
    outputs, inputs = list(source.graph.output), list(source.graph.input)
    if any(value.name not in made for value in outputs) or any(value.name in constants for value in inputs):
        return None
    then_branch, else_branch = (
        onnx.compose.add_prefix_graph(source.graph, prefix, rename_inputs=False) for prefix in ("then/", "else/")
    )
    for branch in (then_branch, else_branch):
        branch.name = "branch"
        del branch.input[:]
    node = helper.make_node(
        "If", [CONDITION], [value.name for value in outputs], then_branch=then_branch, else_branch=else_branch
    )
    condition = helper.make_tensor_value_info(CONDITION, onnx.TensorProto.BOOL, [])
    graph = helper.make_graph([node], "nested", [*inputs, condition], outputs)
    return helper.make_model(
        graph, functions=source.functions, opset_imports=source.opset_import, ir_version=source.ir_version
    )


def _read(proto: onnx.ModelProto) -> Model:
    model = ir.from_proto(proto)
    infer_shapes(model)
    return model


def _made_way(name: str | None, graph_outputs: set[str | None]) -> bool:
    """Say whether a value gave its name to another that is the graph output now."""
    return name is not None and name.removesuffix("/replaced") in graph_outputs


def _mark(model: Model) -> None:
    values = [*model.graph.inputs, *model.graph.outputs, *model.graph.initializers.values()]
    for item in (model, model.graph, *model.graph.all_nodes(), *values):
        item.metadata_props.update(MARK)
    for item in (model.graph, *model.graph.all_nodes()):
        item.doc_string = "kept"
