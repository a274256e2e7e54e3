import time

import pytest

from npuopt.errors import UsageError
from support.descriptors import first_node, node_of, target_with

CONV = "y = Conv<pads=[1,1,1,1], strides=[2,1]>(x, w)"
CONV_CONSTANTS = "float[4,4,3,3] w"


def conv(call=CONV, inputs="float[1,4,8,8] x, float[4,4,3,3] w"):
    return first_node(call, inputs)


def reasons(node, condition, scheme=None):
    """The reasons against a node of a rule that has only this condition."""
    op = node.op_type
    return list(target_with(f"{{{op}: {{schemes: [fp16, a8w8], when: [{condition}]}}}}").accepts(node, scheme).reasons)


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        ("{rank: input 0, min: 4, max: 4}", None),
        ("{rank: input 0, max: 3}", "rank of input 0 (x) is 4; at most 3 is taken"),
        ("{rank: outputs, min: 5}", "rank of output 0 (y) is 4; at least 5 is taken"),
        ("{rank: input 9, min: 5}", None),
        ("{attribute: strides, max: 2}", None),
        ("{attribute: strides, max: 1}", "attribute strides is 2; at most 1 is taken"),
        ("{attribute: strides, at: 1, max: 1}", None),
        ("{attribute: strides, equal: [2, 1]}", None),
        ("{attribute: strides, equal: [1, 1]}", "attribute strides is [2, 1]; only [1, 1] is taken"),
        ("{attribute: group, equal: 1}", None),
        ("{attribute: group, min: 2}", "attribute group is 1; at least 2 is taken"),
        ("{attribute: auto_pad, one_of: [NOTSET, VALID]}", None),
        ("{attribute: auto_pad, one_of: [VALID]}", "attribute auto_pad is NOTSET; one of VALID is taken"),
        ("{attribute: dilations, max: 1}", None),
        ("{product: attribute strides, max: 2}", None),
        ("{product: attribute strides, max: 1}", "the product of attribute strides is 2; at most 1 is taken"),
        ("{dimension: input 0, axis: 1, multiple_of: 4}", None),
        ("{dimension: input 0, axis: 1, multiple_of: 3}", "dimension 1 of input 0 (x) is 4; a multiple of 3 is taken"),
        ("{dimension: input 0, axis: -1, max: 7}", "dimension -1 of input 0 (x) is 8; at most 7 is taken"),
        ("{dimension: input 0, axis: 7, max: 7}", None),
        ("{dimension: input 0, max: 8}", None),
        ("{dimension: input 0, max: 7}", "dimension 2 of input 0 (x) is 8; at most 7 is taken"),
        ("{product: input 0, axes: [2, 3], max: 64}", None),
        (
            "{product: input 0, axes: [2, 3], max: 63}",
            "the product of dimensions [2, 3] of input 0 (x) is 64; at most 63 is taken",
        ),
        ("{product: input 1, max: 144}", None),
        ("{product: input 1, max: 143}", "the product of all dimensions of input 1 (w) is 144; at most 143 is taken"),
        ("{count: inputs, max: 2}", None),
        ("{count: inputs, min: 3}", "the number of inputs is 2; at least 3 is taken"),
        ("{dtype: input 1, one_of: [float32]}", None),
        ("{dtype: input 1, one_of: [int8]}", "type of input 1 (w) is float32; one of int8 is taken"),
        ("{static: inputs}", None),
        ("{variable: input 0}", None),
        ("{constant: input 1}", "input 1 (w) is known at run time only; a constant is needed"),
        ("{present: input 1}", None),
        ("{present: input 2}", "input 2 is left out; it is needed"),
        ("{absent: input 1}", "input 1 (w) is given; it must be left out"),
        ("{absent: attribute group}", None),
        ("{absent: attribute strides}", "attribute strides is given; it must be left out"),
        ("{predicate: padding-is-symmetric}", None),
        ("{predicate: inputs-have-equal-shape}", "the inputs have shapes [1, 4, 8, 8] and [4, 4, 3, 3]; nothing is br"),
        (
            "{rank: input 0, max: 3, because: the walker has three legs}",
            "at most 3 is taken (the walker has three legs)",
        ),
        ("{rank: input 0, max: 3, if: {attribute: group, min: 2}}", None),
        ("{rank: input 0, max: 3, if: {attribute: group, max: 2}}", "rank of input 0 (x) is 4; at most 3 is taken"),
        ("{rank: input 0, max: 3, if: {attribute: group, max: 2, if: {rank: input 0, max: 3}}}", None),
        (
            "{rank: input 0, max: 3, if: {attribute: group, max: 2, if: {rank: input 0, min: 4}}}",
            "rank of input 0 (x) is 4; at most 3 is taken",
        ),
        ("{rank: input 0, max: 3, schemes: [a8w8]}", None),
    ],
)
def test_conditions(condition, reason):
    found = reasons(conv(), condition)
    assert (found == []) if reason is None else any(reason in one for one in found), found


