"""The rules that read losses, in their order: the first one that has a verdict decides.

T is the smoothed training loss and V the validation loss. Each threshold is a
named constant with its source.
"""

import math
from collections.abc import Callable

import numpy as np

from workbench.training.diagnosis_facts import (
    AZURE_SKILLS,
    FEWEST_VALIDATIONS,
    LARGE_GAP,
    OURS,
    PRECHELT,
    Evidence,
    Ruling,
    Trends,
    epoch_boundary_drop,
)

DIVERGED_RISE = 1.25
"""T at its end over T at its start (ours)."""
DIVERGED_REBOUND = 1.5
DIVERGED_TAIL = 0.10
"""The last tenth of T all above 1.5 times its lowest (ours)."""
REBOUND_FLOOR = 0.05
"""A lowest T counts as at least 5 % of its start (ours): between two losses near 0, any ratio is noise."""
FEWEST_STEPS = 10
FEWEST_POINTS = 5
"""Fewer steps, or fewer points than one smoothing window has, show no trend (ours)."""
MEMORISED_LOSS = 0.01
MEMORISED_POINTS = 20
"""Of a preference job, which starts at ln 2 = 0.69: so many points in a row below this loss, as in a real
gpt-4.1-mini job of Jan 2026 (step 890 of 8,250) whose pairs were learnt by heart; the numbers are ours."""
LEAK_EPOCHS = 2.5
LEAK_FALL = 0.60
LEAK_GAP = 1.10
LEAK_IMPROVED = 0.80
LEAK_BELOW = 0.85
"""Validation falls as far as memorisation does, with the stairs, or below training all along (ours)."""
OVERFITTING_MILD = 0.05
"""The generalisation loss, V at its end over its lowest less 1 (Prechelt 1998: GL with alpha 5)."""
OVERFITTING_SEVERE = 0.20
"""Final above 1.2 times the best validation loss (azure-skills)."""
UNDERFITTING = 0.10
"""T and V both fell by less than a tenth (ours)."""
LAST_PART = 0.25
STILL_FALLING = 0.02
NEAR_LOWEST = 0.005
"""V fell by 2 % over the last quarter, and ends within 0.5 % of its lowest (ours)."""


def diverged(trends: Trends) -> Ruling | None:
    """The loss ends above its start, or far above where it was."""
    train = trends.train
    if _too_little(trends):
        return None
    rise = _ratio(train.end, train.start)
    if train.end > DIVERGED_RISE * train.start:
        sentence = f"the training loss ends at {train.end:.4g}, {rise:.3g} times its start"
        return Ruling("diverged", (Evidence(sentence, rise, DIVERGED_RISE, trends.steps, OURS),))
    lowest = max(float(train.values.min()), REBOUND_FLOOR * train.start)
    tail = float(train.values[-math.ceil(DIVERGED_TAIL * len(train)) :].min())
    if tail > DIVERGED_REBOUND * lowest:
        step, times = int(train.steps[train.lowest]), _ratio(tail, lowest)
        sentence = f"after its low at step {step} the training loss stays above {times:.3g} times that"
        return Ruling("diverged", (Evidence(sentence, times, DIVERGED_REBOUND, step, OURS),))
    return None


def insufficient_data(trends: Trends) -> Ruling | None:
    """Fewer than ten steps, or hardly a point."""
    if not _too_little(trends):
        return None
    if trends.steps < FEWEST_STEPS:
        sentence, value, threshold = f"the curve has {trends.steps} steps", trends.steps, FEWEST_STEPS
    else:
        value, threshold = len(trends.train), FEWEST_POINTS
        sentence = f"training was measured at {value} steps"
    return Ruling("insufficient_data", (Evidence(sentence, value, threshold, trends.steps, OURS),))


