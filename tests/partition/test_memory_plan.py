"""What lives when: by hand on small graphs."""

import pytest

from npuopt.graph import infer_shapes, parse
from npuopt.partition import partition, plan_memory
from npuopt.partition.storage import bits
from npuopt.target import parse_target

CHIP = """
name: toy/chip
title: Toy
source: invented
delegate: {road: tvm, triple: none, cpu: none}
SCRATCHPAD
schemes:
  fp32: {activation: float32}
  a8w8: {activation: uint8, weight: int8, bias: int32}
  a16w8: {activation: uint16, weight: int8}
ops:
  Conv: {schemes: [fp32, a8w8], quantization: {weights: [1], bias: 2}}
  MatMul: {schemes: [fp32, a8w8], quantization: {weights: [1]}}
  Relu: {schemes: [fp32, a8w8]}
  Softmax: {schemes: [fp32, a8w8, a16w8]}
  Add: {schemes: [fp32, a8w8]}
  Reshape: {schemes: [fp32, a8w8], when: [{constant: input 1}]}
  Concat: {schemes: [fp32, a8w8]}
  Transpose: {schemes: [fp32, a8w8]}
"""


def chip(kib=None):
    return parse_target(CHIP.replace("SCRATCHPAD", f"memory: {{scratchpad_kib: {kib}}}" if kib else ""))


def region(body, inputs="float[256] x", outputs="float[256] y", constants=""):
    model = parse(f'<ir_version: 12, opset_import: ["" : 24]> g ({inputs}) => ({outputs}) <{constants}> {{ {body} }}')
    infer_shapes(model)
    (part,) = partition(model, chip(), "fp32").regions
    return part


def test_a_chain_needs_two_tensors_at_once():
    plan = plan_memory(region("a = Softmax(x) b = Softmax(a) y = Softmax(b)"), chip(), "fp32")
    assert plan.peak == 2 * 256 * 4
    assert plan.weights == 0


def test_integers_take_a_quarter_of_the_room():
    part = region("a = Softmax(x) b = Softmax(a) y = Softmax(b)")
    assert plan_memory(part, chip(), "a8w8").peak == 2 * 256


def test_an_element_wise_op_writes_over_what_nobody_else_needs():
    part = region("a = Softmax(x) b = Relu(a) y = Add(b, b)")
    assert plan_memory(part, chip(), "a8w8").peak == 2 * 256  # x and a; b and y are where a was


def test_a_skip_connection_lives_until_it_is_added():
    body = "a = Softmax(x) b = Softmax(a) c = Softmax(b) y = Add(c, a)"
    plan = plan_memory(region(body), chip(), "a8w8")
    assert plan.peak == 3 * 256  # a, b and c while c is made
    assert plan.at == "c"


def test_a_reshape_takes_no_room():
    part = region(
        "a = Softmax(x) b = Reshape(a, shape) y = Softmax(b)",
        outputs="float[16,16] y",
        constants="int64[2] shape = {16, 16}",
    )
    assert plan_memory(part, chip(), "a8w8").peak == 2 * 256


def test_weights_and_biases_are_counted_as_they_are_held():
    inputs, outputs = "float[1,1,8,8] x", "float[1,1,8,8] y"
    constants = "float[1,1,3,3] w = {1,2,3,4,5,6,7,8,9}, float[1] b = {1}"
    part = region("a = Conv<pads=[1,1,1,1]>(x, w, b) c = Relu(a) y = Relu(c)", inputs, outputs, constants)
    assert plan_memory(part, chip(), "a8w8").weights == 9 + 4
    assert plan_memory(part, chip(), "fp32").weights == 9 * 4 + 4


def test_quantized_tensors_are_held_as_their_integers():
    q = "QuantizeLinear"
    body = f"""
        xq = {q}(x, s, z) xd = DequantizeLinear(xq, s, z) a = Softmax(xd)
        aq = {q}(a, s, z) ad = DequantizeLinear(aq, s, z) b = Softmax(ad)
        bq = {q}(b, s, z) bd = DequantizeLinear(bq, s, z) c = Softmax(bd)
        cq = {q}(c, s, z) y = DequantizeLinear(cq, s, z)
    """
    part = region(body, constants="float s = {0.1}, uint16 z = {0}")
    assert plan_memory(part, chip(), "a8w8").peak == 2 * 256 * 2  # uint16, whatever the scheme


def test_what_does_not_fit_is_named():
    body = "a = Softmax(x) b = Softmax(a) c = Softmax(b) y = Add(c, a)"
    part = region(body, "float[1024] x", "float[1024] y")
    assert not plan_memory(part, chip(kib=3), "a8w8").spilled
    small = plan_memory(part, chip(kib=2), "a8w8")
    assert small.spilled == {"a"}  # the longest life for its uses
    assert small.spilled_bytes == 1024
    assert (small.peak, small.on_chip) == (3 * 1024, 2 * 1024)


