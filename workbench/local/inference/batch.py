"""Batched decoding: prompts are prefilled (with a prefix cache), rows join and leave a running batch."""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor
from transformers import DynamicCache

from workbench.local.chat_protocol import Sampling
from workbench.local.inference.kv_cache import KVCache, States, copied, first_tokens, states_of
from workbench.local.inference.layers import Adapters, use_grouped
from workbench.local.inference.sampling import GREEDY, Chances, Constraint, Sampler, draw
from workbench.local.models.model import Base, logits

# Starts of prompts that were read lately: the next prompt with the same start is read from there.
#
# An evaluation asks a hundred questions behind the same instructions and examples; they are read once.

BLOCK = 16  # starts are shared in whole blocks of so many tokens, so that many prompts share the same one
KEPT = 4096  # tokens in all; 92 MiB for SmolLM2


_Key: TypeAlias = tuple[str | None, tuple[int, ...]]  # adapter, tokens


class PrefixCache:
    """What is remembered of starts, least recently used first; one with each adapter."""

    def __init__(self) -> None:
        """Keep at most ``KEPT`` tokens."""
        self._held: OrderedDict[_Key, States] = OrderedDict()

    def longest(self, adapter: str | None, prompt: Sequence[int]) -> int:
        """How many first tokens of ``prompt`` are remembered; at least one is always left to read."""
        return max((common for common, _ in self._matches(adapter, prompt)), default=0)

    def states(self, adapter: str | None, prompt: Sequence[int], length: int) -> States:
        """The keys and values of the first ``length`` tokens, which are remembered: one row."""
        key = next(key for common, key in self._matches(adapter, prompt) if common >= length)
        self._held.move_to_end(key)
        return first_tokens(self._held[key], length)

    def keep(self, adapter: str | None, tokens: Sequence[int], states: States) -> None:
        """Remember ``states``, one row, as those of ``tokens``."""
        if len(tokens) > KEPT:
            return
        self._held[adapter, tuple(tokens)] = states
        while sum(len(held) for _, held in self._held) > KEPT:
            self._held.popitem(last=False)

    def forget(self, adapter: str) -> None:
        """Remember nothing of ``adapter``."""
        for key in [key for key in self._held if key[0] == adapter]:
            del self._held[key]

    def _matches(self, adapter: str | None, prompt: Sequence[int]) -> list[tuple[int, _Key]]:
        return [(shared(key[1], prompt), key) for key in self._held if key[0] == adapter]


def shared(one: Sequence[int], prompt: Sequence[int]) -> int:
    """How many first tokens both have in common, in whole blocks, the last of ``prompt`` not counted."""
    low, high = 0, min(len(one), len(prompt) - 1) // BLOCK + 1  # blocks that are alike, and some that are not
    while high - low > 1:
        middle = (low + high) // 2
        alike = one[low * BLOCK : middle * BLOCK] == prompt[low * BLOCK : middle * BLOCK]
        low, high = (middle, high) if alike else (low, middle)
    return low * BLOCK


# Reading prompts: everything before the first token of an answer, a stretch at a time.
#
# Prompts that go on from the same remembered start are read side by side, padded on the right: a
# causal model never looks ahead, so the padding is never seen and no mask is needed.


