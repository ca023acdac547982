"""The rules that read losses, in their order: the first one that has a verdict decides.

T is the smoothed training loss and V the validation loss. Each threshold is a named constant with its source,
and a difference counts only beyond its own noise. What a rule says stands in ``diagnosis``.
"""

import math
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np

from workbench.training.curve import REWARD, REWARDS
from workbench.training.trends import CLEAR, FEWEST_VALIDATIONS, LATE, Trend, Trends, ratio

AZURE_SKILLS = "Microsoft, azure-skills, training curves (Aug 2026)"
OURS = "a proposal of ours"
PRECHELT = "Prechelt 1998, Early stopping - but when?"


class Evidence(NamedTuple):
    """One number that a rule read, the threshold it was held against, and who set that."""

    sentence: str
    value: float
    threshold: float | None
    step: int | None
    source: str = OURS

    @property
    def close(self) -> bool:
        """Whether the number is so near its threshold that another seed could turn it: within a tenth."""
        return self.threshold is not None and abs(self.value - self.threshold) <= abs(self.threshold) / 10


class Ruling(NamedTuple):
    """The verdict that a rule came to, and on what evidence; the first of it decided."""

    verdict: str
    evidence: tuple[Evidence, ...]


Rule: TypeAlias = Callable[[Trends], Ruling | None]
Flag: TypeAlias = Callable[[Trends], Evidence | None]

# Of both kinds of curves.

FEWEST_STEPS = 10
FEWEST_POINTS = 5
"""Fewer steps, or fewer points than one smoothing window has, show no trend (ours)."""
LAST_PART = 0.25
FEW_VALIDATIONS = 5
"""With fewer validations a verdict is less sure, and a rise that was undone leaves no direction (ours)."""
DIRECTION = 0.01
"""A share of the loss by which validations go up and down without meaning anything (ours)."""


def insufficient_data(trends: Trends) -> Ruling | None:
    """Fewer than ten steps, or hardly a point."""
    if not _too_little(trends):
        return None
    evidence = Evidence(f"the curve has {trends.steps} steps", trends.steps, FEWEST_STEPS, trends.steps)
    if trends.steps >= FEWEST_STEPS:
        points = len(trends.train)
        evidence = Evidence(f"training was measured at {points} steps", points, FEWEST_POINTS, trends.steps)
    return Ruling("insufficient_data", (evidence,))


def no_validation(trends: Trends) -> Ruling | None:
    """Nothing to judge by: fewer than two validations."""
    count = len(trends.valid)
    if count >= FEWEST_VALIDATIONS:
        return None
    measure = "reward" if trends.valid.name in REWARDS else "loss"
    sentence = f"validation {measure} was measured {'once' if count else 'never'}"
    return Ruling("no_validation_cannot_judge", (Evidence(sentence, count, FEWEST_VALIDATIONS, None),))


def first_seen(verdict: str, trends: Trends, *looks: Flag) -> Ruling | None:
    """The verdict, on the evidence of the first that sees something."""
    found = next(filter(None, (look(trends) for look in looks)), None)
    return Ruling(verdict, (found,)) if found else None


def _too_little(trends: Trends) -> bool:
    return trends.steps < FEWEST_STEPS or len(trends.train) < FEWEST_POINTS


# Losses.

DIVERGED_RISE = 1.25
"""T at its end over T at its start (ours)."""
DIVERGED_REBOUND = 1.5
DIVERGED_TAIL = 0.10
"""The last tenth of T all above 1.5 times its lowest (ours)."""
BOTH_RISE = 0.1
"""V half above its lowest, and T a tenth above what it was then (ours)."""
NOT_RECOVERED = 0.9
"""After an explosion within the first steps, T ends at 0.9 of what it was before, or higher (ours)."""
REBOUND_FLOOR = 0.05
"""A T counts as at least 5 % of its start (ours): between two losses near 0, any ratio is noise."""
MEMORISED_LOSS = 0.01
MEMORISED_POINTS = 20
"""Of a preference job, which starts at ln 2 = 0.69: so many points in a row below this loss, as in a real
gpt-4.1-mini job of Jan 2026 (step 890 of 8,250) whose pairs were learnt by heart; the numbers are ours."""
NOTHING = 0.10
"""Nothing beside where it began: single hard rows may still cost something (ours)."""
CARRIED_FALL, CARRIED = 0.30, 0.02
EARLY_VALIDATION = 0.15
"""T fell by 30 % since a validation in the first 15 % of the steps, to 30 % below V, and V by less than 2 %
(ours)."""
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
UNDERFITTING, SURE = 0.10, 4.0
"""T and V both fell by less than a tenth, or than four standard errors where points scatter (ours)."""
STILL_FALLING = 0.02
NEAR_LOWEST = 0.005
"""V fell by 2 % over the last quarter, and ends within 0.5 % of its lowest (ours)."""


