"""The training curve of a job: what was measured at which step, under one set of names, raw and smoothed."""

import html
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from workbench.catalog.methods import PREFERENCE_MEASURES, REWARD_COLUMN
from workbench.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from openai.types.fine_tuning import FineTuningJob

    Numbers = NDArray[np.float64]

# The training curve of a job: what was measured at which step, under one set of names.
#
# A curve is pure numbers and invents none. How it is read from a result file or
# from events is ``results``' business; whether it looks healthy is judged elsewhere.

# Columns that every dialect is brought to; others keep their own names. A loss is the mean over trained
# tokens; "full" is the whole validation set, which stands at ends of epochs.
LOSSES = ("train_loss", "valid_loss", "full_valid_loss")
ACCURACIES = ("train_mean_token_accuracy", "valid_mean_token_accuracy", "full_valid_mean_token_accuracy")
SEQUENCES = ("train_sequence_accuracy", "valid_sequence_accuracy")  # wholly right answers of a batch
REWARD = REWARD_COLUMN
REWARDS = ("train_mean_reward", REWARD)
PREFERENCES = PREFERENCE_MEASURES
FULL_PREFERENCES = tuple(f"full_valid_{name}" for name in PREFERENCES)
LENGTHS = ("completion_tokens_mean", "reasoning_tokens_mean", "valid_reasoning_tokens_mean")
AXES = ("epoch", "tokens")  # besides the step, where they were logged

_MOST_KEPT = 100_000  # rows; of a longer curve no second copy is held
_SHARES = (REWARD, "rewards/accuracies", "full_valid_rewards/accuracies")
_SET_LOSS = re.compile(r"eval_(.+)_loss")  # as a Trainer names the loss on one of several evaluation sets
# What a Trainer's log may measure on the task, the first of them first; -1: lower is better.
TASK_MEASURES: Mapping[str, int] = {
    **dict.fromkeys(("exact_match", "em", "accuracy", "acc", "f1", "score", "pass@1", "reward"), 1),
    **dict.fromkeys(("wer", "cer", "ter", "mer"), -1),
    **dict.fromkeys(("bleu", "sacrebleu", "rougeLsum", "rougeL", "rouge1", "rouge2", "chrf", "meteor"), 1),
    **dict.fromkeys(("matthews_correlation", "mcc", "roc_auc", "auroc", "auprc", "auc"), 1),
    **dict.fromkeys(("spearmanr", "spearman", "pearson", "ndcg", "map", "iou", "precision", "recall"), 1),
    **dict.fromkeys(("mae", "mse", "rmse", "error_rate", "edit_distance"), -1),
}
_NAMES = "|".join(map(re.escape, TASK_MEASURES))
_TASK = re.compile(rf"(?:eval_(?:.+_)?|classification/)({_NAMES})(?:_macro|_micro|_weighted)?")


def is_loss(name: str) -> bool:
    """Whether a column holds a loss: one of ``LOSSES``, or that on one of several evaluation sets."""
    return name in LOSSES or _SET_LOSS.fullmatch(name) is not None


