"""Whether the answer is JSON that follows ``SCHEMA``: 1.0 or 0.0. Nothing may stand around the JSON."""

import json
from collections.abc import Mapping

import jsonschema

SCHEMA: Mapping[str, object] = {}


def problem(answer: str) -> str:
    """What keeps the answer from following the schema; empty when nothing does."""
    try:
        value = json.loads(answer)
    except ValueError as error:
        return f"the answer is not JSON: {error}"
    except RecursionError:
        return "the answer is nested too deeply"
    validator = jsonschema.validators.validator_for(SCHEMA)(SCHEMA)
    first = jsonschema.exceptions.best_match(validator.iter_errors(value))
    return f"{first.json_path}: {first.message[:200]}" if first else ""


def grade(sample: Mapping[str, object], item: Mapping[str, object]) -> float:
    """1.0 when it follows."""
    return float(not problem(str(sample["output_text"])))


def explain(sample: Mapping[str, object], item: Mapping[str, object]) -> str:
    """The finding that explains the others best."""
    return problem(str(sample["output_text"])) or "the answer follows the schema"
