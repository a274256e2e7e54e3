import numpy as np
import pytest

from npuopt.graph import Session, nodes, save, to_proto
from npuopt.partition import extract_region, partition, save_refused
from npuopt.target import parse_target
from support.partition_toys import TARGET, model_from, where

ENCODING = "float scale = {0.05}, uint8 zero = {128}"


def run_parts(model, plan, feeds):
    """Run every part on what the parts before it made."""
    values = dict(feeds)
    for part in plan.parts:
        cut = extract_region(model, part)
        values.update(Session(cut).run({name: values[name] for name in part.inputs}))
    return values


def feeds(seed=0):
    return {"x": np.random.default_rng(seed).normal(size=(4, 4)).astype(np.float32)}


def test_an_accepted_model_is_one_region():
    model = model_from("a = MatMul(x, x)  b = Relu(a)  y = Add(b, x)")
    plan = partition(model, TARGET)
    assert [(part.name, part.kind, part.inputs, part.outputs) for part in plan.parts] == [
        ("npu-0", "npu", ("x",), ("y",))
    ]
    assert plan.summary.npu_fraction == 1.0
    assert plan.summary.npu_mac_fraction == 1.0
    assert plan.parts[0].macs == 4 * 4 * 4


def test_even_a_single_node_goes_to_the_device_when_the_host_has_nothing_to_do():
    assert where(partition(model_from("y = Relu(x)"), TARGET)) == [("Relu", "npu")]


def test_parts_give_the_numbers_of_the_whole():
    model = model_from("a = MatMul(x, x)  b = Sin(a)  c = Relu(a)  d = Add(b, c)  e = Cos(d)  y = Add(e, c)")
    plan = partition(model, TARGET, min_nodes=1)
    assert [part.kind for part in plan.parts] == ["npu", "host", "npu", "host", "npu"]
    np.testing.assert_array_equal(run_parts(model, plan, feeds())["y"], Session(model).run(feeds())["y"])


def test_the_reasons_of_the_target_are_kept():
    plan = partition(model_from("a = Sin(x)  y = Relu(a)"), TARGET)
    assert plan.placements[0].reasons == ("Sin is not among the ops that toy/chip takes",)


def test_a_small_region_goes_to_the_host_and_says_why():
    model = model_from("a = Relu(x)  b = Sin(a)  c = MatMul(b, b)  d = Relu(c)  y = Add(d, d)")
    plan = partition(model, TARGET, min_nodes=3, min_macs=1000)
    assert where(plan) == [("Relu", "host"), ("Sin", "host"), ("MatMul", "npu"), ("Relu", "npu"), ("Add", "npu")]
    assert "region of 1 node(s) and 0 MACs is below 3 nodes and 1000 MACs" in plan.placements[0].reasons[0]
    assert [part.kind for part in plan.parts] == ["host", "npu"]


def test_a_small_region_with_much_work_stays():
    model = model_from("a = Sin(x)  y = MatMul(a, a)")
    assert where(partition(model, TARGET, min_nodes=3, min_macs=64))[1] == ("MatMul", "npu")
    assert where(partition(model, TARGET, min_nodes=3, min_macs=65))[1] == ("MatMul", "host")


def test_quantize_and_dequantize_at_the_edge_are_counted_apart():
    model = model_from(
        "xq = QuantizeLinear(x, scale, zero)  xd = DequantizeLinear(xq, scale, zero)  a = Relu(xd)"
        "aq = QuantizeLinear(a, scale, zero)  ad = DequantizeLinear(aq, scale, zero)  b = Relu(ad)"
        "bq = QuantizeLinear(b, scale, zero)  y = DequantizeLinear(bq, scale, zero)",
        constants=ENCODING,
    )
    plan = partition(model, TARGET, "a8w8")
    assert [place for _, place in where(plan)] == ["edge", "edge", "npu", "npu", "npu", "npu", "edge", "edge"]
    assert (plan.summary.npu, plan.summary.host, plan.summary.edge) == (4, 0, 4)
    assert plan.summary.npu_fraction == 1.0


def quantized_around_the_host():
    return model_from(
        "xq = QuantizeLinear(x, scale, zero)  xd = DequantizeLinear(xq, scale, zero)  a = MatMul(xd, xd)"
        "aq = QuantizeLinear(a, scale, zero)  ad = DequantizeLinear(aq, scale, zero)  h = Sin(ad)"
        "hq = QuantizeLinear(h, scale, zero)  hd = DequantizeLinear(hq, scale, zero)  b = Add(ad, hd)"
        "bq = QuantizeLinear(b, scale, zero)  y = DequantizeLinear(bq, scale, zero)",
        constants=ENCODING,
    )


def test_a_region_quantizes_again_what_another_region_made():
    model = quantized_around_the_host()
    plan = partition(model, TARGET, "a8w8", min_nodes=1)
    last = plan.regions[-1]
    assert last.inputs == ("ad", "h")
    add = nodes(extract_region(model, last), "Add")[0]
    assert [value.producer().op_type for value in add.inputs] == ["DequantizeLinear", "DequantizeLinear"]
    np.testing.assert_array_equal(run_parts(model, plan, feeds())["y"], Session(model).run(feeds())["y"])


def test_constants_go_with_every_region_that_reads_them():
    model = model_from(
        "w = DequantizeLinear(stored, scale, zero)  a = MatMul(x, w)  h = Sin(a)  y = MatMul(h, w)",
        constants=f"uint8[4,4] stored = {{0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15}}, {ENCODING}",
    )
    plan = partition(model, TARGET, min_nodes=1)
    assert where(plan)[0] == ("DequantizeLinear", "npu")
    assert all(part.inputs in (("x",), ("h",)) for part in plan.regions)
    np.testing.assert_array_equal(run_parts(model, plan, feeds())["y"], Session(model).run(feeds())["y"])


