"""Reading prompts: everything before the first token of an answer, a stretch at a time.

Prompts that go on from the same remembered start are read side by side, padded on the right: a
causal model never looks ahead, so the padding is never seen and no mask is needed.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import DynamicCache

from workbench.local.engine.answering.cache import States, states_of
from workbench.local.engine.model import Base


class Reading:
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
