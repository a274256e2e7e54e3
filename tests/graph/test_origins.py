from npuopt.graph import Editor, Origin, note_origins, origins, scale_origins
from npuopt.passes.fuse.fuse_scalar_scale import FuseScalarScale
from support.rewrites import model_from


def named(model, name):
    return next(output for node in model.graph for output in node.outputs if output.name == name)


def test_a_new_value_is_what_it_replaces():
    model = model_from("(float[2] x) => (float[2] y) {a = Neg(x) b = Neg(a) y = Relu(b)}")
    note_origins(model)
    edit, relu = Editor(model), named(model, "y").producer()
    made = edit.emit("Identity", [model.graph.inputs[0]], before=relu)
    edit.replace(named(model, "b"), made)
    assert origins(made) == (Origin("b"),)


def test_a_graph_output_keeps_its_name_and_the_names_of_what_makes_it():
    model = model_from("(float[2] x) => (float[2] y) {a = Neg(x) y = Identity(a)}")
    note_origins(model)
    edit = Editor(model)
    edit.replace(named(model, "y"), named(model, "a"))
    assert set(origins(model.graph.outputs[0])) == {Origin("y"), Origin("a")}


def test_what_is_reordered_into_a_tensor_is_that_tensor():
    model = model_from("(float[2,3] x) => (float[2,3] y) {a = Neg(x) y = Relu(a)}")
    note_origins(model)
    edit, relu = Editor(model), named(model, "y").producer()
    turned = edit.emit("Transpose", [model.graph.inputs[0]], {"perm": [1, 0]}, before=relu)
    negated = edit.emit("Neg", [turned], before=relu)
    back = edit.emit("Transpose", [negated], {"perm": [1, 0]}, before=relu)
    edit.replace(named(model, "a"), back)
    assert origins(back) == origins(negated) == (Origin("a"),)
    assert origins(turned) == ()


def test_a_factor_that_goes_up_is_noted_on_its_way():
    model = model_from(
        """(float[2,2] x, float[2,2] z) => (float[2,2] y) <float[2,2] w = {1,2,3,4}, float eighth = {0.125}>
        {a = MatMul(x, w) t = Transpose(a) b = MatMul(z, t) y = Mul(b, eighth)}"""
    )
    note_origins(model)
    assert FuseScalarScale()(model).changed
    assert origins(named(model, "t")) == (Origin("t", 0.125),)
    assert origins(model.graph.outputs[0])[0] == Origin("y")


def test_numbers_that_change_twice():
    model = model_from("(float[2] x) => (float[2] y) {y = Neg(x)}")
    note_origins(model)
    scale_origins(named(model, "y"), 2.0)
    scale_origins(named(model, "y"), -0.5)
    assert origins(named(model, "y")) == (Origin("y", -1.0),)
