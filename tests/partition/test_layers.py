"""What a layer with weights is made of, whatever op it is, and what its blocks cost."""

from math import prod

import pytest

from npuopt.graph import infer_shapes, parse
from npuopt.partition.layers import Layer, layer_of
from npuopt.partition.storage import Storage
from npuopt.target import parse_target
from npuopt.target.performance import Block, Performance
from support.convolving_chip import CONVOLVING_CHIP


def layer(body, inputs, weights):
    constant = f"float[{','.join(map(str, weights))}] w = {{{','.join(['1'] * prod(weights))}}}"
    model = parse(f'<ir_version: 12, opset_import: ["" : 24]> g ({inputs}) => (float[N] y) <{constant}> {{ {body} }}')
    model.graph.outputs[0].shape = None  # inferred
    infer_shapes(model)
    (node,) = model.graph
    return layer_of(node, Storage([node], parse_target(CONVOLVING_CHIP), "fp32"))


@pytest.mark.parametrize(
    ("body", "inputs", "weights", "expected"),
    [
        ("y = Conv(x, w)", "float[3,8,6,6] x", (5, 8, 3, 3), Layer(3, 3 * 16, 8, 5, 360, dense=True)),
        ("y = Conv<group: int = 8>(x, w)", "float[1,8,6,6] x", (8, 1, 3, 3), Layer(1, 16, 1, 8, 72, dense=False)),
        ("y = ConvTranspose(x, w)", "float[1,8,6,6] x", (8, 5, 1, 1), Layer(1, 36, 8, 5, 40, dense=True)),
        ("y = Gemm(x, w)", "float[7,8] x", (8, 5), Layer(1, 7, 8, 5, 40, dense=True)),
        ("y = MatMul(x, w)", "float[2,7,8] x", (8, 5), Layer(1, 14, 8, 5, 40, dense=True)),
    ],
)
def test_sizes_of_a_layer(body, inputs, weights, expected):
    assert layer(body, inputs, weights) == expected


def test_a_product_of_two_inputs_is_no_layer():
    assert layer("y = MatMul(x, z)", "float[7,8] x, float[8,5] z", (1,)) is None


def test_weights_are_decoded_for_every_image_and_channels_fill_blocks():
    many = Layer(images=3, positions=48, inputs=8, outputs=5, weights=360, dense=True)
    speed = Performance(weights_per_cycle=2, block=Block(inputs=16))
    assert many.decoding_cycles(speed) == 3 * 360 * 2 / 2
    assert many.decoding_cycles(Performance()) == 0


def test_channels_are_read_for_every_block_and_image():
    speed = Performance(channel_cycles=10, block=Block(positions=20, outputs=4))
    many = Layer(images=2, positions=50, inputs=8, outputs=5, weights=360, dense=True)
    assert many.channel_cycles(speed) == 10 * 8 * 3
    few = Layer(images=6, positions=50, inputs=8, outputs=5, weights=360, dense=True)
    assert few.channel_cycles(speed) == 10 * 8 * 6


def test_full_blocks_are_multiplied_and_channels_alone_where_each_reads_one():
    block = Block(positions=16, inputs=32, outputs=32)
    dense = Layer(images=1, positions=49, inputs=40, outputs=70, weights=9 * 40 * 70, dense=True)
    assert dense.multiplying_cycles(block, 64) == 64 * 9 * 2 * 3
    alone = Layer(images=1, positions=49, inputs=1, outputs=70, weights=9 * 70, dense=False)
    assert alone.multiplying_cycles(block, 64) == 64 * 9 * 2
    assert dense.multiplying_cycles(Block(), None) == 0


def test_results_of_full_blocks_are_written():
    wide = Layer(images=1, positions=49, inputs=1, outputs=70, weights=70, dense=False)
    assert wide.writing_cycles(Block(positions=16, outputs=32), Performance(results_per_cycle=8)) == 64 * 96 / 8
    assert wide.writing_cycles(Block(), Performance()) == 0
