"""Scores that another tool gave, one JSON object a line, as an evaluation that can be compared.

    {"id": "q1", "score": 1}
    {"id": "q2", "score": 0.25, "cluster": "faq.pdf", "question": "...", "reference": "...", "answer": "..."}

Two lines with one id are two answers to it if they have a ``sample`` number each.
Also the pairing of two evaluations by item: which items are compared, and which are left out and why.
"""

import json
import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

from workbench.errors import DataError
from workbench.evaluation.evaluation import Evaluation, Item
from workbench.evaluation.prompts import Prompt
from workbench.evaluation.requests import Answer

# Pairing of two evaluations.

Missing = Literal["refuse", "leave out"]
_NAMED = 5  # items in a message


class LeftOut(NamedTuple):
    """Items that do not count, and why."""

    why: str
    ids: tuple[str, ...]

    def __str__(self) -> str:
        """``2 items are left out (not answered by the tuned model): id2, id3.``"""
        subject = "1 item is" if len(self.ids) == 1 else f"{len(self.ids):,} items are"
        return f"{subject} left out ({self.why}): {_some(self.ids)}."


@dataclass(frozen=True)
class Pairs:
    """Two evaluations of the same items in the same order, and what was left out of them."""

    base: Evaluation
    tuned: Evaluation
    left_out: tuple[LeftOut, ...] = ()

    @property
    def clusters(self) -> tuple[str, ...]:
        """Each item's cluster: what the data says, else the question: a repeated one is no new evidence."""
        return tuple(
            base.cluster or tuned.cluster or base.question or base.id
            for base, tuned in zip(self.base.items, self.tuned.items, strict=True)
        )

    def without(self, ids: Collection[str], why: str) -> "Pairs":
        """All but these items, and the reason."""
        if not ids:
            return self
        base, tuned = (
            replace(side, items=tuple(item for item in side.items if item.id not in ids))
            for side in (self.base, self.tuned)
        )
        gone = tuple(item.id for item in self.base.items if item.id in ids)
        return Pairs(base, tuned, (*self.left_out, LeftOut(why, gone)))


def pair(base: Evaluation, tuned: Evaluation, *, missing: Missing) -> Pairs:
    """Bring two evaluations to the same items, by id, in the order of ``base``.

    Items without a score stay; ``ungraded`` names them. Raises ``DataError`` for two graders, ids that
    stand for several items, items of two clusters, and, unless they are to be left out, for items that only
    one of the two answered.
    """
    if base.grader != tuned.grader:
        raise DataError(
            f"The base model was graded by {base.grader['name']!r} and the tuned one by "
            f"{tuned.grader['name']!r}, or by another version of it; evaluate both with one grader."
        )
    answered = {"base": _by_id(base, "base"), "tuned": _by_id(tuned, "tuned")}
    left_out = []
    for name, asked in (("base", "tuned"), ("tuned", "base")):
        gone = [item for id, item in answered[asked].items() if id not in answered[name]]
        if gone and missing == "refuse":
            raise DataError(
                f"The {name} model did not answer {len(gone)} of the {asked} model's items: "
                f"{_some([_placed(item) for item in gone])}. Evaluate both on the same dataset, or compare "
                'what both have with missing="leave out".'
            )
        if gone:
            left_out.append(LeftOut(f"not answered by the {name} model", tuple(item.id for item in gone)))
    shared = [
        (item, answered["tuned"][id]) for id, item in answered["base"].items() if id in answered["tuned"]
    ]
    for item, other in shared:
        if len({item.cluster, other.cluster} - {""}) > 1:
            raise DataError(
                f"Item {_placed(item)} is of cluster {item.cluster!r} in the base model's evaluation and of "
                f"{other.cluster!r} in the tuned one's; name one cluster column for both."
            )
    if not shared:
        why = "the two have no item in common" if left_out else "both evaluations are empty"
        raise DataError(f"There is no item to compare; {why}.")
    mine, theirs = zip(*shared, strict=True)
    return Pairs(replace(base, items=mine), replace(tuned, items=theirs), tuple(left_out))


