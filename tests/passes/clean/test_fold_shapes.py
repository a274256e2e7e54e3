import numpy as np
import pytest

from npuopt.graph import dims, nodes, static_shape
from npuopt.passes.clean.drop_identities import DropIdentities
from npuopt.passes.clean.fold_shapes import FoldShapes
from support.rewrites import assert_leaves, assert_rewrites, model_from
from support.surroundings import Surroundings, check_surroundings


def test_the_shape_of_a_static_tensor_is_a_constant():
    assert_rewrites(
        FoldShapes(),
        """(float[2, 6] x) => (float[4, 3] y) <int64 half = {2}, int64[1] one = {1}, int64[1] zero = {0}, int64 i = {1},
            int64[1] four = {4}> {
            s = Shape(x) n = Gather(s, i) h = Div(n, half) v = Unsqueeze(h, zero) t = Concat<axis = 0>(four, v)
            y = Reshape(x, t)
        }""",
        """(float[2, 6] x) => (float[4, 3] y) <int64 half = {2}, int64[1] one = {1}, int64[1] zero = {0}, int64 i = {1},
            int64[1] four = {4}, int64[2] t = {4, 3}> {y = Reshape(x, t)}""",
    )


HEADS = """(float[N, S, 12] x) => (float[A, B, C, D] y) <int64[2] heads = {3, 4}> {
    n = Shape<start = 0, end = 1>(x) s = Shape<start = 1, end = 2>(x) t = Concat<axis = 0>(n, s, heads)
    y = Reshape ALLOWZERO (x, t)
}"""


@pytest.mark.parametrize("allowzero", ["", "<allowzero = 1>"])
def test_dims_that_stay_are_copied(allowzero):
    assert_rewrites(
        FoldShapes(),
        HEADS.replace("ALLOWZERO", allowzero),
        """(float[N, S, 12] x) => (float[A, B, C, D] y) <int64[4] t = {0, 0, 3, 4}, int64[2] heads = {3, 4}> {
            y = Reshape(x, t)
        }""",
        dims={"S": 0},
    )


def test_one_dim_that_moves_is_left_to_the_others():
    assert_rewrites(
        FoldShapes(),
        """(float[N, 12] x) => (float[A, B, C] y) <int64[2] first = {3, 4}, int64[1] zero = {0}> {
            s = Shape(x) n = Gather(s, zero) t = Concat<axis = 0>(first, n) y = Reshape(x, t)
        }""",
        """(float[N, 12] x) => (float[A, B, C] y)
            <int64[3] t = {3, 4, -1}, int64[2] first = {3, 4}, int64[1] zero = {0}> {y = Reshape(x, t)}""",
    )


def test_expand_targets_of_exporters_are_seen_through():
    """Where(target == -1, 1, target) is what torch writes for `expand`."""
    text = """(float[2, 1, 3] x) => (float[2, 4, 3] y)
        <int64[3] t = {-1, 4, -1}, int64 minus = {-1}, int64[1] three = {3}> {
        BODY
    }"""
    body = """s = Shape(x) ones = ConstantOfShape<value = int64[1] {1}>(three) one = Equal(t, minus)
        w = Where(one, s, t) e = Max(w, ones) y = Expand(x, e)"""
    after = text.replace("int64[1] three = {3}", "int64[1] three = {3}, int64[3] e = {2, 4, 3}")
    assert_rewrites(FoldShapes(), text.replace("BODY", body), after.replace("BODY", "y = Expand(x, e)"))


def test_a_chain_of_layers_falls_in_one_sweep():
    """Each layer's target is computed from the shape of the layer before, which only the fold makes known."""
    layer = "s{i} = Shape(a{i}) w{i} = Where(yes, s{i}, s{i}) b{i} = Reshape(a{i}, w{i}) a{j} = Add(b{i}, x)"
    body = " ".join(layer.format(i=i, j=i + 1) for i in range(20))
    model = model_from(f"(float[2, 3] x) => (float[2, 3] y) <bool yes = {{1}}> {{a0 = Neg(x) {body} y = Abs(a20)}}")
    FoldShapes()(model)
    assert {node.op_type for node in nodes(model)} == {"Neg", "Reshape", "Add", "Abs"}
    assert all(static_shape(node.outputs[0]) == (2, 3) for node in nodes(model))


