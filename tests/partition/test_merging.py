"""Which ops are computed with the layer before them: by hand on small graphs."""

import pytest

from npuopt.graph import infer_shapes, parse
from npuopt.partition.merging import merged_layers
from npuopt.partition.storage import Storage
from npuopt.target import parse_target
from support.convolving_chip import CONVOLVING_CHIP


def layers(body):
    weights = f"float[4,4,1,1] w = {{{','.join(['1'] * 16)}}}"
    model = parse(
        f'<ir_version: 12, opset_import: ["" : 24]> g (float[1,4,2,2] x) => (float[1,4,2,2] y) <{weights}> {{ {body} }}'
    )
    infer_shapes(model)
    nodes = list(model.graph)
    storage = Storage(nodes, parse_target(CONVOLVING_CHIP), "fp32")
    found = merged_layers(storage.computing(nodes), storage, ("Relu", "Add"), model.graph.outputs)
    return {first.outputs[0].name: [one.outputs[0].name for one in merged] for first, merged in found.items()}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("a = Conv(x, w) y = Relu(a)", {"a": ["y"]}),
        ("a = Conv(x, w) b = Add(a, x) y = Relu(b)", {"a": ["b", "y"]}),
        ("a = Conv(x, w) b = Conv(x, w) y = Add(a, b)", {"a": [], "b": ["y"]}),  # with the later one
        ("a = Relu(x) y = Relu(a)", {"a": [], "y": []}),  # no layer to merge them with
        ("a = Conv(x, w) b = Relu(a) c = Relu(a) y = Add(b, c)", {"a": [], "b": [], "c": [], "y": []}),
        ("a = Conv(x, w) y = Sigmoid(a)", {"a": [], "y": []}),  # not an op that is merged
    ],
)
def test_an_op_joins_the_layer_that_hands_it_its_results(body, expected):
    assert layers(body) == expected


def test_what_is_needed_outside_is_written():
    model = parse(
        '<ir_version: 12, opset_import: ["" : 24]> g (float[1,1,2,2] x) => (float[1,1,2,2] a, float[1,1,2,2] y)'
        " <float[1,1,1,1] w = {1}> { a = Conv(x, w) y = Relu(a) }"
    )
    infer_shapes(model)
    nodes = list(model.graph)
    storage = Storage(nodes, parse_target(CONVOLVING_CHIP), "fp32")
    found = merged_layers(nodes, storage, ("Relu",), model.graph.outputs)
    assert [first.op_type for first in found] == ["Conv", "Relu"]
