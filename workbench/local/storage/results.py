"""A job's result file: its metrics as CSV, one line a step, in the columns of the Azure service."""

import csv
import io
from collections.abc import Iterable, Mapping

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


def render_csv(steps: Iterable[tuple[int, Mapping[str, float]]], *, with_reward: bool) -> bytes:
    """The file's content; a cell stays blank where nothing was measured."""
    text = io.StringIO(newline="")
    columns = [*COLUMNS, REWARD_COLUMN] if with_reward else COLUMNS
    table = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    table.writerows({"step": step, **metrics} for step, metrics in steps)
    return text.getvalue().encode()
