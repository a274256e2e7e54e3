"""What the processors' descriptor takes, TVM computes right: every one-op case, by itself and behind a convolution."""

import copy

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from delegates.host_cases import compile_and_run

from npuopt.graph import infer_shapes
from npuopt.target import load_target
from npuopt.target.probing.build import InvalidCaseError, build, run_reference
from npuopt.target.probing.catalogue import cases_by_op

pytestmark = pytest.mark.slow

TAKEN = sorted(name for name, rule in load_target("host/x86-64").ops.items() if rule.refused is None)
CASES = cases_by_op()
NOT_IN_THE_CATALOGUE = {"DequantizeLinear", "QuantizeLinear"}  # test_quantized_models_run_at_their_edges has them
MOST_CASES = 4  # of one operator, spread over all of them; all 1,900 were run once and were right


def questions(op):
    """Some cases of an op that the descriptor takes."""
    target = load_target("host/x86-64")
    taken = []
    for case in CASES[op]:
        try:
            question = build(case, None)
        except InvalidCaseError:
            continue
        model = ir.from_proto(question.model)
        infer_shapes(model)
        if all(target.accepts(node) for node in model.graph):
            taken.append(question)
    return taken[:: -(-len(taken) // MOST_CASES)]


def behind_a_convolution(question):
    """The same with a convolution before the first input, so that it arrives channels-last; None where none fits."""
    graph = question.model.graph
    first = graph.input[0] if graph.input else None
    if first is None or first.type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
        return None
    shape = [dim.dim_value for dim in first.type.tensor_type.shape.dim]
    if len(shape) != 4:
        return None
    model = copy.deepcopy(question.model)
    mixing = np.eye(shape[1], dtype=np.float32) + np.float32(0.1)
    model.graph.initializer.append(onnx.numpy_helper.from_array(mixing.reshape(shape[1], shape[1], 1, 1), "mixing"))
    for node in model.graph.node:
        node.input[:] = ["convolved" if name == first.name else name for name in node.input]
    model.graph.node.insert(0, onnx.helper.make_node("Conv", [first.name, "mixing"], ["convolved"]))
    del model.graph.value_info[:]
    return model


def compared(label, model, sample):
    """Assert that TVM's numbers are ONNX Runtime's; False where ONNX Runtime has none."""
    expected = run_reference(model, sample)
    if expected is None:
        return False
    made, _ = compile_and_run(model, sample)
    for reference, array in zip(expected.values(), made, strict=True):
        assert (array.shape, array.dtype) == (reference.shape, reference.dtype), label
        wanted = reference.astype(np.float64)
        scale = max(np.abs(wanted[np.isfinite(wanted)]).max(initial=0.0), 1.0)
        np.testing.assert_allclose(array.astype(np.float64), wanted, atol=1e-4 * scale, err_msg=label)
    return True


@pytest.mark.parametrize("op", sorted(set(TAKEN) & set(CASES)))
def test_each_case_is_computed_right(op):
    count = 0
    for question in questions(op):
        count += compared(question.label, question.model, question.sample)
        convolved = behind_a_convolution(question)
        if convolved is not None:
            count += compared(f"Conv, {question.label}", convolved, question.sample)
    assert count


def test_every_other_operator_has_cases():
    assert set(TAKEN) - set(CASES) <= NOT_IN_THE_CATALOGUE
