"""Which checkpoint to use, and when to stop: by the task's score, else by loss on the validation set."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from workbench.catalog.limits import of_provider
from workbench.display import table
from workbench.errors import DataError
from workbench.training.curve import REWARD, Curve
from workbench.training.loss_rules import task_disagrees
from workbench.training.reward_rules import IN_ORDER, pairs_in_order
from workbench.training.trends import (
    FEWEST_FOR_NOISE,
    FEWEST_SMOOTHED,
    FEWEST_VALIDATIONS,
    Numbers,
    Trend,
    epoch_length,
    full_losses,
    loss_trends,
    reward_trends,
    scatter,
    task_trends,
    trend,
)

if TYPE_CHECKING:
    from openai.types.fine_tuning.jobs import FineTuningJobCheckpoint

# Which checkpoint to use: by the task's score, else by the loss on the whole validation set.
#
# Never by the training loss, which is lowest for the model that memorised most. Loss is not the goal
# either: InstructGPT's models got better for people while they overfitted on validation loss (Ouyang et
# al. 2022, arXiv 2203.02155). Choose on one set and report on another: the best of five checkpoints looks
# 1.16 standard errors better than it is.

TASK, LOSS = "task score", "full_valid_loss"
MEASURES = {REWARD: "score of held-out answers", LOSS: "validation loss"}
"""What a person reads for a column."""
_KEPT = {True: "yes", False: "no", None: "not known"}


@dataclass(frozen=True)
class Measured:
    """What was measured at a checkpoint, and whether it still exists; ``model`` where its name is known."""

    step: int
    value: float
    standard_error: float | None
    """``None`` where nobody knows: of how many items a score is the mean, or how far values scatter."""
    kept: bool | None
    """``None`` where nobody knows: a Trainer's log does not tell what it saved."""
    model: str | None = None


@dataclass(frozen=True, repr=False)
class CheckpointChoice:
    """The checkpoint to use, and the one to wish for had all been kept."""

    measure: str | None
    """``TASK``, the reward column, a task measure such as ``wer``, ``LOSS``, or ``None`` without any."""
    checkpoints: tuple[Measured, ...]
    sign: int = 1
    """-1 where lower is better."""

    @property
    def wanted(self) -> Measured | None:
        """The earliest within one standard error of the best, whether it still exists or not."""
        return self._earliest_near_the_best(self.checkpoints)

    @property
    def chosen(self) -> Measured | None:
        """The earliest within one standard error of the best that still exists, as far as one knows."""
        return self._earliest_near_the_best([each for each in self.checkpoints if each.kept is not False])

    @property
    def sentence(self) -> str:
        """The advice in a sentence."""
        if self.wanted is None:
            return (
                "It cannot be said: neither the task nor the whole validation set was measured, and the "
                "training loss chooses the model that memorised most. Score each checkpoint on held-out rows."
            )
        measure = MEASURES.get(self.measure or "", self.measure)
        near = f"within one standard error of the best {measure}"
        if self.wanted.standard_error is None:
            near = f"with the best {measure} (how far chance reaches is not known)"
        if self.chosen is None:
            return (
                f"Step {self.wanted.step} is the earliest {near}; list the checkpoints to see if it exists."
            )
        use = f"Use step {self.chosen.step}, {measure} {self.chosen.value:.4g}: the earliest {near}"
        if self.chosen.step == self.wanted.step:
            return f"{use}." if self.chosen.kept else f"{use}, if it was saved."
        return (
            f"{use} that still exists. Step {self.wanted.step} would be it, but is gone: train fewer epochs."
        )

    @property
    def facts(self) -> dict[str, object]:
        """The choice as plain JSON."""
        return {
            "measure": self.measure,
            "chosen": self.chosen and self.chosen.step,
            "model": self.chosen and self.chosen.model,
            "wanted": self.wanted and self.wanted.step,
            "sentence": self.sentence,
            "checkpoints": [vars(each) for each in self.checkpoints],
        }

    def __repr__(self) -> str:
        """The advice."""
        return self.sentence

    def _repr_html_(self) -> str:
        rows = [
            (
                str(each.step),
                f"{each.value:.4g}",
                "not known" if each.standard_error is None else f"{each.standard_error:.2g}",
                _KEPT[each.kept],
            )
            for each in self.checkpoints
        ]
        measure = MEASURES.get(self.measure or "", self.measure or "measure")
        columns = ("step", measure, "standard error", "still exists")
        return table(self.sentence, columns, rows)

    def _earliest_near_the_best(self, checkpoints: Sequence[Measured]) -> Measured | None:
        """The one-standard-error rule (Breiman et al. 1984, Classification and Regression Trees, 3.4.3)."""
        if not checkpoints:
            return None
        best = max(checkpoints, key=lambda each: self.sign * each.value)
        bar = self.sign * best.value - (best.standard_error or 0.0)
        return next(each for each in checkpoints if self.sign * each.value >= bar)


