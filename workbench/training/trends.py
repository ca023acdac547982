"""What the rules of a diagnosis and the choice of a checkpoint compare: trends, their noise, and epochs.

A trend is a series of finite numbers by step. Nothing is judged here.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from workbench.training.curve import REWARD, Curve, exponential

Numbers: TypeAlias = NDArray[np.float64]

TOKENS = ("completion_tokens_mean", "reasoning_tokens_mean")

FEWEST_IN_WINDOW = 5
WINDOW_SHARE = 0.05
"""The window of a debiased EMA for verdicts: 5 points or 5 % of them; ours, after TensorBoard's smoothing."""
VALIDATION_WINDOW = 2.5
BATCH_WINDOW_SHARE = 0.125
"""Of validation: TensorBoard's default weight of 0.6 (tensorboard/plugins/scalar), or 5 % of the points; of
single batches an eighth, which weighs as much as the mean of a quarter of them (ours)."""
FEWEST_SMOOTHED = 20  # validation points; with fewer, smoothing would hide the one that matters
FEWEST_AT_START = 10
START_SHARE = 0.05
"""A start is the mean of the first 10 points or 5 % of them (ours), but never of more than half."""
LATE = 0.25
"""The last quarter of the points is what a run has come to (ours)."""
CLEAR = 3.0
"""Standard errors beyond which a difference is no chance (ours)."""
EXPLODED, EXPLODED_Z = 5.0, 4.0
"""An explosion within the start: five times what it was, and four standard errors (ours)."""
FEWEST_VALIDATIONS = 2  # one point shows no direction
FEWEST_FOR_NOISE = 5
"""Values whose scatter from one to the next can stand for an error that nobody knows (ours)."""
FEW_EPOCHS = 4
"""Validations that may be one an epoch although no measure of single batches stands beside them (ours)."""
FEWEST_ON_A_SIDE = 4  # points, so that a line through them leaves two degrees of freedom
SUMMED = 2.5
"""A training loss so many times the validation loss from the first validation on is a sum over accumulation
steps: nothing is that much worse on the rows it learns from (ours; transformers #34191)."""


