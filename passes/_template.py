"""Copy this file to start a pass: into the group's folder, under the pass's name with underscores.

Then: change the name and the first sentence of the docstring, draw `before -> after`, list what is left alone, write
the rewrite, and copy the tests named at the end. `npuopt passes show your-name` prints what you wrote here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from npuopt.graph import input_at, only_user, producer
from npuopt.pipeline import Changed, Declined, NodePass, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node
    from npuopt.target import Target


@dataclass(frozen=True)
class DropDoubleNegations(NodePass):
    """Two Neg in a row are dropped.

    y = Neg(Neg(x)) -> x

    Left alone: a first Neg that is read elsewhere too or is a graph output, since it would have to stay.
    """

    name: ClassVar[str] = "drop-double-negations"
    op_types: ClassVar[tuple[str, ...]] = ("Neg",)

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Return None where the pattern is not there, Declined where it must stay, Changed once it is rewritten."""
        del target  # a pass never asks which chip it is, only what the chip takes: target.accepts(node)
        inner = producer(input_at(node, 0), "Neg")
        if inner is None or inner.inputs[0] is None:
            return None
        if only_user(inner.outputs[0]) is not node:
            return Declined("the value between them is read elsewhere")
        edit.replace_node(node, inner.inputs[0])
        edit.erase_unread(inner)
        return Changed("negated twice")


# Its tests, in tests/passes/<group>/test_<file name>.py: one graph that it rewrites (numbers are compared there too),
# one for each reason to leave alone, and its pattern in surroundings that are drawn:
#
#     def test_two_negations_go():
#         assert_rewrites(
#             DropDoubleNegations(),
#             "(float[N] x) => (float[N] y) {a = Neg(x) b = Neg(a) y = Relu(b)}",
#             "(float[N] x) => (float[N] y) {y = Relu(x)}",
#         )
#
#     def test_a_negation_that_is_read_elsewhere_stays():
#         text = "(float[N] x) => (float[N] y, float[N] z) {a = Neg(x) y = Neg(a) z = Relu(a)}"
#         assert_leaves(DropDoubleNegations(), text, because="is read elsewhere")
#
#     def test_whatever_surrounds_two_negations_keeps_its_numbers():
#         def build(around: Surroundings) -> None:
#             around.op("Neg", around.op("Neg", around.input(2, 3)))
#
#         check_surroundings(DropDoubleNegations(), build, tolerance=0)
