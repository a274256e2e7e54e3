"""`python -m tools.ethosu [--check]`: write the rules of targets/arm/_ethos-u*.yaml from Vela's own report.

--check writes nothing and fails when a file differs: Vela has changed, or the tables of this tool.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from npuopt.delegates.litert.emitters import ONLY_8_BITS
from npuopt.toolchain import environment
from tools.ethosu.constraints import ensure_generic_known, meaning
from tools.ethosu.ops import OPS, STEEP
from tools.ethosu.report import Report, read_report

if TYPE_CHECKING:
    from collections.abc import Iterable

TARGETS = Path(__file__).parent.parent.parent / "targets" / "arm"
FAMILIES = {"_ethos-u55": "Ethos-U55 and Ethos-U65", "_ethos-u85": "Ethos-U85"}
"""File -> the family's name in the report."""
HEAD = """\
# {family}: written by `python -m tools.ethosu` from Vela's own report; change the tables there, not this file.
source: vela --supported-ops-report, ethos-u-vela {version}
shapes: {{static: required, max_rank: 6, min_dim: 1}}
schemes:
  a8w8:
    activation: int8
    weight: int8
    weight_axis: channel
    weight_largest: 127  # TFLite's range of weights; a -128 makes what Vela compresses longer
    weight_compressed: true
    bias: int32
    wide_outputs_below_db: 30  # a product of one position in 16 bits is 0.03 % of EfficientNet-Lite0's cycles
  a16w8:  # "16x8": slower, and for what 8 bits hold too badly; kernels hold the factor of a product in 15 bits
    activation: int16
    activation_symmetric: true
    weight: int8
    weight_axis: channel
    weight_largest: 127
    weight_compressed: true
    factor_bits: 15
    bias: int32
    automatic: false
ops:
"""
EIGHT_BITS_ALONE = re.compile(r"^(?!IF ).*must be Int8(?!.*Int16)")
"""A constraint of an operator that takes no 16-bit activations."""


def vela_report() -> str:
    """Return the report of the installed Vela."""
    with tempfile.TemporaryDirectory() as folder:
        command = [environment("vela").python, "-I", "-m", "ethosu.vela", "--supported-ops-report"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
        return (Path(folder) / "SUPPORTED_OPS.md").read_text(encoding="utf-8")


def descriptor(report: Report, family: str) -> str:
    """Return the text of a family's descriptor.

    Raises:
        ValueError: the report holds a constraint that nobody has given a meaning.
    """
    ensure_generic_known(report.generic)
    lines = [HEAD.format(family=family, version=report.version)]
    for name, op in OPS.items():
        if not set(op.operators) <= set(report.operators):
            continue
        sentences = [sentence for operator in op.operators for sentence in report.operators[operator]]
        asked = [meant for sentence in sentences if not isinstance(meant := meaning(sentence), str)]
        when = list(dict.fromkeys([*op.when, *(condition for meant in asked for condition in meant.get(name, ()))]))
        lines.append(f"  {name}:\n    schemes: [{', '.join(schemes(name, sentences))}]\n")
        lines += [f"    {fact}\n" for fact in op.facts]
        if when:
            lines.append("    when:\n" + "".join(f"      - {condition}\n" for condition in when))
        if op.stricter:
            lines.append(f"    stricter: {op.stricter}\n")
        lines.append(f"    notes: becomes {', '.join(op.operators)}\n")
    return "".join(lines)


def schemes(name: str, sentences: Iterable[str]) -> tuple[str, ...]:
    """Return what an op is computed in, by what the exporter writes and by constraints of its operators."""
    only_8_bits = name in ONLY_8_BITS or OPS[name].stricter == STEEP or any(map(EIGHT_BITS_ALONE.search, sentences))
    return ("a8w8",) if only_8_bits else ("a8w8", "a16w8")


def main() -> int:
    """Write the files, or compare them."""
    text = vela_report()
    differing = 0
    for file, family in FAMILIES.items():
        path, wanted = TARGETS / f"{file}.yaml", descriptor(read_report(text, family), family)
        if "--check" not in sys.argv:
            path.parent.mkdir(exist_ok=True)
            path.write_text(wanted, encoding="utf-8")
        elif path.read_text(encoding="utf-8") != wanted:
            sys.stderr.write(f"{path} is not what Vela's report says now\n")
            differing += 1
    return min(differing, 1)


if __name__ == "__main__":
    sys.exit(main())