@dataclass(frozen=True, eq=False)
class Curve:
    """What was measured at each step of a job.

    ``frame`` is indexed by ``step``, rising and without repeats; NaN stands where nothing was measured.
    ``notes`` tell what was put right when it was read, a sentence each. ``undefined`` marks, for a loss,
    the rows where NaN itself was reported: there was a measurement, and its result was no number.
    """

    frame: pd.DataFrame
    notes: tuple[str, ...] = ()
    undefined: "Mapping[str, NDArray[np.bool]]" = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """The last step seen; 0 before the first."""
        return int(self.frame.index[-1]) if len(self.frame) else 0

    @property
    def final(self) -> dict[str, float]:
        """The last finite value of each metric that has one."""
        measured = ((name, self.measured(name)) for name in self.frame.columns)
        return {name: float(values.iloc[-1]) for name, values in measured if len(values)}

    @property
    def best_full_valid_step(self) -> int | None:
        """The step with the lowest full validation loss, the first of equals."""
        values = self.measured("full_valid_loss")
        return int(values.index[int(values.argmin())]) if len(values) else None

    @property
    def method(self) -> str | None:
        """``sft``, ``dpo`` or ``rft``, by the columns; ``None`` where they do not tell (losses alone).

        A reward on held-out data alone tells nothing: a supervised job may be examined too.
        """
        has = {name for name in self.frame.columns if len(self.measured(name))}
        if "train_mean_reward" in has or (REWARD in has and not has.intersection(LOSSES)):
            return "rft"
        if has.intersection(PREFERENCES + FULL_PREFERENCES):
            return "dpo"
        return "sft" if has.intersection(ACCURACIES) else None

    @property
    def evaluation_sets(self) -> dict[str, str]:
        """The columns of the losses on several evaluation sets, by the sets' names; else none.

        ``eval_a_loss`` may also be a part of the loss on the one set there is: where that stands beside it,
        the set's own seconds (``eval_a_runtime``) must as well.
        """
        found = {match[1]: name for name in self.frame.columns if (match := _SET_LOSS.fullmatch(name))}
        alone = self.measured("full_valid_loss").empty
        return {
            name: column
            for name, column in found.items()
            if len(self.measured(column)) and (alone or f"eval_{name}_runtime" in self.frame.columns)
        }

    @property
    def task_measures(self) -> dict[str, tuple[int, list[str]]]:
        """What was measured on the task, best first: its sign (-1: lower is better), and a column a set."""
        found: dict[str, list[str]] = {REWARD: [REWARD]} if len(self.measured(REWARD)) else {}
        for name in self.frame.columns:
            if (match := _TASK.fullmatch(name)) and "token" not in name and len(self.measured(name)):
                found.setdefault(match[1], []).append(name)
        order = (REWARD, *TASK_MEASURES)
        return {name: (TASK_MEASURES.get(name, 1), found[name]) for name in order if name in found}

    @cached_property
    def summary(self) -> tuple[str, ...]:
        """The curve in sentences, each computed from its numbers."""
        if not self.final and not len(self.not_finite("train_loss")):
            return ("Nothing has been measured yet.",)
        return tuple(_sentences(self))

    def measured(self, name: str) -> "pd.Series[float]":
        """The finite values of one metric by step; empty when the curve has none."""
        if name not in self._measured:
            values = self._numbers(name)
            finite = values[values.abs() < math.inf]
            if len(self.frame) > _MOST_KEPT:
                return finite
            self._measured[name] = finite
        return self._measured[name]

    @cached_property
    def _measured(self) -> "dict[str, pd.Series[float]]":
        """What was asked for already: drawing a curve asks for the same a hundred times."""
        return {}

    def not_finite(self, name: str) -> "pd.Index[int]":
        """The steps at which a metric was measured and came out as NaN or infinite; a gap is neither."""
        values = self._numbers(name)
        rows = (values.abs() == math.inf).to_numpy()
        return values.index[rows | self.undefined[name] if name in self.undefined and len(rows) else rows]

    def _numbers(self, name: str) -> "pd.Series[float]":
        if name not in self.frame.columns or not pd.api.types.is_numeric_dtype(self.frame[name]):
            return pd.Series(index=self.frame.index[:0], dtype=float)
        return self.frame[name].astype(float)

    def merge(self, other: "Curve") -> "Curve":
        """Add what ``other`` knows; where both have a value, this curve's stands."""
        names = dict.fromkeys((*self.frame.columns, *other.frame.columns))
        frame = self.frame.combine_first(other.frame)[list(names)]
        undefined = {}
        for name in {**self.undefined, **other.undefined}:
            steps = self.not_finite(name).union(other.not_finite(name))
            undefined[name] = frame.index.isin(steps) & frame[name].isna().to_numpy()
        return Curve(frame, tuple(dict.fromkeys(self.notes + other.notes)), undefined)

    def __repr__(self) -> str:
        """The summary, a sentence a line."""
        return "\n".join(self.summary)

    def _repr_html_(self) -> str:
        return f"<ul>{''.join(f'<li>{html.escape(sentence)}</li>' for sentence in self.summary)}</ul>"


def _sentences(curve: Curve) -> Iterator[str]:
    rows = int(curve.frame.notna().any(axis=1).sum())
    yield f"{curve.steps} steps, {rows} of them with numbers."
    for name, words in (("train_loss", "Training loss"), ("valid_loss", "Validation loss, batch by batch")):
        if len(values := curve.measured(name)):
            yield _course(words, values, "lowest")
    full = curve.measured("full_valid_loss")
    if len(full):
        listed = ", ".join(_at(full, step) for step in full.index) if len(full) <= 6 else ""
        yield _course("Full validation loss", full, "lowest", listed)
        train = curve.measured("train_loss").loc[: full.index[-1]].tail(10)
        if len(train):
            gap = full.iloc[-1] - train.mean()
            yield (
                f"At step {full.index[-1]} the full validation loss is {abs(gap):.4g} "
                f"{'above' if gap >= 0 else 'below'} the training loss (mean of the last {len(train)})."
            )
    for name, column in curve.evaluation_sets.items():
        yield _course(f"Loss on {name}", curve.measured(column), "lowest")
    for sign, columns in curve.task_measures.values():
        for column in columns if columns != [REWARD] else ():
            yield _course(column.removeprefix("eval_"), curve.measured(column), "best", sign=sign)
    for name, words in (
        ("train_mean_reward", "Training reward"),
        (REWARD, "Held-out reward" if curve.method == "rft" else "Held-out accuracy"),
        ("rewards/margins", "Margin between preferred and rejected answers"),
        ("rewards/accuracies", "Training pairs in the right order"),
        ("full_valid_rewards/accuracies", "Validation pairs in the right order"),
    ):
        if len(values := curve.measured(name)):
            yield _course(words, values, "highest")
    for name in filter(is_loss, curve.frame.columns):
        if len(steps := curve.not_finite(name)):
            yield f"{name} was NaN or infinite (steps: {len(steps):,}), first at step {steps[0]}."
    yield from curve.notes


