"""Index arithmetic and embedding lookups ahead of the device are counted apart from what falls back."""

import numpy as np
import pytest

from npuopt.graph import Session
from npuopt.partition import extract_region, partition
from npuopt.target import parse_target
from support.partition_toys import TARGET, model_from, where

TABLE = ", ".join(str(number) for number in range(32))
CONSTANTS = f"float[8, 4] table = {{{TABLE}}}, int64 one = {{1}}, int64 zero = {{0}}, float none = {{0}}"
INPUTS = "int64[4] ids, bool[4] seen"
HEAD = """shifted = Add(ids, one)  low = Less(shifted, one)  known = And(seen, low)
    safe = Where(known, zero, ids)  rows = Gather(table, safe)"""
TAIL = "a = MatMul(rows, rows)  b = Relu(a)  y = Add(b, rows)"


def embedded(head=HEAD, tail=TAIL, inputs=INPUTS, **more):
    return model_from(f"{head} {tail}", inputs=inputs, constants=CONSTANTS, **more)


def test_what_computes_from_indices_is_one_part_ahead_of_the_device_and_no_fallback():
    plan = partition(embedded(), TARGET)
    assert [place for _, place in where(plan)] == ["edge"] * 5 + ["npu"] * 3
    assert [(part.name, part.kind, part.inputs, part.outputs) for part in plan.parts] == [
        ("host-0", "host", ("ids", "seen"), ("rows",)),
        ("npu-0", "npu", ("rows",), ("y",)),
    ]
    assert (plan.summary.npu, plan.summary.host, plan.summary.edge) == (3, 0, 5)
    assert plan.summary.npu_fraction == 1.0
    assert plan.placements[4].reasons == ("Gather is not among the ops that toy/chip takes",)


def test_the_parts_give_the_numbers_of_the_whole():
    model = embedded()
    feeds = {"ids": np.array([1, 7, 0, 3]), "seen": np.array([True, False, True, True])}
    values = dict(feeds)
    for part in partition(model, TARGET).parts:
        values.update(Session(extract_region(model, part)).run(values))
    np.testing.assert_array_equal(values["y"], Session(model).run(feeds)["y"])


def test_a_mask_made_of_integers_is_ahead_too_and_its_float_arithmetic_is_not():
    head = "rows = Gather(table, ids)  wide = Cast<to = 1>(seen)  mask = Sub(wide, none)  sum = Sin(mask)"
    plan = partition(embedded(head, "a = MatMul(rows, rows)  b = Relu(a)  y = Add(b, sum)"), TARGET)
    assert where(plan)[:4] == [("Gather", "edge"), ("Cast", "host"), ("Sub", "host"), ("Sin", "host")]
    assert [place for _, place in where(plan)[4:]] == ["npu"] * 3
    plan = partition(
        embedded("rows = Gather(table, ids)  wide = Cast<to = 1>(seen)", TAIL.replace("Add(b, rows", "Add(b, wide")),
        TARGET,
    )
    assert [place for _, place in where(plan)] == ["edge", "edge", "npu", "npu", "npu"]


@pytest.mark.parametrize(
    ("head", "inputs", "outputs"),
    [
        ("rows = Gather(x, ids)", "int64[4] ids, float[4, 4] x", "float[4, 4] y"),  # looks up what is computed
        (
            "c = ConvInteger(q, k)  rows = Cast<to = 1>(c)",
            "uint8[1, 1, 4, 4] q, uint8[1, 1, 1, 1] k",
            "float[a,b,c,d] y",
        ),
        ("p = MatMul(i, i)  rows = Cast<to = 1>(p)", "int64[4, 4] i", "float[4, 4] y"),
        ("s = Sin(x)  t = Cast<to = 7>(s)  rows = Gather(table, t)", "float[4] x", "float[4, 4] y"),
    ],
)
def test_floats_and_products_of_integers_are_no_indices(head, inputs, outputs):
    plan = partition(embedded(head, inputs=inputs, outputs=outputs), TARGET, min_nodes=1)
    assert plan.summary.edge == 0
    assert plan.summary.host == head.count("=") - head.count("to =")


def test_arithmetic_that_the_device_takes_goes_where_it_is_read():
    target = parse_target(
        """
        name: toy/integers
        title: Toy
        source: invented
        delegate: {road: tvm, triple: none, cpu: none}
        schemes: {fp32: {activation: float32}}
        ops:
          MatMul: {schemes: [fp32]}
          Relu: {schemes: [fp32]}
          Add: {schemes: [fp32], dtypes: {inputs: {all: [int64]}, outputs: {all: [int64]}}}
          Mul: {schemes: [fp32], dtypes: {inputs: {all: [int64]}, outputs: {all: [int64]}}}
        """
    )
    head = "p = Add(ids, one)  q = Add(p, p)  r = Mul(q, one)  safe = Mod(r, one)  rows = Gather(table, safe)"
    plan = partition(embedded(head, inputs="int64[4] ids"), target)
    assert [part.kind for part in plan.parts] == ["host", "npu"]
    assert plan.summary.edge == 5
    assert "only nodes of the host edge read it" in plan.placements[0].reasons[0]


def test_what_leads_to_no_device_is_plain_host_work():
    plan = partition(
        embedded("rows = Gather(table, ids)", "y = Sin(rows)  z = Neg(ids)", outputs="float[4,4] y, int64[4] z"), TARGET
    )
    assert (plan.summary.npu, plan.summary.host, plan.summary.edge) == (0, 3, 0)
    assert plan.summary.npu_fraction == 0.0


def test_an_output_of_the_edge_may_be_the_models_too():
    plan = partition(embedded(outputs="float[4,4] y, float[4,4] rows"), TARGET)
    assert plan.parts[0].outputs == ("rows",)
    assert plan.summary.edge == 5
