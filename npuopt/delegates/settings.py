"""What a target's descriptor tells the road that compiles for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, get_args

from npuopt.errors import InternalError
from npuopt.target.constraints import Facts

if TYPE_CHECKING:
    from npuopt.target import Target

Settings = TypeVar("Settings", bound=Facts)


def settings_of(target: Target, kind: type[Settings]) -> Settings:
    """Return the settings of one road, `kind` of `npuopt.target.roads`.

    Raises:
        InternalError: when the target belongs to another road.
    """
    if isinstance(target.delegate, kind):
        return target.delegate
    road = get_args(kind.model_fields["road"].annotation)[0]
    raise InternalError(f"{target.name} is compiled by {target.delegate.road}, not by {road}")
