"""Every lowering against the answers that ONNX's own node tests give: alone, and as each target asks for it."""

from __future__ import annotations

import warnings
from collections import Counter
from functools import cache

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import numpy_helper, version_converter
from onnx.backend.test.case.node import collect_testcases

from npuopt.graph import infer_shapes, to_proto
from npuopt.pipeline import Lowering
from npuopt.pipeline.catalogue import catalogue
from npuopt.pipeline.legalize import legalize
from npuopt.road.preparation import lowerings
from npuopt.target import load_target, parse_target
from support.numbers import run

LOWERINGS = {name: found for name, found in catalogue().items() if issubclass(found, Lowering)}
OPSET, IR_VERSION = 24, 12
LEAST_AGREEMENTS = 600
TOLERANCE = {"float16": 1e-2}
"""Half precision has three digits; all else must agree to 1e-4 of the largest value."""

SIMPLE = "Abs Add And ArgMax ArgMin Cast Concat Div Equal Exp Expand Floor Gather Greater Identity Less Log Max Min Mul"
SIMPLE += " Not Or Pow ReduceMax ReduceMean ReduceMin ReduceSum Relu Sign Sin Cos Asin Atan Slice Sqrt Sub Transpose"
SIMPLE += " Where Xor DequantizeLinear"
SMALL_CHIP = """
name: test/small-chip
title: An NPU that takes little
source: invented
delegate: {road: ort}
shapes: {static: required, max_rank: 4}
schemes: {fp32: {activation: float32, tensors: [float32, float64, float16]}}
ops:
  Conv:
    schemes: [fp32]
    rank: [4, 4]
    when:
      - {attribute: group, equal: 1}
      - {attribute: strides, max: 2}
      - {attribute: dilations, equal: 1}
      - {attribute: pads, equal: 0}
      - {attribute: auto_pad, equal: NOTSET}
      - {dimension: input 1, axis: 2, max: 2}
      - {dimension: input 1, axis: 3, max: 2}
  MatMul: {schemes: [fp32], rank: [2, 4], when: [{rank: input 1, min: 2}]}
  MaxPool:
    schemes: [fp32]
    rank: [4, 4]
    when: [{attribute: kernel_shape, max: 2}, {attribute: strides, max: 2}, {attribute: ceil_mode, equal: 0}]
  Reshape: {schemes: [fp32], dtypes: DTYPES, when: [{constant: input 1}]}
"""
DTYPES = "[bool, int8, uint8, int16, uint16, int32, uint32, int64, uint64, int4, uint4]"
TARGETS = (
    ("test/small-chip", None, 400),
    ("qualcomm/sm8750", None, 100),
    ("qualcomm/sm8750", "a8w8", 100),
    ("qualcomm/qcs6490", "a16w8", 150),
    ("host/x86-64", None, 80),
)
"""Target, scheme, and the least number of nodes that it refuses and lowerings mend."""


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
        if not all(value.type.HasField("tensor_type") for value in (*case.model.graph.input, *case.model.graph.output)):
            continue
        if onnx.TensorProto.BFLOAT16 not in kinds:  # for which ONNX Runtime has few kernels on the CPU
            found.setdefault(nodes[0].op_type, []).append(case)
    return found


def model_of(case, *, constants: bool) -> tuple[ir.Model, dict[str, np.ndarray]] | None:
    """Return the case at the canonical opset, all inputs but the first made constant if asked, and its inputs.

    None where no model of that opset says the same.
    """
    found = CASES.get((case.name, constants))
    if found is None and (case.name, constants) not in CASES:
        found = CASES[(case.name, constants)] = _inferred(case, constants=constants)
    return None if found is None else (ir.from_proto(found[0]), found[1])


CASES: dict[tuple[str, bool], tuple[onnx.ModelProto, dict[str, np.ndarray]] | None] = {}


