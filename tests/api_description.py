"""OpenAI's API description as plain JSON Schema: what a validator and a generator of requests can read."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "data" / "openai"
SCHEMAS = "#/components/schemas/"

Part = dict[str, Any]


def description() -> Part:
    """The whole document: what is left of version 3.0 as in 3.1, what is put together as one object."""
    document: Part = json.loads((FOLDER / "openai-subset.json").read_text(encoding="utf-8"))
    every = document["components"]["schemas"]
    return rewritten(document, lambda part: _modern(_in_one(part, every)))


def closed(part: Part) -> Part:
    """An object without fields that nobody described; for ``rewritten``."""
    is_object = part.get("type") == "object" or isinstance(part.get("required"), list)
    if is_object and isinstance(part.get("properties"), dict):
        part.setdefault("additionalProperties", False)
    return part


def schema(name: str, document: Part) -> Part:
    """The schema of this name with all that it refers to."""
    return {"$ref": f"{SCHEMAS}{name}", "components": {"schemas": document["components"]["schemas"]}}


def rewritten(part: Any, change: Callable[[Part], Part]) -> Any:
    """The same with every object changed, the inner ones first."""
    if isinstance(part, list):
        return [rewritten(one, change) for one in part]
    if not isinstance(part, dict):
        return part
    return change({name: rewritten(value, change) for name, value in part.items()})


def _in_one(part: Part, every: Part) -> Part:
    if "allOf" not in part:
        return part
    found: Part = {"type": "object", "properties": {}, "required": []}
    for one in part["allOf"]:
        whole = _in_one(every[one["$ref"].removeprefix(SCHEMAS)] if "$ref" in one else one, every)
        found["properties"] |= whole.get("properties", {})
        found["required"] += whole.get("required", [])
    return found


def _modern(part: Part) -> Part:
    if part.get("exclusiveMinimum") is True:
        part["exclusiveMinimum"] = part.pop("minimum")
    if part.get("nullable") is True:
        del part["nullable"]
        return {"anyOf": [part, {"type": "null"}]}
    return part
