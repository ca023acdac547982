"""Statistical power: how many items a difference needs, and what a test set of given size can show.

Everything is for a two-sided test at 5 % that finds the difference in 80 of 100 tests, unless said
otherwise.
"""

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from workbench.display import table
from workbench.errors import DataError

LEVEL, POWER = 0.05, 0.8
DISCORDANT = 0.2
"""A share of items that change, for who has no pilot yet: ours, between a light touch and another model."""
CORRELATION = 0.2
"""How alike the differences within a cluster are, for who has no pilot yet (intraclass correlation):
0.22 for the 120 questions from 37 templates of the sample, tuned against base (SmolLM2-135M, 11/2026)."""


def items_needed(
    difference: float, discordant: float = DISCORDANT, *, level: float = LEVEL, power: float = POWER
) -> int:
    """How many right-or-wrong items show this difference, when this share of them changes either way?

    n = (z sqrt(psi) + z' sqrt(psi - d^2))^2 / d^2 (Connor 1987, Biometrics 43:207-211). No fewer items
    can change than the difference, so a smaller ``discordant`` is taken as that. McNemar's exact test, which
    is on the safe side, finds such a difference in 76 of 100 tests rather than 80 (``tests/mcnemar.py``).
    """
    _check(difference)
    share = max(discordant, abs(difference))
    z, z_power = _z(level), NormalDist().inv_cdf(power)
    spread = z * math.sqrt(share) + z_power * math.sqrt(share - difference**2)
    return _whole((spread / difference) ** 2)


def detectable(items: int, discordant: float = DISCORDANT, *, level: float = LEVEL) -> float:
    """The smallest difference that so many right-or-wrong items show; infinite if not even all of them do."""
    seen, unseen = 1.0, 0.0
    if items_needed(seen, discordant, level=level) > items:
        return math.inf
    while seen - unseen > 1e-9:
        middle = (seen + unseen) / 2
        if items_needed(middle, discordant, level=level) <= items:
            seen = middle
        else:
            unseen = middle
    return seen


def items_needed_for_scores(
    difference: float,
    variance: float,
    *,
    base_noise: float = 0.0,
    tuned_noise: float = 0.0,
    samples: int = 1,
    level: float = LEVEL,
) -> int:
    """How many items show this difference of mean scores?

    n = (z + z')^2 (omega^2 + s_A^2/K + s_B^2/K) / d^2: Miller 2024, arXiv:2411.00640, equation 9.
    ``variance`` is omega^2, of the true differences from item to item; the noises are the variances of one
    model's score on one item from sample to sample, of which each item has ``samples``. More samples buy
    less noise and nothing else.
    """
    _check(difference)
    z = _z(level) + NormalDist().inv_cdf(POWER)
    spread = variance + (base_noise + tuned_noise) / samples
    return _whole(z * z * spread / difference**2)


def detectable_in_scores(items: int, variance: float, *, level: float = LEVEL) -> float:
    """The smallest difference of mean scores that so many items show (Miller 2024, equation 10)."""
    z = _z(level) + NormalDist().inv_cdf(POWER)
    return z * math.sqrt(variance / items)


@dataclass(frozen=True, repr=False)
class PowerTable:
    """What so many items can show, and how many each difference needs."""

    items: int
    detectable: float
    """The smallest difference they show, from 0 to 1."""
    needed: tuple[tuple[float, int], ...]
    """Each difference asked for, with the items that show it."""
    assumed: str

    @property
    def sentence(self) -> str:
        """``With 50 items you can only see 17 points; you need 622 for 5.``"""
        seen = f"only see {_points(self.detectable)} points" if self.detectable <= 1 else "see nothing at all"
        missing = [f"{items:,} for {_points(wanted)}" for wanted, items in self.needed if items > self.items]
        if not missing:
            smallest = min((wanted for wanted, _ in self.needed), default=self.detectable)
            return f"With {self.items:,} items you can see {_points(smallest)} points."
        joined = " and ".join(filter(None, (", ".join(missing[:-1]), missing[-1])))
        return f"With {self.items:,} items you can {seen}; you need {joined}."

    def __repr__(self) -> str:
        """The sentence, and what it rests on."""
        return f"{self.sentence} {self.assumed}"

    def _repr_html_(self) -> str:
        rows = [
            (f"{_points(wanted)} points", f"{items:,}", "yes" if items <= self.items else "no")
            for wanted, items in self.needed
        ]
        return table(repr(self), ("difference", "items needed", f"{self.items:,} items show it"), rows)


def power_table(
    items: int,
    *,
    differences: tuple[float, ...] = (0.1, 0.05, 0.02),
    discordant: float = DISCORDANT,
    variance: float | None = None,
    clusters: Sequence[Hashable] = (),
    cluster_size: float = 1.0,
    correlation: float = CORRELATION,
    comparisons: int = 1,
) -> PowerTable:
    """Tell before the launch what a test set can show.

    For right or wrong, ``discordant`` is the share of items that will change; for scores give the
    ``variance`` of the differences instead. Where items come in clusters of ``cluster_size`` whose
    differences correlate, 1 + (size - 1) x correlation times as many are needed (Kish 1965). ``clusters``
    names the cluster of each item instead: the size is then the mean one that an item is in; an item with
    an empty name stands for itself.
    ``comparisons`` is how many models, checkpoints or prompts will be tried on these items.
    """
    if items < 1 or cluster_size < 1 or comparisons < 1 or not 0 <= correlation <= 1:
        raise DataError(
            "power_table needs at least one item, a cluster_size and comparisons of at least 1, and a "
            "correlation from 0 to 1."
        )
    if clusters:
        sizes = Counter(name or (place,) for place, name in enumerate(clusters)).values()
        cluster_size = sum(size**2 for size in sizes) / len(clusters)
    effect = 1 + (cluster_size - 1) * correlation
    worth, level = max(1, int(items / effect)), LEVEL / comparisons
    if variance is None:
        seen = detectable(worth, discordant, level=level)
        needed = [items_needed(wanted, discordant, level=level) for wanted in differences]
        assumed = f"If {100 * discordant:.0f} % of the items change"
    else:
        seen = detectable_in_scores(worth, variance, level=level)
        needed = [items_needed_for_scores(wanted, variance, level=level) for wanted in differences]
        assumed = f"If the differences vary by {math.sqrt(variance):.2g} from item to item"
    if effect > 1:
        assumed += f" and clusters make {effect:.1f} items worth one (correlation {correlation:g})"
    found = f"{assumed}; found in 80 of 100 tests at {100 * level:.2g} %."
    pairs = zip(differences, (_whole(effect * count) for count in needed), strict=True)
    return PowerTable(items, seen, tuple(pairs), found)


def _z(level: float) -> float:
    """The quantile of a two-sided test: 1.96 at 5 %."""
    return NormalDist().inv_cdf(1 - level / 2)


def _check(difference: float) -> None:
    if not 0 < abs(difference) <= 1:
        raise DataError(f"No test set shows a difference of {difference:g}; ask for a share, such as 0.05.")


def _whole(items: float) -> int:
    return math.ceil(items - 1e-9)


def _points(share: float) -> str:
    return f"{100 * share:.2g}" if share < 0.1 else f"{100 * share:.0f}"
