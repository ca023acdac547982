"""A judge's verdicts on two models' answers, and what speaks against believing the judge.

It read each pair in both orders, and a win counts only if it wins in both. Its
consistency and its liking for the first place are told beside the win rate.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from workbench.catalog.models import base_name
from workbench.dataset.examples import counted
from workbench.evaluation.preferring.matches import SIDES, Match, Matches
from workbench.evaluation.preferring.ratings import Choice
from workbench.evaluation.preferring.winning import Position, Wins, p_told, percent
from workbench.evaluation.statistics.paired import sign_test
from workbench.tables import table

CONSISTENT = 0.8  # of the pairs judged; below it, warn


@dataclass(frozen=True)
class Judgement:
    """What the judge said of one match, once in each order; None where a reply had no verdict."""

    match: Match
    base_first: Choice | None
    tuned_first: Choice | None
    why: tuple[str, str] = ("", "")

    @property
    def readable(self) -> bool:
        """Whether both replies had a verdict."""
        return self.base_first is not None and self.tuned_first is not None

    @property
    def consistent(self) -> bool:
        """Whether both orders got the same verdict."""
        return self.readable and self.base_first == self.tuned_first

    @property
    def choice(self) -> Choice:
        """A win in both orders, else a tie (Zheng et al. 2023, arXiv 2306.05685)."""
        return self.base_first or "tie" if self.consistent else "tie"

    @property
    def leaning(self) -> int:
        """How many more of its picks were shown first than second, from -2 to 2."""
        return (
            (self.base_first == "base")
            - (self.base_first == "tuned")
            + (self.tuned_first == "tuned")
            - (self.tuned_first == "base")
        )


@dataclass(frozen=True)
class Judged:
    """A judge's verdict on two models, and what speaks against the judge."""

    judge: str
    matches: Matches
    judgements: tuple[Judgement, ...]

    @property
    def readable(self) -> tuple[Judgement, ...]:
        """The judgements with a verdict in both orders."""
        return tuple(judgement for judgement in self.judgements if judgement.readable)

    @cached_property
    def wins(self) -> Wins:
        """Which answer won in both orders, question by question."""
        values = {"tuned": 1.0, "base": 0.0}
        readable = self.readable
        return Wins(
            tuple(values.get(judgement.choice, 0.5) for judgement in readable),
            tuple(j.match.cluster or j.match.question for j in readable),
        )

    @property
    def win_rate(self) -> float:
        """How often the tuned answer is preferred where the two differ, with ties as half; nan without."""
        return self.wins.rate

    @property
    def consistency(self) -> float | None:
        """How often both orders got the same verdict, from 0 to 1."""
        readable = self.readable
        return fmean(judgement.consistent for judgement in readable) if readable else None

    @cached_property
    def position(self) -> Position:
        """How often it picked what was shown first.

        The p is that of a sign test over the questions on which its picks followed the place: the two
        orders of a question are no independent readings.
        """
        readable = self.readable
        firsts = sum((j.base_first == "base") + (j.tuned_first == "tuned") for j in readable)
        picks = sum((j.base_first != "tie") + (j.tuned_first != "tie") for j in readable)
        leanings = [judgement.leaning for judgement in readable]
        p = sign_test(sum(leaning > 0 for leaning in leanings), sum(leaning < 0 for leaning in leanings))
        return Position(firsts, picks, p)

    @property
    def lengths(self) -> tuple[float, float]:
        """The mean length of the base model's answers and of the tuned one's, in characters."""
        asked = [judgement.match for judgement in self.judgements]
        return fmean(len(match.base) for match in asked), fmean(len(match.tuned) for match in asked)

    @property
    def findings(self) -> tuple[str, ...]:
        """What speaks against believing this judge."""
        return tuple(self._findings())

    @property
    def verdict(self) -> str:
        """Say it in a sentence, with the numbers."""
        wins = self.wins
        if not wins.values:
            return f"{self.judge} gave no verdict that can be read."
        won = sum(value == 1 for value in wins.values)
        lost = sum(value == 0 for value in wins.values)
        return (
            f"{self.judge} prefers the tuned model on {won} questions, the base model on {lost} and neither "
            f"on {len(wins.values) - won - lost}: {percent(wins.rate)} with ties as half "
            f"(95 % interval {wins.interval}), sign test {p_told(wins.p_value)}."
        )

    def __repr__(self) -> str:
        """Show the verdict."""
        return f"<Judged: {self.verdict}>"

    def _repr_html_(self) -> str:
        base, tuned = self.lengths
        rows = [("finding", finding) for finding in self.findings]
        rows += [
            ("compared", f"tuned: {self.matches.tuned}; base: {self.matches.base}"),
            ("judged", f"{counted(len(self.judgements), 'question')}, each in both orders"),
            ("answered alike", f"{self.matches.same:,} more, which no judge can tell apart"),
            ("same verdict in both orders", "–" if self.consistency is None else percent(self.consistency)),
            ("place", str(self.position)),
            ("mean length", f"{tuned:,.0f} characters tuned, {base:,.0f} base"),
        ]
        return table(self.verdict, ("measure", "value"), rows)

    def _findings(self) -> Iterator[str]:
        for side, model in zip(SIDES, (self.matches.base, self.matches.tuned), strict=True):
            if base_name(model) == base_name(self.judge) or family(model) == family(self.judge):
                own = "is" if model == self.judge else "is of the same family as"
                yield (
                    f"{self.judge} {own} the {side} model ({model}), and models prefer answers like "
                    "their own; let another family judge, or people."
                )
        unread = len(self.judgements) - len(self.readable)
        if unread:
            yield f"{counted(unread, 'question')} got a reply without a verdict; they are left out."
        if self.consistency is not None and self.consistency < CONSISTENT:
            yield (
                f"It contradicts itself: only {percent(self.consistency)} of its verdicts are the same in "
                f"both orders, and {percent(CONSISTENT)} is the least; take a better judge."
            )
        if self.position.is_biased:
            place = "first" if self.position.share > 0.5 else "last"
            yield f"It prefers what is shown {place}: {self.position}."


def family(model: str) -> str:
    """The family that a name speaks of: ``gpt`` for gpt-4.1-mini, o4-mini and what was tuned from them."""
    name = base_name(model).split("/")[-1].casefold().removeprefix("meta-")
    [letters] = re.findall(r"^[a-z]*", name)
    return _FAMILIES.get(letters, letters or name)


# Makers whose models have several first names.
_FAMILIES = {
    "o": "gpt",
    "chatgpt": "gpt",
    "davinci": "gpt",
    "babbage": "gpt",
    "ministral": "mistral",
    "mixtral": "mistral",
    "codestral": "mistral",
    "magistral": "mistral",
    "qwq": "qwen",
    "gemma": "gemini",
}
