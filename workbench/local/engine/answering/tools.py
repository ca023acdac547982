"""Calls of tools as a model writes them: what was called, told from the text beside it.

The convention understood is that of Hermes, Qwen and SmolLM3, in which calls are also written for models
whose chat template knows none (``dataset.tokens.chat_template``): JSON with a name and arguments between
``<tool_call>`` and ``</tool_call>``. Of other templates the answer is given as the text it is.
"""

import json
import re

from workbench.dataset.tokens.chat_template import CALL_OPENING
from workbench.local.chat import ToolCall

_BEGIN = re.compile(rf"{CALL_OPENING}\s*(?=\{{)")
_END = re.compile(r"\s*(?:</tool_call>|\Z)")
_DECODER = json.JSONDecoder()


def read_calls(text: str) -> tuple[str, tuple[ToolCall, ...]]:
    """The text beside the calls, and the calls; what is no proper call stays text."""
    calls: list[ToolCall] = []
    beside: list[str] = []
    taken = 0  # characters
    for begin in _BEGIN.finditer(text):
        if begin.start() < taken:  # inside the arguments of another call
            continue
        try:
            call, stop = _DECODER.raw_decode(text, begin.end())
        except (ValueError, RecursionError):
            continue
        end = _END.match(text, stop)
        if end is None or not isinstance(call.get("name"), str):
            continue
        arguments = call.get("arguments", {})
        written = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        calls.append(ToolCall(call["name"], written))
        beside.append(text[taken : begin.start()])
        taken = end.end()
    return ("".join((*beside, text[taken:])).strip() if calls else text), tuple(calls)