def ungraded(pairs: Pairs) -> set[str]:
    """The items that one of the two, or both, have no score for."""
    return {item.id for side in (pairs.base, pairs.tuned) for item in side.items if math.isnan(item.score)}


def contaminated_among(pairs: Pairs, contaminated: Collection[str]) -> set[str]:
    """The items whose id or origin is in ``contaminated``; a ``DataError`` if that names none, or all."""
    found = {item.id for item in pairs.base.items if item.id in contaminated or item.origin in contaminated}
    if contaminated and not found:
        raise DataError(
            f"None of the {len(contaminated)} contaminated items is among those compared "
            f"({_some(sorted(contaminated))}); give ids or origins as the items have them, such as "
            f"{_placed(pairs.base.items[0])}."
        )
    if len(found) == len(pairs.base.items):
        raise DataError(
            "Every item is contaminated, so nothing can be compared; make a test set of unseen items."
        )
    return found


def _by_id(evaluation: Evaluation, name: str) -> Mapping[str, Item]:
    counts = Counter(item.id for item in evaluation.items)
    twice = [id for id, count in counts.items() if count > 1]
    if twice:
        raise DataError(
            f"The {name} evaluation has {len(twice)} ids more than once: {_some(twice)}. An id stands for "
            "one item; several answers to it are its samples."
        )
    return {item.id: item for item in evaluation.items}


def _placed(item: Item) -> str:
    return f"{item.id} ({item.origin})" if item.origin else item.id


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")


IN_THE_FILE = {"type": "file", "name": "as scored in the file"}
"""Stands for a grader that is not known; two such files are taken to have the same."""
_PARQUET = b"PAR1"
_TEXTS = ("cluster", "question", "reference", "answer", "origin")


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
    items: dict[str, Item] = {}
    first: dict[tuple[str, str], int] = {}  # the line of each sample of an item
    bad = []
    for number, line in filled:
        try:
            id, score, sample, texts = _scored(line)
        except ValueError as error:
            bad.append(f"line {number}: {error}")
            continue
        before = first.setdefault((id, sample), number)
        if before != number:
            bad.append(
                f"line {number}: id {id!r} stands in line {before} already; leave one out, or number several "
                'answers to one item with "sample".'
            )
        problem = "the file has no score for it" if math.isnan(score) else ""
        answer = Answer(texts["answer"], "", math.nan, 0, 0, score=score, problem=problem)
        place = texts["origin"] or f"{path.name}:{number}"
        known = Item(id, place, texts["question"], texts["reference"], cluster=texts["cluster"])
        known = items.get(id, known)
        items[id] = replace(known, answers=(*known.answers, answer))
    if bad:
        more = f" And {len(bad) - _NAMED} more." if len(bad) > _NAMED else ""
        raise DataError(f"{path}: {' '.join(bad[:_NAMED])}{more}")
    prompt, found = Prompt("not known"), tuple(items.values())
    return Evaluation(path.stem, prompt, IN_THE_FILE, found, max_tokens=0, temperature=0.0)


def _is_evaluation(line: str) -> bool:
    try:
        first = json.loads(line)
    except ValueError:
        return False
    return isinstance(first, dict) and "evaluation" in first and "items" in first


def _scored(line: str) -> tuple[str, float, str, Mapping[str, str]]:
    """A line's id, score, sample and texts; a ``ValueError`` says what is wrong with it and what to do."""
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
    id, value = facts["id"], facts["score"]
    if isinstance(id, bool) or not isinstance(id, str | int) or id == "":
        raise ValueError(f"id is {id!r}; give each item a text or a whole number of its own.")
    if value is not None and not isinstance(value, bool | int | float):
        raise ValueError(f"score is {value!r}; give a number from 0 to 1, or null if there is none.")
    score = math.nan if value is None else float(value)
    if score < 0 or score > 1:
        raise ValueError(f"score is {score:g}; give one from 0 to 1: divide by the largest there can be.")
    sample, *texts = ("" if facts.get(name) is None else str(facts[name]) for name in ("sample", *_TEXTS))
    return str(id), score, sample, dict(zip(_TEXTS, texts, strict=True))
