"""Ratings: which answer somebody preferred, on disk before the next question comes.

They are lines of a file that only grows; of each rater the latest line about a
question counts. A question is known by its words and both answers, so a rating
is found again after a restart, a new measurement or a different sample.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Literal, TypeAlias, cast, get_args

from workbench import journal
from workbench.dataset.examples import counted
from workbench.errors import DataError
from workbench.evaluation.preferring.matches import SIDES, Match, Side
from workbench.tables import table

Choice: TypeAlias = Literal["base", "tuned", "tie", "both bad", "skip"]
CHOICES: tuple[Choice, ...] = get_args(Choice)
Rater: TypeAlias = Literal["person", "judge"]
RATERS: tuple[Rater, ...] = get_args(Rater)


@dataclass(frozen=True)
class Rating:
    """What one rater thinks of one match."""

    choice: Choice
    first: Side | None
    """Whose answer was shown first, on the left; None for a judge, who read both orders."""
    rater: str = ""
    """A name, if somebody gave one; of a judge the model."""
    by: Rater = "person"
    note: str = ""
    at: str = ""
    """UTC, ISO 8601."""

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        if self.choice not in CHOICES:
            raise DataError(f"There is no choice {self.choice!r}; there are {', '.join(CHOICES)}.")
        if self.by not in RATERS:
            raise DataError(f"{self.by!r} rates nothing; a rating is by {' or '.join(RATERS)}.")
        if self.first not in (*SIDES, None):
            raise DataError(f"{self.first!r} is no side; the first answer is {' or '.join(SIDES)}.")

    @property
    def value(self) -> float:
        """1 for the tuned model, 0 for the base model, 0.5 for neither."""
        return {"tuned": 1.0, "base": 0.0}.get(self.choice, 0.5)


class Ratings:
    """The latest rating of each match by each rater; what other kernels write shows up too."""

    def __init__(self, path: str | Path) -> None:
        """Nothing is read or written yet."""
        self.path = Path(path)
        self._read: tuple[int, Mapping[tuple[str, str], Rating]] = (0, {})  # bytes, and what they say

    @property
    def latest(self) -> Mapping[tuple[str, str], Rating]:
        """What counts now, by match and rater; the one given last stands at the end."""
        size = self.path.stat().st_size if self.path.is_file() else 0
        if size != self._read[0]:  # it only grows
            self._read = (size, MappingProxyType(self._all()))
        return self._read[1]

    def rate(
        self,
        match: Match,
        choice: Choice,
        *,
        first: Side | None,
        rater: str = "",
        by: Rater = "person",
        note: str = "",
    ) -> Rating:
        """Keep a rating, in place of this rater's last one; it is on disk when this returns."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        rating = Rating(choice, first, rater, by, note, now)
        self._append({"match": match.key, **asdict(rating)})
        return rating

    def forget(self, match: Match, *, rater: str = "") -> None:
        """Take a rating back; the file still tells that it was."""
        self._append({"match": match.key, "rater": rater, "choice": None})

    def __repr__(self) -> str:
        """How many, by how many."""
        latest = self.latest
        raters = {rating.rater for rating in latest.values()}
        return (
            f"Ratings({self.path.name}: {counted(len(latest), 'rating')} by {counted(len(raters), 'rater')})"
        )

    def _repr_html_(self) -> str:
        latest = list(self.latest.values())
        rows = []
        for rater, by in dict.fromkeys((rating.rater, rating.by) for rating in latest):
            theirs = [rating for rating in latest if (rating.rater, rating.by) == (rater, by)]
            counts = [sum(rating.choice == choice for rating in theirs) for choice in CHOICES]
            rows.append((rater or "no name given", by, *counts, theirs[-1].at[:16].replace("T", " ")))
        return table(repr(self), ("rater", "", *CHOICES, "last (UTC)"), rows)

    def _all(self) -> dict[tuple[str, str], Rating]:
        found: dict[tuple[str, str], Rating] = {}
        for line in journal.objects(self.path):
            match, rater = str(line.get("match")), str(line.get("rater", ""))
            found.pop((match, rater), None)
            if line.get("choice") is not None:
                found[match, rater] = self._rating(line)
        return found

    def _append(self, facts: Mapping[str, object]) -> None:
        text = json.dumps(facts, ensure_ascii=False)
        journal.append(self.path, text.encode(errors="replace"))

    def _rating(self, line: Mapping[str, object]) -> Rating:
        first = line.get("first")
        try:
            return Rating(
                cast(Choice, line["choice"]),
                None if first is None else cast(Side, first),
                str(line.get("rater", "")),
                cast(Rater, line.get("by", "person")),
                str(line.get("note", "")),
                str(line.get("at", "")),
            )
        except DataError as error:
            raise DataError(f"{self.path} holds a line that is no rating: {error} Remove it.") from error