def choose_checkpoint(
    curve: Curve,
    checkpoints: Iterable["FineTuningJobCheckpoint"] = (),
    *,
    scores: Mapping[int, Sequence[float]] | None = None,
    n_items: int | None = None,
    n_epochs: float | None = None,
) -> CheckpointChoice:
    """Choose a checkpoint by ``scores``, else by the task as measured in the curve, else by validation loss.

    ``scores`` are a selection set's, item by item, for each step. ``n_items`` is
    how many items a score in the curve is the mean of. Which checkpoints still
    exist is read from the service's list; without it, from its rule and the
    length of an epoch (see ``trends.epoch_length``); a Trainer's log tells none of it.
    """
    models = {each.step_number: each for each in checkpoints}
    names = {step: each.fine_tuned_model_checkpoint for step, each in models.items()}
    found: dict[int, tuple[float, float | None]]
    if scores:
        found = {step: _mean_and_error(step, items) for step, items in sorted(scores.items())}
        kept: set[int] | None = set(models or found)
        measure: str | None = TASK
        sign = 1
    else:
        measure, sign, values = _measured(curve, models)
        length = _epoch(models) or epoch_length(curve, n_epochs)
        of_trainer = not models and len(curve.measured("epoch")) > 0
        # A service keeps checkpoints at the ends of epochs, a Trainer wherever it was set to.
        if not of_trainer:
            values = {step: value for step, value in values.items() if step in models or _ends(step, length)}
        errors = _errors(list(values.values()), n_items if measure in curve.task_measures else None)
        found = {step: (value, error) for (step, value), error in zip(values.items(), errors, strict=True)}
        kept = None if of_trainer else set(models) or _still_there(curve, values, length)
    return CheckpointChoice(
        measure if found else None,
        tuple(
            Measured(step, value, error, None if kept is None else step in kept, names.get(step))
            for step, (value, error) in found.items()
        ),
        sign,
    )


def _measured(
    curve: Curve, models: Mapping[int, "FineTuningJobCheckpoint"]
) -> tuple[str | None, int, dict[int, float]]:
    """The best measure there is, its sign (-1: lower is better), and its values by step.

    From the curve, and from the checkpoints' own metrics; on several evaluation sets it is their mean.
    """
    signs = {name: sign for name, (sign, _) in curve.task_measures.items()}
    kept = [checkpoint.metrics.model_dump() for checkpoint in models.values()]
    if REWARD not in signs and any(metrics.get(REWARD) is not None for metrics in kept):
        signs = {REWARD: 1} | signs
    task = {series.name: series for series in task_trends(curve)}
    for name, sign in (signs | {LOSS: -1}).items():
        series = full_losses(curve) if name == LOSS else task.get(name, trend(curve, name))
        numbers = (abs(sign) if name == LOSS else sign) * series.values
        values = dict(zip(series.steps.astype(int).tolist(), numbers.tolist(), strict=True))
        for step, metrics in zip(models, kept, strict=True):
            value = metrics.get(name)
            if isinstance(value, int | float) and math.isfinite(value):
                values.setdefault(step, float(value))
        if name != LOSS and len(set(values.values())) == 1 and len(values) > 1:
            continue  # the same at each of them, mostly 0: it tells none from another
        if len(values) > 1 or set(values) & set(models):
            return series.name, sign, dict(sorted(values.items()))
    return None, 1, {}


def _mean_and_error(step: int, items: Sequence[float]) -> tuple[float, float]:
    if len(items) < 2:
        raise DataError(f"scores[{step}] holds {len(items)} items; a standard error needs at least two.")
    values = np.asarray(items, dtype=np.float64)
    return float(values.mean()), float(values.std(ddof=1)) / math.sqrt(len(values))


def _errors(values: list[float], n_items: int | None) -> Sequence[float | None]:
    """Standard errors: of shares of ``n_items``; else the scatter around the neighbours, of five or more.

    All of the items right, or none, does not make a share certain: then two successes and two failures are
    added to them (Agresti and Coull 1998, The American Statistician 52:119).
    """
    if n_items and all(0 <= value <= 1 for value in values):
        shares = [
            (value, n_items) if 0 < value < 1 else ((value * n_items + 2) / (n_items + 4), n_items + 4)
            for value in values
        ]
        return [math.sqrt(share * (1 - share) / items) for share, items in shares]
    return [None if len(values) < FEWEST_FOR_NOISE else scatter(np.asarray(values))] * len(values)


