"""Whatever a descriptor says, it is loaded or refused with positions; nothing else happens."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from npuopt.target import DescriptorError, parse_target
from npuopt.target.describe import describe
from npuopt.target.documentation import page

GOOD = {
    "name": "toy/chip",
    "title": "Toy",
    "delegate": {"road": "tvm", "triple": "none", "cpu": "none"},
    "schemes": {"fp16": {"activation": "float16"}, "a8w8": {"activation": "uint8", "weight": "int8"}},
    "ops": {
        "Conv": {
            "schemes": ["fp16", "a8w8"],
            "rank": [3, 5],
            "dtypes": {"inputs": {"all": ["int32"], "0": ["int8"]}},
            "when": [
                {"attribute": "group", "max": 4, "if": {"rank": "input 0", "min": 4}},
                {"product": "attribute kernel_shape", "max": 64, "schemes": ["a8w8"]},
                {"predicate": "padding-is-symmetric"},
            ],
            "quantization": {"weights": [1], "bias": 2, "output": {"a8w8": {"scale": 0.1, "zero_point": 0}}},
        }
    },
    "performance": {"macs_per_cycle": {"int8": 8}},
}


def places(data, path=()):
    yield path
    if isinstance(data, dict | list):
        for key in data if isinstance(data, dict) else range(len(data)):
            yield from places(data[key], (*path, key))


def changed(data, path, value):
    if not path:
        return value
    copy = dict(data) if isinstance(data, dict) else list(data)
    copy[path[0]] = changed(copy[path[0]], path[1:], value)
    return copy


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats()
    | st.sampled_from(["", "fp16", "input 0"])
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["min", "rank", "if", "x"]), inner),
    max_leaves=5,
)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.sampled_from(list(places(GOOD))), values)
def test_any_value_anywhere_is_taken_or_refused_with_its_place(place, value):
    text = json.dumps(changed(GOOD, place, value))  # JSON is YAML
    target, problems = None, ()
    try:
        target = parse_target(text)
    except DescriptorError as error:
        problems = [str(problem) for problem in error.problems]
    assert (target is None) == bool(problems)
    assert all(problem.startswith("descriptor.yaml:") for problem in problems)
    if target is not None:
        assert describe(target)["ops"]
        assert page(target)
