"""The step that rotates residual streams: what it asks for, and that it is not standard."""

from npuopt.quantization.steps import Work, standard_steps
from npuopt.quantization.steps.rotation import RotateResiduals
from npuopt.road.stepping import REWRITES
from support.integer_chip import integer_chip
from support.rewrites import model_from


def test_it_asks_for_the_pass_with_its_seed_which_encodings_may_ask_for_too():
    work = Work(model_from("(float[2] x) => (float[2] y) {y = Relu(x)}"), integer_chip(), "a8w8")
    (rewrite,) = RotateResiduals(seed=4).rewrites(work)
    assert rewrite.options == {"seed": 4}
    assert rewrite.pass_name in REWRITES


def test_it_runs_on_request():
    assert "rotate-residuals" not in standard_steps(integer_chip().scheme("a8w8"))
