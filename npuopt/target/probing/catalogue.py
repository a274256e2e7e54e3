"""Every case there is, by op."""

from __future__ import annotations

from functools import lru_cache

from npuopt.target.probing import elementwise, movement, products, reductions
from npuopt.target.probing.case import Case


@lru_cache(maxsize=1)
def cases_by_op() -> dict[str, tuple[Case, ...]]:
    """Return all cases by the op's name in descriptors, each once."""
    found: dict[str, dict[str, Case]] = {}
    for family in (elementwise, products, reductions, movement):
        for case in family.cases():
            found.setdefault(case.name, {}).setdefault(case.label, case)
    return {name: tuple(cases.values()) for name, cases in sorted(found.items())}