def test_extraction_shares_the_weights():
    model = model_from("y = Add(x, w)", constants="float[4,4] w = {0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15}")
    cut = extract_region(model, partition(model, TARGET).parts[0])
    assert cut.graph.initializers["w"].const_value is model.graph.initializers["w"].const_value
    assert nodes(cut)[0] is not nodes(model)[0]


def test_a_node_with_branches_goes_whole_to_the_host_and_gets_what_they_capture():
    model = model_from(
        "a = Relu(x)  b = If(c) <then_branch = t () => (float[4,4] p) { p = Relu(a) },"
        "else_branch = e () => (float[4,4] q) { q = Add(a, w) }>  y = MatMul(b, b)",
        inputs="float[4,4] x, bool c",
        constants="float[4,4] w = {0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15}",
    )
    plan = partition(model, TARGET, min_nodes=1)
    host = next(part for part in plan.parts if part.kind == "host")
    assert host.inputs == ("c", "a")
    given = {**feeds(), "c": np.array(False)}
    np.testing.assert_array_equal(run_parts(model, plan, given)["y"], Session(model).run(given)["y"])


def test_outputs_that_no_node_makes_are_passed_through():
    model = model_from("y = Relu(x)", outputs="float[4,4] y, float[2] k", constants="float[2] k = {1, 2}")
    plan = partition(model, TARGET)
    np.testing.assert_array_equal(run_parts(model, plan, feeds())["k"], [1, 2])


def test_dead_nodes_are_in_no_part():
    plan = partition(model_from("y = Relu(x)  z = Relu(x)  u = Sin(z)"), TARGET)
    assert plan.placements[-1].part == ""
    assert plan.placements[-1].reasons == ("nobody reads what it makes",)


def test_inputs_and_outputs_keep_the_order_of_the_graph():
    model = model_from(
        "v = Relu(b)  u = Relu(a)  z = Add(u, v)",
        inputs="float[4,4] a, float[4,4] b",
        outputs="float[4,4] z, float[4,4] u, float[4,4] v",
    )
    part = partition(model, TARGET).parts[0]
    assert (part.inputs, part.outputs) == (("a", "b"), ("z", "u", "v"))


def test_a_chip_without_float_refuses_what_is_left_in_float():
    integers_only = parse_target("""
name: toy/integers
title: Toy
delegate: {road: tvm, triple: none, cpu: none}
schemes: {a8w8: {activation: uint8, weight: int8}}
ops: {Relu: {schemes: [a8w8]}}
""")
    model = model_from(
        "xq = QuantizeLinear(x, scale, zero)  xd = DequantizeLinear(xq, scale, zero)  a = Relu(xd)"
        "aq = QuantizeLinear(a, scale, zero)  ad = DequantizeLinear(aq, scale, zero)  b = Relu(ad)  y = Relu(b)",
        constants=ENCODING,
    )
    plan = partition(model, integers_only, "a8w8", min_nodes=1)
    assert [place for op, place in where(plan) if op == "Relu"] == ["npu", "host", "host"]
    assert "left in float" in plan.placements[-1].reasons[0]


def test_refused_nodes_are_saved_as_models(tmp_path):
    model = model_from("a = Sin(x)  y = Relu(a)")
    files = save_refused(model, partition(model, TARGET, min_nodes=1), tmp_path / "refused")
    assert [file.name for file in files] == ["0000-Sin-Sin_a.onnx"]
    np.testing.assert_allclose(Session(files[0]).run(feeds())["a"], np.sin(feeds()["x"]), rtol=1e-6)


def random_quantized_model(seed):
    rng = np.random.default_rng(seed)
    pair = "q{0} = QuantizeLinear({0}, scale, zero)  d{0} = DequantizeLinear(q{0}, scale, zero)"
    lines, values = [pair.format("x")], ["dx"]
    for index in range(20):
        op = rng.choice(["Relu", "Add", "Sin", "MatMul"])
        given = rng.choice(values, size=1 if op in ("Relu", "Sin") else 2)
        lines += [f"v{index} = {op}({', '.join(given)})", pair.format(f"v{index}")]
        values += [f"dv{index}"] + [f"v{index}"] * (rng.random() < 0.3)  # some are read before they are quantized
    return model_from("  ".join([*lines, "y = Add(dv19, dv18)"]), constants=ENCODING)


def test_random_cuts_of_quantized_graphs_give_the_same_numbers():
    quantized_again = 0
    for seed in range(12):
        model = random_quantized_model(seed)
        plan = partition(model, TARGET, "a8w8", min_nodes=1)
        assert len(plan.parts) > 2
        quantized_again += any(part.requantize for part in plan.parts)
        np.testing.assert_array_equal(run_parts(model, plan, feeds())["y"], Session(model).run(feeds())["y"])
    assert quantized_again >= 3


@pytest.mark.parametrize("seed", range(5))
def test_random_cuts_give_the_same_numbers(seed, tmp_path):
    rng = np.random.default_rng(seed)
    lines, values = [], ["x"]
    for index in range(25):
        op = rng.choice(["Relu", "Add", "Sin", "Neg"])
        given = rng.choice(values, size=2 if op == "Add" else 1)
        lines.append(f"v{index} = {op}({', '.join(given)})")
        values.append(f"v{index}")
    model = model_from("  ".join([*lines, "y = Add(v24, v23)"]))
    plan = partition(model, TARGET, min_nodes=1)
    assert len(plan.parts) > 2
    np.testing.assert_array_equal(run_parts(model, plan, feeds())["y"], Session(model).run(feeds())["y"])
    assert to_proto(model).graph.output[0].name == "y"
    save(extract_region(model, plan.parts[0]), tmp_path / "part.onnx")
