"""What people prefer: the win rate with its interval and p-value, and how reliable the raters are.

Works on ratings read from their file, without a widget. An LLM judge's ratings are reported beside those of
people, never mixed with them. Also preference pairs for direct preference optimization (DPO).
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from workbench.dataset.dataset import TOOLS, Dataset, Example, counted
from workbench.dataset.preference_pairs import Scored, pairs_from_samples
from workbench.display import table
from workbench.errors import DataError
from workbench.evaluation.agreement import Accord, accord
from workbench.evaluation.evaluation import Evaluation
from workbench.evaluation.ratings import Match, Matches, Rater, Rating, Ratings, Side, matches
from workbench.evaluation.statistics import Interval, interval_of, sign_test

if TYPE_CHECKING:
    import pandas

# The win rate, its interval, and position bias. Each question counts once, however many rated it; questions
# of one cluster (a document, a conversation) widen the interval.

FAIR_PLACE = (0.45, 0.55)  # the share of picks that fall on the answer shown first, where place does nothing
CERTAIN = 0.05


@dataclass(frozen=True)
class Wins:
    """One value a question: 1 if the tuned answer was preferred, 0 if the base one, 0.5 for neither."""

    values: tuple[float, ...]
    clusters: tuple[str, ...] = ()
    """The cluster of each question; an empty name is a cluster of its own."""

    @property
    def rate(self) -> float:
        """The tuned model's win rate with ties as half a win; nan without a question."""
        return fmean(self.values) if self.values else math.nan

    @property
    def interval(self) -> Interval:
        """Its 95 % interval: Wilson's, for as many questions as these are worth (``effective``)."""
        return interval_of(self.values, self.clusters or ("",) * len(self.values))

    @property
    def decisive(self) -> "Wins":
        """Only the questions that were not tied, each for the side that more preferred."""
        kept = [(float(v > 0.5), c) for v, c in zip(self.values, self._clusters, strict=True) if v != 0.5]
        return Wins(tuple(value for value, _ in kept), tuple(cluster for _, cluster in kept))

    @property
    def for_tuned(self) -> int:
        """Questions on which more preferred the tuned answer."""
        return sum(value > 0.5 for value in self.values)

    @property
    def for_base(self) -> int:
        """Questions on which more preferred the base answer."""
        return sum(value < 0.5 for value in self.values)

    @cached_property
    def p_value(self) -> float:
        """The sign test, exact and two-sided: a vote each for question, or for cluster if there are any."""
        votes: defaultdict[str, float] = defaultdict(float)
        for value, cluster in zip(self.values, self._clusters, strict=True):
            votes[cluster] += value - 0.5
        return sign_test(sum(v > 0 for v in votes.values()), sum(v < 0 for v in votes.values()))

    @property
    def _clusters(self) -> tuple[str, ...]:
        given = self.clusters or ("",) * len(self.values)
        return tuple(cluster or f"question {place}" for place, cluster in enumerate(given))


@dataclass(frozen=True)
class Position:
    """How many picks fell on the answer that was shown first."""

    first: int
    decisive: int
    """All picks of one of the two answers."""
    p_value: float

    @property
    def share(self) -> float:
        """Of the picks, from 0 to 1; nan without a pick. About a half is right."""
        return self.first / self.decisive if self.decisive else math.nan

    @property
    def is_biased(self) -> bool:
        """Outside 0.45 to 0.55 with p below 0.05: then the place has decided, and not the answer alone.

        In judges this bias is systematic, and largest where answers are close (arXiv 2406.07791).
        """
        low, high = FAIR_PLACE
        return bool(self.decisive) and not low <= self.share <= high and self.p_value < CERTAIN

    def __str__(self) -> str:
        """The share with its p."""
        if not self.decisive:
            return "no pick yet"
        told = f"{percent(self.share)}, {p_told(self.p_value)}"
        return f"{self.first} of {self.decisive} picks were shown first ({told})"


def position(firsts: Sequence[bool]) -> Position:
    """Count the picks of what was shown first, where each question was seen in one order drawn by lot."""
    first = sum(firsts)
    return Position(first, len(firsts), sign_test(first, len(firsts) - first))


def percent(share: float) -> str:
    """``63.3 %``."""
    return "–" if math.isnan(share) else f"{100 * share:.1f} %"


