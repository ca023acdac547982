"""What people prefer: the win rate with its interval and p-value, and how reliable the raters are.

Works on ratings read from their file, without a widget. An LLM judge's ratings are reported beside those of
people, never mixed with them. Also preference pairs for direct preference optimization (DPO).
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from workbench.dataset.dataset import TOOLS, Dataset, Example, counted
from workbench.dataset.preference_pairs import Scored, pairs_from_samples
from workbench.display import Shown, Table
from workbench.errors import DataError
from workbench.evaluation.agreement import Accord, accord
from workbench.evaluation.evaluation import Evaluation
from workbench.evaluation.ratings import RATERS, AnswerPair, Matches, Rater, Rating, Ratings, Side, matches
from workbench.evaluation.statistics import Interval, interval_of, p_in_words, sign_test

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
        """Its 95 % interval: Wilson's, for as many questions as these are worth (``effective_items``)."""
        return interval_of(self.values, self.clusters or ("",) * len(self.values))

    @property
    def decided(self) -> tuple[int, int, int]:
        """Questions on which more preferred the tuned answer, more the base answer, and neither."""
        tuned, base = (sum(value > 0.5 for value in self.values), sum(value < 0.5 for value in self.values))
        return tuned, base, len(self.values) - tuned - base

    @cached_property
    def p_value(self) -> float:
        """The sign test, exact and two-sided: a vote each for question, or for cluster if there are any."""
        votes: dict[object, float] = {}
        clusters = self.clusters or ("",) * len(self.values)
        for place, (value, cluster) in enumerate(zip(self.values, clusters, strict=True)):
            votes[cluster or place] = votes.get(cluster or place, 0.0) + value - 0.5
        return sign_test(sum(v > 0 for v in votes.values()), sum(v < 0 for v in votes.values()))


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
        numbers = f"{percent(self.share)}, {p_in_words(self.p_value)}"
        return f"{self.first} of {self.decisive} picks were shown first ({numbers})"


def position(firsts: Sequence[bool]) -> Position:
    """Count the picks of what was shown first, where each question was seen in one order drawn by lot."""
    first = sum(firsts)
    return Position(first, len(firsts), sign_test(first, len(firsts) - first))


def percent(share: float) -> str:
    """``63.3 %``."""
    return "–" if math.isnan(share) else f"{100 * share:.1f} %"


_SHOWN = 5  # disagreements under a summary; all of them are in .disagreements


class Rated(NamedTuple):
    """A match, and what one rater thinks of it."""

    match: AnswerPair
    rating: Rating


