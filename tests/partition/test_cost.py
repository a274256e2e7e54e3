"""The roofline by hand: which of multipliers, scratchpad and DRAM bounds a node."""

import pytest

from npuopt.graph import infer_shapes, parse
from npuopt.partition import estimate, partition
from npuopt.target import parse_target

CHIP = """
name: toy/chip
title: Toy
source: invented
delegate: {road: tvm, triple: none, cpu: none}
memory: {scratchpad_kib: KIB}
schemes:
  fp32: {activation: float32}
  a8w8: {activation: uint8, weight: int8}
ops:
  MatMul: {schemes: [fp32, a8w8], quantization: {weights: [1]}}
  Softmax: {schemes: [fp32, a8w8]}
"""
SPEED = "performance: {clock_mhz: 1000, macs_per_cycle: {int8: 100}, dram_gb_per_s: 1, scratchpad_gb_per_s: 10}"


def cost(speed=SPEED, rows=100, kib=1024, body="a = MatMul(x, w) b = Softmax(a) y = MatMul(b, w)"):
    target = parse_target(CHIP.replace("KIB", str(kib)) + speed)
    model = parse(
        f'<ir_version: 12, opset_import: ["" : 24]> g (float[{rows},64] x) => (float[{rows},64] y)'
        f" <float[64,64] w = {{{','.join('1' * 4096)}}}> {{ {body} }}"
    )
    infer_shapes(model)
    (part,) = partition(model, target, "a8w8", min_nodes=1, min_macs=0).regions
    return estimate(part, target, "a8w8")


def test_many_rows_are_bound_by_the_multipliers():
    first = cost(rows=1000, kib=4096).nodes[0]
    assert (first.bound, first.macs) == ("compute", 1000 * 64 * 64)
    assert first.seconds == pytest.approx(1000 * 64 * 64 / 100 / 1e9)


def test_one_row_is_bound_by_its_weights():
    first = cost(rows=1).nodes[0]
    assert (first.bound, first.dram_bytes) == ("dram", 64 * 64)
    assert first.seconds == pytest.approx(64 * 64 / 1e9)


def test_an_op_without_weights_is_bound_by_the_scratchpad():
    softmax = cost().nodes[1]
    assert softmax.bound == "scratchpad"
    assert softmax.seconds == pytest.approx(2 * 100 * 64 / 10e9)


def test_vector_units_bound_what_does_not_multiply():
    softmax = cost(SPEED.replace("macs_per_cycle", "elements_per_cycle: 2, macs_per_cycle")).nodes[1]
    assert softmax.bound == "compute"
    assert softmax.seconds == pytest.approx(100 * 64 / 2 / 1e9)


def test_products_of_two_run_time_operands_may_be_slower():
    slow = SPEED.replace("macs_per_cycle", "runtime_macs_per_cycle: 2, macs_per_cycle")
    held, free = cost(slow, rows=64, body="a = MatMul(x, w) y = MatMul(a, x)").nodes
    assert held.seconds == cost(rows=64).nodes[0].seconds
    assert free.bound == "compute"
    assert free.seconds == pytest.approx(64 * 64 * 64 / 2 / 1e9)


def test_an_op_may_take_more_cycles_than_its_traffic():
    softmax = cost(SPEED.replace("macs_per_cycle", "cycles_per_element: {Softmax: 3}, macs_per_cycle")).nodes[1]
    assert softmax.bound == "compute"
    assert softmax.seconds == pytest.approx(100 * 64 * 3 / 1e9)


def test_few_rows_are_bound_by_the_decoding_of_their_weights():
    slow = SPEED.replace("macs_per_cycle", "weights_per_cycle: 0.5, macs_per_cycle")
    one, many = cost(slow, rows=1).nodes[0], cost(slow, rows=1000, kib=4096).nodes[0]
    assert one.bound == "compute"
    assert one.seconds == pytest.approx(64 * 64 / 0.5 / 1e9)
    assert many.seconds == pytest.approx(1000 * 64 * 64 / 100 / 1e9)


def test_scales_and_biases_may_be_slow_to_read():
    slow = SPEED.replace("macs_per_cycle", "channel_cycles: 1000, block: {positions: 50}, macs_per_cycle")
    first = cost(slow).nodes[0]
    assert first.bound == "dram"
    assert first.seconds == pytest.approx(1000 * 64 * 2 / 1e9)  # 100 rows are two blocks


def test_tensors_that_do_not_fit_are_moved_through_dram():
    roomy, tight = cost(rows=1000, kib=4096), cost(rows=1000, kib=16)
    assert not roomy.memory.spilled
    assert tight.memory.spilled
    assert tight.nodes[0].dram_bytes > roomy.nodes[0].dram_bytes == 64 * 64
    assert tight.seconds > roomy.seconds


def test_the_region_is_the_sum_of_its_nodes():
    found = cost()
    assert found.seconds == pytest.approx(sum(node.seconds for node in found.nodes))


def test_a_descriptor_without_figures_gives_no_estimate():
    assert cost("") is None


HANDOVER = "memory: {handover: dram}"


def test_layers_that_hand_over_in_dram_read_and_write_there():
    target = parse_target(CHIP.replace("memory: {scratchpad_kib: KIB}", HANDOVER) + SPEED)
    model = parse(
        f'<ir_version: 12, opset_import: ["" : 24]> g (float[100,64] x) => (float[100,64] y)'
        f" <float[64,64] w = {{{','.join('1' * 4096)}}}> {{ a = MatMul(x, w) y = Softmax(a) }}"
    )
    infer_shapes(model)
    (part,) = partition(model, target, "a8w8", min_nodes=1, min_macs=0).regions
    found = estimate(part, target, "a8w8")
    assert [node.dram_bytes for node in found.nodes] == [64 * 64 + 2 * 100 * 64, 2 * 100 * 64]
    assert found.memory.on_chip == 0


def test_ops_that_a_layer_merges_cost_their_further_operands():
    target = parse_target(
        CHIP.replace("memory: {scratchpad_kib: KIB}", HANDOVER)
        + "  Add: {schemes: [fp32, a8w8]}\n"
        + SPEED.replace("macs_per_cycle", "merged: [Add], macs_per_cycle")
    )
    model = parse(
        f'<ir_version: 12, opset_import: ["" : 24]> g (float[100,64] x) => (float[100,64] y)'
        f" <float[64,64] w = {{{','.join('1' * 4096)}}}> {{ a = MatMul(x, w) y = Add(a, x) }}"
    )
    infer_shapes(model)
    (part,) = partition(model, target, "a8w8", min_nodes=1, min_macs=0).regions
    (layer,) = estimate(part, target, "a8w8").nodes
    assert layer.dram_bytes == 64 * 64 + 2 * 100 * 64  # x is read once, a is never written


def test_channels_that_do_not_fill_a_block_take_as_long():
    blocks = SPEED.replace(
        "macs_per_cycle", "multiplied: {int8: {positions: 16, inputs: 4, outputs: 5}}, macs_per_cycle"
    )
    first = cost(blocks, rows=1000, kib=4096).nodes[0]
    assert first.bound == "compute"
    assert first.seconds == pytest.approx(1008 * 16 * 13 / 1e9)  # 1000 rows are 63 times 16


def test_results_may_be_slower_than_products():
    slow = SPEED.replace("macs_per_cycle", "results_per_cycle: 0.5, macs_per_cycle")
    assert cost(slow).nodes[0].seconds == pytest.approx(100 * 64 / 0.5 / 1e9)
