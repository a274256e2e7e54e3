"""Encodings of activations: groups that share one, element types, fixed outputs, and conversions at single uses."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, cast

from npuopt.graph import is_constant, is_op, producer
from npuopt.quantization.arithmetic import SIXTEEN_BITS, affine, limits
from npuopt.quantization.assignment.needs import BOUNDED, clip_bounds, narrowed, softmax_floor
from npuopt.quantization.assignment.sharing import Group, share_groups
from npuopt.quantization.assignment.weights import numbers
from npuopt.quantization.channels.joint import EVENED
from npuopt.quantization.encodings import Encoding, covers, per_tensor
from npuopt.quantization.masks import find_masks, softmaxes_behind
from npuopt.quantization.node_encoding import encoding_at
from npuopt.quantization.ranges import Range
from npuopt.quantization.roles import float_values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from npuopt.graph import Model, Node, Value
    from npuopt.quantization.arithmetic import IntegerType
    from npuopt.quantization.assignment.wishes import Wishes
    from npuopt.quantization.ranges import Ranges

HEADROOM = 2.0
"""By how much 16-bit encodings go beyond what calibration saw: one bit of sixteen for numbers that few samples miss.
Measured on a decode step calibrated with 20 tokens: perplexity +6.4 % without, -0.1 % with 1.5, 2 or 4. Eight bits
have none to spare."""

EVENED_HEADROOM = 1.3
"""The same for operands of 8 bits among nodes of 16 whose channels all have the range of the tensor since factors were
moved between them: new data goes beyond it in some channel sooner or later. Measured on MiniLM's keys and values at
a16w8: cosine of embeddings 0.99952 instead of 0.99930."""


LIKE = 4.0
"""Up to which ratio of their ranges the inputs of a Concat share an encoding, unless the target asks for it anyway."""


CUTS = ("Clip", "Relu")
"""Ops that cut a range: to round to the encoding of their result before them is the same as behind them."""


class ActivationPlan:
    """The encodings of a model's activations.

    Attributes:
        tensors: encoding by tensor name.
        computed: the nodes computed in integers. Ops that only move numbers are among them when what they move
            comes from or goes to another such node; between float nodes they stay float.
    """

    def __init__(
        self, model: Model, wishes: Mapping[Node, Wishes], ranges: Ranges, alike: Mapping[str, Encoding] | None = None
    ) -> None:
        self.tensors: dict[str, Encoding] = {}
        self._alike = alike or {}
        self._wishes = wishes
        self._ranges = ranges
        self._symmetric = {wish.scheme.activation: wish.scheme.activation_symmetric for wish in wishes.values()}
        self._shifts = any(wish.scheme.power_of_two for wish in wishes.values())
        self._masks = find_masks(model)
        self._groups: dict[str, Group] = {}
        self._carried: dict[Node, Encoding] = {}
        movers = [node for node, wish in wishes.items() if wish.moves or self._joins_like_with_like(wish)]
        self.movers = frozenset(movers)
        self.computed: set[Node] = {node for node in wishes if node not in self.movers}
        for group in share_groups(float_values(model), movers):
            if any(self._is_quantized(value) for value in group.members):
                self.computed.update(group.movers)
                self._assign(group)
        for node in reversed([node for node in wishes if is_op(node, *CUTS)]):
            self._round_once(node)

    def at(self, wish: Wishes, index: int, value: Value) -> Encoding:
        """Return the encoding in which a node reads the activation at `index`."""
        name = cast("str", value.name)
        if wish.node in self.movers:
            return self._carried[wish.node]
        own = self.tensors[name]
        wanted = wish.operand(index)
        return own if own.dtype == wanted else self._covering(self._groups[name], wanted)

    def carried(self, mover: Node) -> Encoding:
        """Return the one encoding of everything that the op reads and writes."""
        return self._carried[mover]

    def _joins_like_with_like(self, wish: Wishes) -> bool:
        """Say whether a Concat loses little when its inputs share one encoding, which spares converting them.

        So a cache and what is appended to it are held alike, and what one step writes the next one reads unchanged.
        """
        if not is_op(wish.node, "Concat"):
            return False
        inputs = [value for _, value, _ in wish.inputs() if not is_constant(value)]
        widths = [seen.high - seen.low for seen in (self._ranges.of(cast("str", value.name)) for value in inputs)]
        return len(inputs) == len(wish.node.inputs) and max(widths) <= LIKE * min(widths)

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
        else:
            leavers += [value for value in fixed if value not in leavers]
            encoding = self._covering(group, dtype)
        for value in group.members:
            self._set(value, encoding, group)
        for mover in group.movers:
            self._carried[mover] = encoding
        for value in leavers if group.movers else ():
            alone = Group([value])
            self._set(value, fixed.get(value) or self._covering(alone, self._made_in(value) or dtype), alone)

    def _set(self, value: Value, encoding: Encoding, group: Group) -> None:
        name = cast("str", value.name)
        self.tensors[name] = encoding
        self._groups[name] = group

    def _dtype(self, group: Group) -> IntegerType:
        """Choose the group's element type: what its readers agree on, else what its makers agree on.

        Conversions then lie ahead of the movers, where there is less to convert: one step of a cache, and not all
        of it each time it is read. A tensor that nothing moves is held as its maker makes it. Where they agree on
        nothing that the movers can carry, it is the widest type that loses nothing of what any of them has.
        """
        readers: set[IntegerType] = {
            self._wishes[use.node].operand(use.idx)
            for value in group.members
            for use in value.uses()
            if use.node in self.computed and use.node not in group.movers
        }
        makers: set[IntegerType] = {made for value in group.members if (made := self._made_in(value)) is not None}
        known = [carried for mover in group.movers if (carried := self._wishes[mover].carries)]
        taken = reduce(lambda one, other: one & other, known) if known else frozenset(readers | makers)
        elsewhere = [other.dtype for other in self._elsewhere(group)] if group.movers else []
        shared = {kind for kind in taken if kind in elsewhere}
        if len(shared) == 1:
            return cast("IntegerType", shared.pop())
        for agreed in (readers, makers) if group.movers else (makers, readers):
            if len(agreed) == 1 and agreed <= taken:
                return agreed.pop()
        return max((readers | makers) & taken or taken or readers | makers, key=_bits)

    def _round_once(self, cut: Node) -> None:
        """Hold what only a Relu or Clip reads as its result is held, so that compilers fuse it with the op ahead.

        Two encodings that differ a little, since one of them is shared with others, cost a rounding more and an
        operator of its own: SqueezeNet's cycles on an Ethos-U are then 1.5 times as many.
        """
        value, made = cut.inputs[0], cut.outputs[0].name or ""
        if value is None or cut not in self.computed or cut in self.movers or made not in self.tensors:
            return
        name = value.name or ""
        own = self._groups.get(name)
        if own is None or own.movers or len(value.uses()) != 1 or value.is_graph_output() or name in self._alike:
            return
        encoding = self.tensors[made]
        if self._fixed(value) is None and self._made_in(value) == encoding.dtype == self.tensors[name].dtype:
            self.tensors[name] = encoding

    def _made_in(self, value: Value) -> IntegerType | None:
        """Return the element type in which an integer node makes `value`; None for all others and for movers."""
        if (held := held_before(value)) is not None:
            return held.dtype
        wish = self._wish_of_maker(value)
        return None if wish is None else wish.activation

    def _fixed(self, value: Value) -> Encoding | None:
        if (held := held_before(value)) is not None:
            return held
        wish = self._wish_of_maker(value)
        if wish is None or wish.output is None:
            return None
        return per_tensor(wish.activation, wish.output.scale, wish.output.zero_point)

    def _wish_of_maker(self, value: Value) -> Wishes | None:
        maker = value.producer()
        if maker is None or maker not in self.computed or maker in self.movers:
            return None
        return self._wishes[maker]

    def _covering(self, group: Group, dtype: IntegerType) -> Encoding:
        """Return the encoding that covers what is worth holding of the group's numbers."""
        found = self._narrowed(group, self._found(group, dtype), dtype)
        for other in self._elsewhere(group):
            if other.dtype == dtype and covers(other, found):
                return other
            found = found.union(Range(*other.range))
        return per_tensor(
            dtype, *affine(found.low, found.high, dtype, symmetric=self._is_symmetric(dtype), shifts=self._shifts)
        )

    def _elsewhere(self, group: Group) -> list[Encoding]:
        """Return how tensors of the group are held in another model that shares them."""
        return [self._alike[value.name or ""] for value in group.members if value.name in self._alike]

    def _is_symmetric(self, dtype: IntegerType) -> bool:
        return self._symmetric.get(dtype, next(iter(self._symmetric.values())))

    def _found(self, group: Group, dtype: IntegerType) -> Range:
        """Return the interval that holds all numbers of the group's tensors, with headroom for those not seen."""
        parts = [
            self._let_through(value, group, self._seen(value, dtype, self._spare(value, dtype, group)))
            for value in group.members
        ]
        parts += [Range(low, 0.0) for value in group.members if (low := self._masks.carriers.get(value)) is not None]
        for value in group.constants:
            array = numbers(value)
            parts.append(Range(float(array.min(initial=0.0)), float(array.max(initial=0.0))))
        return reduce(Range.union, parts)

    def _spare(self, value: Value, dtype: IntegerType, group: Group) -> float:
        """Return by how much the range of a tensor is widened for numbers that calibration did not see."""
        if value.producer() in group.movers:
            return 1.0
        if dtype in SIXTEEN_BITS:
            return HEADROOM
        return EVENED_HEADROOM if EVENED in value.metadata_props and self._made_in(value) in SIXTEEN_BITS else 1.0

    def _let_through(self, value: Value, group: Group, seen: Range) -> Range:
        """Leave out what the group's own ops cut off, of a member that they alone read."""
        readers = [use.node for use in value.uses()]
        if value.is_graph_output() or not readers or not all(is_op(node, *CUTS) for node in readers):
            return seen
        if not all(node in group.movers for node in readers):
            return seen
        return narrowed(seen, [(node, value) for node in readers], self._wishes[readers[0]].activation)

    def _seen(self, value: Value, dtype: IntegerType, spare: float) -> Range:
        """Return what calibration makes of a tensor, with room to spare; all there can be where its maker bounds it."""
        maker = value.producer()
        if maker is not None and is_op(maker, *BOUNDED):
            return Range(*BOUNDED[maker.op_type])
        seen = self._ranges.of(cast("str", value.name), dtype, symmetric=self._is_symmetric(dtype))
        spacious = Range(seen.low * spare, seen.high * spare, seen.row_peak)
        return spacious.within(*clip_bounds(maker)) if maker is not None and is_op(maker, "Clip") else spacious

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


def held_before(value: Value) -> Encoding | None:
    """Return the encoding of a tensor that the float model itself holds as integers, with one scale."""
    maker = producer(value, "DequantizeLinear")
    encoding = None if maker is None else encoding_at(maker)
    return encoding if isinstance(encoding, Encoding) and encoding.axis is None else None


def _bits(dtype: IntegerType) -> tuple[int, str]:
    smallest, largest = limits(dtype)
    return largest - smallest, dtype