@dataclass(frozen=True, repr=False)
class Preferences(Shown):
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
    def values(self) -> Mapping[AnswerPair, float]:
        """What the raters of a question think on average, from 0 for the base answer to 1 for the tuned."""
        return {match: fmean(r.value for r in ratings) for match, ratings in _by_match(self.counted).items()}

    @cached_property
    def wins(self) -> Wins:
        """The values of all rated questions, with their clusters; ``rate`` counts ties as half."""
        return Wins(tuple(self.values.values()), tuple(m.cluster or m.question for m in self.values))

    @cached_property
    def position(self) -> Position:
        """Whether people chose what was shown first; a judge's places are in ``JudgedPairs``."""
        ratings = (rated.rating for rated in self.counted)
        return position([r.choice == r.first for r in ratings if r.first and r.choice in ("base", "tuned")])

    @cached_property
    def agreement(self) -> Accord | None:
        """How far the raters agree where two or more rated the same question; None where none did."""
        return accord(
            {rater: {m: _side(r.value) for m, r in self.counted if r.rater == rater} for rater in self.raters}
        )

    @cached_property
    def judge_agreement(self) -> Accord | None:
        """How far judges agree with people on questions that both rated: the majority of each."""
        people, judge = (replace(self, by=by).values for by in RATERS)
        sides = {"people": people, "the judge": judge}
        return accord({who: {m: _side(v) for m, v in values.items()} for who, values in sides.items()})

    @property
    def split(self) -> tuple[AnswerPair, ...]:
        """Questions on which one rater prefers the base answer and another the tuned one."""
        by_match = _by_match(self.counted)
        return tuple(m for m, ratings in by_match.items() if {"base", "tuned"} <= {r.choice for r in ratings})

    @property
    def disagreements(self) -> "pandas.DataFrame":
        """All ratings of the questions that the raters are split on, one a row."""
        import pandas

        split = set(self.split)
        rows = [
            {**vars(match), "base_answer": match.base, "tuned_answer": match.tuned, **vars(rating)}
            for match, rating in self.counted
            if match in split
        ]
        columns = ["origin", "question", "base_answer", "tuned_answer"]
        columns += ["rater", "by", "choice", "first", "note", "at"]
        return pandas.DataFrame(rows, columns=columns)

    @property
    def verdict(self) -> str:
        """Say it in a sentence, with the numbers."""
        who = "people" if self.by == "person" else "the judge"
        if not self.counted:
            asked = counted(len(self.matches.asked), "question")
            return f"No rating by {who} yet; {asked} answered differently, {self.matches.same:,} alike."
        wins, p = self.wins, self.wins.p_value
        tuned, base, _ = wins.decided
        split = f"{tuned} to {base}, sign test {p_in_words(p)}"
        numbers = f"the tuned model wins {percent(wins.rate)} with ties as half, {split}"
        if p > CERTAIN:
            return f"Neither is clearly preferred by {who}: {numbers}."
        return f"The {'tuned' if wins.rate > 0.5 else 'base'} model is preferred by {who}: {numbers}."

    @property
    def findings(self) -> tuple[str, ...]:
        """What speaks against believing the numbers as they are."""
        found = []
        if self.matches.alone:
            alone = counted(self.matches.alone, "question")
            found.append(f"Only one of the two answered {alone}, which nobody can compare.")
        if self.position.is_biased:
            again = "Rate again with another seed, or by other people."
            found.append(f"The place decided: {self.position}. {again}")
        agreed = filter(None, (self.agreement, self.judge_agreement))
        return (*found, *(each.finding for each in agreed if each.finding))

    def tables(self) -> Iterator[Table]:
        """The numbers, then questions that split the raters."""
        yield self.verdict, ("measure", "value"), self._rows()
        by_match = _by_match(self.counted)
        rows = []
        for match in self.split[:_SHOWN]:
            who = ", ".join(f"{r.rater or 'no name'}: {r.choice}" for r in by_match[match])
            rows.append((match.origin, match.question, match.base, match.tuned, who))
        of_all = f"{len(rows)} of {counted(len(self.split), 'question')}"
        columns = ("origin", "question", self.matches.base, self.matches.tuned, "who prefers what")
        yield f"{of_all} that split the raters; see .disagreements", columns, rows

    def _rows(self) -> Iterator[tuple[str, str]]:
        wins, asked = self.wins, counted(len(self.matches.asked), "question")
        yield "compared", f"tuned: {self.matches.tuned}; base: {self.matches.base}"
        yield "rated", f"{len(self.values):,} of {asked} answered differently"
        if self.counted:
            choices = Counter(rated.rating.choice for rated in self.counted)
            yield "choices", ", ".join(f"{choice} {number}" for choice, number in choices.most_common())
            rate = f"{percent(wins.rate)} (95 % interval {wins.interval})"
            yield "win rate of the tuned model, ties as half", rate
            yield "sign test", p_in_words(wins.p_value)
            if self.by == "person":
                yield "place", str(self.position)
        if self.agreement:
            yield f"agreement of {len(self.raters)} raters", str(self.agreement)
        if self.judge_agreement:
            yield "agreement of judge and people", str(self.judge_agreement)
        yield from (("finding", finding) for finding in self.findings)


def preferences(
    base: Evaluation, tuned: Evaluation, ratings: Ratings, *, by: Rater = "person"
) -> Preferences:
    """Which model's answers are preferred, by all that was rated so far; ``by`` judges or people."""
    found, latest = matches(base, tuned), ratings.latest
    by_key = {match.key: match for match in found.asked}
    rated = [Rated(by_key[key], rating) for (key, _), rating in latest.items() if key in by_key]
    return Preferences(found, tuple(each for each in rated if each.rating.choice != "skip"), by)


def _by_match(ratings: Sequence[Rated]) -> dict[AnswerPair, list[Rating]]:
    found: dict[AnswerPair, list[Rating]] = {}
    for match, rating in ratings:
        found.setdefault(match, []).append(rating)
    return found


def _side(value: float) -> str:
    return "tuned" if value > 0.5 else "base" if value < 0.5 else "neither"


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
    by_match = _by_match(preferences.counted)
    made: list[Example] = []
    for match, value in preferences.values.items():
        if value != 0.5:
            example = prompts.get((match.origin, match.question))
            if example is None:
                raise DataError(
                    f"{dataset.name} has no example {match.origin} with the question that was rated; "
                    "give the dataset that was evaluated."
                )
            firsts = {rating.first for rating in by_match[match]}
            made += _pair(match, value, firsts.pop() if len(firsts) == 1 else None, example)
    if not made:
        raise DataError(f"No pair: no answer was preferred. {preferences.verdict}")
    undecided = len(preferences.values) - len(made)
    notes = (f"{counted(undecided, 'question')} gave no pair: no answer was preferred",) if undecided else ()
    return Dataset(f"{dataset.name} (preferred)", tuple(made), notes)


def _pair(match: AnswerPair, value: float, first: Side | None, example: Example) -> Iterator[Example]:
    """One pair, question by question, as scores of different questions do not compare.

    ``first`` is None where raters saw both orders.
    """
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