def _epoch(models: Mapping[int, object]) -> float | None:
    steps = sorted(models)
    return None if len(steps) < 2 else (steps[-1] - steps[0]) / (len(steps) - 1)


def _ends(step: int, length: float | None) -> bool:
    """Whether an epoch ends at this step; its last batch is rarely full, which may take a step more."""
    return not length or length < 1 or min(step % length, -step % length) < 1


def _still_there(curve: Curve, values: Mapping[int, float], length: float | None) -> set[int]:
    # Azure's and OpenAI's rule: those of the last epochs, in reinforcement those of the highest rewards.
    most = of_provider("azure").checkpoints_kept
    if most is None:
        return set(values)
    if curve.method == "rft":
        return set(sorted(values, key=lambda step: -values[step])[:most])
    return {step for step in values if length and step > curve.steps - most * length + 0.5}


# Should this job be stopped? Early stopping by Prechelt's criteria and by patience, as advice.
#
# Source: L. Prechelt, "Early Stopping - But When?", in Neural Networks: Tricks of the Trade, Springer
# 1998. E(t) is the validation loss at evaluation t. Nothing is paused or cancelled here: whoever asked
# decides, and a paused job keeps its checkpoint.

PATIENCE = 3
"""Evaluations without an improvement; Azure keeps the checkpoints of the last three epochs."""
ALPHA = 5.0
"""Percent of generalisation loss: GL with alpha 5, one of Prechelt's own (1 to 5)."""
QUOTIENT = 3.0
"""PQ with alpha 3, the slowest of Prechelt's own (0.5 to 3)."""
STRIP = 5
"""Training points (Prechelt: epochs) in one strip, over which the progress is measured."""
SUCCESSIVE = 3
"""UP with s = 3, in the middle of Prechelt's own (2 to 4)."""


@dataclass(frozen=True)
class Criterion:
    """One rule's number at the last evaluation, its limit, and the first step at which it said stop."""

    name: str
    value: float
    limit: float
    step: int | None

    @property
    def stop(self) -> bool:
        """Whether it says stop now."""
        return self.value >= self.limit


@dataclass(frozen=True, repr=False)
class Stopping:
    """Advice for a job that runs: whether to stop it, which step was best, and each criterion's word."""

    measure: str
    stop: bool | None
    """``None`` where there is too little validation to tell: single batches, too few to be smoothed."""
    best_step: int | None
    criteria: tuple[Criterion, ...]

    @property
    def sentence(self) -> str:
        """The advice in a sentence."""
        if self.stop is None:
            return "It cannot be said whether to stop: validate more often."
        if not self.stop:
            return f"Go on: nothing that decides says stop; {self.measure} was best at step {self.best_step}."
        said = " and ".join(each.name for each in self.criteria[:2] if each.stop)
        return (
            f"Stop: {said} says so; {self.measure} was best at step {self.best_step}. Pausing keeps a "
            "checkpoint and can be undone; cancelling cannot."
        )

    @property
    def facts(self) -> dict[str, object]:
        """The advice as plain JSON."""
        return {
            "stop": self.stop,
            "sentence": self.sentence,
            "measure": self.measure,
            "best_step": self.best_step,
            "criteria": [
                vars(each) | {"value": each.value if math.isfinite(each.value) else None}
                for each in self.criteria
            ],
        }

    def __repr__(self) -> str:
        """The advice."""
        return self.sentence

    def _repr_html_(self) -> str:
        rows = [
            (each.name, f"{each.value:.4g}", f"{each.limit:.4g}", "" if each.step is None else str(each.step))
            for each in self.criteria
        ]
        return table(self.sentence, ("criterion", "now", "stops at", "first said stop at step"), rows)


