from contextlib import nullcontext

import numpy as np
import pytest
import torch

from npuopt.graph import Session
from npuopt.passes.quantize.insert_quantize_dequantize import InsertQuantizeDequantize
from npuopt.quantization.encodings import Encoding, Encodings, per_tensor
from npuopt.tuning.fake_quantization import FakeQuantization
from npuopt.tuning.network import Network
from support.rewrites import model_from

TEXT = """(float[3,4] x) => (float[3,2] y) <float[4,2] w = {0.3,-1,0.7,0.1,-0.2,2,0.5,-0.6}>
{ r = Relu(x) y = MatMul(r, w) }"""
ENCODINGS = Encodings(
    tensors={
        "x": per_tensor("uint8", 0.02, 128),
        "r": per_tensor("uint8", 0.01, 0),
        "w": Encoding(dtype="int4", scale=(0.11, 0.3), zero_point=(0,), axis=1),
        "y": per_tensor("int8", 0.05, 3),
    }
)


def test_the_student_computes_what_the_quantized_model_computes():
    model = model_from(TEXT)
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32) * 2
    got = Network(model).run({"x": x}, holding=FakeQuantization(ENCODINGS))["y"].detach().numpy()
    InsertQuantizeDequantize(encodings=ENCODINGS)(model)
    np.testing.assert_allclose(got, Session(model).run({"x": x})["y"], atol=1e-6)


def test_a_use_with_an_encoding_of_its_own_is_read_through_both():
    coarse = per_tensor("uint8", 0.5, 0)
    encodings = ENCODINGS.model_copy(update={"uses": {"y": {0: coarse}}})
    model = model_from(TEXT)
    x = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32)
    got = Network(model).run({"x": x}, holding=FakeQuantization(encodings))["y"].detach().numpy()
    InsertQuantizeDequantize(encodings=encodings)(model)
    np.testing.assert_allclose(got, Session(model).run({"x": x})["y"], atol=1e-6)


def test_gradients_pass_rounding_and_stop_where_numbers_saturate():
    holding = FakeQuantization(Encodings(tensors={"x": per_tensor("int8", 0.1, 0)}))
    numbers = torch.tensor([0.33, -20.0, 20.0], requires_grad=True)
    holding.made("x", numbers).sum().backward()
    np.testing.assert_array_equal(numbers.grad.numpy(), [1, 0, 0])
    # of the scale's logarithm: (3 - 3.3) * 0.1 for the first, -128 * 0.1 and 127 * 0.1 for those that saturate
    assert holding.scales[0].grad.numpy() == pytest.approx([-0.03 - 12.8 + 12.7], rel=1e-4)


def test_infinite_numbers_saturate_like_others():
    holding = FakeQuantization(Encodings(tensors={"mask": per_tensor("int8", 0.1, 0)}))
    numbers = torch.tensor([0.0, -torch.inf, torch.finfo(torch.float32).min], requires_grad=True)
    holding.made("mask", numbers).sum().backward()
    np.testing.assert_array_equal(numbers.grad.numpy(), [1, 0, 0])
    assert holding.scales[0].grad.numpy() == pytest.approx([2 * -12.8], rel=1e-4)


def test_weights_rounded_once_for_several_samples_get_the_gradients_of_all():
    network = Network(model_from(TEXT))
    samples = [np.random.default_rng(seed).normal(size=(3, 4)).astype(np.float32) for seed in range(3)]

    def gradients(once):
        holding, weights = FakeQuantization(ENCODINGS), {"w": network.weights["w"].clone().requires_grad_()}
        with holding.rounding_weights_once() if once else nullcontext():
            for x in samples:
                network.run({"x": x}, holding=holding, weights=weights)["y"].square().sum().backward()
        return [weights["w"].grad, *(scale.grad for scale in holding.scales)]

    for together, apart in zip(gradients(once=True), gradients(once=False), strict=True):
        np.testing.assert_allclose(together.numpy(), apart.numpy(), rtol=1e-5)


def test_equal_encodings_learn_together_and_fixed_ones_not_at_all():
    shared, bound, wide = per_tensor("uint8", 0.1, 0), per_tensor("uint8", 0.00390625, 0), per_tensor("uint16", 0.1, 0)
    encodings = Encodings(tensors={"a": shared, "b": shared, "c": bound, "d": wide})
    holding = FakeQuantization(encodings, fixed=[bound])
    assert len(holding.scales) == 1
    with torch.no_grad():
        holding.scales[0] += np.log(2.0)
    assert holding.learned(shared).scale[0] == pytest.approx(0.2)
    assert holding.learned(bound) == bound
    assert holding.learned(wide) == wide
