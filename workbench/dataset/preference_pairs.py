"""Preference pairs: which of two answers is better, from ratings or from scored samples.

Two columns of better and worse answers need nothing from here: ``read(preferred=, rejected=)`` takes them.
``bias`` says what else than quality the preferred answers have in common, ``likeness`` whether the answers
are ones that the model could give.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from statistics import median
from types import MappingProxyType
from typing import Literal, NamedTuple

from workbench.dataset.dataset import (
    JSON,
    Dataset,
    Example,
    Message,
    counted,
    identity,
    items_of,
    mapping_of,
    text_of,
)
from workbench.display import Shown, Table, table
from workbench.errors import DataError
from workbench.evaluation.graders.grader_types import similarity

LONGER, CERTAIN = 0.65, 0.01  # the share of longer answers, and the chance that it is one, to warn from


class Scored(NamedTuple):
    """One answer to a prompt, and how good it is; the larger the better, on any scale."""

    prompt: tuple[Message, ...]
    answer: str
    score: float
    origin: str
    metadata: Mapping[str, JSON] = MappingProxyType({})
    """What the pair keeps of it, when it is the preferred one."""


def pairs_from_ratings(
    dataset: Dataset, rating: str, *, margin: float = 0.0, pairs_per_prompt: int | None = 1
) -> Dataset:
    """Make pairs of answers that people have rated: rows with the same prompt and a number each.

    ``rating`` is a column of the metadata; rows without a rating are left out. See ``pairs_from_samples``.
    """
    ratings = dataset.column(rating)
    samples = [
        Scored(
            example.prompt,
            example.answer,
            _number(value, rating, example.origin),
            example.origin,
            {key: kept for key, kept in example.metadata.items() if key != rating},
        )
        for example, value in zip(dataset, ratings, strict=True)
        if value not in (None, "")
    ]
    made = pairs_from_samples(samples, name=dataset.name, margin=margin, pairs_per_prompt=pairs_per_prompt)
    unrated = len(dataset) - len(samples)
    note = (f"{counted(unrated, 'row')} without a {rating} left out",) if unrated else ()
    return Dataset(made.name, made.examples, (*dataset.notes, *note, *made.notes))


def pairs_from_samples(
    samples: Iterable[Scored], *, name: str, margin: float = 0.0, pairs_per_prompt: int | None = 1
) -> Dataset:
    """Make pairs of answers to the same prompt, for instance several samples that a grader has scored.

    The widest ``pairs_per_prompt`` are taken, so 1 is the best answer against the worst; ``None`` takes
    all. Scores at least ``margin`` apart make a pair; equal scores, or equal answers, never do. A pair
    has the origin of its preferred answer; the other's origin and both scores are in its metadata.
    """
    if math.isnan(margin) or margin < 0:
        raise DataError(f"margin is {margin}; give how far apart two scores must be at least, such as 1.")
    by_prompt: dict[str, list[Scored]] = {}
    for sample in samples:
        if not math.isfinite(sample.score):
            raise DataError(f"{sample.origin}: the score is {sample.score}; it should be a number.")
        by_prompt.setdefault(identity(sample.prompt), []).append(sample)
    examples: list[Example] = []
    without = 0
    for answers in by_prompt.values():
        pairs = sorted(_pairs(answers, margin), key=lambda pair: pair[1].score - pair[0].score)
        without += not pairs
        examples += [_example(better, worse, answers) for better, worse in pairs[:pairs_per_prompt]]
    if not examples:
        apart = f"{margin:g} or more apart" if margin else "that differ"
        raise DataError(
            f"{name} gives no pair: none of {counted(len(by_prompt), 'prompt')} has two different answers "
            f"with scores {apart}; sample more answers."
        )
    note = (f"{counted(without, 'prompt')} gave no pair: one answer only, ties, or too close",)
    return Dataset(f"{name} (pairs)", tuple(examples), note if without else ())


@dataclass(frozen=True, repr=False)
class Bias:
    """What a model could learn from the pairs instead of quality: to write more, or to come first."""

    name: str
    pairs: int
    longer: int
    """Pairs whose preferred answer has more characters."""
    shorter: int
    reversed_origins: tuple[tuple[str, str], ...]
    """Pairs that contradict each other: the same prompt, preferred and rejected swapped."""
    first: int
    """Pairs whose preferred answer stood first in the source, where that is known."""
    placed: int
    """Pairs of which that is known."""
    differences: tuple[int, ...] = ()
    """How many characters longer than the rejected answer the preferred one is, a number a pair."""

    @property
    def share_longer(self) -> float | None:
        """Of the pairs that differ in length, how many prefer the longer answer."""
        return self.longer / (self.longer + self.shorter) if self.longer + self.shorter else None

    @property
    def share_first(self) -> float | None:
        """Of the pairs whose order is known, how many prefer the first answer; about half is right."""
        return self.first / self.placed if self.placed else None

    @cached_property
    def p_longer(self) -> float | None:
        """The chance of as many longer ones, or more, by a coin (binomial test, one-sided)."""
        return _by_chance(self.longer, self.longer + self.shorter, "greater")

    @cached_property
    def p_first(self) -> float | None:
        """The chance of a share as far from a half by a coin (binomial test, two-sided)."""
        return _by_chance(self.first, self.placed, "two-sided")

    @property
    def is_long(self) -> bool:
        """Whether length is preferred: share ``LONGER`` or more with p below ``CERTAIN``.

        Answers 5 % longer than the rejected ones already made a model trained with DPO much wordier
        (Park et al. 2024, Disentangling Length from Quality in DPO, arXiv 2403.19159).
        """
        share, p = self.share_longer, self.p_longer
        return share is not None and p is not None and share >= LONGER and p < CERTAIN

    @property
    def is_placed(self) -> bool:
        """Whether the place in the source is preferred, whichever: p below ``CERTAIN``."""
        return self.p_first is not None and self.p_first < CERTAIN

    def __str__(self) -> str:
        """The findings as one line."""
        return f"{self.name}: " + "; ".join(f"{what} {value} ({say})" for what, value, say in self._rows())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return table(
            f"{self.name}: {counted(self.pairs, 'pair')}", ("bias", "found", "verdict"), self._rows()
        )

    def _rows(self) -> Iterator[tuple[str, str, str]]:
        long = "length is preferred; balance the lengths" if self.is_long else "no finding"
        yield "preferred is longer", _share(self.share_longer, self.p_longer), long
        swapped = "decide which one is right" if self.reversed_origins else "no finding"
        yield "reversed elsewhere", counted(len(self.reversed_origins), "pair"), swapped
        placed = "the place is preferred; judge both orders" if self.is_placed else "no finding"
        yield "preferred stood first", _share(self.share_first, self.p_first), placed


def bias(dataset: Dataset) -> Bias:
    """Look for what the preferred answers share beside being better: length, order, contradictions."""
    texts = [(identity(example.messages), *_outputs(example)) for example in dataset]
    if any(example.method != "dpo" for example in dataset):
        wrong = next(example.origin for example in dataset if example.method != "dpo")
        raise DataError(f"{wrong} is no preference pair; bias looks at pairs only.")
    differences = tuple(len(better) - len(worse) for _, better, worse in texts)
    lengths = Counter((more > 0) - (more < 0) for more in differences)
    seen: dict[tuple[str, str, str], str] = {}
    reversed_origins = []
    for example, (prompt, better, worse) in zip(dataset, texts, strict=True):
        other = seen.get((prompt, worse, better))
        if other is not None and better != worse:
            reversed_origins.append((other, example.origin))
        seen.setdefault((prompt, better, worse), example.origin)
    places = [example.metadata.get("preferred_first") for example in dataset]
    known = [place for place in places if isinstance(place, bool)]
    return Bias(
        *(dataset.name, len(dataset), lengths[1], lengths[-1], tuple(reversed_origins)),
        *(sum(known), len(known), differences),
    )


# Whether both answers are ones that the model could give. One that it would never give is easily made less
# likely, which teaches little; and where it says what is preferred already, there is little to learn.

FAR, KNOWN = 0.2, 0.8
"""ROUGE-L with the model's own answer below which an answer is far from it, and from which on it is what the
model says already (both proposals of ours)."""


@dataclass(frozen=True, repr=False)
class Likeness(Shown):
    """How like the two answers of each pair are to what the model itself says: ROUGE-L, from 0 to 1."""

    model: str
    pairs: Dataset
    own: tuple[str, ...]
    """What the model says, an answer for each pair."""

    @cached_property
    def preferred(self) -> tuple[float, ...]:
        """How like the preferred answers are."""
        return tuple(_alike(_outputs(pair)[0], own) for pair, own in zip(self.pairs, self.own, strict=True))

    @cached_property
    def rejected(self) -> tuple[float, ...]:
        """How like the rejected answers are."""
        return tuple(_alike(_outputs(pair)[1], own) for pair, own in zip(self.pairs, self.own, strict=True))

    @property
    def finding(self) -> str:
        """What is wrong with them, and the way out; empty where nothing is."""
        preferred, rejected = median(self.preferred), median(self.rejected)
        if max(preferred, rejected) < FAR:
            return (
                "the model says something else than either answer, so preferences move it far or not at all: "
                "fine-tune on the preferred answers first, or make pairs of answers of its own"
            )
        if preferred >= KNOWN and preferred > rejected:
            return "the model says what is preferred already, so there is little to learn"
        if rejected < FAR:
            return (
                "the rejected answers are none that the model would give, so they teach little: take worse "
                "answers of its own"
            )
        return ""

    @property
    def verdict(self) -> str:
        """Say it in a sentence, with the numbers."""
        numbers = (
            f"{self.model}'s own answers to {counted(len(self.own), 'question')} are like the preferred ones "
            f"by {median(self.preferred):.2f} and like the rejected ones by {median(self.rejected):.2f} "
            "(median of ROUGE-L)"
        )
        return f"{numbers}: {self.finding or 'both answers are plausible'}."

    def __str__(self) -> str:
        """The verdict."""
        return self.verdict

    def tables(self) -> Iterator[Table]:
        """The pairs that are least like what the model says, first."""
        order = sorted(range(len(self.own)), key=lambda place: self.preferred[place] + self.rejected[place])
        rows = [
            (
                *(self.pairs[place].origin, self.pairs[place].question, *_outputs(self.pairs[place])),
                *(self.own[place], f"{self.preferred[place]:.2f}", f"{self.rejected[place]:.2f}"),
            )
            for place in order[:_SHOWN]
        ]
        columns = ("origin", "question", "preferred", "rejected", "the model says", "like preferred")
        yield self.verdict, (*columns, "like rejected"), rows


_SHOWN = 5  # pairs under a verdict


def likeness(model: str, pairs: Dataset, own: Sequence[str]) -> Likeness:
    """Compare each pair with the model's own answer to its question: is either one that it could give?"""
    if not own or len(own) != len(pairs):
        raise DataError(f"{counted(len(pairs), 'pair')} and {counted(len(own), 'answer')}; give one each.")
    return Likeness(model, pairs, tuple(own))


