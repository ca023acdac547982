"""Inter-rater agreement beyond chance: people with people, an LLM judge with people.

``ratings`` has a row for each rater and in it a value for each rated unit, None where the rater gave none.
Each measure has a 95 % interval from drawing the units again (BCa). From 0.6 on a judge may be trusted, 0.8
is good.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from workbench.errors import DataError
from workbench.evaluation.ratings import Match
from workbench.evaluation.statistics import Interval, resample

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

if TYPE_CHECKING:
    Floats = NDArray[np.float64]

Rating: TypeAlias = str | float | None
Ratings: TypeAlias = Sequence[Sequence[Rating]]
Level: TypeAlias = Literal["nominal", "ordinal", "interval"]

RESAMPLES = 2_000
MOST_STEPS = 100  # of an ordinal scale; its table has as many columns, squared


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
    rows = _agreeing(_counts(ratings)[0])
    return _measured(rows[rows[:, 1] == 1], lambda sums: sums[:, 0] / sums[:, 1])


def kappa(ratings: Ratings, *, weights: Literal["equal", "quadratic"] = "equal") -> Agreement:
    """Cohen's kappa of two raters, over the units that both rated.

    Cohen 1960, Educational and Psychological Measurement 20:37. ``quadratic`` weights (Cohen 1968) are for
    scales: a disagreement counts by the square of how many steps apart the values are, in the order of
    all values that were given. The same as scikit-learn's ``cohen_kappa_score``.
    """
    import numpy as np

    if len(ratings) != 2:
        raise DataError(
            f"Cohen's kappa is for 2 raters and these are {len(ratings)}; alpha takes any number."
        )
    both = [
        (one, other) for one, other in zip(*ratings, strict=True) if one is not None and other is not None
    ]
    values = _scale([value for pair in both for value in pair])
    steps = len(values)
    rows = np.zeros((len(both), steps * steps))
    for row, (one, other) in enumerate(both):
        rows[row, values[one] * steps + values[other]] = 1
    places = np.arange(steps)
    apart = (places[:, None] - places) ** 2 if weights == "quadratic" else 1 - np.eye(steps)

    def coefficient(sums: "Floats") -> "Floats":
        tables = sums.reshape(-1, steps, steps)
        chance = tables.sum(axis=2)[:, :, None] * tables.sum(axis=1)[:, None, :]
        expected = (chance * apart).sum(axis=(1, 2)) / tables.sum(axis=(1, 2))
        found: Floats = 1 - (tables * apart).sum(axis=(1, 2)) / expected
        return found

    return _measured(rows, coefficient)


def alpha(ratings: Ratings, *, level: Level = "nominal") -> Agreement:
    """Krippendorff's alpha: any number of raters, missing ratings, names or scales.

    Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability". ``nominal`` is for names, ``ordinal``
    for a scale whose steps have an order only, ``interval`` for numbers. As the ``krippendorff`` package.
    """
    import numpy as np

    counts, values = _counts(ratings)
    raters = counts.sum(axis=1, keepdims=True)
    counts, raters = counts[raters[:, 0] > 1], raters[raters[:, 0] > 1]
    steps = len(values)
    if level == "nominal":
        # Of each unit: how far its pairs differ, and how often each value was given.
        differ = (raters**2 - (counts**2).sum(axis=1, keepdims=True)) / (raters - 1)
        return _measured(np.hstack([differ, counts]), _alpha_of_names)
    if level == "interval":
        numbers = np.array([_number(value) for value in values])
        total, squares = counts @ numbers[:, None], counts @ numbers[:, None] ** 2
        differ = 2 * (raters * squares - total**2) / (raters - 1)
        return _measured(np.hstack([differ, raters, total, squares]), _alpha_of_numbers)
    if steps > MOST_STEPS:
        raise DataError(f'A scale of {steps} steps is a scale of numbers; use level="interval".')
    pairs = counts[:, :, None] * counts[:, None, :] - np.eye(steps) * counts[:, :, None]
    return _measured((pairs / (raters[:, :, None] - 1)).reshape(len(counts), -1), _alpha_of_ranks)


def ac1(ratings: Ratings) -> Agreement:
    """Gwet's AC1: agreement on names where nearly all units are of one kind, which misleads kappa.

    Gwet 2008, British Journal of Mathematical and Statistical Psychology 61:29; any number of raters, and
    missing ratings as in Gwet's Handbook of Inter-Rater Reliability, 4th edition, 2014.
    """
    import numpy as np

    counts, values = _counts(ratings)
    shares = counts / counts.sum(axis=1, keepdims=True)
    rows = np.hstack([_agreeing(counts), np.ones((len(counts), 1)), shares])

    def coefficient(sums: "Floats") -> "Floats":
        agreed, prevalence = sums[:, 0] / sums[:, 1], sums[:, 3:] / sums[:, 2:3]
        chance = (prevalence * (1 - prevalence)).sum(axis=1) / (len(values) - 1)
        found: Floats = (agreed - chance) / (1 - chance)
        return found

    return _measured(rows, coefficient, units=int((counts.sum(axis=1) > 1).sum()))


def _alpha_of_names(sums: "Floats") -> "Floats":
    given = sums[:, 1:]
    pairs = given.sum(axis=1) ** 2 - (given**2).sum(axis=1)
    found: Floats = 1 - (given.sum(axis=1) - 1) * sums[:, 0] / pairs
    return found


def _alpha_of_numbers(sums: "Floats") -> "Floats":
    differ, given, total, squares = sums.T
    pairs = 2 * (given * squares - total**2)
    found: Floats = 1 - (given - 1) * differ / pairs
    return found


def _alpha_of_ranks(sums: "Floats") -> "Floats":
    import numpy as np

    steps = round(sums.shape[1] ** 0.5)
    tables = sums.reshape(-1, steps, steps)
    given = tables.sum(axis=2)
    ranks = np.cumsum(given, axis=1) - given / 2
    apart = (ranks[:, :, None] - ranks[:, None, :]) ** 2
    pairs = (given[:, :, None] * given[:, None, :] * apart).sum(axis=(1, 2))
    found: Floats = 1 - (given.sum(axis=1) - 1) * (tables * apart).sum(axis=(1, 2)) / pairs
    return found


def _agreeing(counts: "Floats") -> "Floats":
    """Of each unit: the share of its pairs that agree, and 1 if it has any pair."""
    import numpy as np

    raters = counts.sum(axis=1)
    pairs = np.maximum(raters * (raters - 1), 1)
    return np.stack([(counts * (counts - 1)).sum(axis=1) / pairs, raters > 1], axis=1)


def _counts(ratings: Ratings) -> "tuple[Floats, list[str | float]]":
    """How often each value was given, for each unit that has any; and the values in order."""
    import numpy as np

    if len({len(row) for row in ratings}) != 1:
        raise DataError(
            f"The raters have {[len(row) for row in ratings]} ratings; give None where one is missing."
        )
    units = [[value for value in unit if value is not None] for unit in zip(*ratings, strict=True)]
    values = _scale([value for unit in units for value in unit])
    counts = np.zeros((len(units), len(values)))
    for row, unit in enumerate(units):
        for value in unit:
            counts[row, values[value]] += 1
    return counts[counts.sum(axis=1) > 0], list(values)


def _scale(given: "list[str | float]") -> "dict[str | float, int]":
    """Each value's place in the order of all."""
    if len({isinstance(value, str) for value in given}) > 1:
        raise DataError("Some ratings are texts and some are numbers; give all as one of them.")
    ordered: list[str | float] = sorted(set(given))
    return {value: place for place, value in enumerate(ordered)}


def _number(value: str | float) -> float:
    if isinstance(value, str):
        raise DataError(f'level="interval" needs numbers, and {value!r} is a text; use "nominal".')
    return float(value)


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

TRUSTED, GOOD = 0.6, 0.8  # of the agreement beyond chance
ENOUGH = 50  # questions that two or more rated


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


def accord(said: Mapping[str, Mapping[Match, str]]) -> Accord | None:
    """Compare what each rater said of each question; None where no two rated the same one."""
    questions = list(dict.fromkeys(match for answers in said.values() for match in answers))
    ratings = [[answers.get(match) for match in questions] for answers in said.values()]
    shared = [sum(rating is not None for rating in given) > 1 for given in zip(*ratings, strict=True)]
    if not any(shared):
        return None
    two = kappa(ratings) if len(ratings) == 2 else None
    return Accord(tuple(said), alpha(ratings), ac1(ratings), percent_agreement(ratings), two)
