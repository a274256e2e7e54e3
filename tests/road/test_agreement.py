from npuopt.bundle import OutputComparison, Stage
from npuopt.road.agreement import advice, disagreements


def stage(name: str, against: str, cosine: float | None) -> Stage:
    output = OutputComparison(cosine=cosine, sqnr_db=None, max_abs=None, elements=4)
    return Stage(name=name, against=against, samples=1, outputs={"y": output})


def test_what_quantization_moves_too_far_comes_with_advice():
    stages = [stage("optimized", "source", 1.0), stage("quantized", "source", 0.7)]
    assert disagreements(stages) == ["y, quantized against source: cosine 0.7"]
    (text,) = advice(stages)
    assert "`npuopt sensitivity`" in text
    assert "--max-drop" in text


def test_what_the_chip_computes_otherwise_does_not():
    stages = [stage("quantized", "source", 0.999), stage("compiled", "model.onnx", None)]
    assert disagreements(stages) == ["y, compiled against model.onnx: cosine is not a number"]
    assert advice(stages) == []