def diverged(trends: Trends) -> Ruling | None:
    """The loss ends above its start, or far above where it was."""
    train, raw = trends.train, trends.raw
    if _too_little(trends):
        return None
    if raw.explosion and raw.late > NOT_RECOVERED * raw.start:
        step, peak = int(raw.steps[raw.explosion]), float(raw.values[: raw.start_length].max())
        sentence = (
            f"the training loss exploded at step {step}, from {raw.start:.4g} to {peak:.4g}, and stays at "
            f"{raw.late:.4g}"
        )
        return Ruling("diverged", (Evidence(sentence, ratio(raw.late, raw.start), NOT_RECOVERED, step),))
    rise, late = ratio(train.end, raw.start), raw.change()
    error = raw.noise * math.hypot(train.luck()[-1], 1 / math.sqrt(raw.start_length))
    if rise > DIVERGED_RISE and (
        math.log(rise) > CLEAR * error or (1 + late[0] > DIVERGED_RISE and late[1] > CLEAR)
    ):
        sentence = f"the training loss ends at {train.end:.4g}, {rise:.3g} times its start"
        return Ruling("diverged", (Evidence(sentence, rise, DIVERGED_RISE, trends.steps),))
    luck = raw.noise * train.luck()
    place = int((train.values * np.exp(CLEAR * luck)).argmin())  # lowest by what is sure of it
    lowest = max(float(train.values[place]), REBOUND_FLOOR * raw.start)
    last = train.values[-math.ceil(DIVERGED_TAIL * len(train)) :]
    tail, beyond = ratio(float(last.min()), lowest), (CLEAR + 1) * math.hypot(luck[place], luck[-1])
    if tail > DIVERGED_REBOUND and math.log(ratio(float(last.mean()), lowest)) > beyond:
        step = int(train.steps[place])
        sentence = f"after its low at step {step} the training loss stays above {tail:.3g} times that"
        return Ruling("diverged", (Evidence(sentence, tail, DIVERGED_REBOUND, step),))
    return None


def pairs_memorised(trends: Trends) -> Ruling | None:
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
    return Ruling("memorised", (Evidence(sentence, count, MEMORISED_POINTS, step),))


def memorised(trends: Trends) -> Ruling | None:
    """The training loss is at zero and nobody validated, or validation does not follow it down."""
    zero, valid = training_loss_at_zero(trends), trends.valid
    if zero and len(valid) < FEWEST_VALIDATIONS:
        return Ruling("memorised", (zero,))
    if len(valid) < FEW_VALIDATIONS or trends.batches or valid.steps[0] > EARLY_VALIDATION * trends.steps:
        return None
    since, fall = trends.train.at(valid.steps[0]), ratio(valid.first - valid.end, valid.first)
    late = trends.raw.late
    fell = ratio(since - late, since)
    apart = min(since, valid.end) * (1 - CARRIED_FALL)
    if not (abs(fall) < CARRIED and late <= apart and -trends.raw.change()[1] > CLEAR):
        return None
    sentence = (
        f"the training loss fell by {fell:.0%} since step {valid.steps[0]:.0f}, validation by {fall:.1%}"
    )
    return Ruling("memorised", (Evidence(sentence, fall, CARRIED, trends.steps),))


def no_direction(trends: Trends) -> Ruling | None:
    """A few validations that rise and fall again by more than they changed in all."""
    valid = trends.valid
    if len(valid) >= FEW_VALIDATIONS:
        return None
    rises = [
        min(float(value - valid.values[: place + 1].min()), float(value - valid.values[place:].min()))
        for place, value in enumerate(valid.values)
    ]
    undone = ratio(max(rises), float(valid.values.mean()))
    whole = ratio(abs(valid.end - valid.first), float(valid.values.mean()))
    if not (undone > DIRECTION and undone > whole):
        return None
    sentence = (
        f"{len(valid)} validations show no direction: they rise by {undone:.1%} and fall again, "
        f"and the last is {whole:.1%} from the first"
    )
    return Ruling("insufficient_data", (Evidence(sentence, undone, None, trends.steps),))


