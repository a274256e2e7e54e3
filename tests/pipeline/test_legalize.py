from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np
import pytest

from npuopt.errors import InternalError
from npuopt.graph import Session, attribute, constant, dims, nodes
from npuopt.passes.lower.lower_celu import LowerCelu
from npuopt.passes.lower.lower_elu import LowerElu
from npuopt.passes.lower.lower_softsign import LowerSoftsign
from npuopt.pipeline import Changed, Declined, Lowering
from npuopt.pipeline.legalize import MAX_DEPTH, legalize
from npuopt.road.preparation import lowerings
from support.descriptors import target_with
from support.rewrites import model_from

TAKEN = "schemes: [fp16, a8w8]"


def takes(*ops, **rules):
    entries = [f"{op}: {{{TAKEN}}}" for op in ops] + [f"{op}: {rule}" for op, rule in rules.items()]
    return target_with(f"{{{', '.join(entries)}}}")


def op_types(model):
    return sorted(node.op_type for node in nodes(model))


def lowering(name, removes, produces, *, guard=lambda node: None):
    """A lowering that turns one op into a chain of others."""

    @dataclass(frozen=True)
    class Chain(Lowering):
        """Turns one op into a chain of others."""

        calls: ClassVar[list] = []

        def lower(self, node, edit):
            self.calls.append(node)
            if why := guard(node):
                return Declined(why)
            value = node.inputs[0]
            for op in produces:
                value = edit.emit(op, [value], before=node)
            edit.replace_node(node, value)
            return Changed("became a chain")

    Chain.name, Chain.op_types, Chain.produces = name, (removes,), frozenset(produces)
    return Chain()


RELU = "(float[2,3] x) => (float[2,3] y) {y = Relu(x)}"


def test_what_is_taken_is_left_alone():
    model = model_from(RELU)
    report = legalize(model, takes("Relu"), [lowering("lower-relu", "Relu", ["Abs"])])
    assert op_types(model) == ["Relu"]
    assert (report.entries, report.refused_before, report.refused_after) == ([], 0, 0)


def test_a_refused_node_is_lowered_and_the_report_says_why_and_how():
    model = model_from(RELU)
    report = legalize(model, takes("Abs", "Neg"), [lowering("lower-relu", "Relu", ["Abs", "Neg"])])
    assert op_types(model) == ["Abs", "Neg"]
    entry = report.entries[0]
    assert entry.reasons == ("Relu is not among the ops that toy/chip takes",)
    assert (entry.lowered_by, entry.stays) == (("lower-relu",), "")
    assert (report.refused_before, report.refused_after) == (1, 0)
    assert [report.origins[node.name] for node in nodes(model)] == [("lower-relu",)] * 2


def test_a_chain_of_lowerings():
    steps = [lowering("lower-relu", "Relu", ["Sin"]), lowering("lower-sin", "Sin", ["Cos", "Abs"])]
    model = model_from(RELU)
    report = legalize(model, takes("Cos", "Abs"), steps)
    assert op_types(model) == ["Abs", "Cos"]
    assert report.entries[0].lowered_by == ("lower-relu", "lower-sin")


def test_the_cheapest_lowering_wins():
    steps = [lowering("long", "Relu", ["Abs", "Abs", "Abs"]), lowering("short", "Relu", ["Abs", "Neg"])]
    report = legalize(model_from(RELU), takes("Abs", "Neg"), steps)
    assert report.entries[0].lowered_by == ("short",)


def test_the_whole_chain_counts_not_its_first_step():
    steps = [
        lowering("short-then-long", "Relu", ["Sin"]),
        lowering("lower-sin", "Sin", ["Abs", "Abs", "Abs"]),
        lowering("direct", "Relu", ["Abs", "Neg"]),
    ]
    report = legalize(model_from(RELU), takes("Abs", "Neg"), steps)
    assert report.entries[0].lowered_by == ("direct",)


def test_the_descriptors_own_order_breaks_ties():
    steps = [lowering("first", "Relu", ["Abs"]), lowering("second", "Relu", ["Neg"])]
    rule = "{dtypes: {inputs: {0: [int8]}}, lower: [second]}"
    assert legalize(model_from(RELU), takes("Abs", "Neg", Relu=rule), steps).entries[0].lowered_by == ("second",)
    assert legalize(model_from(RELU), takes("Abs", "Neg"), steps).entries[0].lowered_by == ("first",)


