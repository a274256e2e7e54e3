"""Encodings files of other tools, read and written."""

import json

import pytest

from npuopt.errors import InputError
from npuopt.graph import note_origins
from npuopt.quantization.encodings import Encoding, Encodings, per_tensor
from npuopt.quantization.incoming.foreign import named_in, read_foreign
from npuopt.quantization.incoming.foreign_export import foreign_text
from support.rewrites import model_from

MODEL = """(float[1,2] x) => (float[1,3] y) <float[2,3] w = {1,2,3,4,5,6}, float[3] b = {1,2,3}> {y = Gemm(x, w, b)}"""
OLD = {"bitwidth": 8, "dtype": "int", "is_symmetric": "False", "scale": 0.5, "offset": -3, "min": -1.5, "max": 126}
NEW = {"name": "x", "enc_type": "PER_TENSOR", "bw": 8, "dtype": "INT", "is_sym": False, "scale": [0.5], "offset": [-3]}
READS = {
    "AIMET 0.6.1": ({"activation_encodings": {"x": [OLD]}, "param_encodings": {}}, per_tensor("uint8", 0.5, 3)),
    "AIMET 0.6.1, ranges alone": (
        {"activation_encodings": {"x": [{"bitwidth": 8, "min": 0.0, "max": 255.0}]}},
        per_tensor("uint8", 1.0, 0),
    ),
    "AIMET 0.6.1, symmetric": (
        {"activation_encodings": {"x": [{**OLD, "is_symmetric": "True", "offset": -128}]}},
        per_tensor("int8", 0.5, 0),
    ),
    "AIMET 0.6.1, strictly symmetric": (
        {"activation_encodings": {"x": [{**OLD, "bitwidth": 4, "is_symmetric": "True", "offset": -7}]}},
        per_tensor("int4", 0.5, 0),
    ),
    "AIMET 1.0.0": ({"version": "1.0.0", "activation_encodings": [NEW]}, per_tensor("uint8", 0.5, 3)),
    "ONNX Runtime": ({"x": [{"quant_type": "QInt16", "scale": 0.5, "zero_point": 7}]}, per_tensor("int16", 0.5, 7)),
    "ONNX Runtime, ranges": ({"x": [{"quant_type": "QUInt8", "rmin": 0, "rmax": 255}]}, per_tensor("uint8", 1.0, 0)),
}


def written(tmp_path, document):
    path = tmp_path / "encodings.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    return path


@pytest.mark.parametrize("case", READS)
def test_one_tensor(case, tmp_path):
    document, wanted = READS[case]
    assert read_foreign(written(tmp_path, document)) == {"x": (wanted, None)}


def test_several_scales_lie_on_the_axis_of_channels_or_where_the_file_says(tmp_path):
    model = model_from(MODEL)
    channels = {**NEW, "name": "w", "enc_type": "PER_CHANNEL", "scale": [1, 2, 3], "offset": [-128] * 3}
    entries = read_foreign(written(tmp_path, {"param_encodings": [channels], "activation_encodings": []}))
    incoming, unmatched = named_in(entries or {}, model, "file")
    assert incoming.tensors["w"] == Encoding(dtype="int8", scale=(1, 2, 3), zero_point=(0,), axis=1)
    assert incoming.constants == {"w"}
    assert not unmatched
    rows = {"w": [{"quant_type": "QInt8", "axis": 0, "scale": one, "zero_point": 0} for one in (1, 2)], "gone": [OLD]}
    incoming, unmatched = named_in(read_foreign(written(tmp_path, rows)) or {}, model, "file")
    assert incoming.tensors["w"].axis == 0
    assert unmatched == ["gone"]


def test_floats_are_no_integers_to_hold_and_npuopts_own_are_read_elsewhere(tmp_path):
    floats = {"activation_encodings": {"x": [{"bitwidth": 16, "dtype": "float"}]}}
    assert read_foreign(written(tmp_path, floats)) == {}
    assert read_foreign(written(tmp_path, {"format": "npuopt-encodings", "tensors": {}})) is None


BROKEN = {
    "no JSON": ("{", "not JSON"),
    "deep": ("[" * 100_000, "not JSON"),
    "no object": ("[1]", "holds no JSON object"),
    "nobody's": ({"x": 1}, "neither npuopt's encodings, nor AIMET's, nor"),
    "scale zero": ({"x": [{"scale": 0.0, "zero_point": 0}]}, "x.scale.0: Input should be greater than"),
    "scale NaN": ('{"x": [{"scale": NaN}]}', "x.scale.0: Input should be"),
    "zero point": ({"x": [{"quant_type": "QInt8", "scale": 1, "zero_point": 200}]}, "zero point 200 is outside int8"),
    "a type": ({"x": [{"quant_type": "QFLOAT8", "scale": 1}]}, "quant_type"),
    "nothing said": ({"x": [{"quant_type": "QInt8"}]}, "neither a scale nor rmin and rmax"),
    "bits": ({"activation_encodings": {"x": [{**OLD, "bitwidth": 7}]}}, "7 bits"),
    "huge bits": ({"activation_encodings": {"x": [{**OLD, "bitwidth": 10**9}]}}, "less than or equal to 32"),
    "blocks": ({"activation_encodings": [{**NEW, "enc_type": "PER_BLOCK"}]}, "PER_BLOCK"),
    "too few offsets": ({"activation_encodings": [{**NEW, "offset": []}]}, "1 scales and 0 offsets"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_no_encodings_file(case, tmp_path):
    document, why = BROKEN[case]
    with pytest.raises(InputError, match=why):
        read_foreign(written(tmp_path, document))


def test_encodings_of_another_model():
    model = model_from(MODEL)
    with pytest.raises(InputError, match="none of its tensors is in the model"):
        named_in({"z": (per_tensor("int8", 1.0, 0), None)}, model, "file")
    three = Encoding(dtype="int8", scale=(1, 2, 3), zero_point=(0,), axis=0)
    with pytest.raises(InputError, match=r"3 scales for a tensor of shape \[1, 2\]"):
        named_in({"x": (three, None)}, model, "file")


@pytest.mark.parametrize("kind", ["aimet", "aimet-0.6.1", "ort"])
def test_what_is_written_is_read_again(kind, tmp_path):
    source, made = model_from(MODEL), model_from(MODEL)
    note_origins(made)
    tensors = {
        "x": per_tensor("uint8", 0.5, 3),
        "y": per_tensor("uint16", 0.25, 32768),
        "w": Encoding(dtype="int8", scale=(1, 2, 3), zero_point=(0,), axis=1),
        "w/fused": per_tensor("int8", 1.0, 0),
    }
    text, lost = foreign_text(Encodings(tensors=tensors), source, made, kind)
    assert lost == ["w/fused"]
    incoming, unmatched = named_in(read_foreign(written(tmp_path, text)) or {}, source, "file")
    assert not unmatched
    centred = per_tensor("int16", 0.25, 0) if kind != "ort" else tensors["y"]  # the same steps about zero
    assert incoming.tensors == {"x": tensors["x"], "y": centred, "w": tensors["w"]}
