"""A user's graphsurgeon functions, and what would be lost without the guard."""

import ml_dtypes
import numpy as np
import onnx
import onnx.helper as oh
import onnx_graphsurgeon as gs
import onnx_ir as ir
import pytest

from npuopt.errors import InputError
from npuopt.graph import Model, Session, constant, infer_shapes, load, nodes, parse, save, to_proto, to_text
from npuopt.graph.mapped import MappedTensor
from npuopt.graph.surgery import run_surgery

WEIGHTS = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)


def annotated_model() -> Model:
    """A model with everything that a round trip through graphsurgeon loses, and more."""
    proto = onnx.parser.parse_model(
        """<
      ir_version: 12, opset_import: ["" : 24, "com.example" : 3, "local" : 1], producer_name: "me",
      producer_version: "7", domain: "d", model_version: 5, doc_string: "of the model", metadata_props: ["k" : "v"]>
    g (float[N,64] x, bool c, float default) => (float[N,64] y)
      <float default = {2}, float[3] shared = {1, 2, 3}, float[N,64] h> {
        [first] h = MatMul(x, w)
        [second] s = Add(h, default)
        o = Optional<type: type_proto = seq(float[N,64])>()
        e = com.example.Op<none: ints = [], flag: int = 1>(s)
        f = local.twice(e)
        y = If(c) <then_branch = t () => (float[N,64] p) { k = Mul(f, narrow) m = ReduceSum(shared) p = Mul(k, m) },
                   else_branch = z () => (float[N,64] q) { q = Neg(f) }>
    }
    <domain: "local", opset_import: ["" : 24], doc_string: "of the function"> twice (a) => (b) { b = Add(a, a) }
    """.replace(", float[64] bias = {0}", "")
    )
    graph = proto.graph
    graph.initializer.append(onnx.numpy_helper.from_array(WEIGHTS, "w"))
    graph.initializer.append(onnx.numpy_helper.from_array(np.float32([[1] * 64]), "narrow"))
    graph.doc_string = "of the graph"
    graph.metadata_props.add(key="graph", value="kept")
    first = graph.node[0]
    first.doc_string = "of the node"
    first.metadata_props.add(key="pkg.torch.onnx.stack_trace", value="line 1")
    graph.node[3].attribute[1].doc_string = "of the attribute"
    graph.value_info[0].doc_string = "of the value"
    graph.value_info[0].metadata_props.add(key="layer", value="1")
    graph.input[0].type.tensor_type.shape.dim[0].denotation = "DATA_BATCH"
    graph.quantization_annotation.add(tensor_name="h").quant_parameter_tensor_names.add(key="SCALE", value="scale")
    model = ir.from_proto(proto)
    infer_shapes(model)
    return model


def test_a_surgery_that_does_nothing_changes_nothing():
    model = annotated_model()
    before = to_proto(model)
    plain = gs.export_onnx(gs.import_onnx(strip_optional(to_proto(model))))
    assert plain.graph.node[0].doc_string == ""  # what happens without the guard
    run_surgery(model, lambda graph: None)
    after = to_proto(model)
    for section in ("input", "output", "node", "quantization_annotation", "metadata_props", "doc_string"):
        assert getattr(after.graph, section) == getattr(before.graph, section), section
    weights = [{tensor.name: tensor for tensor in proto.graph.initializer} for proto in (before, after)]
    assert weights[0] == weights[1]
    infos = [{info.name: info for info in proto.graph.value_info} for proto in (before, after)]
    assert infos[0] == infos[1]
    for proto in (before, after):
        proto.ClearField("graph")
    assert before == after


