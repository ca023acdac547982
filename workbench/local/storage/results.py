"""A job's result file: its metrics as CSV, one line a step, in the columns of the Azure service."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

COLUMNS = (
    "step",
    "train_loss",
    "train_mean_token_accuracy",
    "valid_loss",
    "valid_mean_token_accuracy",
    "full_valid_loss",
    "full_valid_mean_token_accuracy",
)
REWARD_COLUMN = "full_valid_mean_reward"


def columns_of(*, graded: bool) -> tuple[str, ...]:
    """The columns of a job, with the reward when its answers are graded."""
    return (*COLUMNS, REWARD_COLUMN) if graded else COLUMNS


def render_csv(steps: Iterable[tuple[int, Mapping[str, float]]], columns: Sequence[str]) -> bytes:
    """The file's content; a cell stays blank where nothing was measured."""
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    table.writerows({"step": step, **metrics} for step, metrics in steps)
    return text.getvalue().encode()


def render_line(step: int, metrics: Mapping[str, float], columns: Sequence[str]) -> bytes:
    """The one line of a step in that file."""
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    table.writerow({"step": step, **metrics})
    return text.getvalue().encode()