def test_a_node_that_no_chain_makes_legal_goes_to_the_host_untouched():
    steps = [
        lowering("to-sin", "Relu", ["Abs", "Sin"]),
        lowering("choosy", "Relu", ["Abs"], guard=lambda _: "its input is blue"),
    ]
    model = model_from(RELU)
    report = legalize(model, takes("Abs"), steps)
    assert op_types(model) == ["Relu"]
    entry = report.entries[0]
    assert (entry.lowered_by, entry.stays) == ((), "host")
    assert entry.tried == (
        "to-sin: ends in Sin, refused: Sin is not among the ops that toy/chip takes",
        "choosy: its input is blue",
    )
    assert (report.refused_before, report.refused_after) == (1, 1)


def test_lowerings_that_lead_in_a_circle_end():
    steps = [lowering("there", "Relu", ["Sin"]), lowering("back", "Sin", ["Relu"])]
    assert legalize(model_from(RELU), takes("Abs"), steps).entries[0].stays == "host"


def test_a_circle_hides_no_way_out_of_it():
    # Tan is first met on the way from Sin, where its own way by Sin is cut off; alone it goes that way.
    steps = [
        lowering("sin-to-tan", "Sin", ["Tan"]),
        lowering("tan-to-sin", "Tan", ["Sin"]),
        lowering("sin-to-abs", "Sin", ["Neg", "Abs"]),
    ]
    model = model_from("(float[2,3] x) => (float[2,3] y) {a = Sin(x)  y = Tan(a)}")
    report = legalize(model, takes("Abs", "Neg"), steps)
    assert [entry.lowered_by for entry in report.entries] == [("sin-to-abs",), ("tan-to-sin", "sin-to-abs")]


def test_every_circle_of_the_catalogue_ends_however_little_a_target_takes():
    text = """(float[2,8] x, float[8,8] w) => (float[2,8] y)
        {a = MatMul(x, w)  b = Gemm<alpha=2.0>(a, w)  c = Softmax(b)  y = Round(c)}"""
    for taken in ("Sin", "Transpose", "Add"):
        report = legalize(model_from(text), takes(taken), lowerings())
        assert {entry.stays for entry in report.entries} == {"host"}