def _inferred(case, *, constants: bool) -> tuple[onnx.ModelProto, dict[str, np.ndarray]] | None:
    proto = onnx.ModelProto()
    proto.CopyFrom(case.model)
    try:
        if proto.opset_import[0].version > OPSET:
            proto.opset_import[0].version = OPSET  # most ops got no more than new types since
            onnx.checker.check_model(proto, full_check=True)
        elif proto.opset_import[0].version < OPSET:
            proto = version_converter.convert_version(proto, OPSET)
    except (
        RuntimeError,
        onnx.checker.ValidationError,
        onnx.shape_inference.InferenceError,
        onnx.onnx_cpp2py_export.version_converter.ConvertError,
    ):
        return None
    names = [value.name for value in proto.graph.input]
    feeds = {name: as_array(value) for name, value in zip(names, case.data_sets[0][0], strict=True)}
    if constants:
        proto.graph.initializer.extend(numpy_helper.from_array(feeds[name], name) for name in names[1:])
        del proto.graph.input[1:]
    proto.ir_version = IR_VERSION
    model = ir.from_proto(proto)
    infer_shapes(model)
    return to_proto(model), feeds


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


def runtime_answers(case, *, constants: bool) -> bool:
    """Say whether ONNX Runtime itself gives ONNX's answer, before anything is rewritten."""
    read = model_of(case, constants=constants)
    assert read is not None
    try:
        assert_answers(case, *read)
    except Exception:  # noqa: BLE001 -- whatever it raises, it gives no answer
        return False
    return True


def agrees(case, model: ir.Model, feeds: dict[str, np.ndarray], *, constants: bool) -> bool:
    """Say whether a rewritten case gives ONNX's answer; False where ONNX Runtime cannot say."""
    try:
        assert_answers(case, model, feeds)
    except onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented:
        return False  # it has no kernel for the types that the case has
    except Exception:
        if runtime_answers(case, constants=constants):
            raise
        return False
    return True


@pytest.mark.slow
def test_lowered_nodes_give_the_answers_of_onnx():
    agreed: Counter[str] = Counter()
    for name, lowering in LOWERINGS.items():
        for case in (case for op in lowering.op_types for case in one_node_cases().get(op, [])):
            for constants in (False, True):
                read = model_of(case, constants=constants)
                if read is None or not lowering()(read[0]).changed:
                    continue
                made = {node.op_type for node in read[0].graph} - {"Identity"}  # which ties an output to an input
                assert made <= lowering.produces, f"{name} made {made - lowering.produces} of {case.name}"
                agreed[name] += agrees(case, *read, constants=constants)
    print(f"{sum(agreed.values())} answers agree, of {len(agreed)} lowerings: {dict(sorted(agreed.items()))}")
    assert sum(agreed.values()) >= LEAST_AGREEMENTS


def small_chip():
    """Return an invented chip that takes few ops, in small sizes, so that everything is lowered as far as it goes."""
    dtypes = f"{{inputs: {{all: {DTYPES}}}, outputs: {{all: {DTYPES}}}}}"
    rules = "".join(f"  {op}: {{schemes: [fp32], dtypes: {dtypes}}}\n" for op in SIMPLE.split())
    return parse_target(SMALL_CHIP.replace("DTYPES", dtypes) + rules)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "scheme", "least"), TARGETS)
def test_what_a_target_refuses_is_lowered_right_or_refused_with_a_reason(name, scheme, least):
    target = small_chip() if name.startswith("test/") else load_target(name)
    counts: Counter[str] = Counter()
    for case in (case for cases in one_node_cases().values() for case in cases):
        read = model_of(case, constants=True)
        if read is None or target.accepts(read[0].graph[0], scheme):
            counts["not of this opset" if read is None else "taken"] += 1
            continue
        report = legalize(read[0], target, lowerings(), scheme)
        for entry in report.entries:
            assert entry.reasons, f"{case.name}: {entry.node} is refused without a reason"
            counts["lowered" if entry.lowered_by else f"left to {entry.stays}"] += 1
        if any(entry.lowered_by for entry in report.entries):
            agreed = agrees(case, *read, constants=True)
            counts["answers agree" if agreed else "ONNX Runtime cannot say"] += 1
    print(f"{name} {scheme or ''}: {dict(counts)}")
    assert counts["answers agree"] >= least
