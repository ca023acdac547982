"""Compare: is the tuned model really better, or was it luck?

Both answered the same items, so the comparison is paired: what counts is how
each item's score changed, with items that belong together taken together, and
with a correction for everything that was tried on them.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from workbench.errors import DataError
from workbench.evaluation.comparing.comparison import Comparison as Comparison
from workbench.evaluation.comparing.pairing import Missing, Pairs, leaked_among, pair, ungraded
from workbench.evaluation.comparing.verdicts import Verdict
from workbench.evaluation.evaluation import Evaluation
from workbench.evaluation.statistics.differences import Difference, difference
from workbench.evaluation.statistics.multiplicity import holm

MINIMUM = 0.02
"""The smallest difference that matters unless you say otherwise: 2 points."""


def compare(
    base: Evaluation,
    tuned: Evaluation,
    *,
    also: Sequence[Evaluation] = (),
    minimum: float = MINIMUM,
    looked_at: int = 1,
    p_values: Sequence[float] = (),
    leaked: Collection[str] = (),
    missing: Missing = "refuse",
) -> Comparison:
    """Compare two evaluations of the same items, paired by item.

    ``minimum`` is the smallest difference that matters, a share from 0 to 1; choose it before you look.

    Everything that was tried on these items counts as a look, and the p-value is corrected for all of
    them (Holm): further evaluations in ``also``, which are compared with ``base`` too; ``p_values`` of
    comparisons made elsewhere; or just how many there were, ``looked_at``.

    ``leaked`` are ids or origins of items that the model may have seen in training: they do not count,
    and the score with them is told. Items that cannot be graded do not count either. Items that only one
    of the two answered are refused unless ``missing="leave out"``.

    Raises ``DataError`` when there is nothing to compare, or when it would not be fair.
    """
    _check(minimum, looked_at, p_values)
    found = [_measured(base, each, leaked, missing) for each in (tuned, *also)]
    looks = max(looked_at, len(found) + len(p_values))
    # Looks of which nothing is known but their number count as if they had found nothing.
    family = [each.counted.p_value for each in found] + list(p_values)
    corrected = holm(family + [1.0] * (looks - len(family)))
    first, *others = (
        _compared(each, Verdict(each.counted, p, minimum, looks))
        for each, p in zip(found, corrected, strict=False)
    )
    return replace(first, also=tuple(others))


@dataclass(frozen=True)
class _Measured:
    """One pair of evaluations, down to the items that count."""

    pairs: Pairs
    counted: Difference
    with_leaked: Difference | None
    worst: Difference | None
    """With the items that have no score, as if all had gone against the tuned model."""


def _measured(base: Evaluation, tuned: Evaluation, leaked: Collection[str], missing: Missing) -> _Measured:
    pairs = pair(base, tuned, missing=missing)
    seen, unknown = leaked_among(pairs, leaked), ungraded(pairs)
    if len(unknown | seen) == len(pairs.base.items):
        problems = [item.problem for side in (pairs.tuned, pairs.base) for item in side.items if item.problem]
        raise DataError(
            "There is no item to compare: none has a score from both models"
            f"{f' ({problems[0]})' if problems else ''}. Evaluate again."
        )
    graded = pairs.without(unknown, "not scored for both models")
    kept = graded.without(seen - unknown, "leaked into the training data")
    return _Measured(
        kept,
        _difference(kept),
        _difference(graded) if seen - unknown else None,
        _difference(_lost(pairs.without(seen, "leaked"))) if unknown - seen else None,
    )


def _lost(pairs: Pairs) -> Pairs:
    """Every missing score goes against the tuned model: 1 for the base and 0 for the tuned one."""

    def scored(side: Evaluation, missing: float) -> Evaluation:
        items = (item if item.score == item.score else replace(item, score=missing) for item in side.items)
        return replace(side, items=tuple(items))

    return replace(pairs, base=scored(pairs.base, 1.0), tuned=scored(pairs.tuned, 0.0))


def _difference(pairs: Pairs) -> Difference:
    base, tuned = ([item.score for item in side.items] for side in (pairs.base, pairs.tuned))
    return difference(base, tuned, pairs.clusters)


def _compared(found: _Measured, judged: Verdict) -> Comparison:
    worst = None
    if found.worst is not None:
        p = min(1.0, found.worst.p_value * judged.looks)
        worst = replace(judged, difference=found.worst, p_value=p).outcome
    pairs = found.pairs
    return Comparison(pairs.base, pairs.tuned, judged, pairs.left_out, found.with_leaked, worst)


def _check(minimum: float, looked_at: int, p_values: Sequence[float]) -> None:
    if not 0 < minimum < 1:
        raise DataError(f"minimum is {minimum:g}; give a share between 0 and 1, such as 0.02 for 2 points.")
    if looked_at < 1:
        raise DataError(f"looked_at is {looked_at}; it counts this comparison too, so it is at least 1.")
    wrong = [p for p in p_values if not 0 <= p <= 1]
    if wrong:
        raise DataError(f"p_values has {wrong[0]:g}; a p-value lies between 0 and 1.")
