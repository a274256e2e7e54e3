from npuopt.pipeline.recipes import FUSE, RAISED
from npuopt.preparation import fusions
from npuopt.target import load_target


def test_ops_are_raised_only_for_a_target_that_takes_them():
    assert fusions(None) == list(FUSE)
    npu = load_target("qualcomm/sm8750")
    assert fusions(npu, "fp16") == list(FUSE)
    fewer = {name for name, op_type in RAISED.items() if op_type in ("Attention", "RotaryEmbedding", "PRelu")}
    assert set(FUSE) - set(fusions(npu, "a16w8")) == fewer
    assert set(FUSE) - set(fusions(load_target("host/x86-64"))) == fewer - {"fuse-prelu"}


def test_every_fusion_that_raises_has_its_place():
    assert RAISED.keys() <= set(FUSE)