def leakage_suspected(trends: Trends) -> Ruling | None:
    """Validation gets as good as only rows can that were trained on; a suspicion, no proof."""
    return first_seen("leakage_suspected", trends, _falls_as_memorised, _falls_in_stairs, _stays_below)


def overfitting(trends: Trends) -> Ruling | None:
    """Validation gets worse while training goes on getting better, and the task, if measured, does not."""
    train, valid = trends.train, trends.valid
    errors = valid.scatter * valid.luck()
    # Among noisy values the lowest is so by luck: the one that is lowest by what is sure of it.
    lowest = int((valid.values + CLEAR * errors).argmin())
    best, loss = float(valid.steps[lowest]), ratio(valid.end, float(valid.values[lowest])) - 1
    beyond = valid.end - valid.values[lowest] > CLEAR * math.hypot(errors[lowest], errors[-1])
    if not loss >= OVERFITTING_MILD or lowest == len(valid) - 1:
        return None
    if not (beyond or _rises_steadily(valid, lowest)):
        sentence = f"the validation loss ends {loss:.0%} above its lowest, within its noise"
        unsure = Ruling("cannot_tell", (Evidence(sentence, loss, OVERFITTING_SEVERE, int(best)),))
        return unsure if loss >= OVERFITTING_SEVERE else None
    other = task_disagrees(trends)
    severe = loss >= OVERFITTING_SEVERE and other is None
    sentence = f"the validation loss ends {loss:.1%} above its lowest, {valid.values[lowest]:.4g} at step "
    threshold, source = (OVERFITTING_SEVERE, AZURE_SKILLS) if severe else (OVERFITTING_MILD, PRECHELT)
    rise = Evidence(f"{sentence}{best:.0f}", loss, threshold, int(best), source)
    falls = train.at(best) - train.end
    said = "fell" if falls > 0 else "did not fall"
    sentence = f"the training loss {said} since then, to {train.end:.4g}"
    direction = Evidence(sentence, falls, None, trends.steps)
    if not falls > 0:
        both = loss > DIVERGED_REBOUND - 1 and -falls > BOTH_RISE * train.at(best)
        return Ruling("diverged" if both else "cannot_tell", (rise, direction))
    return Ruling("overfitting_severe" if severe else "overfitting_mild", (rise, direction))


def underfitting(trends: Trends) -> Ruling | None:
    """Neither loss has moved by more than a tenth, or than its noise."""
    falls = {"training": _training_fall(trends), "validation": _validation_fall(trends)}
    if any(fall >= UNDERFITTING and clear for fall, clear in falls.values()):
        return None
    evidence = []
    for name, (fall, _) in sorted(falls.items(), key=lambda item: -item[1][0]):
        sentence = f"the {name} loss fell by {fall:.1%}{', within its noise' * (fall >= UNDERFITTING)}"
        evidence.append(Evidence(sentence, fall, UNDERFITTING, trends.steps))
    return Ruling("underfitting", tuple(evidence))


def within_noise(trends: Trends) -> Ruling | None:
    """Training got better, and validation on single batches moved by no more than their luck."""
    if trends.batches is None or not trends.batches.noise or _validation_fall(trends)[1]:
        return None
    share, noise = abs(trends.batches.change()[0]), trends.batches.noise
    sentence = (
        f"the validation loss of single batches moved by {share:.0%}, within its noise "
        f"({noise:.0%} from batch to batch)"
    )
    return Ruling("cannot_tell", (Evidence(sentence, share, None, trends.steps),))


def still_improving(trends: Trends) -> Ruling | None:
    """Validation was still falling when the run ended."""
    valid = trends.valid
    since = (1 - LAST_PART) * trends.steps
    fall = 1 - ratio(valid.end, valid.at(since))
    if not fall >= STILL_FALLING or not valid.end <= (1 + NEAR_LOWEST) * float(valid.values.min()):
        return None
    sentence = f"the validation loss fell by {fall:.1%} over the last quarter, to {valid.end:.4g}"
    return Ruling("still_improving", (Evidence(sentence, fall, STILL_FALLING, trends.steps),))


