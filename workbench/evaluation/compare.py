"""Compare two models on the same items: is the tuned one really better, or was it luck?

The comparison is paired by item and takes clusters together; p-values are corrected for everything that was
tried on these items. Also non-inferiority: is the tuned model not worse by more than a margin? The tests are
in ``statistics``, the words of a verdict in ``verdicts``.
"""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal, NamedTuple

from workbench.dataset.dataset import Dataset
from workbench.display import table
from workbench.errors import DataError
from workbench.evaluation.evaluation import Evaluation, Item
from workbench.evaluation.power import POWER
from workbench.evaluation.scores import LeftOut, Missing, Pairs, contaminated_among, pair, ungraded
from workbench.evaluation.statistics import Difference, Interval, difference, holm, quantile, superiority
from workbench.evaluation.verdicts import Outcome, Verdict, both_scores, points, shown_p
from workbench.project import JSON

if TYPE_CHECKING:
    import pandas

# Changed items, the largest losses first: an average hides them.


class ChangedItem(NamedTuple):
    """An item whose score changed."""

    change: str
    """``right → wrong`` or ``wrong → right``; of scores in between, both in percent: ``80 % → 35 %``."""
    origin: str
    question: str
    reference: str
    base_answer: str
    tuned_answer: str


def _changed_items(pairs: Iterable[tuple[Item, Item]]) -> tuple[ChangedItem, ...]:
    """The items that changed, base and tuned: the largest losses first, the largest gains last."""
    changed = [(base, tuned) for base, tuned in pairs if base.score != tuned.score]
    changed.sort(key=lambda pair: pair[1].score - pair[0].score)
    return tuple(
        ChangedItem(
            f"{_told(base.score)} → {_told(tuned.score)}",
            base.origin,
            base.question,
            base.reference,
            base.answer,
            tuned.answer,
        )
        for base, tuned in changed
    )


def _told(score: float) -> str:
    if score in (0, 1):
        return "right" if score else "wrong"
    return f"{100 * score:.0f} %"


# A comparison: two models on the same items, the verdict and what it rests on.
#
# Its verdict is a few sentences; the items that got worse come first. ``compare`` makes one.

_SHOWN = 5  # changed items of each kind under a summary; all of them are in .changed_items


