"""The runner believes no pass."""

from dataclasses import dataclass
from typing import ClassVar

import pytest

from npuopt.errors import InternalError, UsageError
from npuopt.graph import Anything, Editor, Model, Op, nodes, parse
from npuopt.pipeline import Changed, Declined, Entry, NodePass, Pass, Report
from npuopt.pipeline.dumps import Dumps
from npuopt.pipeline.runner import Runner

RELU_CHAIN = """<ir_version: 10, opset_import: ["" : 24]>
g (float[N, 4] x) => (float[N, 4] y) {
    [first] a = Relu(x)
    [second] y = Relu(a)
}"""


@dataclass(frozen=True)
class DropSecondRelu(NodePass):
    name: ClassVar = "drop-second-relu"
    op_types: ClassVar = ("Relu",)

    def rewrite(self, node, edit, target):
        maker = node.inputs[0].producer()
        if maker is None or maker.op_type != "Relu":
            return None
        edit.replace_node(node, node.inputs[0])
        return Changed("Relu of Relu became Relu")


@dataclass(frozen=True)
class Faulty(Pass):
    """Does to the model what `deed` says and claims a change."""

    name: ClassVar = "faulty"
    deed: str = ""

    def __call__(self, model: Model, target=None) -> Report:
        first, second = nodes(model)
        if self.deed == "renames an output":
            model.graph.outputs[0].name = "z"
        elif self.deed == "turns the order around":
            model.graph.remove(first)
            model.graph.append(first)
        elif self.deed == "writes an unknown attribute":
            second.attributes.add(__import__("onnx_ir").AttrInt64("colour", 3))
        elif self.deed == "repeats a name":
            first.outputs[0].name = "x"
        return Report(self.name, changed=[Entry("second", "Relu", self.deed)])


@dataclass(frozen=True)
class NeedsTheMoon(Pass):
    name: ClassVar = "needs-the-moon"
    needs: ClassVar = frozenset({"moon-full"})

    def __call__(self, model, target=None):
        raise AssertionError("must not run")


def test_runs_passes_and_reports_node_counts() -> None:
    model = parse(RELU_CHAIN)
    report = Runner().run(model, [DropSecondRelu()])[0]
    assert (report.nodes_before, report.nodes_after, len(report.changed)) == (2, 1, 1)
    assert [node.op_type for node in nodes(model)] == ["Relu"]
    assert model.graph.outputs[0].name == "y"


@pytest.mark.parametrize(
    ("deed", "complaint"),
    [
        ("renames an output", "changed the graph's inputs or outputs"),
        ("turns the order around", "reads 'a', which nothing before it makes"),
        ("writes an unknown attribute", "Unrecognized attribute: colour"),
        ("repeats a name", "makes 'x', which is made already"),
    ],
)
def test_catches_a_pass_that(deed: str, complaint: str) -> None:
    with pytest.raises(InternalError, match="faulty") as caught:
        Runner().run(parse(RELU_CHAIN), [Faulty(deed=deed)])
    assert complaint in str(caught.value)


def test_refuses_a_pass_whose_needs_nothing_gives() -> None:
    with pytest.raises(UsageError, match="needs-the-moon needs moon-full"):
        Runner().run(parse(RELU_CHAIN), [NeedsTheMoon()])


def test_stops_repeating_once_nothing_changes() -> None:
    reports = Runner().run_until_stable(parse(RELU_CHAIN), [DropSecondRelu()])
    assert [len(report.changed) for report in reports] == [1, 0]


def test_leaves_out_what_found_nothing_until_something_changes() -> None:
    model, runner = parse(RELU_CHAIN), Runner()
    runner.run_until_stable(model, [DropSecondRelu()])
    assert runner.run_until_stable(model, [DropSecondRelu()]) == []
    first = nodes(model)[0]
    Editor(model).emit("Abs", [model.graph.inputs[0]], before=first)
    assert [report.name for report in runner.run_until_stable(model, [DropSecondRelu()])] == ["drop-second-relu"]


def test_calls_no_pass_whose_ops_are_not_there() -> None:
    @dataclass(frozen=True)
    class Looking(DropSecondRelu):
        op_types: ClassVar = ("Abs",)

        def __call__(self, model, target=None):
            raise AssertionError("must not run")

    assert Runner().run(parse(RELU_CHAIN), [Looking()])[0].changed == []
    with pytest.raises(AssertionError):
        Runner().run(parse(RELU_CHAIN.replace("y = Relu(a)", "y = Abs(a)")), [Looking()])


def test_visits_no_node_where_no_pattern_of_the_pass_may_be() -> None:
    @dataclass(frozen=True)
    class Seeking(DropSecondRelu):
        patterns: ClassVar = (Op("Relu", Op("Abs", Anything())), Op("Neg", Anything()))

        def rewrite(self, node, edit, target):
            return Declined("it was visited")

    assert Seeking()(parse(RELU_CHAIN)).declined == []
    assert len(Seeking()(parse(RELU_CHAIN.replace("a = Relu(x)", "a = Abs(x)"))).declined) == 1


def test_runs_a_pass_of_its_own_sweep_as_it_is() -> None:
    @dataclass(frozen=True)
    class Own(DropSecondRelu):
        name: ClassVar = "own"

        def __call__(self, model, target=None):
            return Report(self.name, notes=["called"])

    assert Runner().run(parse(RELU_CHAIN), [Own()])[0].notes == ["called"]


def test_dumps_the_graph_and_what_changed(tmp_path) -> None:
    Runner(observers=[Dumps(tmp_path)]).run(parse(RELU_CHAIN), [DropSecondRelu()])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "00-source.txt",
        "01-drop-second-relu.diff",
        "01-drop-second-relu.report.txt",
        "01-drop-second-relu.txt",
    ]
    assert "Relu of Relu became Relu" in (tmp_path / "01-drop-second-relu.report.txt").read_text()


def test_editor_names_never_collide() -> None:
    model = parse(RELU_CHAIN)
    edit = Editor(model)
    names = [edit.fresh_name("a") for _ in range(3)]
    assert len({*names, "a"}) == 4
