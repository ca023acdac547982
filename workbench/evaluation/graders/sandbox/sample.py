"""An answer as graders see it, in templates and in Python alike."""

import json
from collections.abc import Mapping

READABLE = ("output_text", "output_json", "output_tools", "output_reasoning_summary", "choices")
"""What a template may name after ``sample.``; deeper places are the answer's own, below ``output_json``."""


def sample_of(output_text: str) -> Mapping[str, object]:
    """Show the answer as a service shows it to graders; ``output_json`` is None when it is not JSON."""
    try:
        output_json = json.loads(output_text)
    except (ValueError, RecursionError):  # an answer of a thousand brackets is no JSON either
        output_json = None
    return {
        "output_text": output_text,
        "output_json": output_json,
        "output_tools": [],
        "output_reasoning_summary": None,
        "choices": [{"message": {"role": "assistant", "content": output_text}}],
    }
