"""`npuopt bisect`: the pass and the node that changed the numbers."""

import json

import numpy as np
import pytest

from support.command import complaint, npuopt
from support.model_text import save_text

CHAIN = """(float[N, 4] x) => (float[N, 4] y) {
    i = Identity(x) [first] a = Relu(i) [second] b = Relu(a) c = Neg(b) [third] d = Relu(c) y = Sub(d, b)
}"""

WRONG = """
from dataclasses import dataclass
from npuopt.graph import Editor, nodes
from npuopt.pipeline import Changed, Declined, Entry, NodePass, Pass, Report

@dataclass(frozen=True)
class DropRelu(NodePass):
    "Relu is dropped, which is wrong."
    name = "drop-relu"
    op_types = ("Relu",)

    def rewrite(self, node, edit, target):
        edit.replace_node(node, node.inputs[0])
        return Changed("dropped")

@dataclass(frozen=True)
class DropNegations(Pass):
    "Neg becomes Abs, which is wrong."
    name = "drop-negations"

    def __call__(self, model, target=None):
        report, edit = Report(self.name), Editor(model)
        for node in nodes(model, "Neg"):
            report.changed.append(Entry(node.name, "Neg", "Abs"))
            edit.replace_node(node, edit.emit("Abs", node.inputs, before=node))
        return report
"""


@pytest.fixture
def bisect(tmp_path):
    (tmp_path / "wrong.py").write_text(WRONG)

    def run(*options, text=CHAIN):
        model = save_text(tmp_path / "m.onnx", text)
        return npuopt("bisect", model, "--pass-file", tmp_path / "wrong.py", *options)

    return run


def test_nothing_is_found_where_nothing_is_wrong(bisect):
    done = bisect("--dim", "N=2", "--pass", "drop-identities", "--pass", "drop-unused-nodes")
    assert done.returncode == 0, done.stderr
    assert "no pass changes the numbers: 1 compared on 2 sample(s)" in done.stdout


def test_the_rewrite_that_did_it_is_named(bisect):
    """`second` does what `first` did, so that dropping `first` alone changes nothing."""
    done = bisect("--dim", "N=2", "--pass", "drop-identities", "--pass", "drop-relu")
    assert "pass drop-relu changes output 'y' by" in complaint(done, 5)
    assert "at Relu second (dropped)" in done.stderr


def test_the_first_tensor_is_named_for_a_pass_over_the_whole_graph(bisect):
    done = bisect("--dim", "N=2", "--pass", "drop-negations", "--json")
    document = json.loads(done.stdout)
    assert (document["group"], document["pass"]) == ("plug-in", "drop-negations")
    assert document["node"] == {"node": "third", "op_type": "Relu", "text": "tensor 'd' is the first that differs"}
    complaint(done, 5)


def test_the_standard_order_is_what_runs_by_default(bisect):
    assert "pass drop-negations" in complaint(bisect("--dim", "N=2"), 5)  # passes of one's own run after the fusions


def test_tolerance_is_what_is_allowed(bisect):
    assert bisect("--dim", "N=2", "--pass", "drop-relu", "--tolerance", "100").returncode == 0


def test_inputs_that_show_no_difference(bisect, tmp_path):
    np.savez(tmp_path / "in.npz", x=np.zeros((1, 2, 4), np.float32))
    done = bisect("--inputs", tmp_path / "in.npz", "--pass", "drop-relu")
    assert done.returncode == 0, done.stderr


def test_a_recipe_may_say_what_runs(bisect, tmp_path):
    (tmp_path / "recipe.yaml").write_text("dims: {'N': 2}\npasses: [freeze, drop-relu]")
    assert "pass drop-relu" in complaint(bisect("--recipe", tmp_path / "recipe.yaml"), 5)


def test_missing_sizes_say_what_to_give(bisect):
    assert "give its dims with --dim" in complaint(bisect("--pass", "drop-relu"), 3)