def healthy(trends: Trends) -> Ruling | None:
    """Something was learnt, and validation ends near its lowest."""
    valid = trends.valid
    loss = ratio(valid.end, float(valid.values.min())) - 1
    fall = _training_fall(trends)[0]
    if not (math.isfinite(loss) and math.isfinite(fall)):
        return None
    step = int(valid.steps[valid.lowest])
    near = f"the validation loss ends {loss:.1%} above its lowest, {valid.values.min():.4g} at step {step}"
    fell = Evidence(f"the training loss fell by {fall:.1%}", fall, UNDERFITTING, trends.steps)
    return Ruling("healthy", (Evidence(near, loss, OVERFITTING_MILD, step, PRECHELT), fell))


LOSS_RULES: tuple[Rule, ...] = (
    diverged,
    insufficient_data,
    memorised,
    no_validation,
    leakage_suspected,
    no_direction,
    overfitting,
    underfitting,
    within_noise,
    still_improving,
    healthy,
)
PREFERENCE_RULES: tuple[Rule, ...] = (*LOSS_RULES[:2], pairs_memorised, *LOSS_RULES[3:])
"""Memorised pairs show in the training loss alone, as every preference job starts at ln 2."""


def _training_fall(trends: Trends) -> tuple[float, bool]:
    """By what share the training loss fell, and whether that is beyond its noise."""
    return 1 - ratio(trends.train.end, trends.raw.start), -trends.raw.change()[1] > SURE


def _validation_fall(trends: Trends) -> tuple[float, bool]:
    """By what share the validation loss fell, and whether that is beyond its noise."""
    if trends.batches is not None:
        share, errors = trends.batches.change()
        return -share, -errors > SURE
    valid, luck = trends.valid, trends.valid.luck()
    beyond = CLEAR * valid.scatter * math.hypot(luck[0], luck[-1])
    return 1 - ratio(valid.end, valid.first), valid.first - valid.end > beyond


def _rises_steadily(valid: Trend, lowest: int) -> bool:
    """Whether a whole set's losses only rise since their lowest, twice or more: a rise has no luck."""
    rises = np.diff(valid.values[lowest:])
    return valid.name != "valid_loss" and len(rises) > 1 and bool((rises > 0).all())


def _falls_as_memorised(trends: Trends) -> Evidence | None:
    """After 2.5 epochs T is at most 0.6 of what it was after the first, and V is no higher than T."""
    if trends.epochs is None or trends.steps_per_epoch is None or not trends.epochs >= LEAK_EPOCHS:
        return None
    after_one = trends.train.at(trends.steps_per_epoch)
    train, valid = trends.train.end, trends.valid.end
    if not (train <= LEAK_FALL * after_one and valid <= LEAK_GAP * train):
        return None
    sentence = (
        f"after {trends.epochs:.3g} epochs the training loss is {ratio(train, after_one):.0%} of what it "
        f"was after the first, and the validation loss is as low: {valid:.4g} beside {train:.4g}"
    )
    return Evidence(sentence, ratio(valid, train), LEAK_GAP, trends.steps)


def _falls_in_stairs(trends: Trends) -> Evidence | None:
    """T falls where epochs end, and V has gone down with it."""
    stair = epoch_boundary_drop(trends)
    train, valid = trends.train.end, trends.valid
    if stair is None or not (valid.end <= LEAK_GAP * train and valid.end < LEAK_IMPROVED * valid.first):
        return None
    sentence = f"{stair.sentence}, and the validation loss is as low: {valid.end:.4g} beside {train:.4g}"
    return Evidence(sentence, ratio(valid.end, train), LEAK_GAP, stair.step)


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
    return Evidence(sentence, highest, LEAK_BELOW, int(valid.steps[late][0]))


# Flags: what is worth knowing about a curve whatever its verdict is. None of them decides anything: batch
# difficulty and dropout move these numbers in healthy runs too.

NOISE = 0.35
"""Deviation of the residuals around the smoothed loss, as a share of its median (ours)."""
MAD_TO_DEVIATION = 1.4826  # for normal residuals: 1 over the normal quantile of 0.75
LARGE_GAP = 1.5
"""Validation over training loss: 1.2 mild, 1.5 moderate, 2.0 severe in azure-skills; only a flag here."""
BOUNDARY_DROP = 0.10
BOUNDARY_Z = 4.0
"""A stair: a fall of a tenth where an epoch ends, four standard errors of the lines on both sides (ours)."""
MOST_EPOCHS = 50  # Azure's upper limit of n_epochs


