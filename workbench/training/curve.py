"""The loss curve of a job: what was measured at which step, under one set of names.

A curve is pure numbers and invents none. How it is read from a result file or
from events is ``results``' business; whether it looks healthy is judged elsewhere.
"""

import html
import math
from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

LOSSES = ("train_loss", "valid_loss", "full_valid_loss")
ACCURACIES = ("train_mean_token_accuracy", "valid_mean_token_accuracy", "full_valid_mean_token_accuracy")
REWARD = "full_valid_mean_reward"


@dataclass(frozen=True, eq=False)
class Curve:
    """What was measured at each step of a job.

    ``frame`` is indexed by ``step``, rising and without repeats; NaN stands where nothing was measured.
    """

    frame: pd.DataFrame

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
    def summary(self) -> tuple[str, ...]:
        """The curve in sentences, each computed from its numbers."""
        if not self.final:
            return ("Nothing has been measured yet.",)
        return tuple(_sentences(self))

    def measured(self, name: str) -> "pd.Series[float]":
        """The finite values of one metric by step; empty when the curve has none."""
        if name not in self.frame.columns or not pd.api.types.is_numeric_dtype(self.frame[name]):
            return pd.Series(dtype=float)
        values = self.frame[name].astype(float)
        return values[values.abs() < math.inf]

    def merge(self, other: "Curve") -> "Curve":
        """Add what ``other`` knows; where both have a value, this curve's stands."""
        names = [
            *self.frame.columns,
            *(name for name in other.frame.columns if name not in self.frame.columns),
        ]
        return Curve(self.frame.combine_first(other.frame)[names])

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
            yield f"{words}: {_span(values)}; lowest {_at(values, values.index[int(values.argmin())])}."
    full = curve.measured("full_valid_loss")
    if len(full):
        listed = ", ".join(_at(full, step) for step in full.index) if len(full) <= 6 else _span(full)
        yield f"Full validation loss: {listed}; lowest {_at(full, full.index[int(full.argmin())])}."
        train = curve.measured("train_loss").loc[: full.index[-1]].tail(10)
        if len(train):
            gap = full.iloc[-1] - train.mean()
            yield (
                f"At step {full.index[-1]} the full validation loss is {abs(gap):.4g} "
                f"{'above' if gap >= 0 else 'below'} the training loss (mean of the last {len(train)})."
            )
    if len(reward := curve.measured(REWARD)):
        best = reward.index[int(reward.argmax())]
        yield f"Held-out accuracy: {_span(reward)}; highest {_at(reward, best)}."


def _span(values: "pd.Series[float]") -> str:
    return _at(values, values.index[0]) + (f", {_at(values, values.index[-1])}" if len(values) > 1 else "")


def _at(values: "pd.Series[float]", step: int) -> str:
    value = values[step]
    shown = f"{value:.0%}" if values.name == REWARD and 0 <= value <= 1 else f"{value:.4g}"
    return f"{shown} at step {step}"
