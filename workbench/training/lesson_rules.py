"""What the losses of an example say of it: suspicious, never learnt, or learnt by heart.

An example with a wrong answer is learnt late, because all others speak against it (Toneva et al. 2018,
arXiv 1812.05159; Pleiss et al. 2020, "area under the margin", arXiv 2001.10528). So what it cost
whenever the model met it again tells more than what it costs in the end.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

SMALLEST = 1e-4  # nats; below, losses differ by rounding
STILL_OPEN = 0.25
"""The share of its first loss that an example never learnt still costs (ours)."""
BY_HEART = 0.1
"""The share of the validation loss below which an example is known by heart (ours)."""


@dataclass(frozen=True)
class Losses:
    """What an example cost, in nats per learnt token; nan where nothing of it is learnt.

    ``visits``: one an epoch, each just before the step that learnt from it. ``before`` the first step
    and ``after`` the last, where the service looked.
    """

    visits: tuple[float, ...]
    before: float | None = None
    after: float | None = None

    @property
    def last(self) -> float:
        """The latest that is known."""
        return self.after if self.after is not None else self.visits[-1] if self.visits else math.nan


def suspicion(examples: Sequence[Losses]) -> list[float]:
    """How far each example's losses stand out, in robust standard deviations; nan where they cannot tell.

    Taken is the mean logarithm of the losses from the second visit on, so at least two epochs are needed:
    at the first visit the model still knows too little. Of 5 % planted wrong answers among 358 pairs of
    the sample project (SmolLM2, 3 epochs, two seeds) the first 18 of this order held all 18 that had
    another question's answer, and 13 and 15 of 18 with a small slip; chance is 1
    (``tests/benchmarks/lessons.py``).
    """
    costs = [
        fmean(math.log(max(loss, SMALLEST)) for loss in example.visits[1:]) if _known(example) else math.nan
        for example in examples
    ]
    known = [cost for cost in costs if not math.isnan(cost)]
    if not known:
        return costs
    middle = median(known)
    spread = 1.4826 * median(abs(cost - middle) for cost in known)  # a standard deviation, were they normal
    return [(cost - middle) / spread if spread else 0.0 * cost for cost in costs]


def never_learnt(examples: Sequence[Losses]) -> list[int]:
    """The places of the examples that cost a quarter of their first loss still, the costliest first.

    The first loss is the base model's where the service looked, else the median of those.
    """
    looked = [example.before for example in examples if example.before is not None]
    firsts = looked or [example.visits[0] for example in examples if example.visits]
    usual = median(first for first in firsts if not math.isnan(first)) if firsts else math.nan
    found = [
        place
        for place, example in enumerate(examples)
        if example.last >= STILL_OPEN * (usual if example.before is None else example.before)
    ]
    return sorted(found, key=lambda place: -examples[place].last)


def memorised(examples: Sequence[Losses], *, validation_loss: float) -> list[int]:
    """The places of the examples known ten times better than what was never seen, the best known first.

    Memorising is what an example gains by being in the training file (Zhang et al. 2021, arXiv
    2112.12938); the loss on the validation file stands for what it would cost were it not.
    """
    found = [place for place, each in enumerate(examples) if each.last < BY_HEART * validation_loss]
    return sorted(found, key=lambda place: examples[place].last)


def _known(example: Losses) -> bool:
    return len(example.visits) > 1 and not any(math.isnan(loss) for loss in example.visits)
