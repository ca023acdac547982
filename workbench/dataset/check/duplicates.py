"""Rows that say the same again: duplicates, near-duplicates, contradictions, reversed preferences.

What is compared is what the model is given and what it should say; a system message counts only
between rows that are otherwise equal. Where the MinHash fingerprints of two rows are close, both
are read again and compared exactly.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.dataset.check.counts import share
from workbench.dataset.check.minhash import (
    FEWEST,
    RECORD,
    Fingerprints,
    Hashes,
    Positions,
    Signatures,
    across,
    by_place,
    earliest,
    fingerprints_of,
    hashed,
    jaccard,
    normalised,
    pieces,
    signatures_of,
    texts_of,
    together,
    within,
)
from workbench.dataset.check.row import Finding, Row, RowSource, Tally, breaks
from workbench.dataset.dataset import join, joined, root

NEAR = 0.7  # of the three-word pieces in common: the level that near-duplicate tools are measured at
CONTRADICTORY = 0.05  # of the rows; a few slips are to be put right, more teach that any answer will do
REMEMBERED = 64  # texts in pieces, for the next comparison

Found = tuple[Finding, Sequence[int]]
Chosen = NDArray[np.bool_]


class Repeats(Tally):
    """A collector of what repeats itself; ``group`` names a field that ties rows together."""

    def __init__(self, group: str | None = None) -> None:
        """Nothing seen yet."""
        self.group = group
        self._kept = bytearray()  # grows in place, where joining arrays would need the memory twice

    def add(self, rows: Sequence[Row]) -> None:
        """Look at the next rows."""
        if rows:
            self._kept += fingerprints_of(rows, self.group).tobytes()

    @property
    def fingerprints(self) -> Fingerprints:
        """What is kept of all rows, in order."""
        return np.frombuffer(self._kept, RECORD)

    def found(self, source: RowSource) -> Iterator[Found]:
        """Each kind of repeat with its rows."""
        if self.group is not None and len(self.fingerprints) and not self.fingerprints["group"].any():
            message = f"no row has {self.group}, so it ties none of them together"
            yield Finding("warning", "same_group", "", message, "name a column or a field that is there"), ()
        fingerprints = self.fingerprints
        yield from _duplicates(fingerprints, source)
        yield from _near_duplicates(fingerprints, source)
        yield from _contradictions(fingerprints, source)
        yield from _reversed(fingerprints, source)


def families(texts: Sequence[str]) -> list[list[int]]:
    """Which of my texts are the same, or nearly? Their positions; a text that is alone is left out."""
    known = hashed(texts)
    first = earliest(known.exact, known.exact)
    alone = first == np.arange(len(texts))  # the first of its kind
    family = {later: earlier for later, earlier in enumerate(first.tolist()) if 0 <= earlier < later}
    signatures = signatures_of(known.lowest, known.words, FEWEST)
    for later, earlier, _ in _near(signatures, alone, lambda position: pieces(texts[position])):
        join(family, later, earlier)
    return [positions for positions in joined(family, len(texts)) if len(positions) > 1]


def _duplicates(fingerprints: Fingerprints, source: RowSource) -> Iterator[Found]:
    first = _first(_whole(fingerprints), _says(fingerprints))
    for earlier, rows in by_place(first, _again(first)):
        message = f"the same example stands at {_origin(fingerprints, earlier, source)}"
        yield breaks("duplicate", "", message), _numbers(fingerprints, rows)


def _near_duplicates(fingerprints: Fingerprints, source: RowSource) -> Iterator[Found]:
    says = _says(fingerprints)
    first = _first(together(fingerprints["asked"], fingerprints["answer"], fingerprints["rejected"]), says)
    other_system = _again(first) & ~_again(_first(_whole(fingerprints), says))
    for earlier, rows in by_place(first, other_system):
        message = f"the same as {_origin(fingerprints, earlier, source)} but for its system message or tools"
        finding = Finding("info", "near_duplicate", "", message, "keep both only if both will be used")
        yield finding, _numbers(fingerprints, rows)

    def read(position: int) -> frozenset[int]:
        _, *texts = texts_of(source.row(int(fingerprints["number"][position])))
        return frozenset().union(*map(pieces, texts))

    alike: dict[Finding, list[int]] = {}
    named = set[int]()
    for later, earlier, similarity in _near(fingerprints["text"], says & ~_again(first), read):
        one, other = fingerprints[later], fingerprints[earlier]
        if later in named or one["asked"] == other["asked"]:  # the same prompt: a contradiction, or a choice
            continue
        named.add(later)
        message = f"at least {tens(similarity)} % the same as {_origin(fingerprints, earlier, source)}, with "
        if one["answer"] == other["answer"] and one["rejected"] == other["rejected"]:
            message += "the same answer"
            finding = breaks("near_duplicate", "", message, "keep one of them")
        else:
            message += "another answer"
            fix = "keep both where they differ in what matters, as the values of a template do"
            finding = Finding("info", "near_duplicate", "", message, fix)
        alike.setdefault(finding, []).append(int(one["number"]))
    yield from alike.items()


def tens(similarity: float) -> int:
    """A share as a percentage, rounded down to tens, so that equal findings come together."""
    return int(similarity * 10 + 1e-9) * 10


def _contradictions(fingerprints: Fingerprints, source: RowSource) -> Iterator[Found]:
    """Each prompt with different answers and all rows that ask it; then how many prompts and rows these are.

    Which answer is right is not known, so none of the rows counts as the right one, wherever it stands.
    """
    judged = (fingerprints["rejected"] == 0) & (fingerprints["answer"] != 0) & (fingerprints["asked"] != 0)
    prompts = together(fingerprints["system"], fingerprints["asked"])
    first = _first(prompts, judged)
    _, one_each = np.unique(together(prompts, fingerprints["answer"])[judged], return_index=True)
    answers = np.bincount(first[judged][one_each], minlength=1)  # to the prompt that begins at a position
    contradict = judged & (answers[np.where(judged, first, 0)] > 1)
    for earlier, rows in by_place(first, contradict):
        prompt = f"the prompt of {_origin(fingerprints, earlier, source)}"
        message, fix = f"{prompt} has {answers[earlier]} different answers", "decide which answer is right"
        yield Finding("warning", "contradiction", "", message, fix), _numbers(fingerprints, rows)
    rows_in, rows_of = int(np.count_nonzero(contradict)), int(np.count_nonzero(judged))
    if rows_in:
        message = (
            f"{np.count_nonzero(answers > 1):,} of {np.count_nonzero(answers):,} prompts have different "
            f"answers, in {rows_in:,} of {rows_of:,} rows ({share(rows_in, rows_of)})"
        )
        level = "error" if rows_in > CONTRADICTORY * rows_of else "info"
        yield (
            Finding(level, "contradiction", "", message, "decide which answers are right before training"),
            (),
        )


def _reversed(fingerprints: Fingerprints, source: RowSource) -> Iterator[Found]:
    pairs = (fingerprints["rejected"] != 0) & (fingerprints["answer"] != fingerprints["rejected"])
    there = together(fingerprints["asked"], fingerprints["answer"], fingerprints["rejected"])
    turned = together(fingerprints["asked"], fingerprints["rejected"], fingerprints["answer"])
    found = earliest(np.where(pairs, there, 0), np.where(pairs, turned, 0))
    for earlier, rows in by_place(found, _again(found)):
        message = f"{_origin(fingerprints, earlier, source)} prefers the answer that is rejected here"
        fix = "decide which answer is better; each takes back what the other teaches"
        yield breaks("reversed", "", message, fix), _numbers(fingerprints, rows)


def _near(
    signatures: Signatures, chosen: Chosen, read: Callable[[int], frozenset[int]]
) -> Iterator[tuple[int, int, float]]:
    """Each text with an earlier one that it is close to, the first of its family where that is close."""
    remembered = lru_cache(REMEMBERED)(read)
    family: dict[int, int] = {}
    for later, candidates in within(signatures, np.flatnonzero(chosen), NEAR):
        for candidate in candidates.tolist():
            first = root(family, candidate)
            if first == root(family, later):
                continue
            for earlier in dict.fromkeys((first, candidate)):
                similarity = jaccard(remembered(later), remembered(earlier))
                if similarity >= NEAR:
                    join(family, later, earlier)
                    yield later, earlier, similarity
                    break


def _whole(fingerprints: Fingerprints) -> Hashes:
    return together(
        fingerprints["system"], fingerprints["asked"], fingerprints["answer"], fingerprints["rejected"]
    )


def _says(fingerprints: Fingerprints) -> Chosen:
    """The rows that hold any text."""
    says: Chosen = (
        (fingerprints["asked"] != 0) | (fingerprints["answer"] != 0) | (fingerprints["rejected"] != 0)
    )
    return says


def _first(keys: Hashes, chosen: Chosen) -> Positions:
    """For each chosen row the first one with its key; -1 for the others."""
    keys = np.where(chosen, keys, 0)
    return earliest(keys, keys)


def _again(first: Positions) -> Chosen:
    """The rows that an earlier one stands for."""
    return (first >= 0) & (first < np.arange(first.size))


def _numbers(fingerprints: Fingerprints, positions: Positions) -> list[int]:
    numbers: list[int] = fingerprints["number"][positions].tolist()
    return numbers


def _origin(fingerprints: Fingerprints, position: int, source: RowSource) -> str:
    return source.origin(int(fingerprints["number"][position]))


# Contamination: training data that is also in what the model is judged by, is shown, or looks up.
#
# A question that was trained on is no question any more; its score shows memorisation. Equal prompts
# are found by their hashes; close ones are read again and compared exactly.

LEAK = 0.8  # of the three-word pieces in common


class Meeting(NamedTuple):
    """What it means when training meets another file."""

    level: str
    compared: str
    """``prompt``: what is asked; ``text``: all of it, because a document may hold question and answer."""
    then: str
    fix: str


MEETINGS = {
    "validation": Meeting(
        "error", "prompt", "so the validation loss shows memorisation", "take it out of one of the two"
    ),
    "test": Meeting(
        "error", "prompt", "so its score would show memorisation", "take it out of one of the two"
    ),
    "few-shot": Meeting(
        "info",
        "prompt",
        "so shown with a question it adds nothing",
        "show an example that was not trained on",
    ),
    "corpus": Meeting(
        "warning", "text", "so it is looked up, not known", "take it out of one of the two, or mean it"
    ),
}


def overlap(
    training: Repeats, training_source: RowSource, other: Repeats, other_source: RowSource, role: str
) -> Iterator[Found]:
    """What of the training data is in the other file too; system messages do not count.

    ``role`` is what the other file is for: ``validation``, ``test``, ``few-shot`` or ``corpus``. The
    numbers are rows of training. A row is compared with a whole document of a corpus, not with its parts.
    """
    meeting = MEETINGS[role]
    here, there = training.fingerprints, other.fingerprints
    places = earliest(there["asked"], here["asked"])
    for place, rows in by_place(places, places >= 0):
        message = f"{_origin(there, place, other_source)} asks the same, {meeting.then}"
        yield Finding(meeting.level, "overlap", "", message, meeting.fix), here["number"][rows].tolist()
    yield from _near_overlap(here, np.flatnonzero(places < 0), training_source, there, other_source, meeting)
    places = earliest(there["group"], here["group"])
    for place, rows in by_place(places, places >= 0):
        message = f"the same {training.group} is at {_origin(there, place, other_source)}, {meeting.then}"
        fix = f"split by {training.group}"
        yield Finding(meeting.level, "same_group", "", message, fix), here["number"][rows].tolist()


def _near_overlap(
    here: Fingerprints,
    rows: Positions,
    source: RowSource,
    there: Fingerprints,
    other_source: RowSource,
    meeting: Meeting,
) -> Iterator[Found]:
    """Rows that are close to one of the others, and ask the same as none."""
    column = meeting.compared

    @lru_cache(REMEMBERED)
    def read(place: int) -> frozenset[int]:
        return _pieces(other_source.row(int(there["number"][place])), column)

    different = np.unique(earliest(there["asked"], there["asked"]))
    different = different[different >= 0]
    alike: dict[Finding, list[int]] = {}
    for position, candidates in across(here[column], rows, there[column], different, LEAK):
        number = int(here["number"][position])
        row = source.row(number)
        compared = _pieces(row, column)
        similarity, nearest = max((jaccard(compared, read(place)), -place) for place in candidates.tolist())
        if similarity < LEAK:
            continue
        place = -nearest
        message = f"{_origin(there, place, other_source)} is at least {tens(similarity)} % the same"
        level, fix = meeting.level, meeting.fix
        if column == "text":
            message += f", {meeting.then}"
        elif here["answer"][position] == there["answer"][place]:
            message += f" with the same answer, {meeting.then}"
        elif len(normalised(texts_of(row).asked).split()) < FEWEST:
            continue  # a short question with another answer: another value in the same template
        else:
            message += " with another answer"
            level = "info" if level == "info" else "warning"
            fix = (
                "keep both if only the values of a template are the same, else take it out of one of the two"
            )
        alike.setdefault(Finding(level, "near_overlap", "", message, fix), []).append(number)
    yield from alike.items()


def _pieces(row: Row, column: str) -> frozenset[int]:
    texts = texts_of(row)
    if column == "prompt":
        return pieces(texts.asked)
    return frozenset().union(*map(pieces, (texts.asked, texts.answer, texts.rejected)))
