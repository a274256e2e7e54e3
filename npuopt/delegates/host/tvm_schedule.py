"""The schedule of a whole module: each fused function gets the loop orders that fit its blocks.

TVM's own CPU build has none; it runs many times slower (measured: 12 to 204 times ONNX Runtime).
"""

from __future__ import annotations

from npuopt.delegates.host.tvm_api import Block, Function, Module, Schedule, s_tir, tirx
from npuopt.delegates.host.tvm_blocks import inline_elementwise, role_of, same_place
from npuopt.delegates.host.tvm_products import DEPTHWISE, PAD, PRODUCT
from npuopt.delegates.host.tvm_rows import LANES, ROW
from npuopt.delegates.host.tvm_schedule_loops import schedule_loops
from npuopt.delegates.host.tvm_schedule_product import schedule_padding, schedule_product
from npuopt.delegates.host.tvm_schedule_rows import UnfitError, schedule_rows

SCHEDULED = "tirx.is_scheduled"


def schedule_module(module: Module, lanes: int) -> tuple[Module, list[str]]:
    """Schedule every loop function of a module.

    Returns:
        The new module, and the names of the functions that TVM refused to schedule as planned and that run with
        plain loops.
    """
    plain: list[str] = []
    for variable, function in list(module.functions_items()):
        if not isinstance(function, tirx.PrimFunc) or (function.attrs and SCHEDULED in function.attrs):
            continue
        scheduled, planned = schedule_function(function, lanes)
        if not planned:
            plain.append(variable.name_hint)
        module.update_func(variable, scheduled.with_attr(SCHEDULED, 1))
    return module, plain


def schedule_function(function: Function, lanes: int) -> tuple[Function, bool]:
    """The function with ordered loops, and whether they are the planned ones; as it was if TVM refuses any."""
    attributes = dict(function.attrs.items()) if function.attrs else {}
    for planned in (True, False):
        schedule = s_tir.Schedule(function)
        try:
            _schedule(schedule, lanes, planned=planned)
        except (s_tir.ScheduleError, UnfitError):
            continue
        return schedule.mod["main"].with_attrs(attributes), planned
    return function, False


def _schedule(schedule: Schedule, lanes: int, *, planned: bool) -> None:
    root = schedule.get_sblock("root")
    inline_elementwise(schedule, root)
    blocks = schedule.get_child_blocks(root)
    roles = [role_of(schedule, block) if planned else "" for block in blocks]
    if {ROW, LANES} & set(roles):
        schedule_rows(schedule, root, lanes)
        return
    products = [block for block, role in zip(blocks, roles, strict=True) if role in (PRODUCT, DEPTHWISE)]
    consumed = [consumer for block in products for consumer in schedule.get_consumers(block)]
    for block, role in zip(blocks, roles, strict=True):
        if role == PAD:
            schedule_padding(schedule, block, lanes)
        elif role not in (PRODUCT, DEPTHWISE) and not _is_last_step(schedule, block, products, consumed):
            schedule_loops(schedule, block, lanes)
    for block in products:
        schedule_product(schedule, block)


def _is_last_step(schedule: Schedule, block: Block, products: list[Block], consumed: list[Block]) -> bool:
    """Whether a product's own loops are going to carry `block`."""
    if not any(schedule.get(block).same_as(schedule.get(consumer)) for consumer in consumed):
        return False
    return any(same_place(schedule, product, block) for product in products)
