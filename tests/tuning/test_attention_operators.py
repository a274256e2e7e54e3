"""Attention and RotaryEmbedding in torch: ONNX Runtime's numbers, and gradients that finite differences confirm."""

import numpy as np
import pytest
import torch

from npuopt.errors import InputError
from npuopt.tuning.network import AsItIs, Network
from support.numbers import run
from support.rewrites import model_from

STEP = 1e-6

QKV = "float[1,4,3,8] q, float[1,2,5,8] k, float[1,2,5,8] v"
MIXED = "float[1,4,3,8] y"

CASES = {
    "shared heads": f"({QKV}) => ({MIXED}) {{ y = Attention(q, k, v) }}",
    "scale": f"({QKV}) => ({MIXED}) {{ y = Attention<scale: float = 0.5>(q, k, v) }}",
    "softcap": f"({QKV}) => ({MIXED}) {{ y = Attention<softcap: float = 0.7>(q, k, v) }}",
    "causal": f"({QKV}) => ({MIXED}) {{ y = Attention<is_causal: int = 1>(q, k, v) }}",
    "added mask": f"({QKV}, float[3,5] m) => ({MIXED}) {{ y = Attention(q, k, v, m) }}",
    "true or false": f"({QKV}, bool[1,1,3,5] m) => ({MIXED}) {{ y = Attention(q, k, v, m) }}",
    "flat": """(float[1,3,32] q, float[1,5,16] k, float[1,5,16] v) => (float[1,3,32] y)
        { y = Attention<q_num_heads: int = 4, kv_num_heads: int = 2>(q, k, v) }""",
    "past": f"""({QKV}, float[1,2,2,8] pk, float[1,2,2,8] pv) => ({MIXED}, float[1,2,7,8] nk, float[1,2,7,8] nv)
        {{ y, nk, nv = Attention<is_causal: int = 1>(q, k, v, , pk, pv) }}""",
    "rotation": """(float[1,4,3,8] x, float[1,3,4] c, float[1,3,4] s) => (float[1,4,3,8] y)
        { y = RotaryEmbedding(x, c, s) }""",
    "rotation of a part, at positions": """(float[1,3,32] x, float[6,2] c, float[6,2] s, int64[1,3] p)
        => (float[1,3,32] y)
        { y = RotaryEmbedding<num_heads: int = 4, rotary_embedding_dim: int = 4, interleaved: int = 1>(x, c, s, p) }""",
}


def feeds(model):
    random = np.random.default_rng(0)
    made = {}
    for value in model.graph.inputs:
        shape = [int(size) for size in value.shape]
        drawn = {
            "FLOAT": random.normal(size=shape),
            "BOOL": random.random(shape) < 0.6,
            "INT64": random.integers(6, size=shape),
        }
        made[value.name] = drawn[value.dtype.name].astype(value.dtype.numpy())
    return made


class Given(AsItIs):
    """Puts tensors in the place of inputs, so that there are gradients of them."""

    def __init__(self, inputs):
        self.inputs = inputs

    def made(self, name, tensor):
        return self.inputs.get(name, tensor)


@pytest.mark.parametrize("name", CASES)
def test_numbers_are_those_of_onnx_runtime(name):
    model = model_from(CASES[name])
    given = feeds(model)
    got = Network(model).run(given)
    for output, expected in run(model, given).items():
        np.testing.assert_allclose(got[output].numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_finite_differences(name):
    model = model_from(CASES[name])
    given, network = feeds(model), Network(model)
    start = {key: torch.tensor(array, dtype=torch.float64) for key, array in given.items() if array.dtype.kind == "f"}
    torch.manual_seed(0)
    toward = {key: torch.randn_like(tensor) for key, tensor in start.items()}

    def height(inputs):
        return sum(tensor.sin().sum() for tensor in network.run(given, holding=Given(inputs)).values())

    def along(step):
        return float(height({key: tensor + step * toward[key] for key, tensor in start.items()}))

    leaves = {key: tensor.clone().requires_grad_() for key, tensor in start.items()}
    height(leaves).backward()
    slope = sum(float((leaf.grad * toward[key]).sum()) for key, leaf in leaves.items())
    assert slope == pytest.approx((along(STEP) - along(-STEP)) / (2 * STEP), rel=1e-6)
    assert all(leaf.grad.abs().max() > 0 for leaf in leaves.values())


def test_a_query_that_may_see_nothing_gets_zeros_and_gradients_that_are_numbers():
    model = model_from(CASES["added mask"])
    given = feeds(model)
    given["m"][1] = -np.inf
    query = torch.tensor(given["q"], requires_grad=True)
    made = Network(model).run(given, holding=Given({"q": query}))["y"]
    made.sum().backward()
    assert not made[:, :, 1].any()
    assert made[:, :, 0].any()
    assert torch.isfinite(query.grad).all()


def test_lengths_of_a_cache_are_refused_by_name():
    model = model_from(f"({QKV}, int64[1] n) => ({MIXED}) {{ y = Attention(q, k, v, , , , n) }}")
    with pytest.raises(InputError, match="lengths of its cache"):
        Network(model).run(feeds(model))
