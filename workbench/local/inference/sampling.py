"""How the next token is chosen: from the model's scores, by each row's own wishes and within its grammar.

A grammar is JSON, a JSON schema, or a call of a tool, by llguidance; calls are also read back here.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from llguidance import LLMatcher, LLTokenizer
from llguidance.hf import from_tokenizer
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from workbench.dataset.chat_template import CALL_OPENING
from workbench.errors import DataError
from workbench.local.chat_protocol import Sampling, ToolCall
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
AS_TEMPLATES: "JsonCompileOptions" = {**COMPACT, "item_separator": ", ", "key_separator": ": "}
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


# Calls of tools as a model writes them: what was called, apart from the text beside it.
#
# The convention understood is that of Hermes, Qwen and SmolLM3, in which calls are also written for models
# whose chat template knows none (``dataset.chat_template``): JSON with a name and arguments between
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


# The choice itself.

NUCLEUS = 1024  # the likeliest tokens tried first; sorting a whole vocabulary takes ten times as long
GREEDY = Sampling()


class Chances(NamedTuple):
    """The log-probability of a token as the model sees it (temperature 1, all allowed), and of its rivals."""

    logprob: float
    top: tuple[tuple[int, float], ...]


@dataclass
class Sampler:
    """The wishes of one row, and what they depend on: what was said, what the grammar allows next."""

    sampling: Sampling
    constraint: Constraint | None = None
    said: Counter[int] = field(default_factory=Counter)
    generator: torch.Generator = field(default_factory=torch.Generator)
    biases: tuple[Tensor, Tensor] | None = None  # tokens, and what is added to their scores

    def __post_init__(self) -> None:
        """Begin the row's own stream of random numbers; lay out its biases."""
        if self.sampling.logit_bias:
            tokens, biases = zip(*self.sampling.logit_bias, strict=True)
            self.biases = torch.tensor(tokens), torch.tensor(biases, dtype=torch.float32)
        if self.sampling.seed is None:
            self.generator.seed()
        else:
            self.generator.manual_seed(self.sampling.seed)


def draw(scores: Tensor, samplers: list[Sampler]) -> list[tuple[int, Chances | None]]:
    """One token for every row of ``scores`` (rows, vocabulary), and its chances where they are asked for."""
    asked = [row for row, sampler in enumerate(samplers) if sampler.sampling.top_logprobs is not None]
    plain = scores[asked].log_softmax(-1) if asked else None
    for row, sampler in enumerate(samplers):
        _adjust(scores[row], sampler)
    tokens: list[int] = scores.argmax(-1).tolist()
    for row, sampler in enumerate(samplers):
        if sampler.sampling.temperature > 0:
            tokens[row] = _sample(scores[row], sampler)
        constraint = sampler.constraint
        if constraint is not None and not constraint.allows(tokens[row]):
            # What the grammar forbids is drawn again among what it allows: the mask is seldom needed.
            scores[row].masked_fill_(constraint.forbidden(scores.shape[1]), -torch.inf)
            tokens[row] = _sample(scores[row], sampler)
    for sampler, token in zip(samplers, tokens, strict=True):
        sampler.said[token] += 1
        if sampler.constraint is not None:
            sampler.constraint.take(token)
    chances: dict[int, Chances] = {}
    if plain is not None:
        wishes = [samplers[row].sampling.top_logprobs or 0 for row in asked]
        chances = dict(zip(asked, _chances(plain, [tokens[row] for row in asked], wishes), strict=True))
    return [(token, chances.get(row)) for row, token in enumerate(tokens)]


def _adjust(scores: Tensor, sampler: Sampler) -> None:
    """Add the biases and take off the penalties, as OpenAI defines them."""
    sampling = sampler.sampling
    if sampler.biases is not None:
        tokens, biases = (part.to(scores.device) for part in sampler.biases)
        scores.index_add_(0, tokens, biases.to(scores.dtype))
    if sampler.said and (sampling.presence_penalty or sampling.frequency_penalty):
        tokens = torch.tensor(list(sampler.said), device=scores.device)
        counts = torch.tensor(list(sampler.said.values()), device=scores.device, dtype=scores.dtype)
        scores[tokens] -= sampling.presence_penalty + sampling.frequency_penalty * counts


def _sample(scores: Tensor, sampler: Sampler) -> int:
    sampling = sampler.sampling
    if sampling.temperature == 0:
        return int(scores.argmax())
    shares = (scores.cpu() / sampling.temperature).softmax(-1)
    if sampling.top_p < 1:
        return _of_nucleus(shares, sampling.top_p, sampler.generator)
    return _inverse(shares, sampler.generator)


def _of_nucleus(shares: Tensor, top_p: float, generator: torch.Generator) -> int:
    """Nucleus sampling (Holtzman et al. 2020): from the smallest set that holds ``top_p`` of the chances."""
    ordered, order = shares.topk(min(NUCLEUS, shares.numel()))
    if float(ordered.sum()) < top_p:
        ordered, order = shares.sort(descending=True)
    ordered[ordered.cumsum(-1) - ordered >= top_p] = 0  # the first always stays
    return int(order[_inverse(ordered, generator)])


def _inverse(shares: Tensor, generator: torch.Generator) -> int:
    """One draw by one uniform number: the first token at which the summed chances exceed it."""
    summed = shares.double().cumsum(-1)
    at = torch.rand(1, generator=generator, dtype=torch.float64) * summed[-1]
    return min(int(torch.searchsorted(summed, at, right=True)), shares.numel() - 1)


def _chances(plain: Tensor, tokens: list[int], wishes: list[int]) -> list[Chances]:
    """The chances of each row's token among the log-probabilities ``plain`` (rows, vocabulary)."""
    drawn = plain.gather(1, torch.tensor(tokens, device=plain.device)[:, None])[:, 0].tolist()
    values, order = plain.topk(max(wishes))
    rows = zip(drawn, order.tolist(), values.tolist(), wishes, strict=True)
    return [Chances(own, tuple(zip(ids[:wish], top[:wish], strict=True))) for own, ids, top, wish in rows]
