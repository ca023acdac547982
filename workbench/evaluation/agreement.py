"""Inter-rater agreement beyond chance: people with people, an LLM judge with people.

``ratings`` has a row for each rater and in it a value for each rated unit, None where the rater gave none.
Each measure has a 95 % interval from drawing the units again (BCa). From 0.6 on a judge may be trusted, 0.8
is good.
"""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from workbench.errors import DataError
from workbench.evaluation.statistics import Interval, resample

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Ratings: TypeAlias = Sequence[Sequence[str | None]]

RESAMPLES = 2_000


class Agreement(NamedTuple):
    """A measure of agreement: 1 is perfect and, but for plain percent, 0 is chance."""

    value: float
    """nan where everybody always said the same, so that nothing tells agreement from chance."""
    interval: Interval
    units: int
    """How many units at least two raters rated."""

    def __str__(self) -> str:
        """``0.74 (0.42 to 1.00, 11 units)``."""
        low, high = self.interval
        return f"{self.value:.2f} ({low:.2f} to {high:.2f}, {self.units} units)".replace("-", "−")


def percent_agreement(ratings: Ratings) -> Agreement:
    """How often two raters of a unit say the same, from 0 to 1; by chance alone that is well above 0."""
    rows = _agreeing(_counts(ratings))
    return _measured(rows[rows[:, 1] == 1], lambda sums: sums[:, 0] / sums[:, 1])


def kappa(ratings: Ratings) -> Agreement:
    """Cohen's kappa of two raters, over the units that both rated.

    Cohen 1960, Educational and Psychological Measurement 20:37; scikit-learn's ``cohen_kappa_score``.
    """
    import numpy as np

    if len(ratings) != 2:
        raise DataError(
            f"Cohen's kappa is for 2 raters and these are {len(ratings)}; alpha takes any number."
        )
    both = [pair for pair in zip(*ratings, strict=True) if None not in pair]
    places = _places([value for pair in both for value in pair if value is not None])
    # Of each unit: whether the two agree, and what each of them said.
    rows = np.zeros((len(both), 1 + 2 * len(places)))
    for row, (one, other) in enumerate(both):
        rows[row, 0] = one == other
        rows[row, 1 + places[one]] = rows[row, 1 + len(places) + places[other]] = 1

    def coefficient(sums: "Floats") -> "Floats":
        first, second = sums[:, 1 : 1 + len(places)], sums[:, 1 + len(places) :]
        units = first.sum(axis=1)
        chance = (first * second).sum(axis=1) / units**2
        found: Floats = (sums[:, 0] / units - chance) / (1 - chance)
        return found

    return _measured(rows, coefficient)


def alpha(ratings: Ratings) -> Agreement:
    """Krippendorff's alpha for names: any number of raters, and missing ratings.

    Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability"; as the ``krippendorff`` package.
    """
    import numpy as np

    counts = _counts(ratings)
    raters = counts.sum(axis=1, keepdims=True)
    counts, raters = counts[raters[:, 0] > 1], raters[raters[:, 0] > 1]
    # Of each unit: how far its pairs differ, and how often each value was given.
    differ = (raters**2 - (counts**2).sum(axis=1, keepdims=True)) / (raters - 1)

    def coefficient(sums: "Floats") -> "Floats":
        given = sums[:, 1:].sum(axis=1)
        pairs = given**2 - (sums[:, 1:] ** 2).sum(axis=1)
        found: Floats = 1 - (given - 1) * sums[:, 0] / pairs
        return found

    return _measured(np.hstack([differ, counts]), coefficient)


def ac1(ratings: Ratings) -> Agreement:
    """Gwet's AC1: agreement on names where nearly all units are of one kind, which misleads kappa.

    Gwet 2008, British Journal of Mathematical and Statistical Psychology 61:29; any number of raters, and
    missing ratings as in Gwet's Handbook of Inter-Rater Reliability, 4th edition, 2014.
    """
    import numpy as np

    counts = _counts(ratings)
    shares = counts / counts.sum(axis=1, keepdims=True)
    rows = np.hstack([_agreeing(counts), np.ones((len(counts), 1)), shares])

    def coefficient(sums: "Floats") -> "Floats":
        agreed, prevalence = sums[:, 0] / sums[:, 1], sums[:, 3:] / sums[:, 2:3]
        chance = (prevalence * (1 - prevalence)).sum(axis=1) / (counts.shape[1] - 1)
        found: Floats = (agreed - chance) / (1 - chance)
        return found

    return _measured(rows, coefficient, units=int((counts.sum(axis=1) > 1).sum()))


