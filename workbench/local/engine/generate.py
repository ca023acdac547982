"""Answers, token by token, for many prompts at once.

Prompts are padded on the left so that all rows end together; a start that all prompts share
(the same instructions, the same few-shot examples) is computed once; finished rows leave the
batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache

from workbench.local.engine.model import Base, logits


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn: temperature 0 takes the likeliest; a seed repeats a draw."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None


GREEDY = Sampling()


class Batch:
    """Prompts being answered together; ``step`` adds one token to every row that is still live."""

    def __init__(self, base: Base, prompts: Sequence[Sequence[int]], samplings: Sequence[Sampling]) -> None:
        """Read nothing yet; the first ``step`` reads the prompts (lists of token ids, none empty)."""
        self.shared = _shared_start(prompts)
        self._base = base
        self._prompts = prompts
        self._samplings = samplings
        self._generators = [_generator(sampling) for sampling in samplings]
        self._cache = DynamicCache(config=base.model.config)
        self._ids = self._mask = self._positions = torch.empty(0)
        self._rows = list(range(len(prompts)))  # the rows of the tensors; some may have ended
        self._ended: set[int] = set()

    @property
    def live(self) -> list[int]:
        """The prompts still being answered."""
        return [row for row in self._rows if row not in self._ended]

    @torch.inference_mode()
    def step(self) -> list[tuple[int, int]]:
        """One new (row, token) for every live row; a row whose token is a stop token has ended."""
        if self._ids.numel() == 0:
            self._read_prompts()
        hidden = self._forward(self._ids, self._mask, self._positions)[:, -1]
        tokens = self._draw(logits(self._base.model, hidden))
        drawn = [
            (row, token) for row, token in zip(self._rows, tokens, strict=True) if row not in self._ended
        ]
        self._ended |= {row for row, token in drawn if token in self._base.stop_tokens}
        self._advance(tokens)
        return drawn

    def leave(self, row: int) -> None:
        """Answer ``row`` no further: it has all it needs, or nobody waits for it."""
        self._ended.add(row)

    def _read_prompts(self) -> None:
        device = self._base.model.device
        rows = len(self._prompts)
        if self.shared:
            start = torch.tensor([self._prompts[0][: self.shared]], device=device)
            positions = torch.arange(self.shared, device=device)[None]
            self._forward(start, torch.ones_like(start), positions)
            self._cache.batch_repeat_interleave(rows)
        rest = [torch.tensor(prompt[self.shared :]) for prompt in self._prompts]
        length = max(len(tokens) for tokens in rest)
        ids, mask = torch.zeros(rows, length, dtype=torch.long), torch.zeros(rows, length, dtype=torch.long)
        for index, tokens in enumerate(rest):
            ids[index, length - len(tokens) :] = tokens
            mask[index, length - len(tokens) :] = 1
        positions = (mask.cumsum(1) - 1).clamp(min=0) + self.shared
        self._ids, self._positions = ids.to(device), positions.to(device)
        self._mask = torch.cat([torch.ones(rows, self.shared, dtype=torch.long), mask], 1).to(device)

    def _forward(self, ids: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
        decoder = self._base.model.get_decoder()
        whole = None if bool(mask.all()) else mask
        output: Tensor = decoder(
            input_ids=ids,
            attention_mask=whole,
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
        ).last_hidden_state
        return output

    def _draw(self, scores: Tensor) -> list[int]:
        tokens: list[int] = scores.argmax(-1).tolist()
        for index, row in enumerate(self._rows):
            sampling = self._samplings[row]
            if sampling.temperature > 0:
                tokens[index] = _sample(scores[index], sampling, self._generators[row])
        return tokens

    def _advance(self, tokens: list[int]) -> None:
        device = self._mask.device
        self._ids = torch.tensor(tokens, device=device)[:, None]
        self._positions = self._positions[:, -1:] + 1
        written = torch.ones(len(self._rows), 1, dtype=torch.long, device=device)
        self._mask = torch.cat([self._mask, written], 1)
        staying = [index for index, row in enumerate(self._rows) if row not in self._ended]
        # Taking rows out copies the whole cache, so it waits until a quarter of them has ended.
        if 0 < len(staying) <= 0.75 * len(self._rows):
            keep = torch.tensor(staying, device=device)
            self._cache.batch_select_indices(keep)
            self._ids, self._positions, self._mask = self._ids[keep], self._positions[keep], self._mask[keep]
            self._rows = [self._rows[index] for index in staying]


def answers(
    base: Base, prompts: Sequence[Sequence[int]], *, max_tokens: int, batch_size: int = 32
) -> list[str]:
    """The model's likeliest answer to every prompt, at most ``max_tokens`` tokens each."""
    texts = []
    for start in range(0, len(prompts), batch_size):
        part = prompts[start : start + batch_size]
        batch = Batch(base, part, [GREEDY] * len(part))
        said: list[list[int]] = [[] for _ in part]
        for _ in range(max_tokens):
            if not batch.live:
                break
            for row, token in batch.step():
                if token not in base.stop_tokens:
                    said[row].append(token)
        texts += [base.text(tokens) for tokens in said]
    return texts


def _shared_start(prompts: Sequence[Sequence[int]]) -> int:
    """How many first tokens all prompts have in common; every row keeps at least one token of its own."""
    if len(prompts) == 1:
        return 0
    shortest = min(len(prompt) for prompt in prompts) - 1
    first = prompts[0]
    for index in range(shortest):
        if any(prompt[index] != first[index] for prompt in prompts):
            return index
    return shortest


def _sample(scores: Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    shares = (scores.cpu() / sampling.temperature).softmax(-1)
    if sampling.top_p < 1:
        ordered, order = shares.sort(descending=True)
        # Nucleus sampling (Holtzman et al. 2020): the smallest set that holds top_p; the first always stays.
        ordered[ordered.cumsum(-1) - ordered >= sampling.top_p] = 0
        return int(order[torch.multinomial(ordered, 1, generator=generator)])
    return int(torch.multinomial(shares, 1, generator=generator))


def _generator(sampling: Sampling) -> torch.Generator:
    generator = torch.Generator()
    if sampling.seed is None:
        generator.seed()
    else:
        generator.manual_seed(sampling.seed)
    return generator
