import pytest

from npuopt.graph.dynamic_shapes import first_blocking
from support.rewrites import model_from


@pytest.mark.parametrize(
    ("body", "value", "why"),
    [
        (
            "i = NonZero(x) f = Cast<to = 1>(i) t = Transpose(f) y = MatMul(t, w)",
            "i",
            "how much NonZero finds depends on the data, and layer MatMul(y) computes with it",
        ),
        ("y = Reshape(x, s)", "y", "the shape of Reshape is computed at run time from input 's'"),
        ("t = Neg(s) y = Tile(x, t)", "y", "the repeats of Tile is computed at run time from input 's'"),
        (
            "one = Slice(x, zero, unit) y = Expand(one, d)",
            "y",
            "the shape of Expand is computed at run time from input 'd', whose default",
        ),
        ("y = com.example.Odd(x)", "y", "no shape inference knows com.example.Odd"),
        (
            """y = If(c) <then_branch = t () => (float[2, 3] p) {p = Neg(x)},
                          else_branch = e () => (float[4] q) <float[4] w = {1, 2, 3, 4}> {q = Neg(w)}>""",
            "y",
            "the branches of If make different shapes",
        ),
    ],
)
def test_the_first_dynamic_tensor_is_named_with_its_reason(body, value, why):
    model = model_from(
        f"""<ir_version: 12, opset_import: ["": 24, "com.example": 1]>
        g (float[2, 3] x, int64[2] s, int64[2] d, bool c) => (float[A, B] y)
        <int64[2] d = {{1, 1}}, int64[1] zero = {{0}}, int64[1] unit = {{1}}, float[2, 1] w = {{1, 2}}> {{
            a = Relu(x) {body}
        }}"""
    )
    if body.startswith("y = If"):
        model.graph.outputs[0].shape = None  # which the text above cannot say
    found = first_blocking(model)
    assert found is not None
    assert found.value.name == value
    assert found.why.startswith(why)


def test_a_static_graph_has_none():
    assert first_blocking(model_from("(float[2] x) => (float[2] y) {y = Relu(x)}")) is None


@pytest.mark.parametrize(
    "body",
    [
        "n = NonZero(x) y = Cast<to = 1>(n)",
        "n = NonZero(x) t = Shape(n) y = Expand(one, t)",
        "n = NonZero(x) f = Cast<to = 1>(n) g = Transpose(f) y = MatMul(f, g)",
        "n = NonZero(x) f = Cast<to = 1>(n) c = ReduceSum(f, axis) y = MatMul(x, c)",
    ],
)
def test_what_data_sizes_is_left_to_a_host(body):
    model = model_from(
        f"""(float[2, 2] x) => (float[A, B] y)
        <float[1, 1] one = {{1}}, int64[1] axis = {{1}}> {{{body}}}"""
    )
    assert first_blocking(model) is None


@pytest.mark.parametrize(
    ("body", "way_out"),
    [
        ("n = NonZero(x) f = Cast<to = 1>(n) y = MatMul(w, f)", "export the selection as a mask"),
        ("n = NonZero(x) t = Shape(n) f = Expand(one, t) y = MatMul(w, f)", "export the selection as a mask"),
        ("y = Reshape(x, s)", "make that input a constant of the model"),
        ("b, i, j, k = Unique(x) u = Unsqueeze(b, zero) y = MatMul(v, u)", "cut the model before it (npuopt extract"),
    ],
)
def test_the_way_out_fits_the_op(body, way_out):
    model = model_from(
        f"""(float[2, 3] x, int64[2] s) => (float[A, B] y)
        <float[1, 2] w = {{1, 2}}, float[1, 1] one = {{1}}, float[1, 1] v = {{3}}, int64[1] zero = {{0}}> {{{body}}}"""
    )
    assert first_blocking(model).way_out.startswith(way_out)