def advise_stopping(
    curve: Curve, *, method: str | None = None, patience: int = PATIENCE, min_delta: float = 0.0
) -> Stopping:
    """Advise whether to stop a job that runs, by its validation loss, or its reward in reinforcement.

    Where the task was measured beside the loss and went on getting better, the task decides; and so do
    validation pairs of a preference job once all of them are in the right order.

    Stop when ``patience`` evaluations in a row were no better than the best
    before by more than ``min_delta`` (in the measure's own unit), or when the
    loss is 5 % above its lowest. The progress quotient and the successive rises
    are shown beside them and decide nothing.
    """
    if patience < 1 or not min_delta >= 0:
        raise DataError(f"patience is {patience} and min_delta {min_delta}; give at least 1 and 0.")
    with np.errstate(all="ignore"):  # ratios to a loss of 0
        if (method or curve.method) == "rft":
            return _by_reward(reward_trends(curve).valid, patience, min_delta)
        if (method or curve.method) == "dpo" and (enough := pairs_in_order(curve)):
            all_right = Criterion("the share of pairs in the right order", 1.0, 1.0, enough.step)
            return Stopping(IN_ORDER, True, enough.step, (all_right,))
        trends = loss_trends(curve)
        valid, train = trends.valid, trends.raw
        if trends.task and task_disagrees(trends):
            return _by_reward(trends.task, patience, min_delta)
        if len(valid) < (FEWEST_SMOOTHED if valid.name == "valid_loss" else FEWEST_VALIDATIONS):
            return Stopping(valid.name, None, None, ())
        waits = evaluations_without_improvement(valid.values, min_delta)
        criteria = [
            _criterion("patience", waits, patience, valid),
            _criterion("generalisation loss (%)", generalisation_loss(valid.values), ALPHA, valid),
            _criterion("successive rises", successive_rises(valid.values, 1), SUCCESSIVE, valid),
        ]
        if len(train) >= STRIP:
            criteria.append(_criterion("progress quotient", _quotients(train, valid), QUOTIENT, valid))
    return _advice(valid, valid.lowest, tuple(criteria))


def evaluations_without_improvement(losses: Numbers, min_delta: float = 0.0) -> Numbers:
    """How many evaluations in a row, up to each, were not below the best by more than ``min_delta``."""
    best, waits = math.inf, np.zeros(len(losses))
    for place, loss in enumerate(losses):
        if loss < best - min_delta:
            best = loss
        else:
            waits[place] = waits[place - 1] + 1
    return waits


def generalisation_loss(losses: Numbers) -> Numbers:
    """GL(t) = 100 (E(t) / E_opt(t) - 1), where E_opt is the lowest loss so far; in percent."""
    best = np.minimum.accumulate(losses)
    return np.asarray(100 * (np.divide(losses, best, out=np.ones_like(losses), where=losses != best) - 1))


def training_progress(losses: Numbers, strip: int = STRIP) -> Numbers:
    """P_k(t) = 1000 (mean / lowest of the last k training losses - 1); NaN before there are k of them."""
    strips = np.lib.stride_tricks.sliding_window_view(losses, strip)
    progress = 1000 * (strips.mean(axis=1) / strips.min(axis=1) - 1)
    return np.concatenate([np.full(strip - 1, math.nan), progress])


def progress_quotient(generalisation: Numbers, progress: Numbers) -> Numbers:
    """PQ(t) = GL(t) / P_k(t): how fast validation gets worse, measured by how fast training gets better."""
    return np.asarray(generalisation / progress)


def successive_rises(losses: Numbers, strip: int) -> Numbers:
    """How many strips of ``strip`` evaluations in a row have ended above the one before: the s of UP_s."""
    rises = np.zeros(len(losses))
    for place in range(strip, len(losses)):
        if losses[place] > losses[place - strip]:
            rises[place] = rises[place - strip] + 1
    return rises


def _quotients(train: Trend, valid: Trend) -> Numbers:
    """PQ at each evaluation, with the training progress that was made by then; 0 before there is any."""
    places = np.searchsorted(train.steps, valid.steps, side="right") - 1
    progress = np.where(places >= 0, training_progress(train.values)[places], math.nan)
    quotients = progress_quotient(generalisation_loss(valid.values), progress)
    return np.asarray(np.where(np.isnan(quotients), 0.0, quotients))


def _by_reward(reward: Trend, patience: int, min_delta: float) -> Stopping:
    if len(reward) < FEWEST_VALIDATIONS:
        return Stopping(reward.name, None, None, ())
    waits = evaluations_without_improvement(-reward.values, min_delta)
    return _advice(reward, reward.highest, (_criterion("patience", waits, patience, reward),))


def _criterion(name: str, values: Numbers, limit: float, valid: Trend) -> Criterion:
    over = np.flatnonzero(values >= limit)
    step = int(valid.steps[over[0]]) if len(over) else None
    return Criterion(name, float(values[-1]), limit, step)


def _advice(valid: Trend, best: int, criteria: tuple[Criterion, ...]) -> Stopping:
    """Patience and the generalisation loss decide."""
    return Stopping(valid.name, any(each.stop for each in criteria[:2]), int(valid.steps[best]), criteria)
