"""Scores that another tool gave, one JSON object a line, as an evaluation that can be compared.

    {"id": "q1", "score": 1}
    {"id": "q2", "score": 0.25, "cluster": "faq.pdf", "question": "...", "reference": "...", "answer": "..."}

Two lines with one id are two answers to it if they have a ``sample`` number each.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from workbench.errors import DataError
from workbench.evaluation.asking.prompts import Prompt
from workbench.evaluation.evaluation import Evaluation, Item
from workbench.evaluation.items import Sample
from workbench.project import JSON

IN_THE_FILE = {"type": "file", "name": "as scored in the file"}
"""Stands for a grader that nobody told; two such files are taken to have the same."""
_NAMED = 5  # bad lines in a message
_PARQUET = b"PAR1"


class _Line(NamedTuple):
    number: int
    id: str
    score: float
    sample: str
    texts: Mapping[str, str]


def read_scores(path: str | Path) -> Evaluation:
    """Read what ``compare`` takes: a saved evaluation, or an item a line with an ``id`` and a ``score``.

    A score lies between 0 and 1, true and false are 1 and 0, null is an item that could not be graded.
    Raises ``DataError`` with all bad lines and what to do about them.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"There is no file {path}; give the scores of one model, a JSON object a line.")
    content = path.read_bytes()
    if content.startswith(_PARQUET):
        return Evaluation.load(path)
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no UTF-8 text ({error.reason} at byte {error.start}).") from error
    filled = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if filled and _is_evaluation(filled[0][1]):
        return Evaluation.load(path)
    if not filled:
        raise DataError(f'{path} is empty; write a line such as {{"id": "q1", "score": 1}} for each item.')
    read, bad = [], []
    for number, line in filled:
        try:
            read.append(_line(number, line))
        except ValueError as error:
            bad.append(f"line {number}: {error}")
    bad += _repeated(read)
    if bad:
        more = f" And {len(bad) - _NAMED} more." if len(bad) > _NAMED else ""
        raise DataError(f"{path}: {' '.join(bad[:_NAMED])}{more}")
    items = tuple(_items(read, path.name))
    return Evaluation(path.stem, Prompt("not told"), IN_THE_FILE, items, max_tokens=0, temperature=0.0)


def _is_evaluation(line: str) -> bool:
    try:
        first = json.loads(line)
    except ValueError:
        return False
    return isinstance(first, dict) and "evaluation" in first and "items" in first


def _line(number: int, line: str) -> _Line:
    """One line's facts; a ``ValueError`` says what is wrong with it and what to do."""
    try:
        facts = json.loads(line)
    except ValueError as error:
        raise ValueError(f"is no JSON ({error}); write one object a line.") from error
    if not isinstance(facts, dict):
        raise ValueError('is no object; write {"id": …, "score": …}.')
    missing = [name for name in ("id", "score") if name not in facts]
    if missing:
        has = ", ".join(map(repr, facts)) or "nothing"
        raise ValueError(f"has no {' and no '.join(map(repr, missing))}; it has {has}.")
    if isinstance(facts["id"], bool) or not isinstance(facts["id"], str | int) or facts["id"] == "":
        raise ValueError(f"id is {facts['id']!r}; give each item a text or a whole number of its own.")
    texts = {
        name: "" if facts.get(name) is None else str(facts[name])
        for name in ("cluster", "question", "reference", "answer", "origin")
    }
    sample = "" if facts.get("sample") is None else str(facts["sample"])
    return _Line(number, str(facts["id"]), _score(facts["score"]), sample, texts)


def _score(value: JSON) -> float:
    if value is None:
        return math.nan
    if not isinstance(value, bool | int | float):
        raise ValueError(f"score is {value!r}; give a number from 0 to 1, or null if there is none.")
    score = float(value)
    if not math.isnan(score) and not 0 <= score <= 1:
        raise ValueError(f"score is {score:g}; give one from 0 to 1: divide by the largest there can be.")
    return score


def _repeated(lines: Iterable[_Line]) -> list[str]:
    seen: dict[tuple[str, str], int] = {}
    found = []
    for line in lines:
        before = seen.setdefault((line.id, line.sample), line.number)
        if before != line.number:
            found.append(
                f"line {line.number}: id {line.id!r} stands in line {before} already; leave one out, or "
                'number several answers to one item with "sample".'
            )
    return found


def _items(lines: Iterable[_Line], name: str) -> Iterator[Item]:
    """An item of each id, with the mean score of its samples that have one."""
    by_id: dict[str, list[_Line]] = {}
    for line in lines:
        by_id.setdefault(line.id, []).append(line)
    for id, answers in by_id.items():
        first = answers[0]
        scores = [line.score for line in answers if not math.isnan(line.score)]
        samples = tuple(Sample(line.texts["answer"], line.score, "", math.nan, 0, 0, "") for line in answers)
        yield Item(
            id=id,
            origin=first.texts["origin"] or f"{name}:{first.number}",
            question=first.texts["question"],
            reference=first.texts["reference"],
            answer=first.texts["answer"],
            score=fmean(scores) if scores else math.nan,
            seconds=math.nan,
            prompt_tokens=0,
            completion_tokens=0,
            finish_reason="",
            cluster=first.texts["cluster"],
            problem="" if scores else "the file has no score for it",
            samples=samples if len(samples) > 1 else (),
        )
