"""Every lowering against the answers that ONNX's own node tests give."""

from __future__ import annotations

import warnings
from functools import cache

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper, version_converter
from onnx.backend.test.case.node import collect_testcases

from npuopt.graph import infer_shapes
from npuopt.pipeline import Lowering
from npuopt.pipeline.catalogue import catalogue
from support.numbers import run

LOWERINGS = {name: found for name, found in catalogue().items() if issubclass(found, Lowering)}
OPSET, IR_VERSION = 24, 12
LEAST_AGREEMENTS = 150
TOLERANCE = {"float16": 1e-2}
"""Half precision has three digits; all else must agree to 1e-4 of the largest value."""


@cache
def one_node_cases() -> dict[str, list]:
    """Return ONNX's node tests of a single standard op by op type."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the cases overflow and divide by zero on purpose
        every = collect_testcases(None)
    found: dict[str, list] = {}
    for case in every:
        nodes = case.model.graph.node
        kinds = {value.type.tensor_type.elem_type for value in case.model.graph.input}
        if len(nodes) != 1 or nodes[0].domain or len(case.model.opset_import) != 1:
            continue
        if onnx.TensorProto.BFLOAT16 not in kinds:  # for which ONNX Runtime has few kernels on the CPU
            found.setdefault(nodes[0].op_type, []).append(case)
    return found


def model_of(case, *, constants: bool) -> tuple[ir.Model, dict[str, np.ndarray]] | None:
    """Return the case at the canonical opset, all inputs but the first made constant if asked, and its inputs."""
    proto = onnx.ModelProto()
    proto.CopyFrom(case.model)
    if proto.opset_import[0].version > OPSET:
        proto.opset_import[0].version = OPSET  # most ops got no more than new types since
        try:
            onnx.checker.check_model(proto, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
            return None
    if proto.opset_import[0].version < OPSET:
        proto = version_converter.convert_version(proto, OPSET)
    names = [value.name for value in proto.graph.input]
    feeds = {name: as_array(value) for name, value in zip(names, case.data_sets[0][0], strict=True)}
    if constants:
        proto.graph.initializer.extend(numpy_helper.from_array(feeds[name], name) for name in names[1:])
        del proto.graph.input[1:]
    proto.ir_version = IR_VERSION
    model = ir.from_proto(proto)
    infer_shapes(model)
    return model, feeds


def as_array(value) -> np.ndarray:
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)


def assert_answers(case, model: ir.Model, feeds: dict[str, np.ndarray]) -> None:
    got = run(model, feeds)
    for value, wanted in zip(model.graph.outputs, map(as_array, case.data_sets[0][1]), strict=True):
        kind, result = str(wanted.dtype), got[value.name]
        assert (result.shape, str(result.dtype)) == (wanted.shape, kind), case.name
        expected, answer = wanted.astype(np.float64), result.astype(np.float64)
        finite = np.abs(expected[np.isfinite(expected)])
        allowed = TOLERANCE.get(kind, 1e-4)
        np.testing.assert_allclose(
            answer, expected, rtol=allowed, atol=allowed * finite.max(initial=1.0), err_msg=case.name
        )


@pytest.mark.slow
def test_lowered_nodes_give_the_answers_of_onnx():
    agreed: dict[str, int] = {}
    for name, lowering in LOWERINGS.items():
        for case in (case for op in lowering.op_types for case in one_node_cases().get(op, [])):
            for constants in (False, True):
                try:
                    read = model_of(case, constants=constants)
                except (RuntimeError, onnx.onnx_cpp2py_export.version_converter.ConvertError):
                    continue  # no adapter takes this old case up to the canonical opset
                if read is None or not lowering()(read[0]).changed:
                    continue
                assert_answers(case, *read)
                made = {node.op_type for node in read[0].graph} - {"Identity"}  # which ties an output to an input
                assert made <= lowering.produces, f"{name} made {made - lowering.produces} of {case.name}"
                agreed[name] = agreed.get(name, 0) + 1
    assert sum(agreed.values()) >= LEAST_AGREEMENTS, agreed