def strip_optional(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Graphsurgeon by itself fails on this model, not only loses some of it."""
    kept = [node for node in proto.graph.node if node.op_type not in ("Optional", "Op")]
    del proto.graph.node[:]
    proto.graph.node.extend(kept)
    infos = [info for info in proto.graph.value_info if info.type.HasField("tensor_type")]
    del proto.graph.value_info[:]
    proto.graph.value_info.extend(infos)
    return proto


def chain() -> Model:
    model = parse("""<ir_version: 12, opset_import: ["" : 24]>
    g (float[2,64] x) => (float[2,64] y) { [matmul] h = MatMul(x, w)  [relu] r = Relu(h)  [neg] y = Neg(r) }""")
    weight = next(iter(model.graph)).inputs[1]
    weight.const_value = ir.tensor(WEIGHTS)
    weight.shape, weight.type = ir.Shape([64, 64]), ir.TensorType(ir.DataType.FLOAT)
    model.graph.register_initializer(weight)
    infer_shapes(model)
    return model


def test_a_real_surgery(tmp_path):
    """Cut a node out, put one in, change a weight; what was not touched keeps its bytes in the file."""
    save(chain(), tmp_path / "m.onnx")
    model = load(tmp_path / "m.onnx")
    nodes(model, "Neg")[0].metadata_props["layer"] = "last"

    def replace_relu(graph: gs.Graph) -> None:
        (relu,) = [node for node in graph.nodes if node.op == "Relu"]
        slope = gs.Constant("slope", np.float32([0.5]))
        relu.op, relu.name = "PRelu", "prelu"
        relu.inputs.append(slope)
        graph.cleanup().toposort()

    x = np.random.default_rng(1).standard_normal((2, 64)).astype(np.float32)
    run_surgery(model, replace_relu)
    h = x @ WEIGHTS
    expected = -np.where(h > 0, h, h * 0.5)
    np.testing.assert_allclose(Session(model).run({"x": x})["y"], expected, rtol=1e-4, atol=1e-4)
    assert [node.name for node in model.graph] == ["matmul", "prelu", "neg"]
    assert nodes(model, "Neg")[0].metadata_props == {"layer": "last"}
    assert isinstance(model.graph.initializers["w"].const_value, MappedTensor)


def test_weights_can_be_read_and_changed():
    model = chain()

    def double(graph: gs.Graph) -> gs.Graph:
        weight = graph.tensors()["w"]
        weight.values = weight.values * 2
        return graph

    run_surgery(model, double)
    np.testing.assert_array_equal(constant(model.graph.initializers["w"]), WEIGHTS * 2)


def test_a_weight_that_is_not_read_stays_unread():
    model = chain()
    model.graph.initializers["w"].const_value = ir.LazyTensor(
        lambda: pytest.fail("read"), ir.DataType.FLOAT, ir.Shape([64, 64]), name="w"
    )
    run_surgery(model, lambda graph: graph.cleanup().toposort())
    assert isinstance(model.graph.initializers["w"].const_value, ir.LazyTensor)


def test_nodes_left_out_of_order_are_sorted():
    model = chain()

    def reverse(graph: gs.Graph) -> None:
        graph.nodes.reverse()

    run_surgery(model, reverse)
    assert [node.op_type for node in model.graph] == ["MatMul", "Relu", "Neg"]


def raises(graph: gs.Graph) -> None:
    raise KeyError("no such node")


def leaves_a_hole(graph: gs.Graph) -> None:
    graph.nodes.remove(graph.nodes[1])


def uses_no_op(graph: gs.Graph) -> None:
    graph.nodes[1].op = "Reluu"


def changes_the_opset(graph: gs.Graph) -> None:
    graph.import_domains = [oh.make_opsetid("", 20)]


def uses_int4(graph: gs.Graph) -> None:
    four_bits = gs.Constant("four", np.zeros((4,), ml_dtypes.int4))
    graph.nodes.append(gs.Node("Identity", inputs=[four_bits], outputs=[gs.Variable("out")]))


@pytest.mark.parametrize(
    ("surgery", "why"),
    [
        (raises, "surgery raises: raised KeyError: 'no such node'"),
        (leaves_a_hole, "surgery leaves_a_hole: not a valid ONNX model: .*input 'r' of node: name: neg"),
        (uses_no_op, "surgery uses_no_op: .*No Op registered for Reluu .*at relu, Reluu"),
        (changes_the_opset, "surgery changes_the_opset: changed the opset from 24 to 20"),
        (uses_int4, "surgery uses_int4: raised ValueError: Raw data size does not match"),
    ],
)
def test_a_bad_surgery_is_refused_and_the_model_stays(surgery, why):
    model = chain()
    before = to_text(model)
    with pytest.raises(InputError, match=why):
        run_surgery(model, surgery)
    assert to_text(model) == before