class Prefill:
    """Prompts being read together; ``advance`` until ``finished``."""

    def __init__(self, base: Base, prompts: Sequence[Sequence[int]], start: States, known: int) -> None:
        """``start`` (one row) are the keys and values of the ``known`` first tokens of all ``prompts``."""
        self._base = base
        self._cache = DynamicCache()
        for index, (keys, values) in enumerate(start):
            shape = (len(prompts), -1, -1, -1)
            self._cache.update(keys.expand(shape), values.expand(shape), index)
        self.rows, self.known = len(prompts), known
        self._at = known
        self._lengths = [len(prompt) for prompt in prompts]
        ids = torch.zeros(len(prompts), max(self._lengths) - known, dtype=torch.long)
        for row, prompt in enumerate(prompts):
            ids[row, : len(prompt) - known] = torch.tensor(prompt[known:])
        self._ids = ids.to(base.model.device)
        self._last: list[Tensor | None] = [None] * len(prompts)

    @property
    def finished(self) -> bool:
        """Whether all is read."""
        return not self._ids.shape[1]

    @property
    def states(self) -> States:
        """What was read; row r is good for the length of prompt r."""
        return states_of(self._cache)

    @property
    def last(self) -> Tensor:
        """The decoder's output at the last token of every prompt (prompts, hidden)."""
        return torch.stack([hidden for hidden in self._last if hidden is not None])

    def advance(self, tokens: int) -> int:
        """Read about ``tokens`` more in all rows together; returns how many it were."""
        width = max(1, tokens // self.rows)
        part, self._ids = self._ids[:, :width], self._ids[:, width:]
        width = part.shape[1]
        positions = torch.arange(self._at, self._at + width, device=part.device)[None]
        hidden = self._base.decode(part, positions.expand(self.rows, -1), self._cache)
        for row, length in enumerate(self._lengths):
            if self._at < length <= self._at + width:
                self._last[row] = hidden[row, length - 1 - self._at]
        self._at += width
        return width * self.rows


# Answers, token by token, for many prompts at once; prompts join and leave between two steps.
#
# A step writes one token of every answer and reads some of the prompts that wait. Starts that prompts
# share are read once; rows of tuned models use their own adapters.

# Tokens of prompts between two steps: products are at full speed, answers wait half a second.
READ_AT_ONCE = 512
WORTH_A_START = 64  # tokens of reading that must be saved for a shared start to be read on its own
WORTH_KEEPING = 64  # tokens read anew from which on a prompt is remembered for the next


class Drawn(NamedTuple):
    """The next token of a row; ``ended`` when the answer is over with it."""

    row: int
    token: int
    ended: bool
    chances: Chances | None
    cached: int
    """How many tokens of the row's prompt were remembered from others."""


@dataclass
class _Row:
    number: int
    prompt: tuple[int, ...]
    adapter: str | None
    sampler: Sampler
    cached: int = 0
    position: int = 0  # of ``next``
    next: int = 0
    gone: bool = False


@dataclass
class _Stint:
    """What is being read: the prompts of ``rows``, or, without any, a start that others share."""

    reading: Prefill
    adapter: str | None
    tokens: tuple[int, ...]
    rows: list[_Row]
    prompts: Sequence[tuple[int, ...]]
    """Of ``rows``, each once: answers to the same prompt share what was read."""


class Batch:
    """Prompts being answered together; ``step`` adds one token to every row that has been read."""

    def __init__(self, base: Base, adapters: Adapters | None = None) -> None:
        """Answer with ``base`` and the adapters beside it; without any, with ``base`` as it is switched."""
        use_grouped(base.model)
        self._base = base
        self._adapters = adapters
        self.slots = KVCache(base.model.config)
        self._prefixes = PrefixCache()
        self._waiting: list[_Row] = []
        self._stint: _Stint | None = None
        self._running: list[_Row] = []  # in the order of the slots' rows
        self._joined = 0

    @property
    def live(self) -> list[int]:
        """The rows not yet ended, those still to be read too."""
        return sorted(row.number for row in self._all() if not row.gone)

    def join(
        self,
        prompt: Sequence[int],
        sampling: Sampling = GREEDY,
        *,
        adapter: str | None = None,
        constraint: Constraint | None = None,
    ) -> int:
        """Answer ``prompt`` (token ids, not empty) too, from the next step on; returns the row's number."""
        number, self._joined = self._joined, self._joined + 1
        self._waiting.append(_Row(number, tuple(prompt), adapter, Sampler(sampling, constraint)))
        return number

    def leave(self, number: int) -> None:
        """Answer row ``number`` no further: it has all it needs, or nobody waits for it."""
        for row in self._all():
            row.gone = row.gone or row.number == number

    def forget(self, adapter: str) -> None:
        """Remember no start of a prompt with ``adapter``."""
        self._prefixes.forget(adapter)

    @torch.inference_mode()
    def step(self) -> list[Drawn]:
        """Write one token in every row that is read, and read on; a row that ends with its token has left."""
        self._sweep()
        outputs = [self._write()] if self._running else []
        outputs += self._read()
        if not outputs:
            return []
        hidden = torch.cat(outputs)
        scores = logits(self._base.model, hidden)
        tokens = draw(scores, [row.sampler for row in self._running])
        drawn = []
        for row, (token, chances) in zip(self._running, tokens, strict=True):
            constraint = row.sampler.constraint
            ended = token in self._base.stop_tokens or bool(constraint and constraint.complete)
            row.next, row.gone = token, ended
            drawn.append(Drawn(row.number, token, ended, chances, row.cached))
        return drawn

    def _all(self) -> Iterator[_Row]:
        yield from self._running
        yield from self._stint.rows if self._stint else ()
        yield from self._waiting

    def _sweep(self) -> None:
        self._waiting = [row for row in self._waiting if not row.gone]
        for index in range(len(self._running) - 1, -1, -1):
            if self._running[index].gone:
                self.slots.leave(index)
                self._running[index] = self._running[-1]
                self._running.pop()

    def _write(self) -> Tensor:
        """The decoder's output for the tokens drawn last (rows, hidden)."""
        device = self._base.model.device
        self._choose([row.adapter for row in self._running])
        output = self._base.decode(
            torch.tensor([[row.next] for row in self._running], device=device),
            torch.tensor([[row.position] for row in self._running], device=device),
            self.slots,
            self.slots.visible(device),
        )
        self.slots.written()
        for row in self._running:
            row.position += 1
        return output[:, -1]

    def _read(self) -> list[Tensor]:
        """Read about ``READ_AT_ONCE`` tokens; the output at the end of each prompt that is now running."""
        outputs = []
        left = READ_AT_ONCE
        while left > 0 and (stint := self._stint or self._next_stint()):
            self._choose([stint.adapter] * stint.reading.rows)
            left -= stint.reading.advance(left)
            self._stint = None if stint.reading.finished else stint
            if stint.reading.finished:
                outputs += self._take(stint)
        return outputs

    def _take(self, stint: _Stint) -> list[Tensor]:
        reading = stint.reading
        if len(stint.tokens) - reading.known >= WORTH_KEEPING or not stint.rows:
            states = copied(reading.states, 0, len(stint.tokens))
            self._prefixes.keep(stint.adapter, stint.tokens, states)
        places = {prompt: index for index, prompt in enumerate(stint.prompts)}
        joining = [(places[row.prompt], row) for row in stint.rows if not row.gone]
        if not joining:
            return []
        self.slots.join(reading.states, [(index, len(row.prompt)) for index, row in joining])
        for _, row in joining:
            row.cached, row.position = reading.known, len(row.prompt)
            self._running.append(row)
        return [reading.last[[index for index, _ in joining]]]

    def _next_stint(self) -> _Stint | None:
        """What to read next: a start that several prompts share, or the oldest prompt and its like."""
        self._waiting = [row for row in self._waiting if not row.gone]
        if not self._waiting:
            return None
        first = self._waiting[0]
        known = self._prefixes.longest(first.adapter, first.prompt)
        like = [row for row in self._waiting if row.adapter == first.adapter]
        same = [(shared(first.prompt, row.prompt), row) for row in like]
        others = [length for length, row in same if row.prompt != first.prompt]
        starts = [length for length in others if length >= known + BLOCK]
        if starts and (min(starts) - known) * len(starts) >= WORTH_A_START:
            return self._stint_of([], first.adapter, first.prompt[: min(starts)], known)
        alike = sorted(
            (row for length, row in same if length >= known or row is first),
            key=lambda row: (row is not first, abs(len(row.prompt) - len(first.prompt))),
        )
        prompts: dict[tuple[int, ...], None] = {}
        longest = 0
        for row in alike:
            longest = max(longest, len(row.prompt) - known)
            if prompts and longest * (len(prompts | {row.prompt: None})) > READ_AT_ONCE:
                break
            prompts[row.prompt] = None
        rows = [row for row in alike if row.prompt in prompts]
        numbers = {row.number for row in rows}
        self._waiting = [row for row in self._waiting if row.number not in numbers]
        return self._stint_of(rows, first.adapter, first.prompt, known)

    def _stint_of(self, rows: list[_Row], adapter: str | None, tokens: tuple[int, ...], known: int) -> _Stint:
        start = self._prefixes.states(adapter, tokens, known) if known else ()
        prompts = [*dict.fromkeys(row.prompt for row in rows)] or [tokens]
        return _Stint(Prefill(self._base, prompts, start, known), adapter, tokens, rows, prompts)

    def _choose(self, adapters: list[str | None]) -> None:
        if self._adapters is not None:
            self._adapters.choose(adapters)


class Asked(NamedTuple):
    """One answer that is wanted."""

    prompt: Sequence[int]
    sampling: Sampling = GREEDY
    constraint: Constraint | None = None


def write(base: Base, asked: Sequence[Asked], *, max_tokens: int, batch_size: int = 32) -> list[list[int]]:
    """The tokens of an answer to each, at most ``max_tokens``, the one that ends it included.

    An answer ends too where the model can read no more. ``batch_size`` are written at a time, and the
    next join as others end.
    """
    batch = Batch(base)
    waiting = iter(enumerate(asked))
    said: list[list[int]] = [[] for _ in asked]
    places: dict[int, int] = {}  # row -> answer
    while True:
        for index, one in waiting:
            places[batch.join(one.prompt, one.sampling, constraint=one.constraint)] = index
            if len(places) == batch_size:
                break
        if not places:
            return said
        for drawn in batch.step():
            answer = said[places[drawn.row]]
            answer.append(drawn.token)
            left = base.context - len(asked[places[drawn.row]].prompt)
            if drawn.ended or len(answer) >= min(max_tokens, left):
                batch.leave(drawn.row)
                del places[drawn.row]


def answers(
    base: Base,
    prompts: Sequence[Sequence[int]],
    *,
    max_tokens: int,
    batch_size: int = 32,
    constraint: Callable[[], Constraint | None] = lambda: None,
) -> list[str]:
    """The model's likeliest answer to every prompt, at most ``max_tokens`` tokens each.

    ``constraint`` gives each answer its way through a grammar.
    """
    asked = [Asked(prompt, constraint=constraint()) for prompt in prompts]
    said = write(base, asked, max_tokens=max_tokens, batch_size=batch_size)
    return [base.text([token for token in tokens if token not in base.stop_tokens]) for tokens in said]