def test_a_shape_that_is_a_graph_output_stays_one():
    assert_rewrites(
        FoldShapes(),
        "(float[2, 3] x) => (int64[2] s, int64[2] y) {s = Shape(x) y = Neg(s)}",
        """(float[2, 3] x) => (int64[2] s, int64[2] y) <int64[2] c = {2, 3}, int64[2] d = {-2, -3}> {
            s = Identity(c) y = Identity(d)
        }""",
    )


def test_branches_see_through_to_captured_shapes():
    assert_rewrites(
        FoldShapes(),
        """(bool c, float[2, 3] x) => (int64[2] y) {
            s = Shape(x)
            y = If(c) <then_branch = t () => (int64[2] p) {p = Neg(s)}, else_branch = e () => (int64[2] q) {q = Abs(s)}>
        }""",
        """(bool c, float[2, 3] x) => (int64[2] y) {
            y = If(c) <then_branch = t () => (int64[2] p) <int64[2] a = {-2, -3}> {p = Identity(a)},
                       else_branch = e () => (int64[2] q) <int64[2] b = {2, 3}> {q = Identity(b)}>
        }""",
    )


@pytest.mark.parametrize(
    ("text", "because"),
    [
        ("(float[N, M] x) => (int64[2] y) {y = Shape(x)}", None),
        (
            """(float[N, M] x) => (float[A, B] y) <int64[2] swap = {1, 0}> {
                s = Shape(x) t = Gather(s, swap) y = Reshape(x, t)
            }""",
            "2 dims of its target are known at run time only",
        ),
        (
            """(float[N, 6, M] x) => (float[A, B, C] y) <int64[1] two = {2}, int64[1] three = {3}> {
                n = Shape<start = 0, end = 1>(x) m = Shape<start = 2>(x) d = Mul(m, two)
                t = Concat<axis = 0>(n, three, d) y = Reshape(x, t)
            }""",
            "its target would need a 0 and a -1",
        ),
    ],
)
def test_what_depends_on_run_time_stays(text, because):
    assert_leaves(FoldShapes(), text, because=because)


def test_whatever_surrounds_shape_arithmetic_keeps_its_numbers():
    def build(around: Surroundings) -> None:
        x = around.input(2, 6, declared=around.choose(None, None, ("N", 6), (2, "M"), ("N", "M")))
        shape = around.op("Shape", around.op("Relu", x))
        index = around.constant(np.array(around.choose(0, 1, -1, -2)))
        length = around.op("Gather", shape, index)
        other = around.constant(np.array(around.choose(1, 2, 3, -2)))
        length = around.op(around.choose("Mul", "Div", "Add", "Sub"), length, other)
        length = around.op("Abs", length)
        length = around.op("Max", length, around.constant(np.array(1), varies=False))
        axes = around.constant(np.array([0]), varies=False)
        start = around.op("Unsqueeze", length, axes)
        minus = around.constant(np.array([-1]), varies=False)
        if around.choose(True, False):
            begin, end = around.constant(np.array([0])), around.op("Min", start, around.constant(np.array([2])))
            around.op("Slice", x, begin, end)
        else:
            rest = around.op("Slice", shape, minus, around.constant(np.array([9])), company=False)
            target = around.op("Concat", rest, minus, axis=0)
            around.op("Reshape", x, target)

    check_surroundings(FoldShapes(), build, examples=60)


def test_the_shape_that_a_default_would_give_is_not_taken_for_granted():
    """Inference must not see the default: a caller may give another target."""
    text = """(float[1, 3] x, int64[2] target) => (int64[2] y) <int64[2] target = {2, 3}> {
        a = Expand(x, target) y = Shape(a)
    }"""
    assert_leaves(FoldShapes(), text, because=None)


