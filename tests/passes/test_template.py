"""The template that new passes are copied from works, and the tests it proposes pass."""

import re
from pathlib import Path

from npuopt.passes import _template
from support import rewrites, surroundings


def test_the_tests_that_the_template_proposes_pass():
    source = Path(_template.__file__).read_text(encoding="utf-8")
    lines = re.findall(r"^#(?:     (.*))?$", source[source.index("# Its tests") :], re.MULTILINE)
    names = {**vars(_template), **vars(rewrites), **vars(surroundings)}
    exec("\n".join(lines), names)  # noqa: S102 -- the file under test
    proposed = [name for name in names if name.startswith("test_")]
    assert len(proposed) == 3
    for name in proposed:
        names[name]()
