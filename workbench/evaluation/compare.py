"""Compare two models on the same items: is the tuned one really better, or was it luck?

The comparison is paired by item and takes clusters together; p-values are corrected for everything that was
tried on these items. A difference counts when chance alone would rarely bring it (p at most 0.05); it matters
from a size on that is chosen before; an inconclusive comparison says how many more items are needed. The
tests are in ``statistics``; whether a model is not worse is asked in ``probes``.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import NormalDist, fmean
from typing import TYPE_CHECKING, Literal, NamedTuple

from workbench.dataset.dataset import Dataset, counted
from workbench.decide.power import LEVEL, POWER, items_needed, items_needed_for_scores
from workbench.display import Shown, Table
from workbench.errors import DataError
from workbench.evaluation.evaluation import Evaluation, Item, row_of, side_by_side
from workbench.evaluation.scores import LeftOut, Missing, Pairs, contaminated_among, pair, ungraded
from workbench.evaluation.statistics import (
    Difference,
    Interval,
    difference,
    holm,
    optimism,
    p_in_words,
    quantile,
    superiority,
)
from workbench.project import JSON

if TYPE_CHECKING:
    import pandas

Outcome = Literal[
    "better", "better, but below what matters", "no meaningful difference", "inconclusive", "worse"
]


@dataclass(frozen=True, repr=False)
class JudgedDifference:
    """What a difference comes to, given what matters and how many comparisons were made on these items."""

    found: Difference
    p_value: float
    """How often chance alone gives such a difference, two-sided and corrected for all comparisons."""
    minimum: float
    """The smallest difference that matters, a share."""
    comparisons: int
    """Models, checkpoints and prompts that were compared with the base on these items."""

    @cached_property
    def outcome(self) -> Outcome:
        """Better or worse when p is at most 0.05; else equal if the 90 % interval lies within what matters.

        The latter are two one-sided tests at 5 % (Schuirmann 1987, Journal of Pharmacokinetics and
        Biopharmaceutics 15:657): a difference that matters is overlooked at most one time in twenty.
        """
        value = self.found.value
        if self.p_value <= LEVEL and value:
            if value < 0:
                return "worse"
            return "better" if value >= self.minimum else "better, but below what matters"
        low, high = self.found.interval(0.9)
        equal = -self.minimum < low and high < self.minimum
        return "no meaningful difference" if equal else "inconclusive"

    @cached_property
    def more_items(self) -> int:
        """How many more items are needed when it is inconclusive, with 80 % power; else 0.

        So many that a difference as large as the one seen would show, but at least one that matters. The
        comparison of all of them is a second one: ``comparisons_made=2``.
        """
        if self.outcome != "inconclusive":
            return 0
        now = self.found.items
        needed = self._needed(self._shown_by_more)
        if needed <= now:
            needed = self._to_settle()
        if not self.found.testable:
            needed = max(needed, math.ceil(now * 6 / self.found.clusters))
        return max(needed - now, 1)

    @property
    def optimism(self) -> float:
        """By how much at most the best of so many equal models scores too high: a share, 0 for one."""
        error = self.found.standard_error
        return 0.0 if self.comparisons < 2 or math.isnan(error) else optimism(self.comparisons) * error

    def __str__(self) -> str:
        """Say it in a few sentences, the verdict first."""
        found = self.found
        changed = f"{found.fixed:,} items scored higher and {found.broken:,} lower."
        if found.right_or_wrong:
            changed = f"It fixed {found.fixed:,} and broke {found.broken:,}."
        subject = "The tuned model is " if self.outcome.startswith(("better", "worse")) else ""
        clusters = f", {counted(found.clusters, 'cluster')}" if found.clustered else ""
        p = p_in_words(self.p_value)
        if self.comparisons > 1:
            p += f" after Holm's correction for {self.comparisons} comparisons"
        numbers = (
            f"{both_scores(found)} ({points(found.value)} points, "
            f"95 % interval {_span(found.interval())}{clusters}, {found.test} {p})"
        )
        said = f"{subject}{self.outcome}: {numbers}. {changed} {self._why}".strip()
        return said[0].upper() + said[1:]

    @property
    def _why(self) -> str:
        """What the verdict rests on, where the numbers alone do not say it."""
        least = f"{100 * self.minimum:g} points"
        match self.outcome:
            case "better" if self.comparisons > 1:
                luck = f"up to {100 * self.optimism:.1f} of these points are luck"
                return f"If it was picked as the best of {self.comparisons}, {luck}."
            case "better, but below what matters":
                return f"A gain matters from {least} on."
            case "no meaningful difference":
                within = f"(90 % interval {_span(self.found.interval(0.9))})"
                return f"The true difference is smaller than the {least} that matter {within}."
            case "inconclusive":
                # The interval alone may exclude 0: few changed items, or several comparisons.
                low, high = self.found.interval()
                stricter = "The interval alone excludes 0; the test, which is stricter, decides. "
                return (stricter if low > 0 or high < 0 else "") + self._more(least)
            case "worse" if -self.found.value < self.minimum:
                return f"The loss is below the {least} that matter."
        return ""

    def _more(self, least: str) -> str:
        found, more = self.found, counted(self.more_items, "more item")
        if not found.testable and not found.clustered:
            return f"Fewer than 6 items prove nothing: add {more}."
        if not found.testable:
            clusters = "one cluster" if found.clusters == 1 else f"{found.clusters} clusters"
            return f"All items are from {clusters}, and fewer than 6 prove nothing: add {more} from others."
        others = " from other clusters" if found.clustered else ""
        if not found.fixed + found.broken:
            return (
                f"No item changed, so nothing tells how many are needed: about {more}{others} if hardly any "
                f"ever changes, {items_needed(self.minimum):,} in all if one in five does (80 % power)."
            )
        settled = self._needed(self._shown_by_more) <= found.items
        if settled or abs(found.value) >= self.minimum:
            would = "settle" if settled else "show"
            return (
                f"If the difference is truly this large, about {more}{others} would {would} it (80 % power)."
            )
        return f"About {more}{others} would show {least}, the least that matters (80 % power)."

    @property
    def _shown_by_more(self) -> float:
        """The difference that more items should show."""
        return max(abs(self.found.value), self.minimum)

    def _needed(self, size: float) -> int:
        """Items that show a difference of this size, if they vary and come in clusters as these do."""
        found, level = self.found, LEVEL / self.comparisons
        if found.right_or_wrong and not found.clustered:
            return items_needed(size, (found.fixed + found.broken) / found.items, level=level)
        if not found.variance > 0:  # nothing varied, or there is one cluster: as if no item ever changed
            return items_needed(size, 0.0, level=level)
        return items_needed_for_scores(size, found.variance, level=level)

    def _to_settle(self) -> int:
        """Items that show either a difference as large as the one seen or that it does not matter."""
        seen = abs(self.found.value)
        either = [self._needed(seen)] if seen else []
        if seen < self.minimum:
            z = quantile(0.9) + NormalDist().inv_cdf(POWER)
            either.append(math.ceil(self.found.variance * (z / (self.minimum - seen)) ** 2))
        return min(either)


def both_scores(found: Difference) -> str:
    """Both scores in a few words: items right, or mean scores in percent."""
    if found.right_or_wrong:
        return f"{sum(found.tuned):,.0f} of {found.items:,} items right against {sum(found.base):,.0f}"
    tuned, base = 100 * fmean(found.tuned), 100 * fmean(found.base)
    return f"a mean score of {tuned:.1f} % against {base:.1f} % on {found.items:,} items"


def points(share: float) -> str:
    """``+12.0`` for 0.12."""
    return f"{100 * share:+.1f}".replace("-", "−")


def _span(interval: Interval) -> str:
    return f"{points(interval.low)} to {points(interval.high)}"


class ChangedItem(NamedTuple):
    """An item whose score changed."""

    change: str
    """``right → wrong`` or ``wrong → right``; of scores in between, both in percent: ``80 % → 35 %``."""
    origin: str
    question: str
    reference: str
    base_answer: str
    tuned_answer: str


EXAMPLES = 10  # changed items under a summary; all of them are in .changed_items


@dataclass(frozen=True, repr=False)
class Comparison(JudgedDifference, Shown):
    """Two models on the same items, in the same order; what does not count is in ``left_out``."""

    base: Evaluation
    tuned: Evaluation
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
        return self.found.items

    @property
    def clusters(self) -> int:
        """How many groups of items there are; as many as items where none belong together."""
        return self.found.clusters

    @property
    def fixed(self) -> int:
        """Items that the tuned model does better: wrong before, right now."""
        return self.found.fixed

    @property
    def broken(self) -> int:
        """Items that the tuned model does worse: right before, wrong now."""
        return self.found.broken

    @property
    def difference(self) -> float:
        """The tuned score less the base score, from -1 to 1."""
        return self.found.value

    @cached_property
    def interval(self) -> Interval:
        """The difference's 95 % interval; which method fits is said in ``statistics.difference``."""
        return self.found.interval()

    @property
    def probability_better(self) -> float | None:
        """How probable it is that a changed item is rather a gain (Bayes, Jeffreys' prior).

        Only for right-or-wrong items without clusters, and not corrected for several comparisons; else None.
        """
        independent = self.found.right_or_wrong and not self.found.clustered
        return superiority(self.broken, self.fixed) if independent else None

    @property
    def headline(self) -> str:
        """The verdict in one sentence, with both scores and the interval of the difference."""
        least = f"the {100 * self.minimum:g} points that matter"
        opening: dict[Outcome, str] = {
            "better": "The tuned model is better",
            "better, but below what matters": f"The tuned model is better, but by less than {least}",
            "no meaningful difference": f"The two models differ by less than {least}",
            "inconclusive": "It is not clear which model is better",
            "worse": "The tuned model is worse",
        }
        base, tuned = (f"{100 * fmean(scores):.1f} %" for scores in (self.found.base, self.found.tuned))
        low, high = map(points, self.interval)
        return (
            f"{opening[self.outcome]}: {tuned} against {base} of the base model with the prompt "
            f"“{self.base.prompt.name}” ({points(self.difference)} points, 95 % interval {low} to {high})."
        )

    @property
    def verdict(self) -> str:
        """Say it in a few sentences: the verdict with the numbers, then what does not count."""
        return " ".join((super().__str__(), *self._notes()))

    def __str__(self) -> str:
        """The verdict, with what does not count."""
        return self.verdict

    @property
    def changed_items(self) -> "pandas.DataFrame":
        """The items whose score changed, what got worse first."""
        import pandas

        return pandas.DataFrame(self._changed, columns=list(ChangedItem._fields))

    @property
    def facts(self) -> dict[str, JSON]:
        """The same as JSON, for a shell and for CI."""
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
            "minimum": self.minimum,
            "test": self.found.test,
            "p_value": self.p_value,
            "uncorrected_p_value": self.found.p_value,
            "probability_better": self.probability_better,
            "looks": self.comparisons,
            "optimism": self.optimism,
            "more_items": self.more_items,
            "left_out": [{"why": each.why, "ids": list(each.ids)} for each in self.left_out],
            "also": [each.facts for each in self.also],
        }

    def tables(self) -> Iterator[Table]:
        """Both models, then those that were compared besides, then what changed."""
        sides = {"base": self.base, "tuned": self.tuned}
        rows = [{"": name, **row_of(side, None), "right": f"{side.correct}"} for name, side in sides.items()]
        yield side_by_side(self.verdict, rows)
        correction = f"p after Holm's correction for {self.comparisons} comparisons"
        yield (
            f"All {len(self.also) + 1} against {self.base.model}; {correction}",
            ("model", "prompt", "points", "95 % interval", "p", "outcome"),
            [each._row for each in (self, *self.also)] if self.also else (),
        )
        yield self.examples

    @property
    def examples(self) -> Table:
        """Ten changed items as a table, what got worse first."""
        chosen = self.broken_examples + self.fixed_examples
        of_all = f"{len(chosen)} of {len(self._changed)} changed items"
        changes = ("change", "origin", "question", "reference", "base answer", "tuned answer")
        rows = [_changed(base, tuned) for base, tuned in chosen]
        return f"{of_all}, what got worse first; all are in .changed_items", changes, rows

    @cached_property
    def broken_examples(self) -> list[tuple[Item, Item]]:
        """The losses to read first, of different clusters: five, or more where there are few gains."""
        most = max(EXAMPLES // 2, EXAMPLES - self.fixed)
        return _various(self._pairs[: self.broken], most)

    @cached_property
    def fixed_examples(self) -> list[tuple[Item, Item]]:
        """The gains to read first, of different clusters: as many as make ten with the losses."""
        return _various(self._pairs[self.broken :][::-1], EXAMPLES - len(self.broken_examples))

    @property
    def _row(self) -> tuple[str, ...]:
        tuned, p = self.tuned, p_in_words(self.p_value)
        return tuned.model, tuned.prompt.name, points(self.difference), _span(self.interval), p, self.outcome

    @cached_property
    def _pairs(self) -> list[tuple[Item, Item]]:
        """The items that changed, base and tuned: the largest losses first, the largest gains last."""
        pairs = zip(self.base.items, self.tuned.items, strict=True)
        changed = [(base, tuned) for base, tuned in pairs if base.score != tuned.score]
        return sorted(changed, key=lambda pair: pair[1].score - pair[0].score)

    @property
    def _changed(self) -> tuple[ChangedItem, ...]:
        return tuple(_changed(base, tuned) for base, tuned in self._pairs)

    def _notes(self) -> Iterator[str]:
        yield from map(str, self.left_out)
        base, tuned = ((side.temperature, side.max_tokens) for side in (self.base, self.tuned))
        if base != tuned:
            yield (
                f"They were asked differently: the base model at temperature {base[0]:g} for up to {base[1]} "
                f"tokens, the tuned one at {tuned[0]:g} for {tuned[1]}."
            )
        if self.with_contaminated is not None:
            yield f"With the contaminated ones: {both_scores(self.with_contaminated)}."
        if self.if_ungraded_were_lost == self.outcome:
            yield "The verdict is the same if those without a score all count against the tuned model."
        elif self.if_ungraded_were_lost is not None:
            yield (
                "If those without a score all counted against the tuned model, the verdict would be: "
                f"{self.if_ungraded_were_lost}."
            )


def _changed(base: Item, tuned: Item) -> ChangedItem:
    change = f"{_score(base)} → {_score(tuned)}"
    return ChangedItem(change, base.origin, base.question, base.reference, base.answer, tuned.answer)


def _various(pairs: Sequence[tuple[Item, Item]], most: int) -> list[tuple[Item, Item]]:
    """At most so many, in their order: one of each cluster, then a second one of each, and so on."""
    seen: Counter[str] = Counter()
    ranked = []
    for place, (base, _) in enumerate(pairs):
        cluster = base.cluster or base.id
        ranked.append((seen[cluster], place))
        seen[cluster] += 1
    return [pairs[place] for place in sorted(place for _, place in sorted(ranked)[:most])]


def _score(item: Item) -> str:
    if item.score in (0, 1):
        return "right" if item.score else "wrong"
    return f"{100 * item.score:.0f} %"


MINIMUM = 0.02
"""The smallest difference that matters unless you say otherwise: 2 points."""


def compare(
    base: Evaluation,
    tuned: Evaluation,
    *,
    also: Sequence[Evaluation] = (),
    minimum: float = MINIMUM,
    comparisons_made: int = 1,
    contaminated: Collection[str] = (),
    missing: Missing = "refuse",
) -> Comparison:
    """Compare two evaluations of the same items, paired by item.

    ``minimum`` is the smallest difference that matters, a share from 0 to 1; choose it before you see
    scores.

    Everything that was tried on these items counts as a comparison, and the p-value is corrected for all of
    them (Holm): further evaluations in ``also``, which are compared with ``base`` too, and whatever else
    ``comparisons_made`` counts, which is how many there were in all.

    ``contaminated`` are ids or origins of items that the model may have seen in training: they do not count,
    and the score with them is given. Items that cannot be graded do not count either. Items that only one
    of the two answered are refused unless ``missing="leave out"``.

    Raises ``DataError`` when there is nothing to compare, or when it would not be fair.
    """
    if not 0 < minimum < 1:
        raise DataError(f"minimum is {minimum:g}; give a share between 0 and 1, such as 0.02 for 2 points.")
    if comparisons_made < 1:
        raise DataError(f"comparisons_made is {comparisons_made}; count this one too: at least 1.")
    pairs = [_graded(base, each, contaminated, missing) for each in (tuned, *also)]
    differences = [_difference(counted) for counted, _, _ in pairs]
    comparisons = max(comparisons_made, len(pairs))
    # Comparisons of which only the number is known count as if they had found nothing.
    family = [found.p_value for found in differences] + [1.0] * (comparisons - len(pairs))
    compared = []
    for found, p, (kept, whole, worst) in zip(differences, holm(family), pairs, strict=False):
        plain = Comparison(found, p, minimum, comparisons, kept.base, kept.tuned, kept.left_out)
        lost = None
        if worst is not None:
            p_if_lost = min(1.0, worst.p_value * comparisons)
            lost = replace(plain, found=worst, p_value=p_if_lost).outcome
        compared.append(replace(plain, with_contaminated=whole, if_ungraded_were_lost=lost))
    return replace(compared[0], also=tuple(compared[1:]))


def _graded(
    base: Evaluation, tuned: Evaluation, contaminated: Collection[str], missing: Missing
) -> tuple[Pairs, Difference | None, Difference | None]:
    """The items that count; the difference with contaminated ones, and if those without a score were lost."""
    pairs = pair(base, tuned, missing=missing)
    seen, unknown = contaminated_among(pairs, contaminated), ungraded(pairs)
    if len(unknown | seen) == len(pairs.base.items):
        problems = [item.problem for side in (pairs.tuned, pairs.base) for item in side.items if item.problem]
        raise DataError(
            "There is no item to compare: none has a score from both models"
            f"{f' ({problems[0]})' if problems else ''}. Evaluate again."
        )
    graded = pairs.without(unknown, "not scored for both models")
    return (
        graded.without(seen - unknown, "contaminated: also in the training data"),
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
