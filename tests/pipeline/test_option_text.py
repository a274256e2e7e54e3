"""Options of a pass as text: plain values, lists and mappings."""

import pytest

from npuopt.errors import UsageError
from npuopt.passes.freeze.freeze_dims import FreezeDims
from npuopt.pipeline.catalogue import make_pass
from npuopt.pipeline.option_text import parse_options


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("", {}),
        ("a=1", {"a": "1"}),
        (" a = 1 , b = x y ", {"a": "1", "b": "x y"}),
        ("a=[1, 2],b={x=3,y:0=4}", {"a": ["1", "2"], "b": {"x": "3", "y:0": "4"}}),
        ("a={past=seq=4}", {"a": {"past=seq": "4"}}),
        ("a=[],b={}", {"a": [], "b": {}}),
        ("a=b=c", {"a": "b=c"}),
    ],
)
def test_values_lists_and_mappings(text, options):
    assert parse_options(text, text) == options


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a", "'a' in 'a' is no option; write it as name=value"),
        ("=3", "'=3' in '=3' is no option"),
        ("a={x}", "'x' in .* is no entry of a mapping; write it as name=value"),
        ("a=[1", "does not close a bracket; add ']'"),
        ("a={x=[1}", "closes a bracket that it did not open"),
        ("a=1]", "closes a bracket that it did not open"),
    ],
)
def test_what_is_malformed_is_named(text, words):
    with pytest.raises(UsageError, match=words):
        parse_options(text, text)


def test_dims_can_be_frozen_from_text():
    assert make_pass("freeze-dims{dims={batch=1,x:0=128}}") == FreezeDims((("batch", 1), ("x:0", 128)))


def test_a_size_that_is_no_number_is_named():
    with pytest.raises(UsageError, match=r"does not fit option 'dims' of freeze-dims: Input should be a valid integer"):
        make_pass("freeze-dims{dims={batch=many}}")