def test_names_are_followed_through_masks_that_are_expanded():
    """As encoders are exported: what the mask is expanded to must not hide that the dims stay."""
    report = assert_rewrites(
        FoldShapes(),
        """(float[B, S, 8] x, float[1, 1, 1, S] mask) => (float[C, D, E] y)
            <int64[1] one = {1}, int64[2] heads = {2, 4}, int64[1] eight = {8}> {
            b = Shape<start = 0, end = 1>(x) s = Shape<start = 1, end = 2>(x)
            f = Concat<axis = 0>(b, s, heads) h = Reshape(x, f)
            q = Transpose<perm = [0, 2, 1, 3]>(h) k = Transpose<perm = [0, 2, 3, 1]>(h) p = MatMul(q, k)
            t = Concat<axis = 0>(b, one, s, s) m = Expand(mask, t) a = Add(p, m)
            v = MatMul(a, q) r = Transpose<perm = [0, 2, 1, 3]>(v)
            sizes = Shape<start = 0, end = 2>(r) u = Concat<axis = 0>(sizes, eight) y = Reshape(r, u)
        }""",
        None,
        dims={"B": 2, "S": 3},
    )
    assert {entry.text for entry in report.changed} == {"its target is [0, 0, 2, 4]", "its target is [0, 0, 8]"}


def test_a_slice_that_ends_where_its_axis_ends_is_known_to_be_whole():
    model = model_from("""(float[N, 4] x) => (float[A, 4] y) <int64[1] zero = {0}> {
        n = Shape<start = 0, end = 1>(x) a = Slice(x, zero, n, zero) y = Abs(a)
    }""")
    FoldShapes()(model)
    assert DropIdentities()(model).changed


def test_what_follows_a_settled_reshape_is_inferred_from_it():
    """The second Reshape joins heads that a Transpose moved: its batch and length are those that the first one kept."""
    assert_rewrites(
        FoldShapes(),
        """(float[N, S, 12] x) => (float[A, B, 12] y)
            <float[N, unk__0, 3, 4] p, float[N, 3, unk__0, 4] q, float[N, unk__0, 3, 4] r,
            int64[2] heads = {3, 4}, int64[1] width = {12}> {
            n = Shape<start = 0, end = 1>(x) s = Shape<start = 1, end = 2>(x) t = Concat<axis = 0>(n, s, heads)
            p = Reshape(x, t) q = Transpose<perm = [0, 2, 1, 3]>(p) r = Transpose<perm = [0, 2, 1, 3]>(q)
            u = Concat<axis = 0>(n, s, width) y = Reshape(r, u)
        }""",
        """(float[N, S, 12] x) => (float[A, B, 12] y)
            <int64[4] t = {0, 0, 3, 4}, int64[3] u = {0, 0, 12}, int64[2] heads = {3, 4}, int64[1] width = {12}> {
            p = Reshape(x, t) q = Transpose<perm = [0, 2, 1, 3]>(p) r = Transpose<perm = [0, 2, 1, 3]>(q)
            y = Reshape(r, u)
        }""",
    )


def test_a_dim_that_inference_did_not_know_is_asked_for_again():
    """The pads were computed when shapes were inferred; now they are constant, and the batch is what it was before."""
    assert_rewrites(
        FoldShapes(),
        """(float[N, 3, 4] x) => (float[A, 18] y)
            <float[unk__0, 3, 6] p, float[unk__0, 3, 6] r, int64[6] pads = {0, 0, 1, 0, 0, 1}, int64[1] rest = {-1}> {
            n = Shape<start = 0, end = 1>(x) p = Pad(x, pads) r = Relu(p) t = Concat<axis = 0>(n, rest)
            y = Reshape(r, t)
        }""",
        """(float[N, 3, 4] x) => (float[A, 18] y)
            <int64[6] pads = {0, 0, 1, 0, 0, 1}, int64[2] t = {0, -1}, int64[1] rest = {-1}> {
            p = Pad(x, pads) r = Relu(p) y = Reshape(r, t)
        }""",
    )


def test_unknown_dims_that_are_equal_get_the_same_name():
    """What a Reshape to a computed rank makes is known once its target is; how long its rows are stays unknown."""
    model = model_from("""(float[N, 3, 4] x, int64[1] size) => (float[A, B] y)
        <int64[1] three = {3}> {
            n = Shape<start = 0, end = 1>(x) t = Concat<axis = 0>(n, size, three) p = Reshape(x, t) r = Relu(p)
            s = Shape(r) m = Cast<to = 1>(s) y = Add(p, r)
        }""")
    for node in nodes(model):
        for output in node.outputs:
            output.shape = None if node.op_type in ("Reshape", "Relu") else output.shape
    FoldShapes()(model)
    found = {output.name: dims(output) for node in nodes(model) for output in node.outputs}
    assert found["p"] == found["r"]
    assert found["p"] is not None
    assert None not in found["p"]