def p_told(p: float) -> str:
    """``p = 0.03``."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


_SHOWN = 5  # disagreements under a summary; all of them are in .disagreements
_COLUMNS = (
    "origin",
    "question",
    "base_answer",
    "tuned_answer",
    "rater",
    "by",
    "choice",
    "first",
    "note",
    "at",
)


class Rated(NamedTuple):
    """A match, and what one rater thinks of it."""

    match: Match
    rating: Rating


@dataclass(frozen=True)
class Preferences:
    """The ratings of two models' answers by people, or by judges."""

    matches: Matches
    ratings: tuple[Rated, ...]
    """Of all raters, the latest of each; what was skipped is none."""
    by: Rater = "person"
    """Whose ratings count here."""

    @cached_property
    def counted(self) -> tuple[Rated, ...]:
        """The ratings that count here."""
        return tuple(rated for rated in self.ratings if rated.rating.by == self.by)

    @property
    def raters(self) -> tuple[str, ...]:
        """Who rated, by name; a nameless rater has the empty name."""
        return tuple(dict.fromkeys(rated.rating.rater for rated in self.counted))

    @cached_property
    def values(self) -> Mapping[Match, float]:
        """What the raters of a question think on average, from 0 for the base answer to 1 for the tuned."""
        return {match: fmean(r.value for r in ratings) for match, ratings in _by_match(self.counted).items()}

    @cached_property
    def wins(self) -> Wins:
        """The values of all rated questions, with their clusters."""
        return Wins(tuple(self.values.values()), tuple(m.cluster or m.question for m in self.values))

    @property
    def win_rate(self) -> float:
        """How often the tuned answer is preferred where the two differ, with ties as half; nan without."""
        return self.wins.rate

    @cached_property
    def position(self) -> Position:
        """Whether people chose what was shown first; a judge's places are in ``Judged``."""
        ratings = (rated.rating for rated in self.counted)
        return position([r.choice == r.first for r in ratings if r.first and r.choice in ("base", "tuned")])

    @cached_property
    def agreement(self) -> Accord | None:
        """How far the raters agree where two or more rated the same question; None where none did."""
        return accord({rater: _choices(self._of(rater)) for rater in self.raters})

    @cached_property
    def judge_agreement(self) -> Accord | None:
        """How far judges agree with people on questions that both rated: the majority of each."""
        sides: dict[Rater, dict[Match, str]] = {"person": {}, "judge": {}}
        for by, said in sides.items():
            rated = [each for each in self.ratings if each.rating.by == by]
            said |= {m: _side(fmean(r.value for r in ratings)) for m, ratings in _by_match(rated).items()}
        return accord({"people": sides["person"], "the judge": sides["judge"]})

    @property
    def split(self) -> tuple[Match, ...]:
        """Questions on which one rater prefers the base answer and another the tuned one."""
        by_match = _by_match(self.counted)
        return tuple(m for m, ratings in by_match.items() if {"base", "tuned"} <= {r.choice for r in ratings})

    @property
    def disagreements(self) -> "pandas.DataFrame":
        """All ratings of the questions that the raters are split on."""
        split = set(self.split)
        return _frame([rated for rated in self.counted if rated.match in split])

    @property
    def frame(self) -> "pandas.DataFrame":
        """All ratings that count, one a row."""
        return _frame(self.counted)

    @property
    def verdict(self) -> str:
        """Say it in a sentence, with the numbers."""
        who = "people" if self.by == "person" else "the judge"
        if not self.counted:
            asked = counted(len(self.matches.asked), "question")
            return f"No rating by {who} yet; {asked} answered differently, {self.matches.same:,} alike."
        wins, p = self.wins, self.wins.p_value
        split = f"{wins.for_tuned} to {wins.for_base}, sign test {p_told(p)}"
        numbers = f"the tuned model wins {percent(wins.rate)} with ties as half, {split}"
        if p > CERTAIN:
            return f"Neither is clearly preferred by {who}: {numbers}."
        return f"The {'tuned' if wins.rate > 0.5 else 'base'} model is preferred by {who}: {numbers}."

    @property
    def findings(self) -> tuple[str, ...]:
        """What speaks against believing the numbers as they are."""
        return tuple(self._findings())

    def __repr__(self) -> str:
        """Show the verdict."""
        return f"<Preferences: {self.verdict}>"

    def _repr_html_(self) -> str:
        summary = table(self.verdict, ("measure", "value"), self._rows())
        split = self.split
        if not split:
            return summary
        shown = [(m.origin, m.question, m.base, m.tuned, self._told(m)) for m in split[:_SHOWN]]
        caption = (
            f"{len(shown)} of {counted(len(split), 'question')} that split the raters; see .disagreements"
        )
        columns = ("origin", "question", self.matches.base, self.matches.tuned, "who prefers what")
        return summary + table(caption, columns, shown)

    def _rows(self) -> Iterator[tuple[str, str]]:
        wins, sides = self.wins, (self.matches.tuned, self.matches.base)
        yield "compared", f"tuned: {sides[0]}; base: {sides[1]}"
        yield (
            "rated",
            f"{len(self.values):,} of {counted(len(self.matches.asked), 'question')} answered differently",
        )
        if self.counted:
            choices = Counter(rated.rating.choice for rated in self.counted)
            yield "choices", ", ".join(f"{choice} {number}" for choice, number in choices.most_common())
            yield (
                "win rate of the tuned model, ties as half",
                f"{percent(wins.rate)} (95 % interval {wins.interval})",
            )
            decisive = wins.decisive
            if decisive.values:
                told = (
                    f"{percent(decisive.rate)} of {len(decisive.values)} (95 % interval {decisive.interval})"
                )
                yield "without ties", told
            yield "sign test", p_told(wins.p_value)
            if self.by == "person":
                yield "place", str(self.position)
        if self.agreement:
            yield f"agreement of {len(self.raters)} raters", str(self.agreement)
        if self.judge_agreement:
            yield "agreement of judge and people", str(self.judge_agreement)
        yield from (("finding", finding) for finding in self._findings())

    def _findings(self) -> Iterator[str]:
        if self.matches.alone:
            alone = counted(self.matches.alone, "question")
            yield f"Only one of the two answered {alone}, which nobody can compare."
        if self.position.is_biased:
            yield f"The place decided: {self.position}. Rate again with another seed, or by other people."
        for agreed in (self.agreement, self.judge_agreement):
            if agreed and agreed.finding:
                yield agreed.finding

    def _of(self, rater: str) -> list[Rated]:
        return [rated for rated in self.counted if rated.rating.rater == rater]

    def _told(self, match: Match) -> str:
        said = (r.rating for r in self.counted if r.match == match)
        return ", ".join(f"{rating.rater or 'no name'}: {rating.choice}" for rating in said)


