"""Compare: is the tuned model really better, or was it luck?

Both answered the same items, so the comparison is paired: what counts are the
items that flipped. A frozen comparison holds both evaluations and says what was
fixed and what was broken, with an exact test and an interval of the difference.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from workbench.errors import DataError
from workbench.evaluation.evaluate import Evaluation, Item
from workbench.evaluation.statistics.intervals import Interval, items_needed, mcnemar, newcombe
from workbench.tables import table

if TYPE_CHECKING:
    import pandas

Outcome = Literal["better", "worse", "no significant difference"]

_LEVEL = 0.05  # of the two-sided exact test
_SHOWN = 5  # flips of each kind under a summary; all of them are in .flips


@dataclass(frozen=True)
class Comparison:
    """Two models on the same right-or-wrong items, in the same order."""

    base: Evaluation
    tuned: Evaluation

    @property
    def items(self) -> int:
        """How many items both answered."""
        return len(self.base.items)

    @cached_property
    def fixed(self) -> int:
        """Items that the base model had wrong and the tuned one has right."""
        return sum(tuned.score > base.score for base, tuned in self._pairs())

    @cached_property
    def broken(self) -> int:
        """Items that the base model had right and the tuned one has wrong."""
        return sum(tuned.score < base.score for base, tuned in self._pairs())

    @property
    def difference(self) -> float:
        """The tuned score less the base score, from -1 to 1."""
        return (self.fixed - self.broken) / self.items

    @cached_property
    def interval(self) -> Interval:
        """The difference's 95 % interval by Newcombe's method 10."""
        both = sum(base.score == tuned.score == 1 for base, tuned in self._pairs())
        return newcombe(both, self.broken, self.fixed, self.items - both - self.broken - self.fixed)

    @cached_property
    def p_value(self) -> float:
        """McNemar's exact test: how often chance alone splits the flips this unevenly, two-sided."""
        return mcnemar(self.broken, self.fixed)

    @property
    def outcome(self) -> Outcome:
        """The verdict in one word or four: a difference counts when the exact test's p is at most 0.05."""
        if self.p_value > _LEVEL:
            return "no significant difference"
        return "better" if self.difference > 0 else "worse"

    @property
    def verdict(self) -> str:
        """Say it in a sentence or two, with the numbers."""
        numbers = (
            f"{self.tuned.correct} of {self.items} items right against {self.base.correct} "
            f"({_points(self.difference)} points, 95 % interval {_points(self.interval.low)} to "
            f"{_points(self.interval.high)}, exact McNemar {_p(self.p_value)})"
        )
        flips = f"It fixed {self.fixed} and broke {self.broken}."
        if self.outcome != "no significant difference":
            return f"The tuned model is {self.outcome}: {numbers}. {flips}"
        return f"No significant difference: {numbers}. {flips} {self._more()}"

    @property
    def flips(self) -> "pandas.DataFrame":
        """The items whose verdict changed, right → wrong first."""
        import pandas

        columns = ["flip", "origin", "question", "reference", "base_answer", "tuned_answer"]
        return pandas.DataFrame(self._flips(), columns=columns)

    def __repr__(self) -> str:
        """Show the verdict."""
        return f"<Comparison: {self.verdict}>"

    def _repr_html_(self) -> str:
        sides = [
            (
                name,
                side.model,
                side.prompt.name,
                f"{100 * side.score:.1f} % ({side.interval})",
                side.correct,
                f"{side.prompt_tokens:.0f}",
                f"{side.seconds_p50:.2f} s",
            )
            for name, side in (("base", self.base), ("tuned", self.tuned))
        ]
        columns = ("", "model", "prompt", "score (95 %)", "right", "prompt tokens", "median time")
        flips = self._flips()
        shown = flips[: min(self.broken, _SHOWN)] + flips[self.broken : self.broken + _SHOWN]
        rows = table(
            f"{len(shown)} of {len(flips)} flips, right → wrong first; all of them are in .flips",
            ("flip", "origin", "question", "reference", "base answer", "tuned answer"),
            shown,
        )
        return table(self.verdict, columns, sides) + (rows if flips else "")

    def _pairs(self) -> Iterator[tuple[Item, Item]]:
        return zip(self.base.items, self.tuned.items, strict=True)

    def _flips(self) -> list[tuple[str, str, str, str, str, str]]:
        flips = [
            (
                "right → wrong" if tuned.score < base.score else "wrong → right",
                base.origin,
                base.question,
                base.reference,
                base.answer,
                tuned.answer,
            )
            for base, tuned in self._pairs()
            if base.score != tuned.score
        ]
        return sorted(flips, key=lambda flip: flip[0])

    def _more(self) -> str:
        discordant = (self.fixed + self.broken) / self.items
        if not self.difference:
            return "They are equally good on these items."
        more = max(items_needed(self.difference, discordant) - self.items, 1)
        return f"If the difference is truly this large, about {more:,} more items would show it (80 % power)."


def compare(base: Evaluation, tuned: Evaluation) -> Comparison:
    """Compare two evaluations of the same items, paired by item.

    Raises ``DataError`` when the items or the graders differ, or when a score
    is neither 0 nor 1: McNemar's test needs right or wrong.
    """
    if base.grader != tuned.grader:
        raise DataError(
            f"The base model was graded by {base.grader['name']!r} and the tuned one by "
            f"{tuned.grader['name']!r}, or by another version of it; evaluate both with one grader."
        )
    answered = {"base": _by_id(base), "tuned": _by_id(tuned)}
    for name, other in (("base", "tuned"), ("tuned", "base")):
        missing = [item for id, item in answered[other].items() if id not in answered[name]]
        if missing:
            first = ", ".join(f"{item.id} ({item.origin})" for item in missing[:_SHOWN])
            raise DataError(
                f"The {name} model did not answer {len(missing)} of the {other} model's items: "
                f"{first}{', …' if len(missing) > _SHOWN else ''}. Evaluate both on the same dataset."
            )
    for item in (*base.items, *tuned.items):
        if item.score not in (0, 1):
            raise DataError(
                f"grader {base.grader['name']!r} gave {item.score:g} for item {item.origin}; "
                "compare needs right (1) or wrong (0), so use a grader that decides."
            )
    if not base.items:
        raise DataError("There is no item to compare; both evaluations are empty.")
    return Comparison(base, replace(tuned, items=tuple(answered["tuned"][item.id] for item in base.items)))


def _by_id(evaluation: Evaluation) -> Mapping[str, Item]:
    return {item.id: item for item in evaluation.items}


def _points(share: float) -> str:
    return f"{100 * share:+.1f}".replace("-", "−")


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"