def memorised(trends: Trends) -> Ruling | None:
    """Of a preference job: the training loss stays near 0, and validation, if any, does not follow."""
    low = trends.raw.values < MEMORISED_LOSS
    ends = np.flatnonzero(np.diff(np.concatenate(([0], low.astype(np.int8), [0]))))
    runs = ends[1::2] - ends[::2]
    if not len(runs) or runs.max() < MEMORISED_POINTS:
        return None
    if len(trends.valid) and trends.valid.end <= LARGE_GAP * max(trends.train.end, MEMORISED_LOSS):
        return None
    count = int(runs[runs >= MEMORISED_POINTS][0])
    step = int(trends.raw.steps[ends[::2][runs >= MEMORISED_POINTS][0]])
    sentence = f"from step {step} on, {count} training losses in a row are below {MEMORISED_LOSS}"
    return Ruling("memorised", (Evidence(sentence, count, MEMORISED_POINTS, step, OURS),))


def no_validation(trends: Trends) -> Ruling | None:
    """Nothing to judge by: fewer than two validation losses."""
    if len(trends.valid) >= FEWEST_VALIDATIONS:
        return None
    how_often = "never" if not len(trends.valid) else "once"
    evidence = Evidence(
        f"validation loss was measured {how_often}", len(trends.valid), FEWEST_VALIDATIONS, None, OURS
    )
    return Ruling("no_validation_cannot_judge", (evidence,))


def leakage_suspected(trends: Trends) -> Ruling | None:
    """Validation gets as good as only rows can that were trained on; a suspicion, no proof."""
    for look in (_falls_as_memorised, _falls_in_stairs, _stays_below):
        if evidence := look(trends):
            return Ruling("leakage_suspected", (evidence,))
    return None


def overfitting(trends: Trends) -> Ruling | None:
    """Validation gets worse while training goes on getting better."""
    train, valid = trends.train, trends.valid
    best = float(valid.steps[valid.lowest])
    loss = _ratio(valid.end, float(valid.values.min())) - 1
    if not loss >= OVERFITTING_MILD or valid.lowest == len(valid) - 1:
        return None
    severe = loss >= OVERFITTING_SEVERE
    rise = Evidence(
        f"the validation loss ends {loss:.1%} above its lowest, {valid.values.min():.4g} at step {best:.0f}",
        loss,
        OVERFITTING_SEVERE if severe else OVERFITTING_MILD,
        int(best),
        AZURE_SKILLS if severe else PRECHELT,
    )
    falls = train.at(best) - train.end
    direction = Evidence(
        f"the training loss {'fell' if falls > 0 else 'did not fall'} since then, to {train.end:.4g}",
        falls,
        None,
        trends.steps,
        OURS,
    )
    if not falls > 0:
        return Ruling("cannot_tell", (rise, direction))
    return Ruling("overfitting_severe" if severe else "overfitting_mild", (rise, direction))


def underfitting(trends: Trends) -> Ruling | None:
    """Neither loss has moved."""
    train, valid = trends.train, trends.valid
    falls = {"training": 1 - _ratio(train.end, train.start), "validation": 1 - _ratio(valid.end, valid.first)}
    if not all(fall < UNDERFITTING for fall in falls.values()):
        return None
    return Ruling(
        "underfitting",
        tuple(
            Evidence(f"the {name} loss fell by {fall:.1%}", fall, UNDERFITTING, trends.steps, OURS)
            for name, fall in sorted(falls.items(), key=lambda item: -item[1])
        ),
    )


def still_improving(trends: Trends) -> Ruling | None:
    """Validation was still falling when the run ended."""
    valid = trends.valid
    since = (1 - LAST_PART) * trends.steps
    fall = 1 - _ratio(valid.end, valid.at(since))
    if not fall >= STILL_FALLING or not valid.end <= (1 + NEAR_LOWEST) * float(valid.values.min()):
        return None
    sentence = f"the validation loss fell by {fall:.1%} over the last quarter, to {valid.end:.4g}"
    return Ruling("still_improving", (Evidence(sentence, fall, STILL_FALLING, trends.steps, OURS),))