def test_a_condition_of_one_scheme_holds_in_that_scheme():
    condition = "{rank: input 0, max: 3, schemes: [a8w8]}"
    assert reasons(conv(), condition, "a8w8") == ["rank of input 0 (x) is 4; at most 3 is taken"]


def test_constants():
    node = first_node("y = Pad(x, pads)", constants="int64[8] pads = {0,0,1,1,0,0,2,1}")
    assert reasons(node, "{constant: input 1}") == []
    assert reasons(node, "{variable: input 1}, {constant: input 1}") == [
        "input 1 (pads) is a constant; a run-time value is needed"
    ]
    assert reasons(node, "{constant: input 1}, {value: input 1, max: 1}") == [
        "the value of input 1 (pads) is 2; at most 1 is taken"
    ]


def test_values_that_are_not_constant_cannot_be_held_to_bounds():
    node = first_node("y = Pad(x, pads)", "float[1,4,8,8] x, int64[8] pads")
    found = reasons(node, "{value: input 1, max: 1}")
    assert "input 1 (pads) is known at run time only; a constant is needed" in found


def test_an_axis_is_counted_from_the_end():
    node = first_node("y = Softmax<axis=3>(x)")
    assert reasons(node, "{axis_from_end: axis, equal: -1}") == []
    node = first_node("y = Softmax<axis=1>(x)")
    assert reasons(node, "{axis_from_end: axis, equal: -1}") == [
        "attribute axis counted from the end is -3; only -1 is taken"
    ]


def test_unread_outputs_count_as_left_out():
    node = first_node("y, mean = LayerNormalization(x, s)", "float[1,4,8,8] x, float[8] s")
    assert reasons(node, "{absent: output 1}") == []


class TestTheOpItself:
    def test_an_op_that_is_not_listed(self):
        verdict = target_with("{Relu: {schemes: [fp16]}}").accepts(conv())
        assert not verdict
        assert verdict.reasons == ("Conv is not among the ops that toy/chip takes",)

    def test_an_op_that_is_refused_says_why(self):
        verdict = target_with("{Conv: {refused: only inside a bigger one}}").accepts(conv())
        assert verdict.reasons == ("toy/chip does not take Conv: only inside a bigger one",)

    def test_another_domain_is_another_op(self):
        target = target_with("{Gelu: {schemes: [fp16]}}")
        node = first_node("y = com.microsoft.Gelu(x)", outputs="float[1,4,8,8] y")
        assert target.accepts(node).reasons == ("com.microsoft::Gelu is not among the ops that toy/chip takes",)
        assert target_with("{com.microsoft::Gelu: {schemes: [fp16]}}").accepts(node)

    def test_an_unknown_scheme_is_the_callers_error(self):
        with pytest.raises(UsageError, match=r"no scheme 'a8w9' \(did you mean 'a8w8'\?\)"):
            target_with("{Conv: {schemes: [fp16]}}").accepts(conv(), "a8w9")

    def test_rules_can_be_looked_up(self):
        target = target_with("{Conv: {schemes: [fp16]}, com.microsoft::Gelu: {schemes: [fp16]}}")
        assert target.rule("Conv") is target.rule("Conv", "ai.onnx")
        assert target.rule("Gelu", "com.microsoft") is not None
        assert target.rule("Gelu") is None


