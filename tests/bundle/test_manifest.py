import pytest

from npuopt.bundle import MANIFEST, Manifest, PlacementSummary, Step, read_manifest
from npuopt.errors import InputError


def manifest(**changes) -> Manifest:
    fields = {
        "created": "2026-01-01T00:00:00+00:00",
        "npuopt": "0.1.0",
        "source": {"file": "m.onnx", "sha256": "00", "bytes": 1},
        "target": {"name": "acme/one"},
        "recipe": {},
        "tools": {},
        "passes": (),
        "placement": PlacementSummary(nodes=1, npu=1, host=0, edge=0, npu_fraction=1.0, npu_mac_fraction=1.0),
        "nodes": (),
        "steps": (Step(name="region-0", kind="npu", road="acme", model="a.onnx", inputs=("x",), outputs=("y",)),),
    }
    return Manifest.model_validate({**fields, **changes})


def test_written_and_read_back_is_the_same(tmp_path) -> None:
    manifest().write(tmp_path)
    assert read_manifest(tmp_path) == manifest()


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "a/../../b", "", "a\\b"])
def test_paths_that_lead_out_are_refused(tmp_path, path: str) -> None:
    text = manifest().model_dump_json().replace("a.onnx", path.replace("\\", "\\\\"))
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(InputError, match="leads out of the artifact"):
        read_manifest(tmp_path)


def test_a_folder_without_manifest_is_no_artifact(tmp_path) -> None:
    with pytest.raises(InputError, match="no npuopt artifact"):
        read_manifest(tmp_path)


def test_unknown_fields_are_refused(tmp_path) -> None:
    (tmp_path / MANIFEST).write_text(manifest().model_dump_json().replace('"created"', '"extra":1,"created"', 1))
    with pytest.raises(InputError, match="extra"):
        read_manifest(tmp_path)
