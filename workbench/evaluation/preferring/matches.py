"""The same question answered by two models, to choose from without knowing whose answer is whose.

Who sees which answer first is drawn by lot, and always the same way for the same
person and seed. Questions that both answer alike are put before nobody.
"""

import hashlib
import json
import random
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

from workbench.dataset.examples import counted
from workbench.errors import DataError
from workbench.evaluation.evaluation import Evaluation, Item
from workbench.tables import table

Side: TypeAlias = Literal["base", "tuned"]
SIDES: tuple[Side, Side] = ("base", "tuned")
_SHOWN = 10


@dataclass(frozen=True)
class Match:
    """One question, and the two answers to it."""

    origin: str
    question: str
    reference: str
    base: str
    tuned: str
    cluster: str = ""
    """The document, conversation or template that the question belongs to; empty for none."""

    @cached_property
    def key(self) -> str:
        """What ratings know it by: its question and answers, whichever models gave them."""
        content = json.dumps([self.question, self.base, self.tuned])
        return hashlib.sha256(content.encode()).hexdigest()

    def first_for(self, rater: str, seed: int) -> Side:
        """Whose answer this rater is shown first: drawn by lot, again the same with the same seed."""
        return random.Random(f"{seed} {rater} {self.key}").choice(SIDES)

    def in_order(self, first: Side) -> tuple[str, str]:
        """Both answers, the one that is shown first in front."""
        return (self.base, self.tuned) if first == "base" else (self.tuned, self.base)


@dataclass(frozen=True)
class Matches:
    """What is put before a rater, in random order: whoever stops early has rated a fair sample."""

    base: str
    tuned: str
    asked: tuple[Match, ...]
    same: int = 0
    """Questions that both answered with the same words; nobody can prefer one."""
    alone: int = 0
    """Questions that only one of the two answered."""

    def __repr__(self) -> str:
        """How many."""
        return f"<Matches: {counted(len(self.asked), 'question')}, {self.same:,} more answered alike>"

    def _repr_html_(self) -> str:
        rows = [(m.origin, m.question, m.base, m.tuned) for m in self.asked[:_SHOWN]]
        caption = f"{counted(len(self.asked), 'question')} answered differently, {self.same:,} alike"
        return table(caption, ("origin", "question", self.base, self.tuned), rows)


def matches(base: Evaluation, tuned: Evaluation, *, seed: int = 0, sample: int | None = None) -> Matches:
    """Put two evaluations' answers side by side; ``sample`` draws so many questions, else all are asked.

    Raises ``DataError`` when the two have no question in common.
    """
    if sample is not None and sample < 1:
        raise DataError(f"sample is {sample}; draw 1 question or more, or None for all.")
    mine, theirs = _answered(base), _answered(tuned)
    both = [(item, theirs[id]) for id, item in mine.items() if id in theirs]
    if not both:
        raise DataError(
            f"{base.model} and {tuned.model} have no question in common; evaluate both on one dataset."
        )
    differing = [(one, other) for one, other in both if one.answer.strip() != other.answer.strip()]
    asked = list({match.key: match for match in (_match(*pair) for pair in differing)}.values())
    random.Random(seed).shuffle(asked)
    return Matches(
        _named(base, tuned),
        _named(tuned, base),
        tuple(asked[:sample]),
        same=len(both) - len(differing),
        alone=len(mine) + len(theirs) - 2 * len(both),
    )


def _answered(evaluation: Evaluation) -> dict[str, Item]:
    """The items by their ids; a question that the service refused has no answer to compare."""
    return {item.id: item for item in evaluation.items if item.answer or not item.problem}


def _match(base: Item, tuned: Item) -> Match:
    cluster = base.cluster or tuned.cluster
    return Match(base.origin, base.question, base.reference, base.answer, tuned.answer, cluster)


def _named(one: Evaluation, other: Evaluation) -> str:
    """The model; with two prompts on one model the prompt tells them apart."""
    return f"{one.model}, {one.prompt.name}" if one.model == other.model else one.model
