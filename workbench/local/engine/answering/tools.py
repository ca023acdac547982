"""Calls of tools as a model writes them: which convention its chat template teaches, and what was called.

The convention understood is that of Hermes, Qwen and SmolLM3: JSON with a name and arguments between
``<tool_call>`` and ``</tool_call>``. Of other templates the answer is given as the text it is.
"""

import json
import re

from workbench.local.chat import ToolCall

BEFORE, AFTER = "<tool_call>\n", "\n</tool_call>"
OPENING = "<tool_call>"
_CALL = re.compile(r"<tool_call>\s*(\{.*?\})\s*(?:</tool_call>|\Z)", re.DOTALL)


def understood(template: str) -> bool:
    """Whether calls can be told from text in the answers of a model with this chat template."""
    return OPENING in template


def read_calls(text: str) -> tuple[str, tuple[ToolCall, ...]]:
    """The text beside the calls, and the calls; what is no proper call stays text."""
    calls: list[ToolCall] = []

    def take(match: re.Match[str]) -> str:
        try:
            call = json.loads(match[1])
        except ValueError:
            return match[0]
        arguments = call.get("arguments", {})
        if not isinstance(call.get("name"), str):
            return match[0]
        calls.append(
            ToolCall(call["name"], arguments if isinstance(arguments, str) else json.dumps(arguments))
        )
        return ""

    rest = _CALL.sub(take, text)
    return (rest.strip() if calls else text), tuple(calls)
