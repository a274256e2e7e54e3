import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuopt.target.positions import MAX_BYTES, MAX_DEPTH, read_yaml


def problems(text):
    return [str(problem) for problem in read_yaml(text, "f.yaml").problems]


def test_plain_data_and_where_it_stands():
    document = read_yaml("a: 1\nb:\n  - x\n  - {c: true, d: 2.5}\n", "f.yaml")
    assert document.data == {"a": 1, "b": ("x", {"c": True, "d": 2.5})}
    assert str(document.position(("b", 1, "d"))) == "f.yaml:4:18"
    assert str(document.position(("b", 1, "d"), key=True)) == "f.yaml:4:15"
    assert document.problems == []


def test_what_is_missing_is_where_its_parent_is():
    assert str(read_yaml("a:\n  b: 1\n", "f.yaml").position(("a", "c"))) == "f.yaml:2:3"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", 10),
        ("0x10", 16),
        ("-3", -3),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1:30", "1:30"),
        ("2026-11-21", "2026-11-21"),
        ("True", "True"),
        ("'yes'", "yes"),
        ("~", None),
        ("v79", "v79"),
    ],
)
def test_plain_scalars_follow_yaml_1_2(text, value):
    assert read_yaml(f"a: {text}", "f.yaml").data == {"a": value}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3\n", "f.yaml:3:1: a: duplicate key, first at line 1"),
        ("a: &x {b: 1}\n", "f.yaml:1:4: a: anchors are not allowed"),
        ("a: &x 1\nb: *x\n", "f.yaml:2:4: b: aliases are not allowed"),
        (
            "a: !!python/object:os.system x\n",
            "f.yaml:1:4: a: tags are not allowed (tag:yaml.org,2002:python/object:os.system)",
        ),
        ("a: no\n", "f.yaml:1:4: a: 'no' is a word or a truth value: quote it, or say true or false"),
        ("<<: {b: 1}\n", "f.yaml:1:1: merge keys are not allowed; use 'extends'"),
        ("? [1, 2]\n: 3\n", "f.yaml:1:3: a key must be a word or a whole number"),
        ("a: 1\n---\nb: 2\n", "f.yaml:3:1: more than one document in the file"),
        ("- 1\n", "f.yaml:1:1: the file must hold a mapping"),
        ("", "f.yaml:1:1: the file is empty"),
        ("a: [1, 2\n", "f.yaml:2:1: not YAML: did not find expected ',' or ']'"),
        ("a: \x07\n", "f.yaml:1:1: not YAML: unacceptable character"),
    ],
)
def test_what_is_refused(text, expected):
    assert any(one.startswith(expected) for one in problems(text)), problems(text)


def test_nesting_is_bounded():
    assert problems("a: " + "[" * 50_000) == [f"f.yaml:1:{MAX_DEPTH + 4}: nested deeper than {MAX_DEPTH} levels"]


def test_size_is_bounded():
    assert problems("a: " + "x" * MAX_BYTES) == ["f.yaml:1:1: the file is larger than 1024 KiB"]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(alphabet=st.sampled_from("ab:-[]{}&*!|>'\"\n \t#?,0.~%@"), max_size=60))
def test_any_text_is_read_or_refused_but_never_raises(text):
    document = read_yaml(text, "f.yaml")
    assert document.problems or isinstance(document.data, dict)
