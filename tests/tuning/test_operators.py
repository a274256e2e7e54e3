"""The ops in torch against ONNX's own node tests, each with the answer that ONNX gives."""

from __future__ import annotations

import warnings
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx.backend.test.case.node import collect_testcases

from npuopt.errors import InputError
from npuopt.graph import load
from npuopt.tuning.network import Network
from npuopt.tuning.operators import OPERATORS

if TYPE_CHECKING:
    from pathlib import Path

    from onnx.backend.test.case.test_case import TestCase

LEAST_CASES, LEAST_OPS = 400, 80
"""Cases and ops that must be answered: fewer would mean that refusals hide wrong answers."""


def cases() -> list[TestCase]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the cases' own numpy code overflows and divides by zero on purpose
        found = [case for case in collect_testcases(None) if case.model is not None]
    return [case for case in found if {node.op_type for node in case.model.graph.node} <= set(OPERATORS)]


def test_every_op_gives_the_answers_of_onnx(tmp_path: Path) -> None:
    wrong: list[str] = []
    answered: Counter[str] = Counter()
    for case in cases():
        feeds, expected = case.data_sets[0]
        if not all(isinstance(item, np.ndarray) and item.dtype.kind in "biuf" for item in (*feeds, *expected)):
            continue
        path = tmp_path / "case.onnx"
        onnx.save(case.model, path)
        try:
            network = Network(load(path))
            names = [value.name for value in case.model.graph.input]
            got = network.run(dict(zip(names, feeds, strict=True)))
        except InputError:
            continue
        for value, right in zip(case.model.graph.output, expected, strict=True):
            if not same(right, got[value.name].numpy()):
                wrong.append(f"{case.name}: {value.name}")
        answered[case.model.graph.node[0].op_type] += 1
    assert not wrong
    assert answered.total() >= LEAST_CASES, answered
    assert len(answered) >= LEAST_OPS, answered


def same(right: np.ndarray, got: np.ndarray) -> bool:
    if right.shape != got.shape or right.dtype != got.dtype:
        return False
    tolerance = 1e-2 if right.dtype == np.float16 else 1e-5
    return bool(np.allclose(right, got, rtol=tolerance, atol=tolerance, equal_nan=True))
