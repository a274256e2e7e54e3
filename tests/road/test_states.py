"""Caches that a target keeps inside a compiled region."""

import pytest

from npuopt.road.states import mark_states
from npuopt.target import load_target
from support.rewrites import model_from
from support.toy_decoder import record

CACHE = "past_key_0"


def one_cache(before=4, after=4, kind="float"):
    ports = f"({kind}[1,2,{before},8] {CACHE}) => ({kind}[1,2,{after},8] present_key_0)"
    return model_from(f"{ports} {{present_key_0 = Identity({CACHE})}}")


def states(*parts, form="whole", target="apple/ane-ios18"):
    mark_states(parts, record(form), load_target(target))
    return [dict(model.metadata_props) for model in parts]


def test_a_cache_that_goes_in_and_comes_out_is_a_state():
    assert states(one_cache()) == [{f"npuopt.state.{CACHE}": "present_key_0"}]


@pytest.mark.parametrize(
    ("form", "target"), [("new", "apple/ane-ios18"), ("whole", "apple/ane-ios17"), ("whole", "qualcomm/sm8750")]
)
def test_other_forms_and_targets_have_none(form, target):
    assert states(one_cache(), form=form, target=target) == [{}]


def test_what_changes_its_shape_or_is_held_as_integers_is_none():
    assert states(one_cache(after=5)) == [{}]
    assert states(one_cache(kind="uint8")) == [{}]


def test_what_another_part_reads_has_to_leave():
    reader = model_from("(float[1,2,4,8] present_key_0) => (float[1,2,4,8] y) {y = Neg(present_key_0)}")
    assert states(one_cache(), reader) == [{}, {}]
    second = model_from(f"(float[1,2,4,8] {CACHE}) => (float[1,2,4,8] y) {{y = Neg({CACHE})}}")
    assert states(one_cache(), second) == [{}, {}]
