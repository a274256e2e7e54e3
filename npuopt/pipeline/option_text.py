"""Reads a pass's options as they are written on a command line: `a=1,b=[2,3],c={x=4,y:0=5}`."""

from __future__ import annotations

from npuopt.errors import UsageError

OptionValue = str | list[str] | dict[str, str]
"""Items of lists and mappings are plain text; the option's type says what becomes of it."""

_CLOSING = {"{": "}", "[": "]"}


def parse_options(text: str, where: str) -> dict[str, OptionValue]:
    """Split `name=value,name=value`; `{key=value,...}` is a mapping and `[value,...]` a list.

    Args:
        text: what stands between the braces of `name{...}`.
        where: the whole text, for the error.

    Raises:
        UsageError: when a bracket is not closed, or an option or an entry of a mapping has no `=`.
    """
    options: dict[str, OptionValue] = {}
    for item in _split(text, where):
        name, value = _pair(item, where, last=False)
        options[name] = _value(value, where)
    return options


def _value(text: str, where: str) -> OptionValue:
    if text.startswith("[") and text.endswith("]"):
        return _split(text[1:-1], where)
    if text.startswith("{") and text.endswith("}"):
        return dict(_pair(item, where, last=True) for item in _split(text[1:-1], where))
    return text


def _pair(item: str, where: str, *, last: bool) -> tuple[str, str]:
    """Split at the first `=`, or at the last one: the name of a dim may hold others."""
    key, equals, value = item.rpartition("=") if last else item.partition("=")
    if not equals or not key.strip():
        kind = "entry of a mapping" if last else "option"
        raise UsageError(f"{item!r} in {where!r} is no {kind}", hint="write it as name=value")
    return key.strip(), value.strip()


def _split(text: str, where: str) -> list[str]:
    """Split at the commas that stand outside all brackets."""
    items = [""]
    open_brackets: list[str] = []
    for letter in text:
        if letter in _CLOSING:
            open_brackets.append(_CLOSING[letter])
        elif letter in "]}" and (not open_brackets or open_brackets.pop() != letter):
            raise UsageError(f"{where!r} closes a bracket that it did not open")
        if letter == "," and not open_brackets:
            items.append("")
        else:
            items[-1] += letter
    if open_brackets:
        raise UsageError(f"{where!r} does not close a bracket", hint=f"add {open_brackets[-1]!r}")
    return [item.strip() for item in items if item.strip()]