def _course(words: str, values: "pd.Series[float]", best: str, listed: str = "", sign: int = 1) -> str:
    """From where to where a measure went, and where it was best: the lowest, or else the highest."""
    ends = dict.fromkeys((values.index[0], values.index[-1]))
    shown = listed or ", ".join(_at(values, step) for step in ends)
    place = int((values if best == "lowest" else -sign * values).argmin())
    return f"{words}: {shown}; {best} {_at(values, values.index[place])}."


def _at(values: "pd.Series[float]", step: int) -> str:
    value = values[step]
    shown = f"{value:.0%}" if values.name in _SHARES and 0 <= value <= 1 else f"{value:.4g}"
    return f"{shown} at step {step}"


# Where a step lies: after so many steps, in which epoch, after how many trained tokens.
#
# Runs with batches of different sizes compare by epochs or tokens, not by steps. Most services tell steps
# only; the rest follows from a job that has succeeded, or stands in the curve itself.

Axis: TypeAlias = Literal["step", "epoch", "tokens"]
ALL_AXES: tuple[Axis, ...] = get_args(Axis)


def axes_of(curve: Curve) -> tuple[Axis, ...]:
    """The axes that this curve can be drawn along."""
    return tuple(axis for axis in ALL_AXES if axis == "step" or len(curve.measured(axis)))


def along(curve: Curve, axis: Axis) -> "Numbers":
    """Where each row of the curve lies on the axis.

    Raises ``DataError`` when the curve does not tell its epochs or tokens.
    """
    return positions(curve, curve.frame.index.to_numpy(dtype=float), axis)


def positions(curve: Curve, steps: "Numbers", axis: Axis) -> "Numbers":
    """Where these steps lie on the axis; between two that are known, in proportion to the steps."""
    if axis == "step":
        return steps
    known_steps = curve.measured(axis)
    if known_steps.empty:
        raise DataError(
            f"This curve tells no {axis.removesuffix('s')}s; draw it along 'step', or add them with "
            "located(curve, job) once the job has succeeded."
        )
    # Training begins at 0, before the first step that is logged.
    known = np.append(0.0, known_steps.index.to_numpy(dtype=float))
    values = np.maximum.accumulate(np.append(0.0, known_steps.to_numpy(dtype=float)))
    return np.interp(steps, known, values)


def located(curve: Curve, job: "FineTuningJob") -> Curve:
    """Add the epochs and trained tokens of a job that succeeded, as far as the curve lacks them.

    Each step counts as an equal share of ``n_epochs`` and of ``trained_tokens``, which is exact up to the
    differences between batches. The curve of a job that did not reach its end stays as it is.
    """
    if job.status != "succeeded" or not curve.steps:
        return curve
    shares = curve.frame.index.to_numpy(dtype=float) / curve.steps
    epochs = job.hyperparameters.n_epochs if job.hyperparameters else None  # some services send none
    whole = {"epoch": epochs, "tokens": job.trained_tokens}
    added = {
        axis: shares * total
        for axis, total in whole.items()
        if isinstance(total, int | float) and curve.measured(axis).empty
    }
    return replace(curve, frame=curve.frame.assign(**added)) if added else curve


# Smoothing: the trend in a noisy series of losses or rewards.


def exponential(values: ArrayLike, weight: float) -> "Numbers":
    """Average with a past that fades: the debiased exponential moving average, a value for each given.

    ``m = weight m + (1 - weight) y`` from ``m = 0``, and the k-th result is ``m / (1 - weight^k)``: Kingma
    and Ba, Adam, 2015, section 3; TensorBoard's and W&B's "EMA". The first result is the first value, and a
    constant stays what it is. ``weight`` is at least 0 (nothing is smoothed) and below 1; n values count
    about evenly at ``1 - 1 / n``. Only finite values are averaged: a gap stays a gap, and an infinite value
    stands where it stood, so that smoothing hides neither.
    """
    from scipy.signal import lfilter

    if not 0 <= weight < 1:
        raise DataError(f"weight is {weight}; give at least 0 and less than 1.")
    smoothed = np.array(values, dtype=float)
    finite = np.isfinite(smoothed)
    if finite.any():
        moving = lfilter([1 - weight], [1, -weight], smoothed[finite])
        # 1 - weight^k, exactly also for a weight next to 1
        taken = -np.expm1(np.arange(1, finite.sum() + 1) * math.log(weight)) if weight else 1.0
        smoothed[finite] = moving / taken
    return smoothed
