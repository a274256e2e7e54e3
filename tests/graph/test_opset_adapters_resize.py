"""Upsample and Resize: the same numbers before and after."""

import pytest

from npuopt.errors import InputError
from npuopt.graph import nodes
from support.opsets import ANY, X, assert_same, convert


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("scales", [(1, 1, 2, 2), (1, 1, 1.5, 2.25), (1, 1, 1, 3)])
def test_upsample(tmp_path, mode, scales):
    listed = ", ".join(str(float(scale)) for scale in scales)
    seven = f'g {ANY} {{ y = Upsample<mode = "{mode}", scales = [{listed}]>(x) }}'
    nine = f'g {ANY} <float[4] s = {{{listed}}}> {{ y = Upsample<mode = "{mode}">(x, s) }}'
    for version, text in ((7, seven), (9, nine)):
        model = assert_same(tmp_path, text, version, x=X)
        assert [node.op_type for node in model.graph] == ["Resize"]


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("scales", [(1, 1, 2, 2), (1, 1, 0.5, 0.6), (1, 1, 0.7, 1)])
def test_resize_10(tmp_path, mode, scales):
    listed = ", ".join(str(float(scale)) for scale in scales)
    text = f'g {ANY} <float[4] s = {{{listed}}}> {{ y = Resize<mode = "{mode}">(x, s) }}'
    assert_same(tmp_path, text, 10, x=X)


def test_resize_10_both_ways_at_once_is_refused_for_nearest(tmp_path):
    text = f"g {ANY} <float[4] s = {{1, 1, 2, 0.5}}> {{ [both] y = Resize(x, s) }}"
    with pytest.raises(InputError, match=r"'both' \(Resize\) cannot be converted from opset 10: it enlarges"):
        convert(tmp_path, text, 10)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("coordinates", ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"])
@pytest.mark.parametrize("version", [11, 13, 18])
def test_resize_with_named_coordinates(tmp_path, version, mode, coordinates):
    attributes = f'mode = "{mode}", coordinate_transformation_mode = "{coordinates}"'
    roi, none = ("r", "e") if version < 13 else ("", "")
    initializers = "<float[0] r = {}, float[0] e = {}, float[4] s = {1, 1, 1.5, 0.8}, int64[4] z = {2, 3, 7, 3}>"
    by_scales = f"g {ANY} {initializers} {{ y = Resize<{attributes}>(x, {roi}, s) }}"
    by_sizes = f"g {ANY} {initializers} {{ y = Resize<{attributes}>(x, {roi}, {none}, z) }}"
    for text in (by_scales, by_sizes):
        model = assert_same(tmp_path, text, version, x=X)
        assert nodes(model, "Resize")[0].inputs[1] is None


def test_resize_tf_half_pixel_for_nn(tmp_path):
    attributes = 'coordinate_transformation_mode = "tf_half_pixel_for_nn", nearest_mode = "floor"'
    for scales in ("1, 1, 2, 3", "1, 1, 0.5, 0.4"):
        initializers = f"<float[0] r = {{}}, float[4] s = {{{scales}}}>"
        assert_same(tmp_path, f"g {ANY} {initializers} {{ y = Resize<{attributes}>(x, r, s) }}", 11, x=X)


def test_resize_tf_crop_and_resize_keeps_its_roi(tmp_path):
    attributes = 'mode = "linear", coordinate_transformation_mode = "tf_crop_and_resize"'
    initializers = "<float[8] r = {0, 0, 0.1, 0.2, 1, 1, 0.8, 0.9}, float[0] e = {}, int64[4] z = {2, 3, 3, 3}>"
    text = f"g {ANY} {initializers} {{ y = Resize<{attributes}>(x, r, e, z) }}"
    model = assert_same(tmp_path, text, 11, x=X)
    assert nodes(model, "Resize")[0].inputs[1] is not None
