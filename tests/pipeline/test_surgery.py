"""A file with graphsurgeon functions is a file of passes."""

import pytest

from npuopt.errors import InputError
from npuopt.graph import nodes, parse
from npuopt.pipeline.catalogue import load_pass_file, summary
from npuopt.pipeline.runner import Runner

TEXT = '<ir_version: 12, opset_import: ["" : 24]> g (float[2] x) => (float[2] y) { t = Neg(x)  y = Relu(t) }'
FILE = '''
import onnx_graphsurgeon as gs

def neg_to_abs(graph: gs.Graph):
    """Every Neg becomes an Abs."""
    for node in graph.nodes:
        if node.op == "Neg":
            node.op = "Abs"

def does_nothing(graph: "gs.Graph"): ...

def helper(graph, node): ...

def _hidden(graph: gs.Graph): ...
'''


@pytest.fixture
def passes(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return load_pass_file(path)


def test_only_public_functions_of_a_graph_are_passes(passes):
    assert set(passes) == {"neg-to-abs", "does-nothing"}
    assert summary(passes["neg-to-abs"]) == "Every Neg becomes an Abs."


def test_it_runs_with_the_runners_checks_and_reports(passes):
    model = parse(TEXT)
    changed, unchanged = Runner().run(model, [passes["neg-to-abs"](), passes["does-nothing"]()])
    assert [node.op_type for node in nodes(model)] == ["Abs", "Relu"]
    assert (len(changed.changed), len(unchanged.changed)) == (1, 0)


def test_a_file_without_passes_says_what_one_is(tmp_path):
    path = tmp_path / "empty.py"
    path.write_text("x = 1")
    with pytest.raises(InputError, match=r"holds no pass .* or a function of a gs\.Graph"):
        load_pass_file(path)
