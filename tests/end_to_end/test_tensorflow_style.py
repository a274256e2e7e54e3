"""A CNN as TensorFlow's converters write it down: channels last, and a Transpose around each op that wants them first.

Nothing of that is left in the middle, and the parts that Transposes kept apart are fused.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import helper

from npuopt.graph import Session, load
from npuopt.pipeline.runner import Runner
from npuopt.road.preparation import prepare
from support.numbers import assert_close

FIRST, LAST = [0, 3, 1, 2], [0, 2, 3, 1]
SIZE, CHANNELS = 16, 8


class Network:
    """Writes layers in channels-last order, each value named after its node."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.draw = np.random.default_rng(0)

    def op(self, op_type: str, *inputs: str, **attributes: object) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, inputs, [name], **attributes))
        return name

    def constant(self, array: object, dtype: type = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(onnx.numpy_helper.from_array(np.asarray(array, dtype), name))
        return name

    def normal(self, *shape: int) -> str:
        return self.constant(self.draw.normal(0, 0.3, shape))

    def conv(self, x: str, *kernel: int, **attributes: object) -> str:
        turned = self.op("Transpose", x, perm=FIRST)
        made = self.op("Conv", turned, self.normal(*kernel), **attributes)
        return self.op("Transpose", made, perm=LAST)

    def batch_normalization(self, x: str) -> str:
        """Spelled out, as it is after TensorFlow's own folding of constants."""
        scaled = self.op("Mul", x, self.constant(self.draw.uniform(0.5, 2, CHANNELS)))
        return self.op("Add", scaled, self.normal(CHANNELS))

    def hard_swish(self, x: str) -> str:
        relu6 = self.op("Min", self.op("Relu", self.op("Add", x, self.constant(3))), self.constant(6))
        return self.op("Mul", x, self.op("Mul", relu6, self.constant(1 / 6)))

    def squeeze_and_excite(self, x: str) -> str:
        pooled = self.op("ReduceMean", x, self.constant([1, 2], np.int64), keepdims=1)
        small = self.op("Relu", self.op("Add", self.conv(pooled, 4, CHANNELS, 1, 1), self.normal(4)))
        large = self.op("Add", self.conv(small, CHANNELS, 4, 1, 1), self.normal(CHANNELS))
        gate = self.op("Min", self.op("Relu", self.op("Add", large, self.constant(3))), self.constant(6))
        return self.op("Mul", x, self.op("Mul", gate, self.constant(1 / 6)))

    def block(self, x: str) -> str:
        padded = self.op("Pad", x, self.constant([0, 1, 1, 0, 0, 1, 1, 0], np.int64))
        deep = self.hard_swish(self.batch_normalization(self.conv(padded, CHANNELS, 1, 3, 3, group=CHANNELS)))
        gated = self.squeeze_and_excite(deep)
        wide = self.batch_normalization(self.conv(gated, CHANNELS, CHANNELS, 1, 1))
        return self.op("Add", x, wide)

    def model(self, output: str, batch: int | str) -> onnx.ModelProto:
        ends = [
            helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [batch, SIZE, SIZE, 3]),
            helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, [batch, CHANNELS]),
        ]
        graph = helper.make_graph(self.nodes, "network", ends[:1], ends[1:], self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def network(blocks: int, batch: int | str) -> onnx.ModelProto:
    to = Network()
    x = to.hard_swish(to.batch_normalization(to.conv("x", CHANNELS, 3, 3, 3, strides=[2, 2], pads=[0, 0, 1, 1])))
    for _ in range(blocks):
        x = to.block(x)
    pooled = to.op("ReduceMean", x, to.constant([1, 2], np.int64), keepdims=0)
    return to.model(pooled, batch)


@pytest.mark.parametrize("batch", [1, "N"])
def test_a_channels_last_cnn_keeps_one_transpose(batch: int | str, tmp_path) -> None:
    blocks = 3
    path = tmp_path / "network.onnx"
    onnx.save(network(blocks, batch), path)
    feeds = {"x": np.random.default_rng(1).normal(size=(1, SIZE, SIZE, 3)).astype(np.float32)}
    expected = Session(load(path), threads=1).run(feeds)
    model = load(path)
    prepare(model, Runner(None, "each"), {}, say=lambda _: None)
    found = Counter(node.op_type for node in model.graph.all_nodes())
    assert found == {
        "Transpose": 1,
        "Conv": 1 + 4 * blocks,
        "HardSwish": 1 + blocks,
        "HardSigmoid": blocks,
        "Relu": blocks,
        "Mul": blocks,
        "Add": blocks,
        "ReduceMean": blocks + 1,
    }
    assert_close(expected, Session(model, threads=1).run(feeds))
