"""What the Ethos-U road reads from Vela: placement and figures."""

from __future__ import annotations

import pytest

from npuopt.delegates.ethosu.summary import figures
from npuopt.delegates.litert.placement import nodes_on_device
from support.rewrites import model_from

MODEL = """(float[1, 4] x) => (float[1, 4] y)
<float scale = {0.1}, int8 zero = {0}> {
  [q0] xq = QuantizeLinear(x, scale, zero)
  [d0] xd = DequantizeLinear(xq, scale, zero)
  [root] r = Sqrt(xd)
  [q1] rq = QuantizeLinear(r, scale, zero)
  [d1] rd = DequantizeLinear(rq, scale, zero)
  [positive] p = Relu(rd)
  [q2] pq = QuantizeLinear(p, scale, zero)
  [d2] y = DequantizeLinear(pq, scale, zero)
}"""


def placed(operators, reasons):
    return {node.name: node for node in nodes_on_device(model_from(MODEL), operators, reasons, "ethos-u")}


def test_everything_in_a_command_stream_is_on_the_npu():
    assert all(node.on_npu for node in placed([("ethos-u", ["pq"])], {}).values())


def test_an_operator_that_is_left_belongs_to_the_node_whose_quantized_output_it_makes():
    nodes = placed([("SQRT", ["rq"]), ("ethos-u", ["pq"])], {"rq": "Unsupported opType"})
    assert (nodes["root"].on_npu, nodes["root"].reason) == (False, "Unsupported opType")
    assert [name for name, node in nodes.items() if not node.on_npu] == ["root"]


def test_a_conversion_belongs_to_the_quantize_node():
    nodes = placed([("QUANTIZE", ["xq"]), ("ethos-u", ["y"])], {})
    assert [name for name, node in nodes.items() if not node.on_npu] == ["q0"]


def test_what_the_exporter_added_is_found_by_the_name_it_grew_from():
    assert not placed([("SQRT", ["rq_transposed"])], {})["root"].on_npu


def test_an_operator_of_no_node_is_listed_all_the_same():
    nodes = placed([("RANGE", ["elsewhere"])], {})
    assert (nodes["elsewhere"].op_type, nodes["elsewhere"].on_npu) == ("RANGE", False)


ROW = {
    "core_clock": "500000000.0", "inferences_per_second": "nan", "nn_macs": "1024", "total_original_weights": "64",
    "total_npu_encoded_weights": "96", "cycles_npu": "1568", "cycles_total": "1600", "cycles_sram_access": "288",
    "cycles_dram_access": "0", "cycles_on_chip_flash_access": "0", "cycles_off_chip_flash_access": "7",
    "sram_memory_used": "1.5", "dram_memory_used": "0.0", "on_chip_flash_memory_used": "0.0",
    "off_chip_flash_memory_used": "0.25", "weights_storage_area": "Off-chip Flash", "feature_map_storage_area": "SRAM",
}  # fmt: skip


def test_figures_have_their_units():
    found = figures(ROW)
    assert found["cycles"] == {
        "npu": 1568, "sram": 288, "dram": 0, "on_chip_flash": 0, "off_chip_flash": 7, "total": 1600
    }  # fmt: skip
    assert (found["sram_bytes"], found["off_chip_flash_bytes"], found["clock_mhz"]) == (1536, 256, 500)
    assert found["inferences_per_second"] is None


def test_a_summary_of_another_form_is_no_summary():
    with pytest.raises(KeyError):
        figures({name: value for name, value in ROW.items() if name != "cycles_total"})