@dataclass(frozen=True, eq=False)
class Trend:
    """Finite values by rising step; ``window`` points were smoothed into one (1: none).

    ``scatter`` is the standard deviation of a single point before smoothing, 0 where nobody knows it.
    """

    name: str
    steps: Numbers
    values: Numbers
    window: float = 1.0
    scatter: float = 0.0

    def __len__(self) -> int:
        """How many points it has."""
        return len(self.values)

    @cached_property
    def start(self) -> float:
        """The mean of the first points: 10, or 5 % of them, or half where there are fewer than 20.

        Of a series as measured, it is no higher than the very first ones allow, given the noise: an
        explosion at the third step must not count as where the run began.
        """
        first = self.values[: self.start_length]
        if self.window > 1:
            return float(first.mean())
        if place := self.explosion:
            return float(first[:place].mean())
        counts = np.arange(1, len(first) + 1)
        allowed = np.cumsum(first) / counts * np.exp(CLEAR * self.noise / np.sqrt(counts))
        return float(min(first.mean(), allowed.min()))

    @cached_property
    def explosion(self) -> int:
        """The place within the start at which it jumps to five times what it was, beyond its noise; or 0."""
        heights = np.log(np.maximum(self.values[: self.start_length], 1e-9))
        counts = np.arange(1, len(heights))
        jumps = heights[1:] - np.cumsum(heights)[:-1] / counts
        clear = (jumps > math.log(EXPLODED)) & (jumps > EXPLODED_Z * self.noise * np.sqrt(1 + 1 / counts))
        return int(clear.argmax()) + 1 if clear.any() else 0

    @property
    def start_length(self) -> int:
        """How many points the start has."""
        count = max(FEWEST_AT_START, math.ceil(START_SHARE * len(self)))
        return max(1, min(count, len(self) // 2))

    @cached_property
    def late(self) -> float:
        """The mean of the last quarter."""
        return float(self.values[-math.ceil(LATE * len(self)) :].mean())

    @cached_property
    def noise(self) -> float:
        """The standard deviation of a single late point, as a share of the late mean.

        By the 90th percentile of the changes from point to point, which neither a trend nor one jump moves.
        """
        late = self.values[-max(FEWEST_SMOOTHED, len(self) // 2) :]
        found = scatter(late, 0.9)
        return found / float(late.mean()) if found and late.mean() > 0 else 0.0

    def change(self) -> tuple[float, float]:
        """By what share the late mean is above the start (or below), and by how many standard errors."""
        start, late = self.start, self.late
        error = self.noise * math.sqrt(1 / self.start_length + 1 / math.ceil(LATE * len(self)))
        return ratio(late, start) - 1, _over(math.log(max(late, 1e-9) / max(start, 1e-9)), error)

    @property
    def first(self) -> float:
        """The first value."""
        return float(self.values[0])

    @property
    def end(self) -> float:
        """The last value."""
        return float(self.values[-1])

    @property
    def lowest(self) -> int:
        """The place of the lowest value, the first of equals."""
        return int(self.values.argmin())

    @property
    def highest(self) -> int:
        """The place of the highest value, the first of equals."""
        return int(self.values.argmax())

    def at(self, step: float) -> float:
        """The value at a step, on the line between its neighbours; at the ends the nearest one."""
        return float(np.interp(step, self.steps, self.values))

    def smoothed(self, window: float) -> "Trend":
        """The debiased exponential moving average, whose weight is 1 - 1 / ``window``."""
        values = exponential(self.values, 1 - 1 / window)
        return Trend(self.name, self.steps, values, window, scatter(self.values))

    def fall_at(self, boundary: float, reach: float) -> tuple[float, float]:
        """The relative fall at a step, between straight lines of this reach on both sides, and its z or 0."""
        first, middle, last = np.searchsorted(
            self.steps, [boundary - reach, boundary, boundary + reach], side="right"
        )
        if min(middle - first, last - middle) < FEWEST_ON_A_SIDE:
            return 0.0, 0.0
        before, error_before = _line_at(boundary, self.steps[first:middle], self.values[first:middle])
        after, error_after = _line_at(boundary, self.steps[middle:last], self.values[middle:last])
        if not before > 0:
            return 0.0, 0.0
        error = math.hypot(error_before, error_after)
        return (before - after) / before, (before - after) / error if error else math.inf

    def luck(self) -> Numbers:
        """The standard error of each value as a share of a point's: that of a moving average falls."""
        weight = 1 - 1 / self.window
        if not weight:
            return np.ones(len(self))
        faded = weight ** np.arange(1, len(self) + 1)
        return np.asarray(np.sqrt((1 - weight) / (1 + weight) * (1 + faded) / (1 - faded)))


@dataclass(frozen=True, eq=False)
class Trends:
    """A run's measures: training as measured and smoothed, validation, and its epochs."""

    steps: int
    raw: Trend
    train: Trend
    valid: Trend
    steps_per_epoch: float | None
    tokens: tuple[Trend, ...] = ()
    batches: Trend | None = None
    """The validation losses as measured, where each is of a single batch."""
    task: Trend | None = None
    """What was measured on the task beside the loss, higher is better."""
    accumulated: int = 1
    """Over so many accumulation steps the training loss was summed; here it is divided by them."""

    @property
    def epochs(self) -> float | None:
        """How many epochs the curve covers; ``None`` where nobody knows how long one is."""
        return None if self.steps_per_epoch is None else self.steps / self.steps_per_epoch


def loss_trends(curve: Curve, steps_per_epoch: float | None = None) -> Trends:
    """Read the losses of a supervised or a preference job; a negative loss means "not measured"."""
    raw = trend(curve, "train_loss", lowest=0.0)
    valid = validation_losses(curve)
    batches = valid if valid.name == "valid_loss" else None
    accumulated = _accumulated(raw, valid)
    if accumulated > 1:
        raw = Trend(raw.name, raw.steps, raw.values / accumulated)
    if len(valid) >= FEWEST_SMOOTHED:
        share = BATCH_WINDOW_SHARE if batches else WINDOW_SHARE
        valid = valid.smoothed(max(VALIDATION_WINDOW, share * len(valid)))
    elif len(valid) >= FEWEST_FOR_NOISE:
        valid = Trend(valid.name, valid.steps, valid.values, scatter=scatter(valid.values))
    task = next((found for found in task_trends(curve) if len(found) >= FEWEST_VALIDATIONS), None)
    return Trends(
        curve.steps,
        raw,
        _for_verdicts(raw),
        valid,
        steps_per_epoch,
        batches=batches,
        task=task,
        accumulated=accumulated,
    )


def reward_trends(curve: Curve, steps_per_epoch: float | None = None) -> Trends:
    """Read the rewards of a reinforcement job, and how long its answers are."""
    raw = trend(curve, "train_mean_reward")
    tokens = (trend(curve, name, lowest=0.0) for name in TOKENS)
    return Trends(
        curve.steps,
        raw,
        _for_verdicts(raw),
        trend(curve, REWARD),
        steps_per_epoch,
        tuple(_for_verdicts(trend) for trend in tokens if len(trend)),
    )


def validation_losses(curve: Curve) -> Trend:
    """The losses on the whole validation set where there are two; else those of single batches."""
    full, batches = full_losses(curve), trend(curve, "valid_loss", lowest=0.0)
    return full if len(full) >= FEWEST_VALIDATIONS or len(full) >= len(batches) else batches


def full_losses(curve: Curve) -> Trend:
    """The losses on the whole validation set; of several evaluation sets alone, their mean."""
    sets = curve.evaluation_sets
    if not sets or len(curve.measured("full_valid_loss")):
        return trend(curve, "full_valid_loss", lowest=0.0)
    name = f"loss on {next(iter(sets))}" if len(sets) == 1 else f"mean loss on {', '.join(sets)}"
    return mean_of(curve, list(sets.values()), name, lowest=0.0)


def task_trends(curve: Curve) -> list[Trend]:
    """What was measured on the task, turned so that higher is better.

    A measure taken on several evaluation sets is the mean over them, where all were measured.
    """
    return [mean_of(curve, columns, name, sign) for name, (sign, columns) in curve.task_measures.items()]


def mean_of(
    curve: Curve, columns: Sequence[str], name: str, sign: int = 1, lowest: float = -math.inf
) -> Trend:
    """The mean of several columns at the steps at which all of them were measured."""
    trends = [trend(curve, name, lowest) for name in columns]
    steps = trends[0].steps
    for each in trends[1:]:
        steps = np.intersect1d(steps, each.steps)
    values = [each.values[np.isin(each.steps, steps)] for each in trends]
    return Trend(name, steps, sign * np.mean(values, axis=0))


def epoch_length(curve: Curve, n_epochs: float | None = None) -> float | None:
    """How many steps an epoch has; ``None`` where neither the caller nor the curve says so.

    From the ``n_epochs`` of a job that has ended; else from a column ``epoch``
    (Hugging Face); else from full validations at equal distances that are rarer
    than the training steps: Azure and the local service make one an epoch, and
    measure single batches in between. Without these, equal distances may be any
    interval that somebody set, unless there are at most four, up to the last step.
    """
    if curve.steps <= 0:
        return None
    if n_epochs is not None:
        return curve.steps / n_epochs
    epoch = trend(curve, "epoch", lowest=0.0)
    if len(epoch) and epoch.end > 0:
        return float(epoch.steps[-1]) / epoch.end
    steps = trend(curve, "full_valid_loss").steps
    if 2 <= len(steps) <= len(trend(curve, "train_loss")) / 2:
        few = len(steps) <= FEW_EPOCHS and steps[-1] == curve.steps
        gaps = np.diff(steps, prepend=0.0)
        # An epoch's last batch is rarely full, so that gaps differ by one.
        if gaps.max() - gaps.min() <= 1 and (few or len(trend(curve, "valid_loss")) > len(steps)):
            return float(steps[-1]) / len(steps)
    return None


def trend(curve: Curve, name: str, lowest: float = -math.inf) -> Trend:
    """The finite values of one column from ``lowest`` up; empty when the curve has none."""
    found = curve.measured(name)
    values = np.asarray(found, dtype=np.float64)
    steps = np.asarray(found.index, dtype=np.float64)
    kept = values >= lowest
    return Trend(name, steps, values) if kept.all() else Trend(name, steps[kept], values[kept])


def scatter(values: Numbers, share: float = 0.5) -> float:
    """The standard deviation around a trend, by a quantile of the second differences; 0 for too few values.

    Second differences of a straight line are 0, and of noise have six times its variance.
    """
    if len(values) < FEWEST_FOR_NOISE:
        return 0.0
    from scipy.special import ndtri

    bends = np.abs(np.diff(values, n=2))
    return float(np.quantile(bends, share) / ndtri((1 + share) / 2) / math.sqrt(6))


def ratio(value: float, base: float) -> float:
    """How many times ``base`` is ``value``; 1 for nothing beside nothing."""
    if base:
        return value / base
    return 1.0 if value == base else math.copysign(math.inf, value)


def _over(difference: float, error: float) -> float:
    """How many standard errors a difference is; where nobody knows the error, any is beyond it."""
    return difference / error if error else math.copysign(math.inf, difference) if difference else 0.0


def _line_at(place: float, steps: Numbers, values: Numbers) -> tuple[float, float]:
    """The least-squares line's value at ``place``, and its standard error."""
    away = steps - steps.mean()
    spread = float(away @ away)
    slope = float(away @ values) / spread
    mean, reach = float(values.mean()), place - float(steps.mean())
    residuals = values - mean - slope * away
    variance = float(residuals @ residuals) / (len(values) - 2)
    return mean + slope * reach, math.sqrt(variance * (1 / len(values) + reach**2 / spread))


def _accumulated(raw: Trend, valid: Trend) -> int:
    """How many times the validation loss the training loss is from the first on; 1 where it is no sum."""
    if not len(raw) or not len(valid) or not valid.values.all():
        return 1
    early = valid.steps[: max(1, len(valid) // 3)]
    places = np.searchsorted(raw.steps, early, side="right")
    beside = [raw.values[max(0, place - 10) : place + 10].mean() for place in places]
    times = float(np.median(beside / valid.values[: len(early)]))
    begun = float(np.median(raw.values[:5])) / valid.first
    summed = min(times, begun) >= SUMMED and raw.first >= valid.first  # an explosion begins lower
    return round(times) if summed and times < 1e6 else 1


def _for_verdicts(raw: Trend) -> Trend:
    return raw.smoothed(max(FEWEST_IN_WINDOW, WINDOW_SHARE * len(raw)))
