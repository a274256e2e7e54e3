"""Groups of options: a dataclass whose fields are options, taken whole by each command that has them.

Every field of a group has a default and is annotated as an option is; `panel` is the heading under which help lists
them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from copy import copy
from dataclasses import fields, is_dataclass
from functools import wraps
from typing import Annotated, Any, get_args, get_type_hints

from typer.models import OptionInfo

Command = Callable[..., None]


def takes_groups(command: Command) -> Command:
    """Give a command the options of the groups among its parameters, in their places; it is called with the groups."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, type[Any]] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        hint = hints[parameter.name]
        if isinstance(hint, type) and is_dataclass(hint):
            groups[parameter.name] = hint
            parameters += _options(hint)
        else:
            parameters.append(parameter.replace(annotation=hint))

    @wraps(command)
    def call(**values: object) -> None:
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
        command(**values)

    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    call.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportAttributeAccessIssue] -- what typer reads
    del call.__wrapped__  # its annotations are of before
    return call


def _options(group: type[Any]) -> list[inspect.Parameter]:
    """Return a keyword parameter for each field."""
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=_under(hints[field.name], group.panel),
        )
        for field in fields(group)
    ]


def _under(hint: object, panel: str) -> object:
    """Return an option's annotation, listed under a heading."""
    kind, *extras = get_args(hint)
    listed = [copy(extra) for extra in extras]
    for extra in listed:
        if isinstance(extra, OptionInfo):
            extra.rich_help_panel = panel
    return Annotated[(kind, *listed)]
