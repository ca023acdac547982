"""Blind ratings: which of two models' answers somebody preferred, on disk before the next pair is shown.

A file that only grows; of each rater the latest line about a pair counts. A pair is known by its question
and both answers, so a rating is found again after a restart or a new measurement.
"""

import hashlib
import json
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, get_args

from workbench import jsonl_log
from workbench.dataset.dataset import counted
from workbench.errors import DataError
from workbench.evaluation.evaluation import Evaluation, Item

# Pairs to rate blindly: the order is drawn by lot, always the same for the same person and seed. Pairs of
# equal answers are not shown.

Side: TypeAlias = Literal["base", "tuned"]
SIDES: tuple[Side, Side] = ("base", "tuned")


@dataclass(frozen=True)
class AnswerPair:
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
    asked: tuple[AnswerPair, ...]
    same: int = 0
    """Questions that both answered with the same words; nobody can prefer one."""
    alone: int = 0
    """Questions that only one of the two answered."""


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
    found = [
        AnswerPair(
            one.origin, one.question, one.reference, one.answer, other.answer, one.cluster or other.cluster
        )
        for one, other in differing
    ]
    asked = list({match.key: match for match in found}.values())
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


def _named(one: Evaluation, other: Evaluation) -> str:
    """The model; with two prompts on one model the prompt tells them apart."""
    return f"{one.model}, {one.prompt.name}" if one.model == other.model else one.model


Choice: TypeAlias = Literal["base", "tuned", "tie", "both bad", "skip"]
CHOICES: tuple[Choice, ...] = get_args(Choice)
Rater: TypeAlias = Literal["person", "judge"]
RATERS: tuple[Rater, ...] = get_args(Rater)


@dataclass(frozen=True)
class Rating:
    """What one rater thinks of one match."""

    choice: Choice
    first: Side | None
    """Whose answer was shown first, on the left; None for a judge, who read both orders."""
    rater: str = ""
    """A name, if somebody gave one; of a judge the model."""
    by: Rater = "person"
    note: str = ""
    at: str = ""
    """UTC, ISO 8601."""

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        if self.choice not in CHOICES:
            raise DataError(f"There is no choice {self.choice!r}; there are {', '.join(CHOICES)}.")
        if self.by not in RATERS:
            raise DataError(f"{self.by!r} rates nothing; a rating is by {' or '.join(RATERS)}.")
        if self.first not in (*SIDES, None):
            raise DataError(f"{self.first!r} is no side; the first answer is {' or '.join(SIDES)}.")

    @property
    def value(self) -> float:
        """1 for the tuned model, 0 for the base model, 0.5 for neither."""
        return {"tuned": 1.0, "base": 0.0}.get(self.choice, 0.5)


class Ratings:
    """The latest rating of each match by each rater; what other kernels write shows up too."""

    def __init__(self, path: str | Path) -> None:
        """Nothing is read or written yet."""
        self.path = Path(path)
        self._read: tuple[int, Mapping[tuple[str, str], Rating]] = (0, {})  # bytes, and what they say

    @property
    def latest(self) -> Mapping[tuple[str, str], Rating]:
        """What counts now, by match and rater; the one given last stands at the end."""
        size = self.path.stat().st_size if self.path.is_file() else 0
        if size != self._read[0]:  # it only grows
            self._read = (size, MappingProxyType(self._all()))
        return self._read[1]

    def rate(
        self,
        match: AnswerPair,
        choice: Choice,
        *,
        first: Side | None,
        rater: str = "",
        by: Rater = "person",
        note: str = "",
    ) -> Rating:
        """Keep a rating, in place of this rater's last one; it is on disk when this returns."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        rating = Rating(choice, first, rater, by, note, now)
        self._append({"match": match.key, **asdict(rating)})
        return rating

    def forget(self, match: AnswerPair, *, rater: str = "") -> None:
        """Take a rating back; the file still tells that it was."""
        self._append({"match": match.key, "rater": rater, "choice": None})

    def __repr__(self) -> str:
        """How many, by how many."""
        ratings, raters = len(self.latest), len({rating.rater for rating in self.latest.values()})
        return f"Ratings({self.path.name}: {counted(ratings, 'rating')} by {counted(raters, 'rater')})"

    def _all(self) -> dict[tuple[str, str], Rating]:
        found: dict[tuple[str, str], Rating] = {}
        for line in jsonl_log.objects(self.path):
            match, rater = str(line.get("match")), str(line.get("rater", ""))
            found.pop((match, rater), None)
            if line.get("choice") is not None:
                found[match, rater] = self._rating(line)
        return found

    def _append(self, facts: Mapping[str, object]) -> None:
        text = json.dumps(facts, ensure_ascii=False)
        jsonl_log.append(self.path, text.encode(errors="replace"))

    def _rating(self, line: Mapping[str, Any]) -> Rating:
        known = {name: line[name] for name in Rating.__dataclass_fields__ if name in line}
        try:
            return Rating(**{"first": None, **known})
        except DataError as error:
            raise DataError(f"{self.path} holds a line that is no rating: {error} Remove it.") from error
