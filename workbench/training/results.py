"""Reading a curve from a result file or from events, whatever dialect they come in.

Names, order, repeated steps, blanks and -1 for "not measured" are put right; a
column nobody knows is kept. What cannot be read is told with its line.
"""

import base64
import binascii
import codecs
import io
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from workbench.errors import DataError
from workbench.training.curve import ACCURACIES, LOSSES, REWARD, Curve

if TYPE_CHECKING:
    from openai.types.fine_tuning import FineTuningJobEvent

# OpenAI's platform, Azure's documentation, and events of reinforcement jobs say it otherwise.
_ALIASES = {
    "train_accuracy": "train_mean_token_accuracy",
    "validation_mean_token_accuracy": "valid_mean_token_accuracy",
    "train_reward_mean": "train_mean_reward",
    "valid_reward_mean": REWARD,
}
_NAMES = ["step", *LOSSES, *ACCURACIES, REWARD]
_MISSING = ["", "-", "N/A", "n/a", "NA", "null", "None", "nan", "NaN"]

_HEADER = re.compile(rb"[^\n]*\bstep\b", re.IGNORECASE)
_STEP = re.compile(r"Step (\d+)(?:/\d+)?\s*[:,]")
_PAIR = re.compile(r"([a-z][a-z ]*)=(nan|-?inf|[-+]?[\d.]+(?:[eE][-+]?\d+)?)", re.IGNORECASE)


def read_curve(source: "bytes | str | Path | Iterable[FineTuningJobEvent]") -> Curve:
    """Read a curve from a result file's content, from the file at a path, or from a job's events.

    Takes the headers of Azure (real and documented) and OpenAI, plain or
    base64. Raises ``DataError`` with the line for what is no such file.
    """
    if isinstance(source, bytes):
        return _read_csv(source, "results.csv")
    if isinstance(source, str | Path):
        path = Path(source)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}.") from error
        return _read_csv(content, path.name)
    rows = [row for event in source if (row := _metrics(event))]
    return Curve(_tidy(pd.DataFrame(rows, columns=None if rows else ["step"])))


def _read_csv(content: bytes, name: str) -> Curve:
    content = _unwrapped(content)
    if not content.strip():
        raise DataError(f"{name} is empty; a result file begins with a line like 'step,train_loss,…'.")
    encoding = "utf-16" if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
    try:
        with warnings.catch_warnings():
            # A first row longer than the header would lose cells with no more than a warning.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                io.BytesIO(content),
                encoding=encoding,
                index_col=False,
                skipinitialspace=True,
                skip_blank_lines=False,  # so that a row's number tells its line
                keep_default_na=False,
                na_values=_MISSING,
            )
    except UnicodeError as error:
        raise DataError(f"{name} is not text; give the result file of a job.") from error
    except (pd.errors.ParserError, pd.errors.ParserWarning, pd.errors.EmptyDataError) as error:
        place = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error))
        finding = (
            f"line {place[2]} has {place[3]} cells, others {place[1]}" if place else "its rows do not fit"
        )
        raise DataError(f"{name} is no table: {finding}; download it again.") from error
    frame.columns = pd.Index([_known(str(column)) for column in frame.columns])
    if "step" not in frame.columns:
        shown = ", ".join(frame.columns)[:80]
        raise DataError(f"{name} has no column 'step'; it has {shown}. Give the result file of a job.")
    return Curve(_tidy(_numbers(_joined(frame.dropna(how="all")), name)))


def _unwrapped(content: bytes) -> bytes:
    """Take off the base64 that OpenAI's platform, unlike Azure, puts around a result file."""
    if _HEADER.match(content):
        return content
    try:
        decoded = base64.b64decode(b"".join(content.split()), validate=True)
    except binascii.Error:
        return content
    return decoded if _HEADER.match(decoded) else content


def _joined(frame: pd.DataFrame) -> pd.DataFrame:
    """Make one column of two that have the same name; the first value in a row counts."""
    if not frame.columns.has_duplicates:
        return frame
    same = {name: frame.loc[:, frame.columns == name] for name in frame.columns.unique()}
    return pd.DataFrame({name: columns.bfill(axis=1).iloc[:, 0] for name, columns in same.items()})


def _numbers(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """Make the step and every metric we know a number, or say in which line one is not."""
    for column in frame.columns.intersection(_NAMES):
        cells = frame[column]
        numbers = pd.to_numeric(cells, errors="coerce")
        bad = numbers.isna() & cells.notna()
        if column == "step":
            bad = numbers.isna() | (numbers < 0) | (numbers > 2**53) | (numbers % 1 != 0)
        if bad.any():
            at = int(bad.to_numpy().argmax())
            what = "a step (a whole number)" if column == "step" else "a number"
            raise DataError(f"{name} line {frame.index[at] + 2}: {column} is '{cells.iloc[at]}', not {what}.")
        frame = frame.assign(**{column: numbers})
    return frame


def _tidy(frame: pd.DataFrame) -> pd.DataFrame:
    """Bring rows into the order of their steps, one row a step, with "not measured" as NaN."""
    measured = frame.columns.intersection([*LOSSES, *ACCURACIES])
    frame = frame.astype({"step": "int64"} | dict.fromkeys(measured, "float64")).set_index("step")
    frame[measured] = frame[measured].mask(frame[measured] < 0)
    frame = frame.sort_index(kind="stable")
    if frame.index.has_duplicates:
        frame = frame.groupby(level=0).last()  # the last value there is, column by column
    return frame


def _metrics(event: "FineTuningJobEvent") -> dict[str, float]:
    """The numbers of an event: its data, else those in its text ("Step 10: training loss=0.72")."""
    row: dict[str, float] = {}
    if step := _STEP.match(event.message):
        row = {_known(_column(name)): float(value) for name, value in _PAIR.findall(event.message)}
        row["step"] = float(step[1])
    if isinstance(event.data, Mapping):
        row |= {
            _known(name): float(value) for name, value in event.data.items() if type(value) in (int, float)
        }
    return row if row.get("step", -1) >= 0 and len(row) > 1 else {}


def _column(words: str) -> str:
    """The column that an event's text means: "full validation loss" is ``full_valid_loss``."""
    return words.strip().lower().replace("training", "train").replace("validation", "valid").replace(" ", "_")


def _known(column: str) -> str:
    name = column.strip().lower()
    return _ALIASES.get(name, name if name in _NAMES else column.strip())
