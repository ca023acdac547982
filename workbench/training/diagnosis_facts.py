"""What the rules of a diagnosis compare: trends, epochs, noise; and the verdicts and flags they give."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from workbench.training.curve import REWARD, Curve, exponential

# What the rules compare: the smoothed training measure, the validation measure, and how long an epoch is.
#
# A trend is a series of finite numbers by step. Nothing is judged here: see
# ``diagnosis`` for the verdict and ``stopping`` for a job that still runs.

Numbers: TypeAlias = NDArray[np.float64]

TOKENS = ("completion_tokens_mean", "reasoning_tokens_mean")

FEWEST_IN_WINDOW = 5
WINDOW_SHARE = 0.05
"""The window of a debiased EMA for verdicts: 5 points or 5 % of them; ours, after TensorBoard's smoothing."""
VALIDATION_WEIGHT = 0.6
"""TensorBoard's default weight (tensorboard/plugins/scalar, ``smoothing``)."""
FEWEST_SMOOTHED = 20  # validation points; with fewer, smoothing would hide the one that matters
FEWEST_AT_START = 10
START_SHARE = 0.05
"""A start is the mean of the first 10 points or 5 % of them (ours), but never of more than half."""
FEWEST_VALIDATIONS = 2  # one point shows no direction


@dataclass(frozen=True, eq=False)
class Trend:
    """Finite values by rising step; ``window`` points were smoothed into one (1: none)."""

    name: str
    steps: Numbers
    values: Numbers
    window: float = 1.0

    def __len__(self) -> int:
        """How many points it has."""
        return len(self.values)

    @property
    def start(self) -> float:
        """The mean of the first points: 10, or 5 % of them, or half where there are fewer than 20."""
        count = max(FEWEST_AT_START, math.ceil(START_SHARE * len(self)))
        return float(self.values[: max(1, min(count, len(self) // 2))].mean())

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

    def smoothed(self, weight: float) -> "Trend":
        """The debiased exponential moving average, whose window is 1 / (1 - weight)."""
        return Trend(self.name, self.steps, exponential(self.values, weight), 1 / (1 - weight))


@dataclass(frozen=True, eq=False)
class Trends:
    """A run's measures: training as measured and smoothed, validation, and its epochs."""

    steps: int
    raw: Trend
    train: Trend
    valid: Trend
    steps_per_epoch: float | None
    tokens: tuple[Trend, ...] = ()

    @property
    def epochs(self) -> float | None:
        """How many epochs the curve covers; ``None`` where nobody knows how long one is."""
        return None if self.steps_per_epoch is None else self.steps / self.steps_per_epoch


def loss_trends(curve: Curve, steps_per_epoch: float | None = None) -> Trends:
    """Read the losses of a supervised or a preference job; a negative loss means "not measured"."""
    raw = trend(curve, "train_loss", lowest=0.0)
    valid = validation_losses(curve)
    if len(valid) >= FEWEST_SMOOTHED:
        valid = valid.smoothed(VALIDATION_WEIGHT)
    return Trends(curve.steps, raw, _for_verdicts(raw), valid, steps_per_epoch)


def reward_trends(curve: Curve, steps_per_epoch: float | None = None) -> Trends:
    """Read the rewards of a reinforcement job, and how long its answers are."""
    raw = trend(curve, "train_mean_reward")
    valid = trend(curve, REWARD)
    tokens = (trend(curve, name, lowest=0.0) for name in TOKENS)
    return Trends(
        curve.steps,
        raw,
        _for_verdicts(raw),
        valid,
        steps_per_epoch,
        tuple(_for_verdicts(trend) for trend in tokens if len(trend)),
    )


def validation_losses(curve: Curve) -> Trend:
    """The losses on the whole validation set where there are two; else those of single batches."""
    full, batches = (trend(curve, name, lowest=0.0) for name in ("full_valid_loss", "valid_loss"))
    return full if len(full) >= FEWEST_VALIDATIONS or len(full) >= len(batches) else batches


def epoch_length(curve: Curve, n_epochs: float | None = None) -> float | None:
    """How many steps an epoch has; ``None`` where neither the caller nor the curve says so.

    From the ``n_epochs`` of a job that has ended; else from a column ``epoch``
    (Hugging Face); else from full validations at equal distances that are rarer
    than the training steps: Azure and the local service make one an epoch.
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
        gaps = np.diff(steps, prepend=0.0)
        if gaps.max() - gaps.min() <= 1:  # an epoch's last batch is rarely full, so that gaps differ by one
            return float(steps[-1]) / len(steps)
    return None


def trend(curve: Curve, name: str, lowest: float = -math.inf) -> Trend:
    """The finite values of one column from ``lowest`` up; empty when the curve has none."""
    found = curve.measured(name)
    values = np.asarray(found, dtype=np.float64)
    steps = np.asarray(found.index, dtype=np.float64)
    kept = values >= lowest
    return Trend(name, steps, values) if kept.all() else Trend(name, steps[kept], values[kept])


def _for_verdicts(raw: Trend) -> Trend:
    return raw.smoothed(1 - 1 / max(FEWEST_IN_WINDOW, WINDOW_SHARE * len(raw)))


# What a curve can be found to be, and what to do then: the verdicts, the flags, and the evidence for them.
#
# Only words and nouns live here; which numbers lead to which verdict is in
# ``loss_rules``, ``reward_rules`` and ``flags``.

AZURE_SKILLS = "Microsoft, azure-skills, training curves (Aug 2026)"
OURS = "a proposal of ours"
PRECHELT = "Prechelt 1998, Early stopping - but when?"


class Verdict(NamedTuple):
    """A verdict in words, and the next step."""

    title: str
    action: str


VERDICTS: Mapping[str, Verdict] = {
    "diverged": Verdict(
        "The training diverged",
        "Do not use this model. Train again with a tenth of the learning rate multiplier, and look for "
        "broken or very long rows in the batches before the rise.",
    ),
    "insufficient_data": Verdict(
        "Too little was measured",
        "Wait for more steps, or train longer: with so few numbers every reading would be a guess.",
    ),
    "memorised": Verdict(
        "The preference pairs are memorised",
        "Stop earlier: fewer epochs, or a smaller learning rate multiplier; compare an early checkpoint with "
        "the last one on questions that were not trained on.",
    ),
    "no_signal": Verdict(
        "The reward teaches nothing",
        "Grade a few outputs by hand, good and bad ones, and mend the grader: a reward that is always the "
        "same, at the bottom or at the top, has no gradient.",
    ),
    "reward_hacking": Verdict(
        "The model may be pleasing the grader instead of doing the task",
        "Stop the job and read a dozen of its answers; score two or three checkpoints with another grader, "
        "and add to this one what it overlooks.",
    ),
    "no_validation_cannot_judge": Verdict(
        "It cannot be judged without validation",
        "Hold out a part of the examples as a validation file and train again; training loss alone falls for "
        "a memorised set as it does for a learnt one.",
    ),
    "leakage_suspected": Verdict(
        "Validation rows may be among the training rows",
        "Check training against validation data for equal and nearly equal rows (03_build_data). If there "
        "are none, the task may be that easy: say so with leaks=0 and diagnose again.",
    ),
    "overfitting_severe": Verdict(
        "The model overfits severely",
        "Use the checkpoint of the lowest validation loss if it still exists; then train with fewer epochs, "
        "a smaller learning rate multiplier, or more and more varied examples.",
    ),
    "overfitting_mild": Verdict(
        "The model begins to overfit",
        "Compare the checkpoint of the lowest validation loss with the last one on the task itself; one or "
        "two epochs less are enough next time.",
    ),
    "underfitting": Verdict(
        "The model has hardly learnt",
        "Raise the learning rate multiplier or clean the examples; if both losses stay high, take a larger "
        "model or a simpler task.",
    ),
    "still_improving": Verdict(
        "The model still improves",
        "Train one or two epochs more: validation was still getting better at the end.",
    ),
    "healthy": Verdict(
        "The curve is healthy",
        "Measure the model on the task: a healthy curve is no proof of better answers.",
    ),
    "cannot_tell": Verdict(
        "It cannot be told",
        "Measure the model on the task, and validate on more rows: what was measured speaks for no verdict.",
    ),
}

FLAGS: Mapping[str, str] = {
    "noisy": "The training loss jumps about: take a larger batch, or look for contradicting rows.",
    "large_gap": "Validation is much harder than training: compare what the two sets are made of.",
    "epoch_boundary_drop": "The training loss falls in stairs, an epoch a stair: rows are being memorised. "
    "It is no fault of the trainer, and the answers may still get better (fast.ai, 2023-09-04).",
    "watch_the_gap": "Training earns more reward than validation; above a gap of 0.10, stop.",
}


@dataclass(frozen=True)
class Evidence:
    """One number that a rule looked at, the threshold it was held against, and who set that."""

    sentence: str
    value: float
    threshold: float | None
    step: int | None
    source: str

    @property
    def close(self) -> bool:
        """Whether the number is so near its threshold that another seed could turn it: within a tenth."""
        return self.threshold is not None and abs(self.value - self.threshold) <= abs(self.threshold) / 10


class Ruling(NamedTuple):
    """The verdict that a rule came to, and on what evidence; the first of it decided."""

    verdict: str
    evidence: tuple[Evidence, ...]


# Flags: what is worth knowing about a curve whatever its verdict is.
#
# None of them decides anything. Batch difficulty and dropout move these numbers
# in healthy runs too.

NOISE = 0.35
"""Deviation of the residuals around the smoothed loss, as a share of its median (ours)."""
MAD_TO_DEVIATION = 1.4826  # for normal residuals: 1 over the normal quantile of 0.75
LARGE_GAP = 1.5
"""Validation over training loss: 1.2 mild, 1.5 moderate, 2.0 severe in azure-skills; only a flag here."""
BOUNDARY_DROP = 0.10
BOUNDARY_Z = 4.0
"""A stair: a fall of a tenth where an epoch ends, four standard errors of the lines on both sides (ours)."""
FEWEST_ON_A_SIDE = 4  # points, so that a line through them leaves two degrees of freedom
MOST_EPOCHS = 50  # Azure's upper limit of n_epochs
WATCH_GAP = 0.05
"""Of the training reward over the validation reward (azure-skills: to 0.05 healthy, above 0.10 stop)."""


def noisy(trends: Trends) -> Evidence | None:
    """Whether the training loss jumps about its trend."""
    if not len(trends.train):
        return None
    residuals = trends.raw.values - trends.train.values
    residuals -= np.median(residuals)  # in place: a curve may have ten million points
    spread = MAD_TO_DEVIATION * float(np.median(np.abs(residuals, out=residuals), overwrite_input=True))
    median = float(np.median(trends.train.values))
    if not spread > NOISE * median:
        return None
    share = spread / median if median else math.inf
    sentence = f"the training loss scatters by {share:.0%} of its median"
    return Evidence(sentence, share, NOISE, None, OURS)


def large_gap(trends: Trends) -> Evidence | None:
    """Whether validation is much harder than training at the end."""
    if not len(trends.train) or not len(trends.valid):
        return None
    train, valid = trends.train.end, trends.valid.end
    if not valid > LARGE_GAP * train:
        return None
    ratio = valid / train if train else math.inf
    sentence = f"at the end the validation loss is {ratio:.3g} times the training loss"
    return Evidence(sentence, ratio, LARGE_GAP, trends.steps, AZURE_SKILLS)


def epoch_boundary_drop(trends: Trends) -> Evidence | None:
    """The deepest stair: a fall between an epoch's last steps and the next one's first, beyond any slope."""
    if trends.steps_per_epoch is None or not len(trends.raw):
        return None
    length = trends.steps_per_epoch
    deepest: Evidence | None = None
    for epoch in range(1, math.ceil(min(trends.steps / length, MOST_EPOCHS))):
        drop, z = _drop(trends.raw, epoch * length, length / 2)
        if drop >= BOUNDARY_DROP and z >= BOUNDARY_Z and (deepest is None or drop > deepest.value):
            sentence = f"the training loss falls by {drop:.0%} where epoch {epoch} ends"
            step = round(epoch * length)
            deepest = Evidence(sentence, drop, BOUNDARY_DROP, step, "fast.ai 2023-09-04; the threshold: ours")
    return deepest


def watch_the_gap(trends: Trends) -> Evidence | None:
    """Whether training earns more reward than validation."""
    if not len(trends.train) or not len(trends.valid):
        return None
    gap = trends.train.end - trends.valid.end
    if not gap > WATCH_GAP:
        return None
    sentence = f"training earns {gap:.2f} more reward than validation"
    return Evidence(sentence, gap, WATCH_GAP, trends.steps, AZURE_SKILLS)


LOSS_FLAGS: tuple[Callable[[Trends], Evidence | None], ...] = (noisy, large_gap, epoch_boundary_drop)
REWARD_FLAGS: tuple[Callable[[Trends], Evidence | None], ...] = (watch_the_gap,)


def _drop(raw: Trend, boundary: float, reach: float) -> tuple[float, float]:
    """The relative fall at ``boundary`` between two straight lines, and its z; (0, 0) with too few points."""
    first, middle, last = np.searchsorted(
        raw.steps, [boundary - reach, boundary, boundary + reach], side="right"
    )
    if min(middle - first, last - middle) < FEWEST_ON_A_SIDE:
        return 0.0, 0.0
    before, error_before = _line_at(boundary, raw.steps[first:middle], raw.values[first:middle])
    after, error_after = _line_at(boundary, raw.steps[middle:last], raw.values[middle:last])
    if not before > 0:
        return 0.0, 0.0
    error = math.hypot(error_before, error_after)
    return (before - after) / before, (before - after) / error if error else math.inf


def _line_at(place: float, steps: Numbers, values: Numbers) -> tuple[float, float]:
    """The least-squares line's value at ``place``, and its standard error."""
    away = steps - steps.mean()
    spread = float(away @ away)
    slope = float(away @ values) / spread
    mean, reach = float(values.mean()), place - float(steps.mean())
    residuals = values - mean - slope * away
    variance = float(residuals @ residuals) / (len(values) - 2)
    return mean + slope * reach, math.sqrt(variance * (1 / len(values) + reach**2 / spread))
