"""Constrained decoding: JSON, a JSON schema, or a call of a tool, by llguidance; and reading calls back."""

import json
import re
from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from llguidance import LLMatcher, LLTokenizer
from llguidance.hf import from_tokenizer
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from workbench.dataset.chat_template import CALL_OPENING
from workbench.errors import DataError
from workbench.local.chat_protocol import ToolCall
from workbench.local.store.rows import JSON

if TYPE_CHECKING:
    from llguidance._lib import JsonCompileOptions

# Answers that keep to a grammar: JSON, JSON of a schema, a call of a tool; by llguidance.
#
# The grammar is asked whether the drawn token may stand there, which costs microseconds; the mask over
# the whole vocabulary is made only when it may not.

# JSON without blanks, as OpenAI's models write it: a small model that may write blanks writes nothing else.
COMPACT: "JsonCompileOptions" = {"whitespace_flexible": False}
# Calls have the blanks with which templates write them, so that a demanded call is one that was learnt.
AS_TEMPLATES: "JsonCompileOptions" = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
}
LONGEST = 256 * 1024  # characters of schemas; llguidance reads them recursively, on a stack that ends
LONG = 8 * 1024  # characters of a grammar from which on its first steps are tried before the answer begins
TRIED = 3  # steps
KEPT = 8  # grammars kept ready
TOKENS_KEPT = 4096


class Constraint:
    """One answer's way through its grammar."""

    def __init__(self, matcher: LLMatcher) -> None:
        """Begin at the beginning of the grammar."""
        self._matcher = matcher

    @property
    def complete(self) -> bool:
        """Whether nothing more can follow."""
        return self._matcher.is_stopped()

    @property
    def problem(self) -> str:
        """Why the grammar could not be followed further, in a line; empty when all is well."""
        return _first_line(self._matcher)

    def allows(self, token: int) -> bool:
        """Whether ``token`` may come next."""
        return self._matcher.is_stopped() or self._matcher.validate_tokens([token]) == 1

    def forbidden(self, vocabulary: int) -> Tensor:
        """Which of the model's ``vocabulary`` scores may not come next."""
        if self._matcher.is_stopped():
            return torch.zeros(vocabulary, dtype=torch.bool)
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        allowed = np.unpackbits(bits, bitorder="little")[:vocabulary].astype(bool)
        return torch.from_numpy(np.pad(~allowed, (0, vocabulary - len(allowed)), constant_values=True))

    def take(self, token: int) -> None:
        """``token`` comes next."""
        if not self._matcher.is_stopped():
            self._matcher.consume_token(token)


class Grammars:
    """The grammars of one model's vocabulary."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, stop_tokens: frozenset[int]) -> None:
        """Read nothing of the vocabulary yet: that takes about a second."""
        self._tokenizer = tokenizer
        self._stop_tokens = stop_tokens
        self._ready: dict[str, LLMatcher] = {}  # before the first token; the latest last
        self.said = lru_cache(TOKENS_KEPT)(self._said)

    @cached_property
    def vocabulary(self) -> LLTokenizer:
        """The vocabulary as bytes."""
        return from_tokenizer(self._tokenizer, eos_token=sorted(self._stop_tokens))

    def of_schema(self, schema: str) -> str:
        """JSON that ``schema`` (itself JSON) describes; ``DataError`` says why it cannot be followed."""
        _check_length(schema)
        try:
            grammar = LLMatcher.grammar_from_json_schema(schema, overrides=COMPACT)
        except ValueError as error:
            raise DataError(str(error)) from None
        return self._checked(grammar)

    def of_call(self, before: str, after: str, functions: Mapping[str, JSON]) -> str:
        """One call between two texts: JSON with the name of a function and arguments of its schema."""
        calls = [
            {
                "type": "object",
                "properties": {"name": {"const": name}, "arguments": schema},
                "required": ["name", "arguments"],
                "additionalProperties": False,
                "x-guidance": AS_TEMPLATES,
            }
            for name, schema in functions.items()
        ]
        _check_length(*map(json.dumps, calls))
        choice = " | ".join(f"%json {json.dumps(call)}" for call in calls)
        lark = f"start: {json.dumps(before)} call {json.dumps(after)}\ncall: {choice}\n"
        return self._checked(LLMatcher.grammar_from_lark(lark))

    def follow(self, grammar: str) -> Constraint:
        """The way of one answer through ``grammar``."""
        return Constraint(self._matcher(grammar).deep_copy())

    def _said(self, token: int) -> tuple[str, tuple[int, ...]]:
        """The text of ``token`` and its bytes."""
        said = self.vocabulary.decode_bytes([token])
        return said.decode(errors="replace"), tuple(said)

    def _checked(self, grammar: str) -> str:
        matcher = self._matcher(grammar)
        if len(grammar) > LONG:
            matcher = _tried(matcher.deep_copy())
        if problem := _first_line(matcher):
            self._ready.pop(grammar, None)
            raise DataError(problem)
        return grammar

    def _matcher(self, grammar: str) -> LLMatcher:
        """At the beginning of ``grammar``; not to be moved on, as others begin there too."""
        matcher = self._ready.pop(grammar, None) or LLMatcher(self.vocabulary, grammar, log_level=0)
        self._ready[grammar] = matcher
        for oldest in [*self._ready][:-KEPT]:
            self._ready.pop(oldest, None)
        return matcher


def _tried(matcher: LLMatcher) -> LLMatcher:
    """``matcher`` a few tokens on: what is too much for it mostly shows there, after seconds."""
    for _ in range(TRIED):
        bits = np.unpackbits(np.frombuffer(matcher.compute_bitmask(), dtype=np.uint8), bitorder="little")
        if matcher.is_stopped() or not bits.any():
            break
        matcher.consume_token(int(bits.argmax()))
    return matcher


def _first_line(matcher: LLMatcher) -> str:
    """The problem; what follows is the whole state of the parser."""
    return matcher.get_error().strip().partition("\n")[0]


def _check_length(*schemas: str) -> None:
    length = sum(map(len, schemas))
    if length > LONGEST:
        raise DataError(f"it has {length:,} characters; at most {LONGEST:,} can be followed")


# Calls of tools as a model writes them: what was called, told from the text beside it.
#
# The convention understood is that of Hermes, Qwen and SmolLM3, in which calls are also written for models
# whose chat template knows none (``dataset.tokens.chat_template``): JSON with a name and arguments between
# ``<tool_call>`` and ``</tool_call>``. Of other templates the answer is given as the text it is.

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
