"""Moves convolutions and what surrounds them to channels-last (NHWC), where the channels fill the vectors.

Each operator that can work on NHWC does so once one of its inputs is there, and is followed by a transpose back for
whoever still wants NCHW; the transposes that nobody reads are dead code. TVM's own pass knows more operators, but
gives wrong shapes after RMSNormalization and ends the process on a negative axis of Squeeze.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from npuopt.delegates.host.tvm_api import Call, Expression, Module, relax, tvm
from npuopt.delegates.host.tvm_legalize import constant_value, static_shape

if TYPE_CHECKING:
    from collections.abc import Sequence

TO_LAST, TO_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)
UNARY = frozenset({
    "relax.abs", "relax.ceil", "relax.clip", "relax.cos", "relax.cosh", "relax.erf", "relax.exp", "relax.floor",
    "relax.log", "relax.negative", "relax.nn.gelu", "relax.nn.gelu_tanh", "relax.nn.leakyrelu", "relax.nn.relu",
    "relax.nn.relu6", "relax.nn.silu", "relax.nn.softplus", "relax.round", "relax.rsqrt", "relax.sigmoid",
    "relax.sign", "relax.sin", "relax.sinh", "relax.sqrt", "relax.square", "relax.tan", "relax.tanh",
})  # fmt: skip
BINARY = frozenset({
    "relax.add", "relax.divide", "relax.maximum", "relax.minimum", "relax.multiply", "relax.power", "relax.subtract",
})  # fmt: skip
REDUCTIONS = frozenset({"relax.max", "relax.mean", "relax.min", "relax.sum"})
POOLS = frozenset({"relax.nn.max_pool2d", "relax.nn.avg_pool2d"})

Remake: TypeAlias = Callable[["_ChannelsLastMutator", Call], "Expression | None"]


def move_channels_last(module: Module) -> Module:
    """Move every two-dimensional convolution of `main` to NHWC, with the operators around it."""
    mutator = _ChannelsLast(module)
    for variable, function in module.functions_items():
        if isinstance(function, relax.Function):
            mutator.builder_.update_func(variable, mutator.visit_expr(function))
    return mutator.builder_.get()


class _ChannelsLastMutator(relax.PyExprMutator):
    """Rewrites one call after the other; a call that is not rewritten sees NCHW as before."""

    def visit_call_(self, op: Call) -> Expression:
        """Rewrite one call."""
        call = self.visit_expr_post_order(op)
        name = call.op.name if isinstance(call.op, tvm.ir.Op) else ""
        remake = REMAKES.get(name)
        made = remake(self, call) if remake is not None else None
        if made is None:
            return call
        return relax.op.permute_dims(self.builder_.emit(made), TO_FIRST)

    def twin(self, expression: Expression) -> Expression | None:
        """The NHWC tensor of which `expression` is the transpose back, if it is one."""
        while isinstance(expression, relax.Var):
            expression = self.lookup_binding(expression)
        if not isinstance(expression, tvm.ir.Call) or not expression.op.same_as(PERMUTE):
            return None
        if tuple(int(axis) for axis in expression.attrs.axes or ()) == TO_FIRST:
            return expression.args[0]
        return None

    def last(self, expression: Expression) -> Expression:
        """The expression in NHWC."""
        known = constant_value(expression)
        if known is not None:
            return relax.const(np.ascontiguousarray(known.transpose(TO_LAST)), str(known.dtype))
        twin = self.twin(expression)
        return self.builder_.emit(relax.op.permute_dims(expression, TO_LAST)) if twin is None else twin


_ChannelsLast = relax.expr_functor.mutator(_ChannelsLastMutator)
PERMUTE = tvm.ir.Op.get("relax.permute_dims")


def _convolution(mutator: _ChannelsLastMutator, call: Call) -> Expression | None:
    data, kernel = call.args
    attributes = call.attrs
    weight = constant_value(kernel)
    if (attributes.data_layout, attributes.kernel_layout, attributes.out_layout) != ("NCHW", "OIHW", "NCHW"):
        return None
    if weight is None:
        filters = relax.op.permute_dims(kernel, (2, 3, 1, 0))
    else:
        filters = relax.const(np.ascontiguousarray(weight.transpose(2, 3, 1, 0)), str(weight.dtype))
    return relax.op.nn.conv2d(
        mutator.last(data),
        filters,
        strides=attributes.strides,
        padding=attributes.padding,
        dilation=attributes.dilation,
        groups=attributes.groups,
        data_layout="NHWC",
        kernel_layout="HWIO",
        out_layout="NHWC",
    )


def _elementwise(mutator: _ChannelsLastMutator, call: Call) -> Expression | None:
    if all(mutator.twin(operand) is None for operand in call.args):
        return None
    moved = [_aligned(mutator, operand) for operand in call.args]
    return None if any(operand is None for operand in moved) else tvm.ir.Call(call.op, moved, call.attrs)


def _aligned(mutator: _ChannelsLastMutator, operand: Expression) -> Expression | None:
    """An operand of an elementwise function in NHWC, or None: it has to be of rank 4, or a constant, or a scalar."""
    if not isinstance(operand.ty, relax.TensorType):
        return operand  # a number, such as a bound of clip
    shape, known = static_shape(operand), constant_value(operand)
    if shape is None or len(shape) > 4:
        return None
    if not shape or len(shape) == 4:
        return mutator.last(operand) if shape else operand
    if known is None:
        return None
    widened = known.reshape((1,) * (4 - known.ndim) + known.shape)
    return relax.const(np.ascontiguousarray(widened.transpose(TO_LAST)), str(known.dtype))


def _concat(mutator: _ChannelsLastMutator, call: Call) -> Expression | None:
    parts = call.args[0]
    while isinstance(parts, relax.Var):
        parts = mutator.lookup_binding(parts)
    if call.attrs.axis is None or not isinstance(parts, relax.Tuple):
        return None
    if any(len(static_shape(part) or ()) != 4 for part in parts) or all(mutator.twin(p) is None for p in parts):
        return None
    return relax.op.concat([mutator.last(part) for part in parts], axis=_moved_axes([call.attrs.axis])[0])


def _reduction(mutator: _ChannelsLastMutator, call: Call) -> Expression | None:
    twin = mutator.twin(call.args[0])
    if twin is None or call.attrs.axis is None or not call.attrs.keepdims:
        return None
    function = getattr(relax.op, call.op.name.removeprefix("relax."))
    return function(twin, axis=_moved_axes(call.attrs.axis), keepdims=True)


def _pool(mutator: _ChannelsLastMutator, call: Call) -> Expression | None:
    twin, attributes = mutator.twin(call.args[0]), call.attrs
    if twin is None or (attributes.layout, attributes.out_layout) != ("NCHW", "NCHW"):
        return None
    function = getattr(relax.op.nn, call.op.name.removeprefix("relax.nn."))
    names = ("pool_size", "strides", "dilation", "padding", "ceil_mode", "count_include_pad")
    same: dict[str, Any] = {name: getattr(attributes, name) for name in names}
    return function(twin, **same, layout="NHWC", out_layout="NHWC")


def _moved_axes(axes: Sequence[Any]) -> list[int]:
    """Where axes of NCHW lie in NHWC."""
    return [TO_LAST.index(int(axis) % 4) for axis in axes]


REMAKES: Mapping[str, Remake] = {
    **dict.fromkeys(UNARY | BINARY, _elementwise),
    **dict.fromkeys(REDUCTIONS, _reduction),
    **dict.fromkeys(POOLS, _pool),
    "relax.concat": _concat,
    "relax.nn.conv2d": _convolution,
}