class TestShapes:
    def test_static_shapes(self):
        node = first_node("y = Relu(x)", "float[N,4] x", "float[N,4] y")
        found = target_with("{Relu: {schemes: [fp16]}}").accepts(node).reasons
        assert found == (
            "dimension 0 of input 0 (x) is N, not a number; static shapes are needed",
            "dimension 0 of output 0 (y) is N, not a number; static shapes are needed",
        )
        assert target_with("{Relu: {schemes: [fp16]}}", shapes="{static: optional}").accepts(node)

    def test_empty_tensors(self):
        node = first_node("y = Relu(x)", "float[2,0,4] x", "float[2,0,4] y")
        assert target_with("{Relu: {schemes: [fp16]}}", shapes="{min_dim: 1}").accepts(node).reasons == (
            "a dimension of input 0 (x) is 0; at least 1 is taken",
            "a dimension of output 0 (y) is 0; at least 1 is taken",
        )
        assert target_with("{Relu: {schemes: [fp16]}}", shapes="{static: required}").accepts(node)

    def test_rank_of_all_tensors_and_of_the_first_input(self):
        node = first_node("y = Relu(x)", "float[1,1,1,1,1,1] x", "float[1,1,1,1,1,1] y")
        assert target_with("{Relu: {schemes: [fp16], rank: [0, 5]}}").accepts(node).reasons == (
            "rank of input 0 (x) is 6; at most 5 is taken",
            "rank of input 0 (x) is 6; Relu is taken from 0 to 5",
            "rank of output 0 (y) is 6; at most 5 is taken",
        )


class TestTypes:
    def test_float_types_are_those_of_the_scheme(self):
        node = first_node("y = Relu(x)", "double[4] x", "double[4] y")
        assert target_with("{Relu: {schemes: [fp16]}}").accepts(node).reasons[0] == (
            "type of input 0 (x) is float64; float32, float16 is taken in fp16"
        )

    def test_a_scheme_that_the_op_does_not_have(self):
        verdict = target_with("{Relu: {schemes: [fp16]}}").accepts(first_node("y = Relu(x)"), "a8w8")
        assert verdict.reasons == ("Relu is not taken in a8w8, only in fp16",)

    def test_an_op_that_stays_in_float_is_taken_in_any_scheme(self):
        rule = "{Relu: {schemes: [fp16], quantization: {float: true}}}"
        assert target_with(rule).accepts(first_node("y = Relu(x)"), "a8w8")

    def test_integers_must_be_listed(self):
        node = first_node("y = Relu(x)", "int32[4] x", "int32[4] y")
        assert target_with("{Relu: {schemes: [fp16]}}").accepts(node).reasons == (
            "type of input 0 (x) is int32; only float data is taken there",
            "type of output 0 (y) is int32; only float data is taken there",
        )
        listed = "{Relu: {schemes: [fp16], dtypes: {inputs: {0: [int8, int32]}, outputs: {all: [int32]}}}}"
        assert target_with(listed).accepts(node)
        assert target_with(listed).accepts(node, "a16w8")  # the scheme does not matter without float data
        assert target_with(listed.replace("[int8, int32]", "[int8]")).accepts(node).reasons == (
            "type of input 0 (x) is int32; int8 is taken",
        )

    def test_a_parameter_that_must_be_constant_may_have_any_type_unless_listed(self):
        node = first_node("y = Pad(x, pads)", constants="int64[8] pads = {0,0,1,1,0,0,2,1}")
        assert target_with("{Pad: {schemes: [fp16], when: [{constant: input 1}]}}").accepts(node)
        listed = "{Pad: {schemes: [fp16], when: [{constant: input 1}], dtypes: {inputs: {1: [int32]}}}}"
        assert target_with(listed).accepts(node).reasons == ("type of input 1 (pads) is int64; int32 is taken",)


BY_COLUMN = "w = DequantizeLinear<axis=1>(stored, sw, zw)"
BY_ROW = "w = DequantizeLinear<axis=0>(stored, sw, zw)"
SIXTEEN = "{0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15}"
CODES = "float s = {0.1}, float s2 = {0.2}, uint8 z = {128}, uint16 z16 = {0}, int8 z8 = {0}"