def noisy(trends: Trends) -> Evidence | None:
    """Whether the training loss jumps about its trend, by more than nothing beside where it began."""
    if not len(trends.train):
        return None
    residuals = trends.raw.values - trends.train.values
    residuals -= np.median(residuals)  # in place: a curve may have ten million points
    spread = MAD_TO_DEVIATION * float(np.median(np.abs(residuals, out=residuals), overwrite_input=True))
    median = float(np.median(trends.train.values))
    if not spread > NOISE * median or median < REBOUND_FLOOR * trends.raw.start:
        return None
    share = ratio(spread, median)
    return Evidence(f"the training loss scatters by {share:.0%} of its median", share, NOISE, None)


def training_loss_at_zero(trends: Trends) -> Evidence | None:
    """Whether most of the last quarter's training losses are nothing."""
    raw = trends.raw
    late = raw.values[-math.ceil(LATE * len(raw)) :]
    if _too_little(trends) or not (
        np.median(late) < MEMORISED_LOSS and raw.late < NOTHING * max(raw.start, raw.first)
    ):
        return None
    median = float(np.median(late))
    sentence = f"half of the last quarter's training losses are {median:.2g} or less"
    return Evidence(sentence, median, MEMORISED_LOSS, trends.steps)


def summed_loss(trends: Trends) -> Evidence | None:
    """Whether the training loss is a multiple of the validation loss from the first on."""
    if trends.accumulated == 1:
        return None
    sentence = f"the training loss is {trends.accumulated} times the validation loss from the first on"
    return Evidence(f"{sentence}; here it is divided by that", trends.accumulated, None, None)


def task_disagrees(trends: Trends) -> Evidence | None:
    """Whether the task was measured best after the validation loss was, and has not got worse since."""
    task, valid = trends.task, trends.valid
    if task is None or not len(valid) or valid.lowest == len(valid) - 1:
        return None
    at_lowest, spread = task.at(valid.steps[valid.lowest]), task.scatter
    step, best = int(task.steps[task.highest]), float(task.values.max())
    gain = best - at_lowest
    if step <= valid.steps[valid.lowest] or not gain > spread or best - task.end > gain:
        return None
    name = "the held-out score" if task.name == REWARD else task.name
    sentence = (
        f"{name} was best at step {step} ({abs(best):.4g}), the validation loss at step "
        f"{valid.steps[valid.lowest]:.0f} ({name} {abs(at_lowest):.4g})"
    )
    return Evidence(sentence, gain, None, step, "InstructGPT, arXiv 2203.02155")


def large_gap(trends: Trends) -> Evidence | None:
    """Whether validation is much harder than training at the end, by more than losses near 0 tell."""
    if not len(trends.train) or not len(trends.valid):
        return None
    train, valid = trends.train.end, trends.valid.end
    if not valid > LARGE_GAP * max(train, REBOUND_FLOOR * trends.raw.start):
        return None
    times = ratio(valid, train)
    sentence = f"at the end the validation loss is {times:.3g} times the training loss"
    return Evidence(sentence, times, LARGE_GAP, trends.steps, AZURE_SKILLS)


def epoch_boundary_drop(trends: Trends) -> Evidence | None:
    """The deepest stair: a fall between an epoch's last steps and the next one's first, beyond any slope."""
    if trends.steps_per_epoch is None or not len(trends.raw):
        return None
    length = trends.steps_per_epoch
    deepest: Evidence | None = None
    for epoch in range(1, math.ceil(min(trends.steps / length, MOST_EPOCHS))):
        drop, z = trends.raw.fall_at(epoch * length, length / 2)
        if drop >= BOUNDARY_DROP and z >= BOUNDARY_Z and (deepest is None or drop > deepest.value):
            sentence = f"the training loss falls by {drop:.0%} where epoch {epoch} ends"
            step = round(epoch * length)
            deepest = Evidence(sentence, drop, BOUNDARY_DROP, step, "fast.ai 2023-09-04; the threshold: ours")
    return deepest


LOSS_FLAGS: tuple[Flag, ...] = (
    noisy,
    training_loss_at_zero,
    summed_loss,
    task_disagrees,
    large_gap,
    epoch_boundary_drop,
)
