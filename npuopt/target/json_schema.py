"""The schema of descriptor files as JSON Schema, for completion in editors: `docs/target.schema.json`.

`python -m npuopt.target.documentation docs` writes it.
"""

from __future__ import annotations

import json
from typing import Any, cast

from npuopt.target.schema import Descriptor


def json_schema_text() -> str:
    """Return the JSON Schema of one descriptor file.

    A file may leave out what the descriptor that it extends says, and remove what it says with null.
    """
    schema = Descriptor.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "npuopt target descriptor"
    schema.pop("required", None)
    for name in ("OpRule", "Scheme"):
        schema["$defs"][name].pop("required", None)
    for name in ("ops", "schemes"):
        section = cast("dict[str, Any]", schema["properties"][name])
        section["additionalProperties"] = {"anyOf": [section["additionalProperties"], {"type": "null"}]}
        section.pop("minProperties", None)
    return json.dumps(schema, indent=1, sort_keys=True) + "\n"