@dataclass(frozen=True)
class Comparison:
    """Two models on the same items, in the same order; what does not count is in ``left_out``."""

    base: Evaluation
    tuned: Evaluation
    judged: Verdict
    """The difference, and what it comes to."""
    left_out: tuple[LeftOut, ...] = ()
    with_contaminated: Difference | None = None
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
        """How often chance alone gives such a difference, two-sided and corrected for all comparisons."""
        return self.judged.p_value

    @property
    def probability_better(self) -> float | None:
        """How probable it is that a changed item is rather a gain (Bayes, Jeffreys' prior).

        Only for right-or-wrong items without clusters, and not corrected for several comparisons; else None.
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
    def changed_items(self) -> "pandas.DataFrame":
        """The items whose score changed, what got worse first."""
        import pandas

        return pandas.DataFrame(self._changed, columns=list(ChangedItem._fields))

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
            "looks": self.judged.comparisons,
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
                f"{self.judged.comparisons} comparisons",
                ("model", "prompt", "points", "95 % interval", "p", "outcome"),
                [_row(each) for each in (self, *self.also)],
            )
        changed = self._changed
        shown = changed[: min(self.broken, _SHOWN)] + changed[self.broken :][-_SHOWN:]
        if not changed:
            return page
        return page + table(
            f"{len(shown)} of {len(changed)} changed items, what got worse first; all are in .changed_items",
            ("change", "origin", "question", "reference", "base answer", "tuned answer"),
            shown,
        )

    @cached_property
    def _changed(self) -> tuple[ChangedItem, ...]:
        return _changed_items(zip(self.base.items, self.tuned.items, strict=True))

    @property
    def _notes(self) -> list[str]:
        notes = [str(each) for each in self.left_out]
        base, tuned = ((side.temperature, side.max_tokens) for side in (self.base, self.tuned))
        if base != tuned:
            notes.append(
                f"They were asked differently: the base model at temperature {base[0]:g} for up to {base[1]} "
                f"tokens, the tuned one at {tuned[0]:g} for {tuned[1]}."
            )
        if self.with_contaminated is not None:
            notes.append(f"With the contaminated ones: {both_scores(self.with_contaminated)}.")
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
        f"{tokens:.0f}" if tokens > 0 else "unknown",
        f"{seconds:.2f} s" if seconds == seconds else "unknown",
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


MINIMUM = 0.02
"""The smallest difference that matters unless you say otherwise: 2 points."""


def compare(
    base: Evaluation,
    tuned: Evaluation,
    *,
    also: Sequence[Evaluation] = (),
    minimum: float = MINIMUM,
    comparisons_made: int = 1,
    p_values: Sequence[float] = (),
    contaminated: Collection[str] = (),
    missing: Missing = "refuse",
) -> Comparison:
    """Compare two evaluations of the same items, paired by item.

    ``minimum`` is the smallest difference that matters, a share from 0 to 1; choose it before you see
    scores.

    Everything that was tried on these items counts as a comparison, and the p-value is corrected for all of
    them (Holm): further evaluations in ``also``, which are compared with ``base`` too; ``p_values`` of
    comparisons made elsewhere; or just how many there were, ``comparisons_made``.

    ``contaminated`` are ids or origins of items that the model may have seen in training: they do not count,
    and the score with them is told. Items that cannot be graded do not count either. Items that only one
    of the two answered are refused unless ``missing="leave out"``.

    Raises ``DataError`` when there is nothing to compare, or when it would not be fair.
    """
    _check(minimum, comparisons_made, p_values)
    found = [_measured(base, each, contaminated, missing) for each in (tuned, *also)]
    comparisons = max(comparisons_made, len(found) + len(p_values))
    # Comparisons of which only the number is known count as if they had found nothing.
    family = [each.counted.p_value for each in found] + list(p_values)
    corrected = holm(family + [1.0] * (comparisons - len(family)))
    first, *others = (
        _compared(each, Verdict(each.counted, p, minimum, comparisons))
        for each, p in zip(found, corrected, strict=False)
    )
    return replace(first, also=tuple(others))


@dataclass(frozen=True)
class _Measured:
    """One pair of evaluations, down to the items that count."""

    pairs: Pairs
    counted: Difference
    with_contaminated: Difference | None
    worst: Difference | None
    """With the items that have no score, as if all had gone against the tuned model."""


def _measured(
    base: Evaluation, tuned: Evaluation, contaminated: Collection[str], missing: Missing
) -> _Measured:
    pairs = pair(base, tuned, missing=missing)
    seen, unknown = contaminated_among(pairs, contaminated), ungraded(pairs)
    if len(unknown | seen) == len(pairs.base.items):
        problems = [item.problem for side in (pairs.tuned, pairs.base) for item in side.items if item.problem]
        raise DataError(
            "There is no item to compare: none has a score from both models"
            f"{f' ({problems[0]})' if problems else ''}. Evaluate again."
        )
    graded = pairs.without(unknown, "not scored for both models")
    kept = graded.without(seen - unknown, "contaminated: also in the training data")
    return _Measured(
        kept,
        _difference(kept),
        _difference(graded) if seen - unknown else None,
        _difference(_lost(pairs.without(seen, "contaminated"))) if unknown - seen else None,
    )


def _lost(pairs: Pairs) -> Pairs:
    """Every missing score goes against the tuned model: 1 for the base and 0 for the tuned one."""

    def scored(side: Evaluation, missing: float) -> Evaluation:
        items = (
            item if item.score == item.score else item.answered(score=missing, problem="")
            for item in side.items
        )
        return replace(side, items=tuple(items))

    return replace(pairs, base=scored(pairs.base, 1.0), tuned=scored(pairs.tuned, 0.0))


def _difference(pairs: Pairs) -> Difference:
    base, tuned = ([item.score for item in side.items] for side in (pairs.base, pairs.tuned))
    return difference(base, tuned, pairs.clusters)


def _compared(found: _Measured, judged: Verdict) -> Comparison:
    worst = None
    if found.worst is not None:
        p = min(1.0, found.worst.p_value * judged.comparisons)
        worst = replace(judged, difference=found.worst, p_value=p).outcome
    pairs = found.pairs
    return Comparison(pairs.base, pairs.tuned, judged, pairs.left_out, found.with_contaminated, worst)


def _check(minimum: float, comparisons_made: int, p_values: Sequence[float]) -> None:
    if not 0 < minimum < 1:
        raise DataError(f"minimum is {minimum:g}; give a share between 0 and 1, such as 0.02 for 2 points.")
    if comparisons_made < 1:
        raise DataError(f"comparisons_made is {comparisons_made}; count this one too: at least 1.")
    wrong = [p for p in p_values if not 0 <= p <= 1]
    if wrong:
        raise DataError(f"p_values has {wrong[0]:g}; a p-value lies between 0 and 1.")


# Test items that the model has seen in training: their score is memorisation.


def contaminated(test: Dataset, training: Dataset) -> frozenset[str]:
    """The origins of the rows of ``test`` that ``training`` asks too, word for word or nearly so.

    The check of training data finds what it shares with a test; here it is asked the other way round.
    """
    from workbench.dataset.check.check import check  # loads numpy, which a comparison can do without

    found = check(test, test=training, only=("repeats",))
    return frozenset(
        problem.origin for rule in ("overlap", "near_overlap") for problem in found.of(rule) if problem.origin
    )


# Non-inferiority: a model is not worse when the most it may have lost is less than a margin, chosen before.
# "No significant difference" does not show that: with few items nothing is ever significant.

_ONE_SIDED = 0.9  # both ends of a 90 % interval are one-sided 95 % bounds


@dataclass(frozen=True)
class NonInferiority:
    """Whether the tuned model lost no more than a margin."""

    comparison: Comparison
    margin: float
    """The loss that is still acceptable, a share."""

    @cached_property
    def lower(self) -> float:
        """With 95 % confidence the true difference is above this."""
        return self.comparison.judged.difference.interval(_ONE_SIDED).low

    @cached_property
    def upper(self) -> float:
        """With 95 % confidence the true difference is below this."""
        return self.comparison.judged.difference.interval(_ONE_SIDED).high

    @property
    def outcome(self) -> Literal["not worse", "worse", "inconclusive"]:
        """``not worse`` when even the lower bound loses less than the margin."""
        if self.lower > -self.margin:
            return "not worse"
        return "worse" if self.upper <= -self.margin else "inconclusive"

    @property
    def more_items(self) -> int:
        """How many more items would show that it is not worse, if it is as good as it looks; else 0.

        A gain that was seen is not counted on. n = (1.645 + 0.842)^2 variance / (margin + difference)^2.
        Also 0 where the loss seen is beyond the margin, as more items would hardly help.
        """
        found = self.comparison.judged.difference
        room = self.margin + min(found.value, 0.0)
        if self.outcome != "inconclusive" or room <= 0:
            return 0
        # Where nothing varied, take it that the next item is lost.
        variance = found.variance if found.variance > 0 else 1 / found.items
        z = quantile(_ONE_SIDED) + NormalDist().inv_cdf(POWER)
        return max(math.ceil(variance * (z / room) ** 2) - found.items, 1)

    @property
    def verdict(self) -> str:
        """Say it in a sentence or two."""
        found = self.comparison.judged.difference
        margin = f"{100 * self.margin:g} points"
        above = f"with 95 % confidence above {points(self.lower)}"
        numbers = f"{both_scores(found)} ({points(found.value)} points, {above})"
        if self.outcome == "not worse":
            return f"Not worse: {numbers}; a loss of up to {margin} was acceptable."
        if self.outcome == "worse":
            return f"Worse: {numbers}, and below {points(self.upper)}; {margin} were acceptable."
        if not self.more_items:
            return (
                f"Not shown to be no worse: {numbers}, and the loss seen is beyond the {margin} acceptable."
            )
        return (
            f"Not shown to be no worse: {numbers}; {margin} were acceptable. About {self.more_items:,} more "
            "items would show it, if it is as good as it looks (80 % power)."
        )

    @property
    def facts(self) -> dict[str, JSON]:
        """The same as JSON."""
        return {
            "outcome": self.outcome,
            "verdict": self.verdict,
            "items": self.comparison.items,
            "difference": self.comparison.difference,
            "lower": self.lower,
            "upper": self.upper,
            "margin": self.margin,
            "more_items": self.more_items,
        }

    def __repr__(self) -> str:
        """Show the verdict."""
        return f"<NonInferiority: {self.verdict}>"

    def _repr_html_(self) -> str:
        base, tuned = self.comparison.base, self.comparison.tuned
        rows = [
            (f"base: {base.model}", f"{100 * base.score:.1f} %"),
            (f"tuned: {tuned.model}", f"{100 * tuned.score:.1f} %"),
            ("difference", f"{points(self.comparison.difference)} points"),
            ("with 95 % confidence above", f"{points(self.lower)} points"),
            ("acceptable", f"{points(-self.margin)} points"),
        ]
        return table(self.verdict, ("measure", "value"), rows)


def noninferior(base: Evaluation, tuned: Evaluation, *, margin: float = MINIMUM) -> NonInferiority:
    """Ask whether the tuned model lost no more than ``margin`` (a share) on items that both answered.

    For several probe sets that must all be not worse, no correction is needed: each has to pass at 5 %, so
    all together pass by luck even less often (Berger 1982, Technometrics 24:295).

    Raises ``DataError`` as ``compare`` does.
    """
    if not 0 < margin < 1:
        raise DataError(f"margin is {margin:g}; give a share between 0 and 1, such as 0.02 for 2 points.")
    return NonInferiority(compare(base, tuned), margin)
