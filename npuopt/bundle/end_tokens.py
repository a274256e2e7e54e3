"""Which tokens end a text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

MAX_FILE_BYTES = 256 << 20
"""A tokenizer file of 262,144 tokens takes 33 MB."""

END_TOKENS = ("</s>", "<eos>", "<|endoftext|>", "<|end_of_text|>", "<|eot_id|>", "<|im_end|>", "<|end|>")
"""Special tokens that end a text by convention; beside them, what `tokenizer_config.json` names."""

BEGIN_TOKENS = ("<s>", "<bos>", "<|begin_of_text|>")
"""Those that begin one: where a model has no end token, the next text's begin ends this one."""


def end_tokens(ids: Mapping[str, int], special: Collection[str], configuration: Path) -> list[int]:
    """Return the ids of the tokens that end a text.

    Args:
        ids: of all tokens.
        special: tokens that are no text.
        configuration: a `tokenizer_config.json`, which may be missing.
    """
    named = _named(configuration, "eos_token")
    ends = [ids[name] for name in (*END_TOKENS, *named) if name in ids and (name in special or name in named)]
    return list(dict.fromkeys(ends)) or [ids[name] for name in BEGIN_TOKENS if name in ids and name in special]


def special_tokens(tokenizer: Path) -> dict[str, int]:
    """Return the special tokens of a `tokenizer.json` and their ids; nothing where it cannot be read."""
    try:
        if tokenizer.stat().st_size > MAX_FILE_BYTES:
            return {}
        document: Any = json.loads(tokenizer.read_bytes())
        return {str(token["content"]): int(token["id"]) for token in document["added_tokens"] if token["special"]}
    except (OSError, ValueError, LookupError, TypeError):
        return {}


def _named(path: Path, key: str) -> tuple[str, ...]:
    """Return the token that a configuration beside the tokenizer names under `key`, where there is one."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            return ()
        document: Any = json.loads(path.read_bytes())
        found: Any = document[key]
        name: Any = found if isinstance(found, str) else found["content"]
    except (OSError, ValueError, LookupError, TypeError):
        return ()
    return (name,) if isinstance(name, str) else ()