def _agreeing(counts: "Floats") -> "Floats":
    """Of each unit: the share of its pairs that agree, and 1 if it has any pair."""
    import numpy as np

    raters = counts.sum(axis=1)
    pairs = np.maximum(raters * (raters - 1), 1)
    return np.stack([(counts * (counts - 1)).sum(axis=1) / pairs, raters > 1], axis=1)


def _counts(ratings: Ratings) -> "Floats":
    """How often each value was given, for each unit that has any."""
    import numpy as np

    if len({len(row) for row in ratings}) != 1:
        raise DataError(
            f"The raters have {[len(row) for row in ratings]} ratings; give None where one is missing."
        )
    units = [[value for value in unit if value is not None] for unit in zip(*ratings, strict=True)]
    places = _places([value for unit in units for value in unit])
    counts = np.zeros((len(units), len(places)))
    for row, unit in enumerate(units):
        for value in unit:
            counts[row, places[value]] += 1
    rated: Floats = counts[counts.sum(axis=1) > 0]
    return rated


def _places(given: Sequence[str]) -> dict[str | None, int]:
    """Each value's place in the order of all."""
    return {value: place for place, value in enumerate(sorted(set(given)))}


def _measured(
    rows: "Floats", coefficient: "Callable[[Floats], Floats]", *, units: int | None = None
) -> Agreement:
    import numpy as np

    if not len(rows) or units == 0:
        raise DataError("No two raters rated the same unit; agreement needs units that several rated.")
    with np.errstate(divide="ignore", invalid="ignore"):  # where all say the same it is 0/0, and so nan
        drawn = resample(rows, coefficient, resamples=RESAMPLES)
    return Agreement(drawn.value, drawn.interval(), len(rows) if units is None else units)


# Agreement on which answer is better: among raters, and of a judge with people.

TRUSTED, GOOD = 0.6, 0.8
"""Agreement beyond chance that can be worked with, and a good one (Landis and Koch 1977, Biometrics
33:159-174, call them substantial and almost perfect)."""
ENOUGH = 50
"""Units that two rated, below which agreement is too uncertain to act on; our choice."""


@dataclass(frozen=True)
class Accord:
    """What raters said of the same questions (base, tuned or neither), compared."""

    raters: tuple[str, ...]
    alpha: Agreement
    """Krippendorff's, for any number of raters."""
    ac1: Agreement
    """Gwet's, which does not punish raters for nearly always preferring the same model."""
    share: Agreement
    """How often two of them say the same; by chance alone that is well above 0."""
    kappa: Agreement | None = None
    """Cohen's, for two raters."""

    @property
    def finding(self) -> str:
        """What is wrong with it, or nothing; 0.6 is enough to be believed, 0.8 is good."""
        who = " and ".join(rater or "the nameless" for rater in self.raters)
        if self.alpha.value < TRUSTED and self.ac1.value < TRUSTED:
            return (
                f"{who} agree too little to be believed (alpha {self.alpha.value:.2f}, {TRUSTED} is enough): "
                "look at what splits them, agree on what makes an answer better, and rate again."
            )
        if self.alpha.units < ENOUGH:
            return f"{who} rated {self.alpha.units} of the same questions; {ENOUGH} tell how far they agree."
        return ""

    def __str__(self) -> str:
        """The numbers in a line."""
        if math.isnan(self.alpha.value):
            return f"all say the same of {self.alpha.units} questions, so nothing tells agreement from chance"
        kappa = f"Cohen's kappa {self.kappa.value:.2f}, " if self.kappa else ""
        return (
            f"Krippendorff's alpha {self.alpha}, {kappa}Gwet's AC1 {self.ac1.value:.2f}, "
            f"the same on {100 * self.share.value:.0f} %"
        )


def accord(choices: Mapping[str, Mapping[Hashable, str]]) -> Accord | None:
    """Compare what each rater chose at each question; None where no two rated the same one."""
    questions = dict.fromkeys(question for chosen in choices.values() for question in chosen)
    ratings = [[chosen.get(question) for question in questions] for chosen in choices.values()]
    if not any(sum(rating is not None for rating in given) > 1 for given in zip(*ratings, strict=True)):
        return None
    two = kappa(ratings) if len(ratings) == 2 else None
    return Accord(tuple(choices), alpha(ratings), ac1(ratings), percent_agreement(ratings), two)