def _alike(answer: str, own: str) -> float:
    return similarity("rouge_l", answer, own)


def _number(value: JSON, rating: str, origin: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    try:
        return float(value) if isinstance(value, str) else math.nan
    except ValueError:
        raise DataError(f"{origin}: the {rating} is {value!r}; it should be a number.") from None


def _pairs(answers: Sequence[Scored], margin: float) -> Iterator[tuple[Scored, Scored]]:
    for one, other in combinations(answers, 2):
        better, worse = (one, other) if one.score > other.score else (other, one)
        apart = better.score - worse.score
        if apart > 0 and apart >= margin and better.answer != worse.answer:
            yield better, worse


def _example(better: Scored, worse: Scored, answers: Sequence[Scored]) -> Example:
    more: dict[str, JSON] = {
        "preferred_output": [{"role": "assistant", "content": better.answer}],
        "non_preferred_output": [{"role": "assistant", "content": worse.answer}],
    }
    metadata: dict[str, JSON] = {
        **better.metadata,
        "rejected_origin": worse.origin,
        "preferred_score": better.score,
        "rejected_score": worse.score,
        "preferred_first": answers.index(better) < answers.index(worse),
    }
    return Example(better.prompt, better.origin, more, metadata)


def rejected_answer(pair: Example) -> str:
    """What the model should rather not say: the last message of the pair's rejected output."""
    rejected = items_of(pair.more.get("non_preferred_output"))
    return text_of(mapping_of(rejected[-1])) if rejected else ""


def _outputs(pair: Example) -> tuple[str, str]:
    return pair.answer, rejected_answer(pair)


def _by_chance(hits: int, of: int, alternative: Literal["greater", "two-sided"]) -> float | None:
    if not of:
        return None
    from scipy.stats import binomtest

    return float(binomtest(hits, of, 0.5, alternative=alternative).pvalue)


def _share(share: float | None, p: float | None) -> str:
    return "not known" if share is None or p is None else f"{share:.0%}, p = {p:.2g}"
