"""Vector forms of exp and what is made of it, erf and tanh: LLVM would call the C library once per lane.

The coefficients are minimax fits made for this file (Lawson-weighted least squares); the largest relative
error in float32 is 2.4e-7 for exp and 4e-7 for erf and tanh.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

from npuopt.delegates.host.tvm_api import Call, Expression, tirx, tvm

LOG2_E = 1.4426950408889634
LN2_HIGH = 0.693359375  # exact in 9 bits, so n * LN2_HIGH is exact for every exponent n
LN2_LOW = -2.12194440054690583e-4
EXP_LOWEST = -87.6  # below it the exponent is -126 and the result is flushed to zero
EXP_HIGHEST = 89.0  # above it the result is infinity
EXP_TAIL = (0.500000007, 0.166666659, 0.0416662949, 0.00833349708, 0.00139446598, 0.000197903417)
SINH_SERIES = (1.0, 1 / 6, 1 / 120, 1 / 5040, 1 / 362880)
ERF_ONE = 3.92
ERF_ABOVE = (1.12837915, 0.190407036, 0.0527487955, 0.00376564124, 0.00028488327, 2.05008248e-06)
ERF_BELOW = (1.0, 0.502076582, 0.114109345, 0.0149692642, 0.00116254145, 3.80916947e-05)
TANH_ONE = 8.5
TANH_ABOVE = (0.999999999, 0.137039412, 0.00389852109, 2.86227079e-05, 3.20939083e-08, -1.33561384e-11)
TANH_BELOW = (1.0, 0.470372739, 0.0273561122, 0.00039920691, 1.33072163e-06)


def exp(x: Expression) -> Expression:
    """e^x as 2^n times a polynomial in the remainder; zero below -87.6, infinity above 88.7, NaN for NaN."""
    dtype = str(x.ty)
    clamped = _clamp(x, EXP_LOWEST, EXP_HIGHEST)
    exponent = tirx.floor(clamped * _constant(LOG2_E, dtype) + _constant(0.5, dtype))
    rest = clamped - exponent * _constant(LN2_HIGH, dtype) - exponent * _constant(LN2_LOW, dtype)
    mantissa = _constant(1.0, dtype) + rest + rest * rest * _polynomial(rest, EXP_TAIL)
    integer = dtype.replace("float", "int")
    # 2^(n-1), doubled at the end: n reaches 128, whose bit pattern would already be infinity.
    bits = (exponent.astype(integer) + _constant(126, integer)) << _constant(23, integer)
    return mantissa * tirx.reinterpret(dtype, bits) * _constant(2.0, dtype)


def erf(x: Expression) -> Expression:
    """The error function as an odd rational function of x, constant beyond 3.92."""
    return _odd_rational(x, ERF_ONE, ERF_ABOVE, ERF_BELOW)


def tanh(x: Expression) -> Expression:
    """The hyperbolic tangent as an odd rational function of x, constant beyond 8.5."""
    return _odd_rational(x, TANH_ONE, TANH_ABOVE, TANH_BELOW)


def sigmoid(x: Expression) -> Expression:
    """1 / (1 + e^-x)."""
    one = _constant(1.0, str(x.ty))
    return one / (one + exp(-x))


def cosh(x: Expression) -> Expression:
    """(e^x + e^-x) / 2."""
    return (exp(x) + exp(-x)) * _constant(0.5, str(x.ty))


def sinh(x: Expression) -> Expression:
    """(e^x - e^-x) / 2; below 1, where the difference would cancel, its Taylor series."""
    square = x * x
    small = x * _polynomial(square, SINH_SERIES)
    large = (exp(x) - exp(-x)) * _constant(0.5, str(x.ty))
    return tirx.Select(square < _constant(1.0, str(x.ty)), small, large)


@functools.cache
def install() -> None:
    """Lower float32 exp, erf, tanh, sigmoid, sinh, cosh and powers with a small constant exponent by these forms.

    The rule table belongs to the process and takes a rule once: call it only in a process that compiles for npuopt.
    """
    for form in (exp, erf, tanh, sigmoid, sinh, cosh):
        _register(form.__name__, form)
    previous = tvm.ir.Op.get("tirx.pow").get_attr("llvm.FLowerIntrinsic")
    tirx.register_intrin_lowering("tirx.pow", target="llvm", f=functools.partial(_power, previous), level=99)


def _register(name: str, form: Callable[[Expression], Expression]) -> None:
    operator = tvm.ir.Op.get(f"tirx.{name}")
    previous = operator.get_attr("llvm.FLowerIntrinsic") or operator.get_attr("llvm.FLegalize")
    previous = previous or operator.get_attr("default.FLowerIntrinsic")
    previous = previous or operator.get_attr("default.FLegalize")

    def lower(call: Call) -> Expression:
        if str(call.ty).startswith("float32"):
            return form(call.args[0])
        return previous(call) if previous else call

    tirx.register_intrin_lowering(f"tirx.{name}", target="llvm", f=lower, level=99)


def _power(previous: Callable[[Call], Expression], call: Call) -> Expression:
    base, exponent = call.args
    value = exponent.value if isinstance(exponent, tirx.Broadcast) else exponent
    if isinstance(value, tirx.FloatImm):
        if value.value == 2.0:
            return base * base
        if value.value == 3.0:
            return base * base * base
        if value.value == 0.5:
            return tirx.sqrt(base)
    return previous(call)


def _constant(value: float, dtype: str) -> Expression:
    return tirx.const(value, dtype)


def _clamp(x: Expression, lowest: float, highest: float) -> Expression:
    low, high = _constant(lowest, str(x.ty)), _constant(highest, str(x.ty))
    # The comparisons are written so that NaN falls through to x.
    raised = tirx.Select(low > x, low, x)
    return tirx.Select(high < raised, high, raised)


def _polynomial(x: Expression, coefficients: Sequence[float]) -> Expression:
    total = _constant(coefficients[-1], str(x.ty))
    for coefficient in reversed(coefficients[:-1]):
        total = total * x + _constant(coefficient, str(x.ty))
    return total


def _odd_rational(x: Expression, bound: float, above: Sequence[float], below: Sequence[float]) -> Expression:
    clamped = _clamp(x, -bound, bound)
    square = clamped * clamped
    return clamped * _polynomial(square, above) / _polynomial(square, below)
