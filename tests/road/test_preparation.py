import pytest

from npuopt.pipeline.recipes import FUSE, RAISED
from npuopt.road.preparation import choose_scheme, fusions
from npuopt.target import load_target


def test_ops_are_raised_only_for_a_target_that_takes_them():
    assert fusions(None) == list(FUSE)
    npu = load_target("qualcomm/sm8750")
    assert fusions(npu, "fp16") == list(FUSE)
    assert refused(fusions(npu, "a16w8")) == {
        "Attention",
        "RotaryEmbedding",
        "PRelu",
        "GroupNormalization",
        "InstanceNormalization",
    }
    assert refused(fusions(load_target("host/x86-64"))) == {"Attention", "RotaryEmbedding", "LpNormalization"}


def refused(names):
    assert set(names) <= set(FUSE)
    return {RAISED[name] for name in FUSE if name not in names}


def test_every_fusion_that_raises_has_its_place():
    assert RAISED.keys() <= set(FUSE)


@pytest.mark.parametrize(
    ("target", "scheme"), [("arm/ethos-u55-128", "a8w8"), ("android/litert", "a16w8"), ("qualcomm/sm8750", "a16w8")]
)
def test_auto_takes_the_widest_integers_that_need_no_asking_for(target, scheme):
    assert choose_scheme(load_target(target), "auto", calibrated=True) == scheme


def test_what_needs_asking_for_is_taken_when_asked_for():
    assert choose_scheme(load_target("arm/ethos-u55-128"), "a16w8", calibrated=True) == "a16w8"
