import numpy as np
import pytest

from npuopt.passes.clean.drop_identities import DropIdentities
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

CONSTANTS = """<float half = {0.5}, bool off = {0}, bool on = {1}, int64[2] copy = {0, 0}, int64[2] ones = {1, 1},
    int64[2] zeros = {0, 0}, int64[2] back = {-1, -1}, int64[2] far = {9223372036854775807, 2147483647},
    int64[2] axes = {1, 0}, int64[2] low = {-9, -9}, int64[4] no_pads = {0, 0, 0, 0}, int64[2] merge = {0, -1},
    float[2] once = {1, 1}, float[2] nearly = {1, 1.2}, int64[2] size = {2, 3}, int64[1] three = {3}>"""


def between(node: str, shape: str = "N, 3") -> str:
    return f"(float[{shape}] x) => (float[{shape}] y) {CONSTANTS} {{a = Relu(x) {node} y = Neg(b)}}"


def without(shape: str = "N, 3") -> str:
    return f"(float[{shape}] x) => (float[{shape}] y) {CONSTANTS} {{a = Relu(x) y = Neg(a)}}"


@pytest.mark.parametrize(
    "identity",
    [
        "Identity(a)",
        "Cast<to = 1>(a)",
        "CastLike(a, x)",
        "Dropout(a)",
        "Dropout(a, half, off)",
        "Concat<axis = 0>(a)",
        "Sum(a)",
        "Max(a)",
        "Mean(a)",
        "Transpose<perm = [0, 1]>(a)",
        "Reshape(a, copy)",
        "Reshape(a, merge)",
        "Flatten<axis = 1>(a)",
        "Expand(a, ones)",
        "Tile(a, ones)",
        "Slice(a, zeros, far)",
        "Slice(a, zeros, far, axes, ones)",
        "Pad(a, no_pads)",
        'Pad<mode = "edge">(a, no_pads)',
        "Resize(a, , once)",
        'Resize<mode = "linear", coordinate_transformation_mode = "align_corners">(a, , once)',
    ],
)
def test_an_identity_goes(identity):
    assert_rewrites(DropIdentities(), between(f"b = {identity}"), without(), tolerance=0)


@pytest.mark.parametrize(
    ("shape", "identity"),
    [
        ("1, 3", "Transpose<perm = [0, 1]>(a)"),
        ("1, 1", "Transpose<perm = [1, 0]>(a)"),
        ("1, 3", "Slice(a, zeros, far, axes, ones)"),
        ("2, 0", "Reshape(a, zeros)"),
        ("2, 3", 'Resize<mode = "linear">(a, , , size)'),
        ("2, 3", 'Resize<axes = [1], coordinate_transformation_mode = "asymmetric">(a, , , three)'),
    ],
)
def test_static_shapes_show_more_of_them(shape, identity):
    assert_rewrites(DropIdentities(), between(f"b = {identity}", shape), without(shape))


@pytest.mark.parametrize(
    ("shape", "node"),
    [
        ("3, 3", "b = Transpose<perm = [1, 0]>(a)"),
        ("1, 3", "c = Transpose<perm = [1, 0]>(a) b = Reshape<allowzero = 1>(c, s)"),
        ("2, 3", "b = Slice(a, back, low, axes, back)"),
        ("N, 3", "b = Dropout(a, half, on)"),
        ("N, M", "b = Reshape(a, merge)"),
        ("N, 3", "b = Max(a, x)"),
        ("2, 3", "b = Resize(a, , nearly)"),  # as large as before, but taken from other places
        ("2, 3", 'b = Resize<coordinate_transformation_mode = "tf_crop_and_resize">(a, roi, once)'),
        ("N, 3", "t = Cast<to = 10>(a) b = Cast<to = 1>(t)"),
    ],
)
def test_what_only_looks_like_one_stays(shape, node):
    text = between(node, shape).replace(
        "int64[2] merge", "int64[2] s = {1, 3}, float[4] roi = {0, 0, 0.5, 1}, int64[2] merge"
    )
    assert_leaves(DropIdentities(), text, because=None)


def test_dropout_whose_mask_is_read_stays():
    text = "(float[N] x) => (float[N] y, bool[N] mask) {y, mask = Dropout(x)}"
    assert_leaves(DropIdentities(), text, because="its mask is read")


def test_both_names_of_an_input_that_is_an_output_stay():
    assert_leaves(DropIdentities(), "(float[N] x) => (float[N] y) {y = Identity(x)}", because="is a graph output")
    two = "(float[N] x) => (float[N] y, float[N] z) {y = Neg(x) z = Identity(y)}"
    assert_leaves(DropIdentities(), two, because="z is a graph output, and y cannot be it too")


def test_a_graph_output_keeps_its_name():
    assert_rewrites(
        DropIdentities(),
        "(float[N] x) => (float[N] y) {a = Neg(x) b = Identity(a) c = Identity(b) y = Identity(c)}",
        "(float[N] x) => (float[N] y) {y = Neg(x)}",
    )


def test_a_branch_cannot_return_what_it_captures():
    text = """(bool c, float[N] x) => (float[N] y) {
        a = Relu(x)
        y = If(c) <then_branch = t () => (float[N] p) {p = Identity(a)},
                   else_branch = e () => (float[N] q) {b = Identity(a) q = Neg(b)}>
    }"""
    after = text.replace("b = Identity(a) q = Neg(b)", "q = Neg(a)")
    assert_rewrites(DropIdentities(), text, after, because="is a graph output")


def test_whatever_surrounds_an_identity_keeps_its_numbers():
    def build(around: Surroundings) -> None:
        x = around.input(2, 3, declared=around.choose(None, ("N", 3), ("N", "M")))
        value = around.op("Relu", x) if around.choose(True, False) else x
        shape = around.constant(np.array(around.choose([0, 0], [2, 3], [-1, 3], [0, -1])))
        starts = around.constant(np.array(around.choose([0], [-2], [1])))
        ends = around.constant(np.array(around.choose([2], [9], [2**40])))
        identity = around.choose("Reshape", "Slice", "Identity", "Transpose")
        if identity == "Reshape":
            value = around.op("Reshape", value, shape)
        elif identity == "Slice":
            value = around.op("Slice", value, starts, ends)
        elif identity == "Transpose":
            value = around.op("Transpose", value, perm=around.choose([0, 1], [1, 0]))
        else:
            value = around.op("Identity", value)
        around.op("Neg", value)

    check_surroundings(DropIdentities(), build, examples=50, tolerance=0)
