import numpy as np

from npuopt.passes.lower.lower_double import LowerDouble
from npuopt.pipeline.legalize import legalize
from support.descriptors import target_with
from support.rewrites import assert_leaves, assert_rewrites, model_from
from support.surroundings import Surroundings, check_surroundings

BEFORE = "(double[2, 3] x) => (double[2, 3] y) <double[3] c = {0.5, 0.25, 2}> {a = Mul(x, c) y = Relu(a)}"


def test_becomes_floats_from_end_to_end():
    after = """(double[2, 3] x) => (double[2, 3] y) <double[3] c = {0.5, 0.25, 2}, float[3] d = {0.5, 0.25, 2}> {
        n = Cast<to = 1>(x) a = Mul(n, d) b = Relu(a) y = Cast<to = 11>(b)
    }"""
    assert_rewrites(LowerDouble(), BEFORE, after, tolerance=1e-6)


def test_other_types_beside_it_stay():
    text = """(double[2, 4] x) => (double[2, 1] y, int64[2, 1] i) <int64[1] k = {1}> {y, i = TopK(x, k)}"""
    assert_rewrites(LowerDouble(), text, None, tolerance=1e-6)


def test_leaves_floats_and_constants_that_they_do_not_hold():
    assert_leaves(LowerDouble(), BEFORE.replace("double", "float"), because=None)
    for number in ("1e300", "1e-300"):
        text = f"(double[2] x) => (double[2] y) <double c = {{{number}}}> {{y = Add(x, c)}}"
        assert_leaves(LowerDouble(), text, because="do not hold the constant 'c'")


def test_legalization_never_does_it():
    model = model_from(BEFORE)
    taken = target_with("{Mul: {schemes: [fp16]}, Relu: {schemes: [fp16]}, Cast: {schemes: [fp16]}}")
    assert {entry.stays for entry in legalize(model, taken, [LowerDouble()]).entries} == {"host"}


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(2, 3, dtype="float64"))
        other = around.constant(np.array([0.5, 2.0, -1.0]))
        around.op("Exp", around.op(around.choose("Add", "Mul", "Sub"), x, other))

    check_surroundings(LowerDouble(), build, examples=15, least_hits=0.9, tolerance=1e-5)
