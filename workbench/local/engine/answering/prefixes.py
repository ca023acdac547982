"""Starts of prompts that were read lately: the next prompt with the same start is read from there.

An evaluation asks a hundred questions behind the same instructions and examples; they are read once.
"""

from collections import OrderedDict
from collections.abc import Sequence

from workbench.local.engine.answering.cache import States, first_tokens

BLOCK = 16  # starts are shared in whole blocks of so many tokens, so that many prompts share the same one
KEPT = 4096  # tokens in all; 92 MiB for SmolLM2


class Prefixes:
    """What is remembered of starts, least recently used first; one with each adapter."""

    def __init__(self) -> None:
        """Keep at most ``KEPT`` tokens."""
        self._held: OrderedDict[tuple[str | None, tuple[int, ...]], States] = OrderedDict()

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

    def _matches(
        self, adapter: str | None, prompt: Sequence[int]
    ) -> list[tuple[int, tuple[str | None, tuple[int, ...]]]]:
        return [(shared(key[1], prompt), key) for key in self._held if key[0] == adapter]


def shared(one: Sequence[int], prompt: Sequence[int]) -> int:
    """How many first tokens both have in common, in whole blocks, the last of ``prompt`` not counted."""
    length = 0
    for ours, theirs in zip(one, prompt[:-1], strict=False):
        if ours != theirs:
            break
        length += 1
    return length // BLOCK * BLOCK
