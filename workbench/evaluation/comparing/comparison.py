"""A comparison: two models on the same items, the verdict and what it rests on.

It is frozen, says itself in a few sentences and shows what got worse first. How
one is made is said in ``compare``.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from workbench.evaluation.comparing.flips import Flip, flips
from workbench.evaluation.comparing.pairing import LeftOut
from workbench.evaluation.comparing.verdicts import Outcome, Verdict, both_scores, points, shown_p
from workbench.evaluation.evaluation import Evaluation
from workbench.evaluation.statistics.differences import Difference
from workbench.evaluation.statistics.intervals import Interval
from workbench.evaluation.statistics.paired import superiority
from workbench.project import JSON
from workbench.tables import table

if TYPE_CHECKING:
    import pandas

_SHOWN = 5  # flips of each kind under a summary; all of them are in .flips


@dataclass(frozen=True)
class Comparison:
    """Two models on the same items, in the same order; what does not count is in ``left_out``."""

    base: Evaluation
    tuned: Evaluation
    judged: Verdict
    """The difference, and what it comes to."""
    left_out: tuple[LeftOut, ...] = ()
    with_leaked: Difference | None = None
    """The difference with the items that the model may have seen in training."""
    if_ungraded_were_lost: Outcome | None = None
    """The outcome if every item without a score had gone against the tuned model."""
    also: "tuple[Comparison, ...]" = ()
    """The other models that were compared with the base on these items."""

    @property
    def items(self) -> int:
        """How many items are compared."""
        return self.judged.difference.items

    @property
    def clusters(self) -> int:
        """How many groups of items there are; as many as items where none belong together."""
        return self.judged.difference.clusters

    @property
    def fixed(self) -> int:
        """Items that the tuned model does better: wrong before, right now."""
        return self.judged.difference.fixed

    @property
    def broken(self) -> int:
        """Items that the tuned model does worse: right before, wrong now."""
        return self.judged.difference.broken

    @property
    def difference(self) -> float:
        """The tuned score less the base score, from -1 to 1."""
        return self.judged.difference.value

    @cached_property
    def interval(self) -> Interval:
        """The difference's 95 % interval; which method fits is said in ``statistics.differences``."""
        return self.judged.difference.interval()

    @property
    def p_value(self) -> float:
        """How often chance alone gives such a difference, two-sided and corrected for all looks."""
        return self.judged.p_value

    @property
    def probability_better(self) -> float | None:
        """How probable it is that a changed item is rather a gain (Bayes, Jeffreys' prior).

        Only for right-or-wrong items without clusters, and not corrected for several looks; else None.
        """
        found = self.judged.difference
        independent = found.right_or_wrong and not found.clustered
        return superiority(self.broken, self.fixed) if independent else None

    @property
    def outcome(self) -> Outcome:
        """The verdict in a few words."""
        return self.judged.outcome

    @property
    def more_items(self) -> int:
        """How many more items an inconclusive comparison needs; else 0."""
        return self.judged.more_items

    @property
    def verdict(self) -> str:
        """Say it in a few sentences: the verdict with the numbers, then what does not count."""
        return " ".join((str(self.judged), *self._notes))

    @property
    def flips(self) -> "pandas.DataFrame":
        """The items whose score changed, what got worse first."""
        import pandas

        return pandas.DataFrame(self._flips, columns=list(Flip._fields))

    @property
    def facts(self) -> dict[str, JSON]:
        """The same as JSON, for a shell and for CI."""
        found = self.judged.difference
        return {
            "outcome": self.outcome,
            "verdict": self.verdict,
            "base_model": self.base.model,
            "base_score": self.base.score,
            "tuned_model": self.tuned.model,
            "tuned_score": self.tuned.score,
            "items": self.items,
            "clusters": self.clusters,
            "fixed": self.fixed,
            "broken": self.broken,
            "difference": self.difference,
            "low": self.interval.low,
            "high": self.interval.high,
            "minimum": self.judged.minimum,
            "test": found.test,
            "p_value": self.p_value,
            "uncorrected_p_value": found.p_value,
            "probability_better": self.probability_better,
            "looks": self.judged.looks,
            "optimism": self.judged.optimism,
            "more_items": self.more_items,
            "left_out": [{"why": each.why, "ids": list(each.ids)} for each in self.left_out],
            "also": [each.facts for each in self.also],
        }

    def __repr__(self) -> str:
        """Show the verdict."""
        return f"<Comparison: {self.verdict}>"

    def _repr_html_(self) -> str:
        columns = ("", "model", "prompt", "score (95 %)", "right", "prompt tokens", "median time")
        sides = [_side(name, side) for name, side in (("base", self.base), ("tuned", self.tuned))]
        page = table(self.verdict, columns, sides)
        if self.also:
            page += table(
                f"All {len(self.also) + 1} against {self.base.model}; p after Holm's correction for "
                f"{self.judged.looks} looks",
                ("model", "prompt", "points", "95 % interval", "p", "outcome"),
                [_row(each) for each in (self, *self.also)],
            )
        changed = self._flips
        shown = changed[: min(self.broken, _SHOWN)] + changed[self.broken :][-_SHOWN:]
        if not changed:
            return page
        return page + table(
            f"{len(shown)} of {len(changed)} changed items, what got worse first; all of them are in .flips",
            ("flip", "origin", "question", "reference", "base answer", "tuned answer"),
            shown,
        )

    @cached_property
    def _flips(self) -> tuple[Flip, ...]:
        return flips(zip(self.base.items, self.tuned.items, strict=True))

    @property
    def _notes(self) -> list[str]:
        notes = [str(each) for each in self.left_out]
        base, tuned = ((side.temperature, side.max_tokens) for side in (self.base, self.tuned))
        if base != tuned:
            notes.append(
                f"They were asked differently: the base model at temperature {base[0]:g} for up to {base[1]} "
                f"tokens, the tuned one at {tuned[0]:g} for {tuned[1]}."
            )
        if self.with_leaked is not None:
            notes.append(f"With the leaked ones: {both_scores(self.with_leaked)}.")
        if self.if_ungraded_were_lost == self.outcome:
            notes.append(
                "The verdict is the same if those without a score all count against the tuned model."
            )
        elif self.if_ungraded_were_lost is not None:
            notes.append(
                "If those without a score all counted against the tuned model, the verdict would be: "
                f"{self.if_ungraded_were_lost}."
            )
        return notes


def _side(name: str, side: Evaluation) -> tuple[object, ...]:
    tokens, seconds = side.prompt_tokens, side.seconds_p50
    return (
        name,
        side.model,
        side.prompt.name,
        f"{100 * side.score:.1f} % ({side.interval})",
        side.correct,
        f"{tokens:.0f}" if tokens > 0 else "not told",
        f"{seconds:.2f} s" if seconds == seconds else "not told",
    )


def _row(each: Comparison) -> tuple[object, ...]:
    low, high = each.interval
    return (
        each.tuned.model,
        each.tuned.prompt.name,
        points(each.difference),
        f"{points(low)} to {points(high)}",
        shown_p(each.p_value),
        each.outcome,
    )