def half(node, edit):
    """Add the halves of the input's first axis, each made by the op itself."""
    length = dims(node.inputs[0])[0]
    if length < 2:
        return Declined("there is nothing to halve")
    sizes = edit.constant(np.array([length // 2, length - length // 2]), near=node)
    parts = edit.emit_many("Split", [node.inputs[0], sizes], {"axis": 0}, before=node, outputs=2)
    edit.replace_node(
        node, edit.emit("Concat", [edit.emit("Relu", [part], before=node) for part in parts], {"axis": 0}, before=node)
    )
    return Changed("halved")


def test_a_step_that_makes_the_same_op_smaller_is_taken_until_it_fits():
    class Half(Lowering):
        name, op_types, produces = "half", ("Relu",), frozenset({"Concat", "Relu", "Split"})
        repeat = True

        def lower(self, node, edit):
            return half(node, edit)

    rule = f"{{{TAKEN}, when: [{{dimension: input 0, axis: 0, max: 3}}]}}"
    others = f"Concat: {{{TAKEN}}}, Split: {{{TAKEN}, when: [{{constant: input 1}}]}}"
    target = target_with(f"{{Relu: {rule}, {others}}}")
    model = model_from("(float[10] x) => (float[10] y) {y = Relu(x)}")
    assert legalize(model, target, [Half()]).refused_after == 0
    assert [dims(node.inputs[0]) for node in nodes(model, "Relu")] == [(2,), (3,), (2,), (3,)]

    never = target_with(f"{{Relu: {{refused: too hot}}, {others}}}")
    entry = legalize(model_from("(float[10] x) => (float[10] y) {y = Relu(x)}"), never, [Half()]).entries[0]
    assert entry.tried == ("half: ends in Relu, refused as before: toy/chip does not take Relu: too hot",)


def test_a_decision_by_the_numbers_of_a_large_constant_is_made_for_each_node():
    class ByWeights(Lowering):
        name, op_types, produces = "by-weights", ("Add",), frozenset({"Abs"})

        def lower(self, node, edit):
            if constant(node.inputs[1]).max() > 0:
                return Declined("it is not all zero")
            edit.replace_node(node, edit.emit("Abs", [node.inputs[0]], before=node))
            return Changed("gone")

    def vector(name, filling):
        return f"float[100] {name} = {{{','.join([str(filling)] * 100)}}}"

    for first, second in ((0, 1), (1, 0)):
        text = f"""(float[100] x) => (float[100] y)
            <{vector("p", first)}, {vector("q", second)}> {{a = Add(x, p)  y = Add(a, q)}}"""
        model = model_from(text)
        legalize(model, takes("Abs"), [ByWeights()])
        assert [node.op_type for node in nodes(model)] == (["Abs", "Add"] if first == 0 else ["Add", "Abs"])


def test_ops_of_other_domains_are_lowered_by_their_full_name():
    step = lowering("lower-quick-gelu", "com.microsoft::QuickGelu", ["Abs"])
    text = """<ir_version: 12, opset_import: ["": 24, "com.microsoft": 1]>
        g (float[2] x) => (float[2] y) {y = com.microsoft.QuickGelu(x)}"""
    model = model_from(text)
    assert legalize(model, takes("Abs"), [step]).refused_after == 0
    assert op_types(model) == ["Abs"]


def test_what_a_quantized_node_becomes_is_judged_as_quantized():
    # Sin is taken in float only, so that it may not become of a Relu between DequantizeLinear and QuantizeLinear.
    target = takes("Abs", "DequantizeLinear", "QuantizeLinear", Sin="{schemes: [fp16]}")
    text = """(uint8[2] x) => (uint8[2] y) <float s = {0.5}, uint8 z = {0}> {
        a = DequantizeLinear(x, s, z)  b = Relu(a)  y = QuantizeLinear(b, s, z)
    }"""
    model = model_from(text)
    legalize(model, target, [lowering("to-sin", "Relu", ["Sin"]), lowering("to-abs", "Relu", ["Abs", "Abs"])])
    assert op_types(model) == ["Abs", "Abs", "DequantizeLinear", "QuantizeLinear"]


def test_the_real_node_is_asked_about_with_its_attributes():
    target = takes("Abs", Elu=f"{{{TAKEN}, when: [{{attribute: alpha, max: 2}}]}}")
    model = model_from("(float[2,3] x) => (float[2,3] y) {a = Elu<alpha=1.0>(x)  y = Elu<alpha=3.0>(a)}")
    report = legalize(model, target, [lowering("lower-elu", "Elu", ["Abs"])])
    assert op_types(model) == ["Abs", "Elu"]
    assert [entry.reasons for entry in report.entries] == [("attribute alpha is 3; at most 2 is taken",)]


def test_equal_nodes_share_one_search():
    step = lowering("lower-relu", "Relu", ["Abs"])
    body = "a0 = Relu(x)" + "".join(f"  a{i} = Relu(a{i - 1})" for i in range(1, 20)) + "  y = Relu(a19)"
    model = model_from(f"(float[2,3] x) => (float[2,3] y) {{{body}}}")
    legalize(model, takes("Abs"), [step])
    assert op_types(model) == ["Abs"] * 21
    assert len(step.calls) == 1 + 21  # one search on a scratch model, then the nodes themselves


def test_what_a_scheme_refuses_may_stay_on_the_device_in_float():
    target = takes("Abs", Relu="{schemes: [fp16]}")
    report = legalize(model_from(RELU), target, [], "a8w8")
    assert (report.entries[0].stays, report.refused_before, report.refused_after) == ("float", 0, 0)


def test_a_chip_of_integers_alone_computes_what_a_wide_scheme_lacks_in_narrower_integers():
    wide = "a16w8: {activation: int16, weight: int8, automatic: false}"
    schemes = f"{{a8w8: {{activation: int8, weight: int8}}, {wide}}}"
    target = target_with("{Abs: {schemes: [a8w8, a16w8]}, Relu: {schemes: [a8w8]}}", schemes=f"schemes: {schemes}")
    report = legalize(model_from(RELU), target, [], "a16w8")
    assert (report.entries[0].stays, report.refused_before, report.refused_after) == ("a8w8", 0, 0)
    assert legalize(model_from(RELU), takes("Abs"), [], "a8w8").entries[0].stays == "host"


def test_a_lowering_is_preferred_to_staying_in_float():
    target = takes("Abs", Relu="{schemes: [fp16]}")
    model = model_from(RELU)
    report = legalize(model, target, [lowering("lower-relu", "Relu", ["Abs"])], "a8w8")
    assert op_types(model) == ["Abs"]
    assert report.entries[0].reasons == ("Relu is not taken in a8w8, only in fp16",)


def test_unread_outputs_do_not_hinder():
    rule = f"{{{TAKEN}, when: [{{absent: output 1}}]}}"
    text = "(float[2,3] x, float[3] s) => (float[2,3] y) {n, mean = LayerNormalization(x, s)  y = Relu(n)}"
    step = lowering("lower-relu", "Relu", ["LayerNormalization"], guard=lambda _: "never")
    report = legalize(model_from(text), takes("Relu", LayerNormalization=rule), [step])
    assert report.entries == []


def test_bodies_of_control_flow_are_left_alone():
    text = """(bool c, float[2,3] x) => (float[2,3] y) {
        y = If(c) <then_branch = t () => (float[2,3] p) { p = Relu(x) },
                   else_branch = e () => (float[2,3] q) { q = Relu(x) }>
    }"""
    model = model_from(text)
    report = legalize(model, takes("Abs"), [lowering("lower-relu", "Relu", ["Abs"])])
    assert [entry.op_type for entry in report.entries] == ["If"]
    assert op_types(model) == ["If", "Relu", "Relu"]


def test_a_lowering_that_behaves_otherwise_in_the_graph_is_caught():
    fickle = lowering("fickle", "Relu", ["Abs"], guard=lambda node: "" if node.graph.name == "scratch" else "changed")
    with pytest.raises(InternalError, match="fickle lowered a copy of"):
        legalize(model_from(RELU), takes("Abs"), [fickle])


def test_real_lowerings_keep_the_numbers():
    text = "(float[2,3] x) => (float[2,3] y) {a = Celu<alpha=0.5>(x)  b = Elu<alpha=2.0>(a)  y = Softsign(b)}"
    ops = ("Max", "Min", "Exp", "Sub", "Mul", "Add", "Abs", "Div", "Relu", "Neg", "Where", "Less", "Clip", "Greater")
    model, given = model_from(text), {"x": np.linspace(-3, 3, 6, dtype=np.float32).reshape(2, 3)}
    expected = Session(model_from(text)).run(given)["y"]
    report = legalize(model, takes(*ops), [LowerCelu(), LowerElu(), LowerSoftsign()])
    assert report.refused_after == 0, report.entries
    assert all(attribute(node, "alpha", 0.0) == 0.0 for node in nodes(model))
    np.testing.assert_allclose(Session(model).run(given)["y"], expected, rtol=1e-6)


def test_a_chain_may_end_in_float_where_none_ends_in_the_scheme():
    target = takes(Abs="{schemes: [fp16]}")
    model = model_from(RELU)
    report = legalize(model, target, [lowering("lower-relu", "Relu", ["Abs"])], "a8w8")
    assert op_types(model) == ["Abs"]
    assert report.entries[0].lowered_by == ("lower-relu",)
    assert (report.refused_before, report.refused_after) == (1, 0)
    assert report.in_float == {node.name for node in nodes(model)}


def test_each_new_node_knows_the_chain_it_came_by():
    steps = [lowering("lower-relu", "Relu", ["Sin", "Neg"]), lowering("lower-sin", "Sin", ["Cos", "Abs"])]
    model = model_from(RELU)
    origins = legalize(model, takes("Cos", "Abs", "Neg"), steps).origins
    by_type = {node.op_type: origins[node.name] for node in nodes(model)}
    assert by_type == {
        "Neg": ("lower-relu",),
        "Cos": ("lower-relu", "lower-sin"),
        "Abs": ("lower-relu", "lower-sin"),
    }


def test_a_long_chain_has_an_end():
    names = ["Relu", "Sin", "Cos", "Tan", "Exp", "Log", "Sqrt", "Abs", "Neg", "Ceil"]
    assert len(names) == MAX_DEPTH + 2
    steps = [lowering(f"lower-{old.lower()}", old, [new]) for old, new in pairwise(names)]
    assert legalize(model_from(RELU), takes("Neg"), steps).entries[0].stays == ""
    assert legalize(model_from(RELU), takes("Ceil"), steps).entries[0].stays == "host"


def test_dynamic_dims_and_shared_weights_survive():
    text = "(float[N,4] x) => (float[N,4] y) <float[4] w = {1,2,3,4}> {a = Add(x, w)  b = Relu(a)  y = Add(b, w)}"
    model = model_from(text)
    target = target_with("{Add: {schemes: [fp16]}, Abs: {schemes: [fp16]}}", shapes="{static: optional, max_rank: 5}")
    legalize(model, target, [lowering("lower-relu", "Relu", ["Abs"])])
    assert op_types(model) == ["Abs", "Add", "Add"]
    assert list(model.graph.initializers) == ["w"]
    assert [str(node.outputs[0].shape) for node in nodes(model)] == ["[N,4]"] * 3