def quantized(op, call, weights="", *, out="s, z", constants=""):
    before = f"xq = QuantizeLinear(x, s, z)  xd = DequantizeLinear(xq, s, z) {weights}"
    after = f"aq = QuantizeLinear(a, {out})  y = DequantizeLinear(aq, {out})"
    body = f"{before} a = {call} {after}"
    return node_of(op, body, "float[4,4] x", "float[4,4] y", f"{CODES}{constants}")


class TestQuantizedGraphs:
    WEIGHT = f", int8[4,4] stored = {SIXTEEN}, float[4] sw = {{1,2,3,4}}, int8[4] zw = {{0,0,0,0}}"
    MATMUL = "{MatMul: {schemes: [fp16, a8w8], quantization: {weights: [1]}}}"

    def test_a_node_between_dequantize_and_quantize_is_judged_as_it_is(self):
        node = quantized("Relu", "Relu(xd)")
        assert target_with("{Relu: {schemes: [a8w8]}}").accepts(node, "a16w8")
        assert target_with("{Relu: {schemes: [a16w8]}}").accepts(node, "a8w8").reasons == (
            "activation input 0 (xd) is quantized to uint8; a16w8 takes uint16",
            "activation output 0 (a) is quantized to uint8; a16w8 takes uint16",
        )
        assert target_with("{Relu: {schemes: [fp16]}}").accepts(node).reasons == (
            "Relu is quantized here; it is taken in fp16 only",
        )
        assert target_with("{Relu: {schemes: [fp16], quantization: {float: true}}}").accepts(node, "a8w8")

    def test_between_in_float_is_taken_there_and_still_lowered_ahead_of_that(self):
        rule = "{Relu: {schemes: [fp16], quantization: {between: [2, 4]}}}"
        target = target_with(rule)
        assert target.accepts(quantized("Relu", "Relu(xd)"), "a8w8")
        assert target_with(rule.replace("2, 4", "3, 4")).accepts(quantized("Relu", "Relu(xd)"), "a8w8").reasons == (
            "Relu is quantized here; it is taken in fp16 only",
        )
        alone = first_node("y = Relu(x)")
        assert target.accepts(alone, "a8w8").reasons == ("Relu is not taken in a8w8, only in fp16",)

    def test_a_node_with_one_side_quantized_is_computed_in_float(self):
        node = node_of(
            "Relu",
            "xq = QuantizeLinear(x, s, z)  xd = DequantizeLinear(xq, s, z)  y = Relu(xd)",
            "float[4,4] x",
            "float[4,4] y",
            CODES,
        )
        assert target_with("{Relu: {schemes: [fp16, a8w8]}}").accepts(node, "a8w8")
        assert target_with("{Relu: {schemes: [a8w8]}}").accepts(node, "a8w8").reasons == (
            "Relu is left in float here; it is taken in a8w8 only",
        )

    def test_an_op_without_float_data_says_what_it_takes(self):
        whole_numbers = target_with("{Relu: {dtypes: {inputs: {0: [int32, bool]}, outputs: {0: [int32, bool]}}}}")
        float_data = node_of("Relu", "y = Relu(x)", "float[4] x", "float[4] y")
        for node in (float_data, quantized("Relu", "Relu(xd)")):
            for scheme in (None, "a8w8"):
                reasons = whole_numbers.accepts(node, scheme).reasons
                assert reasons[0] == "Relu has float data here; it is taken with int32, bool only"

    def test_weights(self):
        node = quantized("MatMul", "MatMul(xd, w)", BY_COLUMN, constants=self.WEIGHT)
        assert target_with(self.MATMUL).accepts(node, "a8w8")
        assert target_with(self.MATMUL.replace("weights: [1]", "weights: [1], weight: uint8")).accepts(
            node
        ).reasons == ("weight input 1 (w) is quantized to int8; a8w8 takes uint8",)
        assert target_with(
            self.MATMUL.replace("weights: [1]", "weights: [1], weight: uint8, weight_types: {a8w8: [int8]}")
        ).accepts(node)
        assert target_with(self.MATMUL.replace("weights: [1]", "weights: [1], weight_axis: tensor")).accepts(
            node
        ).reasons == ("input 1 (w) has several scales; one scale for the tensor is taken",)

    def test_weights_with_scales_along_the_wrong_axis(self):
        node = quantized("MatMul", "MatMul(xd, w)", BY_ROW, constants=self.WEIGHT)
        assert target_with(self.MATMUL).accepts(node, "a8w8").reasons == (
            "input 1 (w) has a scale for each index of axis 0; its channels are axis 1",
        )

    def test_asymmetric_weights(self):
        lopsided = self.WEIGHT.replace("zw = {0,0,0,0}", "zw = {0,0,3,0}")
        node = quantized("MatMul", "MatMul(xd, w)", BY_COLUMN, constants=lopsided)
        assert target_with(self.MATMUL).accepts(node, "a8w8").reasons == (
            "input 1 (w) has a zero point other than 0; symmetric weights are taken",
        )

    def test_scales_that_have_to_be_powers_of_two(self):
        target = target_with(
            "{Relu: {schemes: [a8w8]}}", schemes="schemes: {a8w8: {activation: uint8, power_of_two: true}}"
        )
        assert target.accepts(quantized("Relu", "Relu(xd)", out="s3, z", constants=", float s3 = {0.25}")).reasons == (
            "input 0 (xd) has a scale that is no power of two; a8w8 takes powers of two",
        )

    def test_weights_left_in_float(self):
        node = quantized(
            "MatMul", "MatMul(xd, v)", constants=", float[4,4] v = {0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15}"
        )
        assert target_with(self.MATMUL).accepts(node, "a8w8").reasons == (
            "input 1 (v) is a constant left in float beside quantized tensors",
        )

    def test_a_dequantized_constant_is_a_constant(self):
        node = quantized("MatMul", "MatMul(xd, w)", BY_COLUMN, constants=self.WEIGHT)
        conditions = "[{constant: input 1}, {variable: input 0}]"
        assert target_with(self.MATMUL.replace("quantization", f"when: {conditions}, quantization")).accepts(node)

    def test_shared_encodings(self):
        rule = "{Transpose: {schemes: [a8w8], quantization: {share: true}}}"
        assert target_with(rule).accepts(quantized("Transpose", "Transpose(xd)"))
        assert target_with(rule).accepts(quantized("Transpose", "Transpose(xd)", out="s2, z")).reasons == (
            "output 0 (a) has another encoding than input 0 (xd); one for all is taken",
        )

    def test_fixed_output_encodings(self):
        rule = "{Sigmoid: {schemes: [a8w8], quantization: {output: {a8w8: {scale: 0.1, zero_point: 128}}}}}"
        assert target_with(rule).accepts(quantized("Sigmoid", "Sigmoid(xd)"))
        assert target_with(rule).accepts(quantized("Sigmoid", "Sigmoid(xd)", out="s2, z")).reasons == (
            (
                "the encoding of output 0 (a) is scale 0.2, zero point 128; "
                "only scale 0.1, zero point 128 is taken in a8w8"
            ),
        )

    def test_one_operand_in_another_type(self):
        rule = "{MatMul: {schemes: [a16w8], quantization: {inputs: {1: {a16w8: uint8}}}}}"
        node = node_of(
            "MatMul",
            "p = QuantizeLinear(x, s, z16)  pd = DequantizeLinear(p, s, z16)"
            "q = QuantizeLinear(x, s, z)  qd = DequantizeLinear(q, s, z)"
            "a = MatMul(pd, qd)  aq = QuantizeLinear(a, s, z16)  y = DequantizeLinear(aq, s, z16)",
            "float[4,4] x",
            "float[4,4] y",
            CODES,
        )
        assert target_with(rule).accepts(node)
        assert not target_with("{MatMul: {schemes: [a16w8]}}").accepts(node)


def test_ten_thousand_nodes_are_judged_within_a_second():
    conditions = "[{attribute: group, max: 9}, {dimension: inputs, max: 99}]"
    target = target_with(f"{{Conv: {{schemes: [fp16, a8w8], rank: [3, 5], when: {conditions}}}}}")
    node = conv()
    target.accepts(node)
    started = time.process_time()
    for _ in range(2000):
        target.accepts(node, "a8w8")
    assert time.process_time() - started < 1.0  # 0.05 s where this was written