def preferences(
    base: Evaluation, tuned: Evaluation, ratings: Ratings, *, by: Rater = "person"
) -> Preferences:
    """Which model's answers are preferred, by all that was rated so far; ``by`` judges or people."""
    found, latest = matches(base, tuned), ratings.latest
    by_key = {match.key: match for match in found.asked}
    rated = [Rated(by_key[key], rating) for (key, _), rating in latest.items() if key in by_key]
    return Preferences(found, tuple(each for each in rated if each.rating.choice != "skip"), by)


def _by_match(ratings: Sequence[Rated]) -> dict[Match, list[Rating]]:
    found: dict[Match, list[Rating]] = {}
    for match, rating in ratings:
        found.setdefault(match, []).append(rating)
    return found


def _choices(ratings: Sequence[Rated]) -> dict[Match, str]:
    return {match: _side(rating.value) for match, rating in ratings}


def _side(value: float) -> str:
    return "tuned" if value > 0.5 else "base" if value < 0.5 else "neither"


def _frame(ratings: Sequence[Rated]) -> "pandas.DataFrame":
    import pandas

    rows = [
        (m.origin, m.question, m.base, m.tuned, r.rater, r.by, r.choice, r.first, r.note, r.at)
        for m, r in ratings
    ]
    return pandas.DataFrame(rows, columns=list(_COLUMNS))


# Preference pairs of what people chose, for direct preference optimization (DPO).


def pairs(preferences: Preferences, dataset: Dataset) -> Dataset:
    """Make a pair of each question on which more raters preferred one answer: that one, and the other.

    ``dataset`` is the one that was evaluated; each pair has its prompt, tools included. Ties, "both bad"
    and even splits give none. A pair's metadata holds how the raters were split (``preferred_score``,
    from 0.5 to 1) and, where one person rated, whether the preferred answer stood first, so that
    ``bias`` can look for what they have in common. Raises ``DataError`` when nothing was preferred, or
    when a question is not in ``dataset``.
    """
    prompts = {(example.origin, example.question): example for example in dataset}
    shown = _shown_first(preferences)
    made: list[Example] = []
    for match, value in preferences.values.items():
        if value != 0.5:
            example = prompts.get((match.origin, match.question))
            if example is None:
                raise DataError(
                    f"{dataset.name} has no example {match.origin} with the question that was rated; "
                    "give the dataset that was evaluated."
                )
            made += _pair(match, value, shown[match], example)
    if not made:
        raise DataError(f"No pair: no answer was preferred. {preferences.verdict}")
    undecided = len(preferences.values) - len(made)
    notes = (f"{counted(undecided, 'question')} gave no pair: no answer was preferred",) if undecided else ()
    return Dataset(f"{dataset.name} (preferred)", tuple(made), notes)


def _shown_first(preferences: Preferences) -> dict[Match, Side | None]:
    """Whose answer was shown first; None where raters saw both orders."""
    shown: dict[Match, set[Side | None]] = {}
    for match, rating in preferences.counted:
        shown.setdefault(match, set()).add(rating.first)
    return {match: firsts.pop() if len(firsts) == 1 else None for match, firsts in shown.items()}


def _pair(match: Match, value: float, first: Side | None, example: Example) -> Iterator[Example]:
    """One pair; made question by question, as scores of different questions do not compare."""
    sides = (("base", match.base, 1 - value), ("tuned", match.tuned, value))
    answers = [
        Scored(example.prompt, text, score, match.origin, {**example.metadata, "preferred_from": side})
        for side, text, score in (sides if first != "tuned" else sides[::-1])
    ]
    beside = {key: value for key, value in example.more.items() if key in TOOLS}
    for pair in pairs_from_samples(answers, name=match.origin):
        metadata = dict(pair.metadata)
        if first is None:
            del metadata["preferred_first"]
        yield replace(pair, more={**beside, **pair.more}, metadata=metadata)
