"""How each training example fared: its loss whenever it was visited, which costs nothing to know.

Before the first step and after the last a sample of the examples is looked at besides, so that the
losses of all can be told from the base model's; the sample is small enough to cost little.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

LARGEST_SAMPLE = 2000  # examples
EXTRA_SHARE = 0.05  # of the training: a look forward costs half a step forward and back, and there are two


@dataclass
class Trace:
    """Losses by example, from 0 in the order of the training file; nan where nothing of it is learnt."""

    visits: list[list[float]]
    """One loss an epoch, each just before the step that learns from it."""
    sample: tuple[int, ...]
    """The examples that ``before`` and ``after`` tell of, evenly spread over the file."""
    before: dict[int, float] = field(default_factory=dict)
    after: dict[int, float] = field(default_factory=dict)

    @classmethod
    def of(cls, examples: int, n_epochs: int) -> Self:
        """A trace without a visit yet."""
        size = min(examples, LARGEST_SAMPLE, int(EXTRA_SHARE * examples * n_epochs))
        sample = tuple(number * examples // size for number in range(size))
        return cls([[] for _ in range(examples)], sample)

    def visit(self, rows: Sequence[int], losses: Sequence[float]) -> None:
        """Note the losses of one step's batch."""
        for row, loss in zip(rows, losses, strict=True):
            self.visits[row].append(loss)

    def as_state(self) -> dict[str, Any]:
        """What a stopped run needs to go on noting."""
        return {"visits": self.visits, "sample": list(self.sample), "before": self.before}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The trace that ``as_state`` was taken of."""
        return cls(state["visits"], tuple(state["sample"]), state["before"])
