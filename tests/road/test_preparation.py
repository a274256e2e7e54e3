from npuopt.pipeline.recipes import FUSE, RAISED
from npuopt.road.preparation import fusions
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