def test_inputs_and_outputs_may_stay_off_the_chip():
    part = region("a = Softmax(x) b = Softmax(a) y = Softmax(b)")
    target = parse_target(CHIP.replace("SCRATCHPAD", "memory: {scratchpad_kib: 1, ends: dram}"))
    plan = plan_memory(part, target, "a8w8")
    assert plan.spilled == {"x", "y"}
    assert plan.spilled_bytes == 2 * 256
    assert plan.on_chip == 2 * 256  # a and b
    assert plan.peak == 2 * 256  # of all, wherever they lie


def test_what_an_op_takes_for_itself_lives_in_its_step():
    part = region("a = Relu(x) b = Softmax(a) y = Relu(b)")
    target = parse_target(CHIP.replace("SCRATCHPAD", "memory: {temporaries: {Softmax: 8}}"))
    plan = plan_memory(part, target, "a8w8")
    assert (plan.peak, plan.at) == (2 * 256 + 8 * 256, "b")


def test_a_branch_that_runs_late_holds_nothing_early():
    part = region("a = Softmax(x) b = Softmax(x) c = Softmax(x) d = Add(a, b) y = Add(c, d)")
    deep = parse_target(CHIP.replace("SCRATCHPAD", "memory: {order: depth-first}"))
    assert plan_memory(part, chip(), "a8w8").peak == 4 * 256  # x, a, b and c
    assert plan_memory(part, deep, "a8w8").peak == 3 * 256  # x, a and b; then x, d and c


IN_PLACE = parse_target(CHIP.replace("SCRATCHPAD", "memory: {concat_in_place: true}"))


def test_what_a_concat_alone_reads_is_written_into_its_result():
    part = region("a = Softmax(x) b = Softmax(x) y = Concat<axis = 0>(a, b)", outputs="float[512] y")
    assert plan_memory(part, chip(), "a8w8").peak == 4 * 256  # a, b and y in the last step
    plan = plan_memory(part, IN_PLACE, "a8w8")
    assert plan.peak == 3 * 256  # x and y, of which a and b are halves
    (whole,) = (life for life in plan.lifetimes if life.name == "y")
    assert (whole.first, whole.last) == (0, 2)


@pytest.mark.parametrize(
    ("body", "outputs"),
    [
        ("y = Concat<axis = 0>(x, x)", "float[512] y"),
        ("a = Softmax(x) c = Concat<axis = 0>(a, a) y = Softmax(c)", "float[512] y"),
        ("a = Softmax(x) v = Reshape(a, f) y = Concat<axis = 0>(v, w)", "float[4,128] y"),
    ],
    ids=["given", "read twice", "a view"],
)
def test_other_operands_of_a_concat_are_copied(body, outputs):
    constants = "int64[2] f = {2, 128}, float[2,128] w"
    part = region(body, outputs=outputs, constants=constants)
    assert plan_memory(part, IN_PLACE, "a8w8") == plan_memory(part, chip(), "a8w8")


PRODUCT = "b = Softmax(x) c = Softmax(x) y = MatMul(c, b)"
COPYING = parse_target(CHIP.replace("SCRATCHPAD", "memory: {copied_inputs: {MatMul: [1]}}"))


def square(body):
    return region(body, inputs="float[16,16] x", outputs="float[16,16] y")


def test_an_op_may_read_a_copy_of_an_operand_made_as_soon_as_that_is_there():
    plan = plan_memory(square(PRODUCT), COPYING, "a8w8")
    lives = {life.name: (life.first, life.last) for life in plan.lifetimes}
    assert lives["b"] == (0, 1)  # until it is copied
    assert lives["y/b"] == (1, 2)
    assert plan_memory(square(PRODUCT), chip(), "a8w8").peak == plan.peak - 256


def test_a_transposed_operand_is_a_copy_already():
    body = "b = Transpose<perm = [1, 0]>(x) c = Softmax(x) y = MatMul(c, b)"
    assert plan_memory(square(body), COPYING, "a8w8") == plan_memory(square(body), chip(), "a8w8")


@pytest.mark.parametrize("images", [1, 4])
def test_weights_that_many_images_read_live_in_the_step_of_their_layer(images):
    part = region(
        "y = Conv(x, w)",
        inputs=f"float[{images},2,8,8] x",
        outputs=f"float[{images},1,8,8] y",
        constants="float[1,2,1,1] w = {1, 2}",
    )
    target = parse_target(CHIP.replace("SCRATCHPAD", "memory: {batch_weights: true}"))
    held = 2 if images > 1 else 0
    assert plan_memory(part, target, "a8w8").peak == images * 3 * 64 + held


@pytest.mark.parametrize(
    ("name", "width"), [("uint16", 16), ("int4", 4), ("float8e4m3fn", 8), ("bfloat16", 16), ("bool", 8)]
)
def test_the_width_of_a_type(name, width):
    assert bits(name) == width