def healthy(trends: Trends) -> Ruling | None:
    """Both learnt something, and validation ends near its lowest."""
    train, valid = trends.train, trends.valid
    loss = _ratio(valid.end, float(valid.values.min())) - 1
    fall = 1 - _ratio(train.end, train.start)
    if not (math.isfinite(loss) and math.isfinite(fall)):
        return None
    return Ruling(
        "healthy",
        (
            Evidence(
                f"the validation loss ends {loss:.1%} above its lowest, "
                f"{valid.values.min():.4g} at step {valid.steps[valid.lowest]:.0f}",
                loss,
                OVERFITTING_MILD,
                int(valid.steps[valid.lowest]),
                PRECHELT,
            ),
            Evidence(f"the training loss fell by {fall:.1%}", fall, UNDERFITTING, trends.steps, OURS),
        ),
    )


LOSS_RULES: tuple[Callable[[Trends], Ruling | None], ...] = (
    diverged,
    insufficient_data,
    no_validation,
    leakage_suspected,
    overfitting,
    underfitting,
    still_improving,
    healthy,
)
PREFERENCE_RULES = (*LOSS_RULES[:2], memorised, *LOSS_RULES[2:])
"""Memorised pairs show in the training loss alone, as every preference job starts at ln 2."""


def _too_little(trends: Trends) -> bool:
    return trends.steps < FEWEST_STEPS or len(trends.train) < FEWEST_POINTS


def _falls_as_memorised(trends: Trends) -> Evidence | None:
    """After 2.5 epochs T is at most 0.6 of what it was after the first, and V is no higher than T."""
    if trends.epochs is None or trends.steps_per_epoch is None or not trends.epochs >= LEAK_EPOCHS:
        return None
    after_one = trends.train.at(trends.steps_per_epoch)
    train, valid = trends.train.end, trends.valid.end
    if not (train <= LEAK_FALL * after_one and valid <= LEAK_GAP * train):
        return None
    sentence = (
        f"after {trends.epochs:.3g} epochs the training loss is {_ratio(train, after_one):.0%} of what it "
        f"was after the first, and the validation loss is as low: {valid:.4g} beside {train:.4g}"
    )
    return Evidence(sentence, _ratio(valid, train), LEAK_GAP, trends.steps, OURS)


def _falls_in_stairs(trends: Trends) -> Evidence | None:
    """T falls where epochs end, and V has gone down with it."""
    stair = epoch_boundary_drop(trends)
    train, valid = trends.train.end, trends.valid
    if stair is None or not (valid.end <= LEAK_GAP * train and valid.end < LEAK_IMPROVED * valid.first):
        return None
    sentence = f"{stair.sentence}, and the validation loss is as low: {valid.end:.4g} beside {train:.4g}"
    return Evidence(sentence, _ratio(valid.end, train), LEAK_GAP, stair.step, OURS)


def _stays_below(trends: Trends) -> Evidence | None:
    """V is below 0.85 T throughout the second half.

    T is read where its window reaches back to V's step, because a moving average comes late.
    """
    train, valid = trends.train, trends.valid
    late = valid.steps > trends.steps / 2
    if late.sum() < FEWEST_VALIDATIONS:
        return None
    behind = round(train.window) - 1
    places = np.minimum(np.searchsorted(train.steps, valid.steps[late]) + behind, len(train) - 1)
    beside = train.values[places]
    if not (valid.values[late] < LEAK_BELOW * beside).all():
        return None
    highest = float((valid.values[late] / beside).max())
    sentence = f"in the second half the validation loss stays below {highest:.0%} of the training loss"
    return Evidence(sentence, highest, LEAK_BELOW, int(valid.steps[late][0]), OURS)


def _ratio(value: float, base: float) -> float:
    """How many times ``base`` is ``value``; 1 for nothing beside nothing."""
    if base:
        return value / base
    return 1.0 if value == base else math.copysign(math.inf, value)
