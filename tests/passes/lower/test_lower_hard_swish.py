import pytest

from npuopt.graph import scalar
from npuopt.passes.lower.lower_hard_sigmoid import LowerHardSigmoid
from npuopt.passes.lower.lower_hard_swish import LowerHardSwish
from npuopt.pipeline.legalize import legalize
from support.descriptors import target_with
from support.rewrites import assert_leaves, assert_rewrites, model_from
from support.surroundings import Surroundings, check_surroundings
from support.targets import takes

BEFORE = "(float[N, 4] x) => (float[N, 4] y) {y = HardSwish(x)}"


def test_becomes_a_hard_sigmoid_gate():
    assert_rewrites(
        LowerHardSwish(),
        BEFORE,
        """(float[N, 4] x) => (float[N, 4] y) {
            s = HardSigmoid<alpha = 0.166666671633720397949, beta = 0.5>(x) y = Mul(x, s)
        }""",
    )


def test_becomes_a_sum_a_clip_and_products_on_request():
    assert_rewrites(
        LowerHardSwish(clip=True),
        BEFORE,
        """(float[N, 4] x) => (float[N, 4] y)
        <float three = {3}, float none = {0}, float six = {6}, float sixth = {0.16666667}>
        {s = Add(x, three) c = Clip(s, none, six) h = Mul(c, sixth) y = Mul(x, h)}""",
    )


@pytest.mark.parametrize(
    ("taken", "parts"),
    [(("HardSigmoid",), ["HardSigmoid", "Mul"]), (("Clip",), ["Add", "Clip", "Mul", "Mul"])],
    ids=["a chip with HardSigmoid", "a chip without"],
)
def test_legalization_writes_the_clip_where_there_is_no_hard_sigmoid(taken, parts):
    model = model_from(BEFORE.replace("N", "2"))
    rules = ", ".join(f"{name}: {{schemes: [fp16]}}" for name in ("Add", "Mul", *taken))
    legalize(model, target_with(f"{{{rules}}}"), [LowerHardSwish(), LowerHardSigmoid()])
    assert [node.op_type for node in model.graph] == parts
    [clip] = [node for node in model.graph if node.op_type == "Clip"] or [None]
    assert clip is None or scalar(clip.inputs[2]) == 6


def test_leaves_what_the_target_takes():
    assert_leaves(LowerHardSwish(), BEFORE, because=None, target=takes("HardSwish"))


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        around.op("HardSwish", around.op("Neg", around.input(2, 3)))

    check_surroundings(LowerHardSwish(), build, least_hits=0.9)
