"""Transposes go where the fewest of them are left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from npuopt.graph import Editor, graphs_of, label, nodes, static_shape
from npuopt.passes.layout.forms import form
from npuopt.passes.layout.orders import moves_data, order_of
from npuopt.passes.layout.regions import find_regions
from npuopt.passes.layout.reordering import Reordering
from npuopt.pipeline import Entry, Pass, Report

if TYPE_CHECKING:
    from npuopt.graph import Model
    from npuopt.passes.layout.orders import Order
    from npuopt.passes.layout.regions import Region
    from npuopt.target import Target


@dataclass(frozen=True)
class MoveTransposes(Pass):
    """Parts of the graph that can be computed in any order of axes are computed in the one with the fewest Transposes.

    Transpose(Relu(Transpose(x))) -> Relu(x)      where the second takes back the first
    Add(Transpose(x), Transpose(z)) -> Transpose(Add(x, z))

    Such parts are elementwise ops, Concat, Split, Slice, Pad, reductions that keep their axes, Softmax,
    QuantizeLinear and DequantizeLinear, and normalizations of a last axis that stays last. For each of them the
    Transposes at its border are counted, for the order it has and for each order in which one of them would go; those
    that move only axes of size 1 count for nothing, as they become Reshapes. The report notes how many Transposes
    the model had and has.

    Left alone: orders that leave as many Transposes; nodes that the target takes as they are and not in the new
    order; inputs of another rank, unless they are constants; ops whose axes are computed at run time.
    """

    name: ClassVar[str] = "move-transposes"
    needs: ClassVar[frozenset[str]] = frozenset({"shapes-known"})

    def __call__(self, model: Model, target: Target | None = None) -> Report:
        """Sweep until no part can do with fewer."""
        report = Report(self.name)
        before = _count(model)
        if not before:
            return report
        edit = Editor(model)
        while True:
            report.declined.clear()
            moved = [
                _move(region, edit, target, report) for graph in graphs_of(model) for region in find_regions(graph)
            ]
            if not any(moved):
                break
        report.notes.append(f"{before} Transposes before, {_count(model)} after")
        return report


def _count(model: Model) -> int:
    """Count the Transposes that move data."""
    found = ((order_of(node), static_shape(node.inputs[0])) for node in nodes(model, "Transpose"))
    return sum(order is None or moves_data(order, shape) for order, shape in found)


def _move(region: Region, edit: Editor, target: Target | None, report: Report) -> bool:
    """Bring the region into the order with the fewest Transposes; return whether that is another one."""
    now = region.cost(tuple(range(region.rank)))
    costs = {order: region.cost(order) for order in region.orders()} if any(now) else {}
    for order, cost in sorted(costs.items(), key=lambda item: item[1]):
        if cost >= now:
            break
        why = _obstacle(region, order)
        if why is None:
            new = Reordering(region, order, edit)
            why = new.emit(target)
            if why is None:
                told = now[0] == cost[0]  # only such as move nothing but axes of size 1 are to go
                text = f"{now[told]} -> {cost[told]} Transposes, {list(order)}"
                report.changed.append(Entry(label(region.nodes[0]), region.nodes[0].op_type, text))
                new.replace()
                return True
        report.declined.append(why)
    return False


def _obstacle(region: Region, order: Order) -> Entry | None:
    for node in region.nodes:
        made = form(node, order)
        if isinstance(made, str):
            return Entry(label(node), node.op_type, made)
    return None
