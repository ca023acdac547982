"""One question of an evaluation: what was asked, what the model said, and what that is worth.

With several samples a question has several answers; its score is their mean, so
that a question counts once however often it was asked.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from workbench.project import JSON


@dataclass(frozen=True)
class Sample:
    """One answer to a question, and its score from 0 to 1; ``nan`` with a ``problem`` if it has none."""

    answer: str
    score: float
    reason: str
    seconds: float
    prompt_tokens: int
    completion_tokens: int
    finish_reason: str
    cached_tokens: int = 0
    problem: str = ""


@dataclass(frozen=True)
class Item:
    """One question with its reference, the model's answer and its score from 0 to 1.

    ``id`` is made of question and reference alone, so the same item has the
    same id whatever the model and the prompt. Of several samples, ``score`` is
    the mean; answer, reason, time and tokens are those of the first.
    """

    id: str
    origin: str
    question: str
    reference: str
    answer: str
    score: float
    """``nan`` when nothing could be graded; then ``problem`` says why."""
    seconds: float
    """``nan`` where a service does not tell."""
    prompt_tokens: int
    completion_tokens: int
    finish_reason: str
    cached_tokens: int = 0
    cluster: str = ""
    """What it has in common with others (a document, a conversation, a template); empty: nothing."""
    reason: str = ""
    """Why the grader gave this score, where it says so."""
    problem: str = ""
    """Why it has no score."""
    samples: tuple[Sample, ...] = ()
    """All answers, where more than one was asked for."""
    more: Mapping[str, JSON] = field(default_factory=dict)
    """Further reference fields that a grader may read, as ``item.<name>``."""

    @property
    def graded(self) -> dict[str, JSON]:
        """What a grader reads of it as ``item``."""
        return {"question": self.question, "answer": self.reference, "origin": self.origin, **self.more}

    @property
    def answers(self) -> tuple[Sample, ...]:
        """Every answer to it, be it one or several."""
        return self.samples or (
            Sample(
                self.answer,
                self.score,
                self.reason,
                self.seconds,
                self.prompt_tokens,
                self.completion_tokens,
                self.finish_reason,
                self.cached_tokens,
                self.problem,
            ),
        )

    @property
    def facts(self) -> dict[str, JSON]:
        """All of it as JSON, without what is empty; ``item_from`` makes it an item again."""
        facts: dict[str, JSON] = {name: value for name, value in asdict(self).items() if _says(name, value)}
        if self.samples:
            facts["samples"] = [_finite(asdict(sample)) for sample in self.samples]
        return _finite(facts)


def item_from(facts: Mapping[str, JSON]) -> Item:
    """Make an item of its ``facts``; a ``TypeError``, ``KeyError`` or ``ValueError`` if they are none."""
    samples = facts.get("samples") or ()
    if not isinstance(samples, list | tuple):
        raise TypeError("samples is no list")
    answers = tuple(Sample(**_numbers(sample)) for sample in samples)
    return Item(**{**_numbers(facts), "samples": answers})


_LATER = ("cluster", "reason", "problem", "samples", "more")


def _says(name: str, value: object) -> bool:
    return bool(value) or name not in _LATER


def _finite(facts: Mapping[str, JSON]) -> dict[str, JSON]:
    """JSON has no ``nan``: what is not known is ``null``."""
    return {
        key: None if isinstance(value, float) and math.isnan(value) else value for key, value in facts.items()
    }


def _numbers(facts: JSON) -> dict[str, Any]:
    """And back; it is always the same ``nan``, so that what comes back from disk is equal."""
    if not isinstance(facts, Mapping):
        raise TypeError("an object was expected")
    return {key: math.nan if value is None else value for key, value in facts.items()}
