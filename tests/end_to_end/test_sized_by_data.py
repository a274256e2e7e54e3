"""A detector that ends in NonMaxSuppression: the network is on the chip, what data sizes is the host's behind it."""

import numpy as np
import onnx
import onnx.parser
import pytest

from npuopt import api
from npuopt.errors import InputError, UsageError
from npuopt.road.options import CompileOptions
from support.stepping import literal

pytestmark = [pytest.mark.qnn, pytest.mark.xdist_group("end_to_end")]
pytest.importorskip("onnxruntime_qnn", reason="the qnn extra is not installed")

RNG = np.random.default_rng(0)
FILTERS = {"f": (16, 3, 3, 3), "s": (2, 16, 1, 1), "c": (4, 16, 1, 1)}
CONSTANTS = ", ".join(
    f"float{list(shape)} {name} = {{{literal(RNG.normal(size=shape) / np.sqrt(np.prod(shape[1:])))}}}"
    for name, shape in FILTERS.items()
)
TEXT = f"""<ir_version: 10, opset_import: ["" : 21]>
detector (float[1,3,16,16] image) => (float[1,F,4] boxes, int64[G,3] found)
<{CONSTANTS}, int64 most = {{20}}, float overlap = {{0.5}}, float least = {{0.6}}, float half = {{0.5}},
 int64[3] per_class = {{1,2,64}}, int64[3] per_side = {{1,4,64}}, int64 place = {{2}}> {{
    features = Conv <strides=[2,2], pads=[1,1,1,1]> (image, f) positive = Relu(features)
    score = Conv(positive, s) chance = Sigmoid(score) chances = Reshape(chance, per_class)
    corner = Conv(positive, c) side = Sigmoid(corner) sides = Reshape(side, per_side)
    sized = Transpose <perm=[0,2,1]> (sides)
    middle, size = Split <axis=2, num_outputs=2> (sized) radius = Mul(size, half)
    low = Sub(middle, radius) high = Add(middle, radius) all = Concat <axis=2> (low, high)
    found = NonMaxSuppression(all, chances, most, overlap, least)
    chosen = Gather <axis=1> (found, place) boxes = Gather <axis=1> (all, chosen)
}}"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("detector")
    onnx.save(onnx.parser.parse_model(TEXT), folder / "model.onnx")
    scale = np.linspace(0, 2, 12).reshape(12, 1, 1, 1, 1)  # an image without light shows nothing
    np.savez(folder / "data.npz", image=(scale * RNG.normal(size=(12, 1, 3, 16, 16))).astype(np.float32))
    options = CompileOptions(precision="a16w8", calibration=folder / "data.npz")
    return folder, api.compile(folder / "model.onnx", "qualcomm/sm8750", folder / "out", options)


def test_the_network_is_on_the_chip_and_the_host_ends_it(compiled):
    _, manifest = compiled
    assert manifest.placement.npu_mac_fraction == 1.0
    assert {node.op_type for node in manifest.nodes if node.placement == "host"} == {"NonMaxSuppression", "Gather"}
    assert [step.kind for step in manifest.steps] == ["npu", "host"]


def test_the_simulator_and_the_host_find_what_the_quantized_model_finds(compiled):
    _, manifest = compiled
    found = next(stage for stage in manifest.verification if stage.name == "compiled").outputs
    assert list(found) == ["boxes", "found"]
    assert found["boxes"].other_size == 0
    assert found["boxes"].cosine > 0.999


def test_each_sample_has_as_many_boxes_as_it_has(compiled, tmp_path):
    folder, _ = compiled
    said = api.run(folder / "out", folder / "data.npz", output=tmp_path / "made.npz")
    assert [(output["name"], output["shape"]) for output in said["outputs"]] == [
        ("boxes", [1, None, 4]),
        ("found", [None, 3]),
    ]
    with np.load(tmp_path / "made.npz") as made:
        counts = [len(made[f"found[{number}]"]) for number in range(12)]
        assert [made[f"boxes[{number}]"].shape for number in range(12)] == [(1, count, 4) for count in counts]
    assert counts[0] == 0
    assert max(counts) > 1


def test_a_layer_behind_it_is_refused_with_its_name(tmp_path):
    text = TEXT.replace(
        "boxes = Gather <axis=1> (all, chosen)", "each = Gather <axis=1> (all, chosen) boxes = MatMul(each, w)"
    )
    weight = "float[4,4] w = {1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1}, int64 place"
    onnx.save(onnx.parser.parse_model(text.replace("int64 place", weight)), tmp_path / "model.onnx")
    with pytest.raises(
        InputError, match=r"how much NonMaxSuppression finds depends on the data, and layer \S+ computes"
    ):
        api.compile(tmp_path / "model.onnx", "qualcomm/sm8750", tmp_path / "out", CompileOptions(precision="fp16"))
    assert not (tmp_path / "out").exists()


def test_a_bound_is_held_by_what_the_found_is_computed_from(compiled, tmp_path):
    folder, _ = compiled
    options = CompileOptions(precision="a8w8", calibration=folder / "data.npz", max_drop="sqnr=35")
    record = api.quantize(folder / "model.onnx", "qualcomm/sm8750", tmp_path / "out.onnx", options)
    assert record["search"]["measured"] >= 35


def test_an_output_that_data_sizes_has_no_ratio_of_its_own(compiled, tmp_path):
    folder, _ = compiled
    options = CompileOptions(precision="a8w8", calibration=folder / "data.npz", max_drop="sqnr@boxes=35")
    with pytest.raises(UsageError, match=r"no float output is called 'boxes'") as error:
        api.quantize(folder / "model.onnx", "qualcomm/sm8750", tmp_path / "out.onnx", options)
    assert error.value.hint == "there are found/input_0, found/input_1, boxes/input_0"
