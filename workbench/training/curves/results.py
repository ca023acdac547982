"""Reading a curve from a result file, from events or from a Trainer's log, whatever dialect they come in.

Names, order, repeated steps, blanks and -1 for "not measured" are put right; a
column nobody knows is kept. What cannot be read is told with its line.
"""

import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import pandas as pd

from workbench.errors import DataError
from workbench.training.curves.curve import LOSSES, Curve
from workbench.training.curves.result_file import known, read_result_file, tidied

if TYPE_CHECKING:
    from openai.types.fine_tuning import FineTuningJobEvent

    from workbench.dataset.examples import JSON

_JSON_MOST = 64_000_000  # bytes; as Python objects they take ten times that

_STEP = re.compile(r"Step (\d+)(?:/\d+)?\s*[:,]")
_PAIR = re.compile(r"([a-z][a-z ]*)=(nan|-?inf(?:inity)?|[-+]?[\d.]+(?:[eE][-+]?\d+)?)", re.IGNORECASE)
_NOT_FINITE = ("nan", "inf", "infinity", "-inf", "-infinity")  # which some services write as texts


def read_curve(source: "bytes | str | Path | Iterable[FineTuningJobEvent]") -> Curve:
    """Read a curve from a file's content, from the file at a path, or from a job's events.

    A file is a job's ``results.csv`` (of Azure, real or documented, or OpenAI; plain or base64), the JSON of
    a job's events or checkpoints, or a Trainer's ``trainer_state.json``. Raises ``DataError`` with the place
    for what is none of these.
    """
    if isinstance(source, bytes):
        return _read(io.BytesIO(source), "results.csv")
    if isinstance(source, str | Path):
        path = Path(source)
        try:
            file = path.open("rb")
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}.") from error
        with file:
            return _read(file, path.name)
    rows = [row for event in source if (row := _measured(event.message, event.data))]
    return _curve(rows, "event")


def _read(file: BinaryIO, name: str) -> Curve:
    start = file.read(1024).decode("utf-8-sig", errors="replace").lstrip()
    file.seek(0)
    if not start.startswith(("{", "[")):
        return read_result_file(file, name)
    content = file.read(_JSON_MOST + 1)
    if len(content) > _JSON_MOST:
        raise DataError(f"{name} has more than {_JSON_MOST // 10**6} MB of JSON; give the job's results.csv.")
    try:
        value: JSON = json.loads(content, parse_int=float)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name} is no JSON ({error}); save it again.") from error
    if isinstance(value, Mapping) and "log_history" in value:
        return _curve(list(_logged(value["log_history"], name)), name)
    items = value.get("data") if isinstance(value, Mapping) else value
    if not isinstance(items, Sequence) or not all(_is_listed(item) for item in items):
        raise DataError(f"{name} has no events, checkpoints or log_history; give a list of a job's events.")
    return _curve([row for item in items if isinstance(item, Mapping) and (row := _listed(item))], name)


def _curve(rows: Sequence[Mapping[str, float]], name: str) -> Curve:
    """Make a curve of rows; that they overlap and come newest first is their nature, and needs no note."""
    frame = pd.DataFrame(rows, columns=None if rows else ["step"], dtype=float)
    written = pd.DataFrame([dict.fromkeys(row, 1.0) for row in rows]).notna()  # NaN, or nothing at all
    losses = [loss for loss in LOSSES if loss in frame and (frame[loss].isna() & written[loss]).any()]
    undefined = frame[losses].isna() & written[losses] if losses else pd.DataFrame()
    return replace(tidied(frame, undefined, lambda row: f"{name} {row + 1}"), notes=())


def _logged(history: "JSON", name: str) -> Iterator[dict[str, float]]:
    """The measurements of a Trainer's log (``log_history`` of transformers 5, TRL's included), a row a line.

    Its training numbers are means over the steps since the line before; what it calls ``eval_`` was measured
    on the whole evaluation set. In reinforcement ``loss`` keeps its name: it is what the optimiser follows,
    may be negative, and says nothing about how well answers are predicted.
    """
    if not isinstance(history, Sequence) or isinstance(history, str):
        raise DataError(f"{name}: log_history is no list; give the trainer_state.json of a checkpoint.")
    reinforced = any(isinstance(line, Mapping) and "reward" in line for line in history)
    for number, line in enumerate(history):
        if not isinstance(line, Mapping) or not isinstance(line.get("step"), float):
            raise DataError(f"{name}: log_history[{number}] has no step; give what a Trainer saved.")
        # The last line sums the run up: its train_loss is the mean over all steps, and belongs to none.
        if "train_runtime" in line:
            continue
        numbers = {key: value for key, value in line.items() if isinstance(value, float)}
        yield {key if reinforced and key == "loss" else known(key): value for key, value in numbers.items()}


def _is_listed(item: "JSON") -> bool:
    """Whether this looks like an event, which has a message, or like a checkpoint, which has metrics."""
    return isinstance(item, Mapping) and ("message" in item or "metrics" in item)


def _listed(item: "Mapping[str, JSON]") -> dict[str, float]:
    """The numbers of an event, or of a checkpoint, in a saved list."""
    message = item.get("message")
    return _measured(message if isinstance(message, str) else "", item.get("data") or item.get("metrics"))


def _measured(message: str, data: object) -> dict[str, float]:
    """The numbers of an event: its data, else those in its text ("Step 10: training loss=0.72")."""
    row: dict[str, float] = {}
    if step := _STEP.match(message):
        row = {known(_column(name)): float(value) for name, value in _PAIR.findall(message)}
        row["step"] = float(step[1])
    if isinstance(data, Mapping):
        # Where one metric stands there twice, its flat name counts, not the nested one.
        numbers = sorted(_numbers(data, ""), key=lambda found: "." not in found[0])
        row |= {known(path): number for path, number in numbers}
    return row if row.get("step", -1) >= 0 and len(row) > 1 else {}


def _numbers(value: object, path: str) -> Iterator[tuple[str, float]]:
    """All numbers in nested data with their paths: ``timing.step.eval``, ``scores.graders.exact.reward``."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _numbers(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list | tuple):
        for place, inner in enumerate(value):
            name = inner.get("name", place) if isinstance(inner, Mapping) else place
            yield from _numbers(inner, f"{path}.{name}")
    elif type(value) in (int, float) or (isinstance(value, str) and value.lower() in _NOT_FINITE):
        yield path, float(value)  # type: ignore[arg-type]


def _column(words: str) -> str:
    """The column that an event's text means: "full validation loss" is ``full_valid_loss``."""
    return words.strip().lower().replace("training", "train").replace("validation", "valid").replace(" ", "_")
