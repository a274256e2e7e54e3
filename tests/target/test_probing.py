"""The questions that hold a descriptor against its compiler, and what is made of the answers."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from npuopt.graph import infer_shapes, nodes
from npuopt.target import load_target
from npuopt.target.channels import channel_axis
from npuopt.target.probe import probe
from npuopt.target.probing.answer import Answer
from npuopt.target.probing.build import NODE, InvalidCaseError, build, run_reference
from npuopt.target.probing.case import Case, Data, Fixed, Parameter
from npuopt.target.probing.catalogue import cases_by_op
from npuopt.target.probing.quantize import Quantizer
from npuopt.target.probing.questions import verdict
from npuopt.target.schema import OpQuantization, Scheme
from support.descriptors import target_with

A8W8 = Scheme(activation="uint8", weight="int8", weight_axis="channel", bias="int32")
CONV = Case("Conv", (Data((1, 4, 8, 8)), Parameter((8, 4, 3, 3), channel=0), Parameter((8,), "bias")))


def question(case, scheme=None, wants=None):
    return build(case, "a8w8", Quantizer("a8w8", scheme, wants) if scheme else None)


def stored(model):
    return {item.name: item for item in model.graph.initializer}


def builds(case, **options) -> bool:
    try:
        build(case, None, **options)
    except InvalidCaseError:
        return False
    return True


def test_the_catalogues_cases_are_valid_onnx():
    cases = [case for cases in cases_by_op().values() for case in cases]
    assert not [case.label for case in cases if not builds(case, must_run=False)]
    assert len(cases) > 1500


@pytest.mark.parametrize("op", ["Conv", "Gather", "Reshape", "Softmax", "Add", "LSTM", "TopK"])
def test_the_catalogues_cases_run(op):
    cases = [case for case in cases_by_op()[op] if 0 not in getattr(case.inputs[0], "shape", ())]
    assert [case.label for case in cases if not builds(case)] == []


def test_the_catalogue_knows_the_same_weight_channels_as_the_targets():
    for case in (
        cases_by_op()["Conv"] + cases_by_op()["Gemm"] + cases_by_op()["ConvTranspose"] + cases_by_op()["MatMul"]
    ):
        model = ir.from_proto(build(case, None).model)
        infer_shapes(model)
        node = next(node for node in nodes(model) if node.name == NODE)
        for index, item in enumerate(case.inputs):
            if isinstance(item, Parameter) and item.role == "weight":
                assert item.channel == channel_axis(node, index), case.label


def test_floats_are_spread_over_their_range_and_repeatable():
    first, second = build(Case("Relu", (Data((4, 5), -2, 3),)), None), build(Case("Relu", (Data((4, 5), -2, 3),)), None)
    values = first.sample["x0"]
    assert (values.min(), values.max()) == (-2, 3)
    assert len(np.unique(values)) == 20
    assert np.array_equal(values, second.sample["x0"])


@pytest.mark.parametrize("op", ["ReduceSum", "ReduceMean", "GlobalAveragePool", "Einsum"])
def test_no_sum_that_is_asked_for_is_zero_but_for_rounding(op):
    for question_ in (build(case, None, must_run=False) for case in cases_by_op()[op]):
        given = question_.sample["x0"]
        if given.size:
            made = run_reference(question_.model, question_.sample)["y0"]
            assert np.abs(made).max() > 0.04 * np.abs(given).max(), question_.label


@pytest.mark.parametrize("op", ["ArgMax", "ArgMin", "TopK", "ReduceMax", "ReduceMin"])
def test_no_number_of_a_search_comes_twice(op):
    for case in cases_by_op()[op]:
        values = build(case, None, must_run=False).sample["x0"]
        assert len(np.unique(values)) == values.size, case.label


def test_a_quantized_question_is_close_to_the_float_one():
    plain, quantized = question(CONV), question(CONV, A8W8)
    expected, got = (run_reference(one.model, one.sample)["y0"] for one in (plain, quantized))
    assert 0 < np.abs(expected - got).max() < 0.05 * np.abs(expected).max()


def test_weights_and_bias_are_stored_as_the_scheme_says():
    tensors = stored(question(CONV, A8W8).model)
    assert numpy_helper.to_array(tensors["x1_stored"]).dtype == np.int8
    assert tensors["x1_scale"].dims == [8]
    assert numpy_helper.to_array(tensors["x2_stored"]).dtype == np.int32
    scale = numpy_helper.to_array(tensors["x0_real_scale"]) * numpy_helper.to_array(tensors["x1_scale"])
    assert np.allclose(numpy_helper.to_array(tensors["x2_scale"]), scale)


def test_powers_of_two_are_asked_with_powers_of_two():
    shifts = Scheme(activation="int8", weight="int8", weight_axis="channel", power_of_two=True)
    case = Case("Conv", (Data((1, 4, 8, 8)), Parameter((8, 4, 3, 3), channel=0), Parameter((8,), "bias")))
    model = build(case, "a8w8", Quantizer("a8w8", shifts)).model
    scales = [numpy_helper.to_array(one) for one in model.graph.initializer if one.name.endswith("_scale")]
    assert len(scales) == 4
    assert all(np.all(np.log2(scale) % 1 == 0) for scale in scales)


def test_the_ops_own_wishes_win():
    wants = OpQuantization.model_validate(
        {
            "weights": (1,),
            "weight": "uint8",
            "weight_axis": "tensor",
            "output": {"a8w8": {"scale": 0.5, "zero_point": 3}},
        }
    )
    tensors = stored(question(CONV, A8W8, wants).model)
    assert numpy_helper.to_array(tensors["x1_stored"]).dtype == np.uint8
    assert tensors["x1_scale"].dims == []
    assert numpy_helper.to_array(tensors["y0_scale"]) == 0.5
    assert numpy_helper.to_array(tensors["y0_zero"]) == 3


def test_data_movement_keeps_its_encoding():
    moved = stored(
        question(Case("Reshape", (Data((2, 8), -1, 3), Fixed((16,)))), A8W8, OpQuantization(share=True)).model
    )
    assert numpy_helper.to_array(moved["x0_real_scale"]) == numpy_helper.to_array(moved["y0_scale"])


def test_four_bits_fit():
    scheme = Scheme(activation="uint16", weight="int4", weight_axis="channel", bias="int32")
    values = numpy_helper.to_array(stored(question(CONV, scheme).model)["x1_stored"]).astype(int)
    assert (values.min(), values.max()) == (-7, 7)


def test_another_element_type_goes_to_all_inputs_of_that_type():
    case = Case("Clip", (Data((2, 2)), Fixed(-1.0, "float32"), Fixed(2.0, "float32"))).with_type("int32")
    assert [item.dtype for item in case.inputs] == ["int32"] * 3
    assert run_reference(build(case, None).model, build(case, None).sample)["y0"].dtype == np.int32


@pytest.mark.parametrize(
    "case",
    [
        Case("Conv", (Data((1, 4, 8)), Parameter((8, 4, 3))), {"group": 0}),
        Case("Concat", (Data((2, 3)), Data((2, 3, 4))), {"axis": 0}),
        Case("Softmax", (Data((2, 3)),), {"axis": 5}),
    ],
)
def test_what_onnx_does_not_allow_is_no_question(case):
    with pytest.raises(InvalidCaseError):
        build(case, None)


def answers(taken):
    return lambda questions: [Answer(taken(one)) for one in questions]


def test_agreement_is_found():
    target = target_with("{Relu: {schemes: [fp16, a8w8], rank: [0, 5]}}")
    asked = []

    def oracle(one):
        asked.append(one)
        shape = one.model.graph.input[0].type.tensor_type
        return one.scheme in ("fp16", "a8w8") and len(shape.shape.dim) <= 5 and shape.elem_type in (1, 10)

    told: list[int] = []
    result = probe(target, answers(oracle), ["Relu"], progress=told.append)
    assert told == [*range(1, len(asked) + 1)]
    assert result.counts == {"agreed": len(asked), "stricter on purpose": 0, "stricter": 0, "wrong": 0}
    assert {one.scheme for one in asked} == {"fp16", "a8w8", "a16w8", None}
    assert not result.disagreements


def test_both_kinds_of_disagreement_are_found():
    target = target_with("{Relu: {schemes: [fp16], rank: [0, 5]}}")
    all_taken = probe(target, answers(lambda _: True), ["Relu"])
    assert {point.outcome for point in all_taken.disagreements} == {"stricter"}
    assert any("taken in fp16 only" in point.descriptor for point in all_taken.disagreements)
    none_taken = probe(target, answers(lambda _: False), ["Relu"])
    assert {point.outcome for point in none_taken.disagreements} == {"wrong"}
    assert {point.scheme for point in none_taken.disagreements} == {"fp16"}


def test_being_stricter_on_purpose_is_counted_apart():
    target = target_with("{Relu: {schemes: [fp16], stricter: it overheats}}")
    result = probe(target, answers(lambda _: True), ["Relu"])
    assert not result.disagreements
    assert result.counts["stricter on purpose"] > 0


def test_other_weight_types_are_asked_about():
    rule = "{schemes: [a16w8], rank: [4, 4], quantization: {weights: [1], weight_types: {a16w8: [int16]}}}"
    result = probe(target_with(f"{{Conv: {rule}}}"), answers(lambda _: True), ["Conv"])
    wide = [point for point in result.points if point.case.endswith("with int16 weights")]
    assert len(wide) > 5
    assert {point.scheme for point in wide} == {"a16w8"}
    assert {"agreed", "stricter"} == {point.outcome for point in wide}, "rank 3 is refused"


@pytest.mark.parametrize(("group", "reasons"), [(1, 0), (2, 1)])
def test_scales_by_channel_need_an_axis_of_channels(group, reasons):
    """Of a ConvTranspose in groups, axis 1 of the weight has a channel of each group at every index."""
    case = Case("ConvTranspose", (Data((1, 4, 8)), Parameter((4, 6, 3), channel=1)), {"group": group})
    target = target_with("{ConvTranspose: {schemes: [a8w8], quantization: {weights: [1]}}}")
    said = verdict(target, question(case, A8W8, target.ops["ConvTranspose"].quantization)).reasons
    assert len(said) == reasons
    assert all("has several scales, but no axis of output channels" in reason for reason in said)


def test_an_op_that_is_refused_or_unknown_is_asked_once():
    target = target_with("{Relu: {refused: no such unit}}")
    for op in ("Relu", "Erf"):
        result = probe(target, answers(lambda _: False), [op])
        assert result.counts["agreed"] == len(result.points) == 1


def test_every_landed_descriptor_can_be_asked():
    result = probe(load_target("qualcomm/sm8750"), answers(lambda _: True), ["MatMul", "Cast"])
    assert len({(point.op, point.scheme, point.case) for point in result.points}) == len(result.points)
    assert {"fp16", "a8w8", "a16w8", "a8w4", "a16w4", None} == {point.scheme for point in result.points}
