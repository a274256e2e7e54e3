"""Encodings of activations: groups that share one, element types, fixed outputs, and conversions at single uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from npuopt.quantization.arithmetic import affine
from npuopt.quantization.calibration import float_values
from npuopt.quantization.encodings import per_tensor
from npuopt.quantization.masks import find_masks, softmaxes_behind
from npuopt.quantization.needs import narrowed, softmax_floor
from npuopt.quantization.ranges import Range
from npuopt.quantization.sharing import Group, share_groups
from npuopt.quantization.weights import numbers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from npuopt.graph import Model, Node, Value
    from npuopt.quantization.arithmetic import IntegerType
    from npuopt.quantization.encodings import Encoding
    from npuopt.quantization.ranges import Ranges
    from npuopt.quantization.wishes import Wishes

HEADROOM = 2.0
"""By how much 16-bit encodings go beyond what calibration saw: one bit of sixteen for numbers that few samples miss.
Measured on a decode step calibrated with 20 tokens: perplexity +6.4 % without, -0.1 % with 1.5, 2 or 4. Eight bits
have none to spare."""


class ActivationPlan:
    """The encodings of a model's activations.

    Attributes:
        tensors: encoding by tensor name.
        computed: the nodes computed in integers. Ops that only move numbers are among them when what they move
            comes from or goes to another such node; between float nodes they stay float.
    """

    def __init__(self, model: Model, wishes: Mapping[Node, Wishes], ranges: Ranges) -> None:
        self.tensors: dict[str, Encoding] = {}
        self.computed: set[Node] = {node for node, wish in wishes.items() if not wish.moves}
        self._wishes = wishes
        self._ranges = ranges
        self._masks = find_masks(model)
        self._group_ranges: dict[str, Range] = {}
        self._carried: dict[Node, Encoding] = {}
        movers = [node for node, wish in wishes.items() if wish.moves]
        for group in share_groups(float_values(model), movers):
            if any(self._is_quantized(value) for value in group.members):
                self.computed.update(group.movers)
                self._assign(group)

    def at(self, wish: Wishes, index: int, value: Value) -> Encoding:
        """Return the encoding in which a node reads the activation at `index`."""
        name = cast("str", value.name)
        if wish.moves:
            return self._carried[wish.node]
        own = self.tensors[name]
        wanted = wish.operand(index)
        return own if own.dtype == wanted else self._covering(self._group_ranges[name], wanted)

    def carried(self, mover: Node) -> Encoding:
        """Return the one encoding of everything that the op reads and writes."""
        return self._carried[mover]

    def _is_quantized(self, value: Value) -> bool:
        """Say whether a node other than one that only moves numbers makes or reads `value` in integers."""
        return value.producer() in self.computed or any(use.node in self.computed for use in value.uses())

    def _assign(self, group: Group) -> None:
        """Choose the group's encoding, and those of members whose makers are bound to another."""
        dtype = self._dtype(group)
        leavers = [value for value in group.members if self._made_in(value) not in (None, dtype)]
        fixed = {value: encoding for value in group.members if (encoding := self._fixed(value)) is not None}
        sources = [value for value in group.members if value.producer() not in group.movers]
        if len(sources) == 1 and not group.constants and sources[0] in fixed and sources[0] not in leavers:
            encoding = fixed[sources[0]]
            found = self._found(group.members[:1])
        else:
            leavers += [value for value in fixed if value not in leavers]
            found = self._narrowed(group, self._found(group.members, group.constants), dtype)
            encoding = self._covering(found, dtype)
        for value in group.members:
            self._set(value, encoding, found)
        for mover in group.movers:
            self._carried[mover] = encoding
        for value in leavers if group.movers else ():
            own = self._found([value])
            made_in = self._made_in(value) or dtype
            self._set(value, fixed.get(value) or self._covering(own, made_in), own)

    def _set(self, value: Value, encoding: Encoding, found: Range) -> None:
        name = cast("str", value.name)
        self.tensors[name] = encoding
        self._group_ranges[name] = found

    def _dtype(self, group: Group) -> IntegerType:
        """Choose the group's element type: what its readers agree on, else what its makers agree on.

        Conversions then lie ahead of the movers, where there is less to convert: one step of a cache, and not all
        of it each time it is read. A tensor that nothing moves is held as its maker makes it.
        """
        readers: set[IntegerType] = {
            self._wishes[use.node].operand(use.idx)
            for value in group.members
            for use in value.uses()
            if use.node in self.computed and use.node not in group.movers
        }
        makers: set[IntegerType] = {made for value in group.members if (made := self._made_in(value)) is not None}
        for agreed in (readers, makers) if group.movers else (makers, readers):
            if len(agreed) == 1:
                return agreed.pop()
        scheme = next(iter(self._wishes.values())).scheme
        return cast("IntegerType", scheme.activation)

    def _made_in(self, value: Value) -> IntegerType | None:
        """Return the element type in which an integer node makes `value`; None for all others and for movers."""
        wish = self._wish_of_maker(value)
        return None if wish is None else wish.activation

    def _fixed(self, value: Value) -> Encoding | None:
        wish = self._wish_of_maker(value)
        if wish is None or wish.output is None:
            return None
        return per_tensor(wish.activation, wish.output.scale, wish.output.zero_point)

    def _wish_of_maker(self, value: Value) -> Wishes | None:
        maker = value.producer()
        if maker is None or maker not in self.computed or self._wishes[maker].moves:
            return None
        return self._wishes[maker]

    def _found(self, members: Sequence[Value], constants: Sequence[Value] = ()) -> Range:
        """Return the interval that holds all numbers of these tensors."""
        found = [self._ranges.of(cast("str", value.name)) for value in members]
        found += [Range(low, 0.0) for value in members if (low := self._masks.carriers.get(value)) is not None]
        for value in constants:
            array = numbers(value)
            found.append(Range(float(array.min(initial=0.0)), float(array.max(initial=0.0))))
        union = found[0]
        for other in found[1:]:
            union = union.union(other)
        return union

    def _narrowed(self, group: Group, found: Range, dtype: IntegerType) -> Range:
        """Leave out what no reader can tell apart; a graph output counts as a reader that can."""
        floors = [floor for value in group.members if (floor := self._mask_floor(value, dtype)) is not None]
        if floors:
            return Range(min(floors), max(found.high, min(floors)))
        if any(value.is_graph_output() for value in group.members):
            return found
        readers = [(use.node, value) for value in group.members for use in value.uses() if use.node not in group.movers]
        return narrowed(found, readers, dtype)

    def _mask_floor(self, value: Value, dtype: IntegerType) -> float | None:
        """Return the least number worth holding of masked scores, None for other tensors.

        The encoding reaches down to it even when no sample had anything masked, and what is masked saturates there.
        """
        if value not in self._masks.scores:
            return None
        floors = [
            softmax_floor(node, read, peak, dtype)
            for node, read in softmaxes_behind(value)
            if (peak := self._ranges.of(cast("str", read.name)).row_peak) is not None
        ]
        return min(floors, default=None)

    def _covering(self, found: Range, dtype: IntegerType) -> Encoding:
        scheme = next(iter(self._wishes.values())).scheme
        spare = HEADROOM if dtype in ("uint16", "int16") else 1.0
        return per_tensor(
            dtype, *affine(found.low * spare, found.high * spare, dtype, symmetric=scheme.activation_symmetric)
        )
