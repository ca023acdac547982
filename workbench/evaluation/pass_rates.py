"""Pass rates before a reinforcement job: can the model learn from its own answers to these prompts?

A reinforcement job learns from the differences between several answers to one prompt. Where all of them earn
the same, right or wrong, there is nothing to learn. So the answers that ``evaluate`` sampled are read here:
how many pass, how many groups would be mixed, which prompts teach nothing, which threshold tells answers
apart, and one verdict. Nothing here asks a model.
"""

import math
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from statistics import fmean
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from workbench.catalog.methods import group_size
from workbench.catalog.providers import provider_of
from workbench.dataset.dataset import Dataset, counted
from workbench.display import Shown, Table
from workbench.errors import DataError
from workbench.evaluation.evaluation import Evaluation, Item
from workbench.evaluation.grader_trial import GraderQuality
from workbench.evaluation.statistics import Interval, interval_of, wilson
from workbench.project import JSON

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from openai import OpenAI

    Floats = NDArray[np.float64]

NECESSARY = (0.05, 0.95)
"""Mean pass rates outside of these leave hardly a group with right and wrong answers (ours; OpenAI: a score
at the absolute minimum or maximum is of no use)."""
RECOMMENDED = (0.20, 0.80)
"""Where learning is fastest: the gain is bounded below by the variance of the reward (arXiv 2504.03380)."""
LEAST_MIXED = 0.20
"""The share of mixed groups below which most of the sampling is wasted (ours)."""
FAILING = (0.25, 0.50)
"""The share of the model's answers that should fail (Microsoft's fine-tuning skill, 2026-08-20)."""

Level: TypeAlias = Literal["cannot start", "can start", "good"]


# The share of mixed groups.


def mixed(p: float, group_size: int) -> float:
    """How probable it is that answers which pass with probability ``p`` neither all pass nor all fail."""
    return float(1 - p**group_size - (1 - p) ** group_size)


class MixedShare(NamedTuple):
    """The expected share of groups whose rewards differ; only they teach."""

    value: float
    """``nan`` where nothing was graded."""
    interval: Interval
    how: str
    """How it was estimated, in words."""
    at_least: bool = False
    """Whether it is a lower bound."""


def mixed_share(
    scores: Sequence[Sequence[float]], group_size: int, *, clusters: Sequence[str] | None = None
) -> MixedShare:
    """Estimate which share of groups of ``group_size`` answers would be mixed, from some scores a prompt.

    To put each prompt's own pass rate of ``k`` samples into 1 - p^G - (1-p)^G is wrong: the formula is
    concave, so the estimate is too low (four samples of a prompt with p = 0.9 all pass 66 times in 100, and
    would count as never mixed; eight of them are mixed 57 times in 100). So:

    With ``k >= G`` samples of every prompt, the share of all subsets of G of its samples that are mixed,
    C(k, G)^-1 sum over equal scores of C(n, G): unbiased, for any scores (Hoeffding 1948's U-statistic). With
    fewer there is no unbiased estimate of p^G. For right-or-wrong scores the pass rates are then taken to be
    spread as a beta distribution, whose precision is the most likely one (beta-binomial), with a percentile
    bootstrap over prompts, or over ``clusters`` of them. For scores in between, groups of ``k`` are counted
    instead: a lower bound.
    """
    groups = [each for each in scores if each]
    fewest = min(map(len, groups), default=0)
    if fewest < 1:
        return MixedShare(math.nan, Interval(math.nan, math.nan), "nothing was graded")
    within = (
        [""] * len(groups) if clusters is None else [c for c, s in zip(clusters, scores, strict=True) if s]
    )
    decided = all(score in (0, 1) for each in groups for score in each)
    if fewest < group_size and decided:
        return _beta_binomial(groups, group_size, within)
    shares = [_unequal(each, min(group_size, len(each))) for each in groups]
    how = f"counted among the sampled answers, {min(group_size, max(map(len, groups)))} at a time"
    return MixedShare(fmean(shares), interval_of(shares, within), how, fewest < group_size)


def _unequal(scores: Sequence[float], size: int) -> float:
    """The share of subsets of this size that hold different scores."""
    equal = sum(math.comb(often, size) for often in Counter(scores).values())
    return 1 - equal / math.comb(len(scores), size)


_DRAWS = 400


def _beta_binomial(groups: Sequence[Sequence[float]], group_size: int, clusters: Sequence[str]) -> MixedShare:
    import numpy as np

    members: dict[str | int, list[int]] = {}
    for place, cluster in enumerate(clusters):
        members.setdefault(cluster or place, []).append(place)
    places = [*members.values()]  # what is independent

    right = np.array([sum(each) for each in groups])
    asked = np.array([float(len(each)) for each in groups])
    value = _fitted(right, asked, group_size)
    draws = np.random.default_rng(0).integers(len(places), size=(_DRAWS, len(places)))
    samples = [np.concatenate([places[number] for number in draw]) for draw in draws]
    values = [_fitted(right[sample], asked[sample], group_size) for sample in samples]
    low, high = np.quantile(values, [0.025, 0.975])
    if right.sum() in (0, asked.sum()):
        # Nothing varied: with the largest pass rate that so many prompts do not exclude.
        high = mixed(wilson(0.0, len(places)).high, group_size)
    elif len(places) == 1:
        low, high = 0.0, 1.0  # one tells nothing of others
    how = (
        "from a beta distribution of the prompts' pass rates, as fewer answers were sampled than make a group"
    )
    return MixedShare(value, Interval(float(low), float(high)), how)


def _fitted(right: "Floats", asked: "Floats", group_size: int) -> float:
    """The mixed share under the beta distribution of this mean whose precision is most likely."""
    import numpy as np
    from scipy.special import gammaln

    mean = float(right.sum() / asked.sum())
    if mean in (0.0, 1.0):
        return 0.0
    precision = np.geomspace(0.05, 5_000, 80)[:, None]
    a, b = mean * precision, (1 - mean) * precision
    of_each = gammaln(right + a) + gammaln(asked - right + b) - gammaln(asked + precision)
    likelihood = of_each.sum(axis=1) + len(right) * (gammaln(precision) - gammaln(a) - gammaln(b))[:, 0]
    best = float(precision[int(likelihood.argmax()), 0])

    def moment(a: float) -> float:
        """The expectation of the power: E[p^G] for Beta(a, best - a)."""
        return float(
            np.exp(gammaln(a + group_size) - gammaln(a) + gammaln(best) - gammaln(best + group_size))
        )

    return 1 - moment(mean * best) - moment((1 - mean) * best)


# The pass threshold of a grader with partial credit.


class Threshold(NamedTuple):
    """From which score on an answer passes, and the share of the sampled answers that then fail."""

    value: float
    failing: float

    @property
    def tells_apart(self) -> bool:
        """Whether 25 to 50 % of the answers fail."""
        return FAILING[0] <= self.failing <= FAILING[1]

    def __str__(self) -> str:
        """``0.6: 38 % of the answers fail``."""
        return f"{self.value:g}: {_percent(self.failing)} of the answers fail"


def calibrated(scores: Sequence[float]) -> Threshold | None:
    """Choose the pass threshold at which 25 to 50 % of these answers fail, or come as near to it as can be.

    ``None`` where all scores are equal: no threshold tells such answers apart.
    """
    values = sorted(set(scores))
    if len(values) < 2:
        return None
    middle = fmean(FAILING)
    each = [
        Threshold(_shortest(below, value), sum(score < value for score in scores) / len(scores))
        for below, value in pairwise(values)
    ]
    return min(each, key=lambda one: abs(one.failing - middle))


def _shortest(below: float, value: float) -> float:
    """The number with the fewest decimals above ``below`` and not above ``value``."""
    for decimals in range(1, 7):
        scale = 10.0**decimals
        number = math.floor(value * scale + 1e-9) / scale
        if below < number <= value:
            return number
    return value


# All of it, with the verdict.

_SHOWN = 10  # prompts in a table; all of them are in .never and .always


@dataclass(frozen=True, repr=False)
class PassRates(Shown):
    """How often a model's own answers pass, prompt by prompt, and whether a job could learn from them."""

    sampled: Evaluation
    group_size: int

    @cached_property
    def scores(self) -> tuple[tuple[float, ...], ...]:
        """The scores of each prompt's answers; without those that could not be graded."""
        return tuple(
            tuple(answer.score for answer in item.answers if not math.isnan(answer.score))
            for item in self.sampled.items
        )

    @property
    def answers(self) -> int:
        """How many answers were sampled."""
        return sum(len(item.answers) for item in self.sampled.items)

    @property
    def graded(self) -> int:
        """How many of them have a score."""
        return sum(map(len, self.scores))

    @cached_property
    def right_or_wrong(self) -> bool:
        """Whether every score is 0 or 1."""
        return all(score in (0, 1) for each in self.scores for score in each)

    @property
    def reward(self) -> float:
        """The mean score, each prompt counted alike: of right-or-wrong answers the pass rate."""
        return self.sampled.score

    @property
    def interval(self) -> Interval:
        """Its 95 % interval; the prompts are what is independent, not the answers."""
        return self.sampled.interval

    @cached_property
    def mixed(self) -> MixedShare:
        """The share of groups of ``group_size`` answers that would teach something."""
        return mixed_share(self.scores, self.group_size, clusters=[i.cluster for i in self.sampled.items])

    @cached_property
    def threshold(self) -> Threshold | None:
        """The pass threshold to choose for a grader with partial credit; ``None`` for right or wrong."""
        return None if self.right_or_wrong else calibrated([s for each in self.scores for s in each])

    @cached_property
    def passing_score(self) -> float:
        """The lowest score that passes: the grader's ``pass_threshold``, else the calibrated one, else 1."""
        given = self.sampled.grader.get("pass_threshold")
        if isinstance(given, int | float):
            return float(given)
        return self.threshold.value if self.threshold else 1.0

    @cached_property
    def by_prompt(self) -> tuple[float, ...]:
        """The pass rate of each prompt that has a graded answer."""
        return tuple(
            sum(score >= self.passing_score for score in each) / len(each) for each in self.scores if each
        )

    @property
    def never(self) -> tuple[Item, ...]:
        """The prompts none of whose answers passed: they teach nothing yet."""
        return self._with_rate(0.0)

    @property
    def always(self) -> tuple[Item, ...]:
        """The prompts all of whose answers passed: they teach nothing more."""
        return self._with_rate(1.0)

    @property
    def bars(self) -> tuple[tuple[float, int], ...]:
        """The distribution of pass rates: the middle of each bar from 0 to 1, and its number of prompts.

        One bar for every pass rate that so few samples can have; eleven where there are more. The first and
        the last hold the prompts that never and always pass, and no others.
        """
        steps = min(10, max(map(len, self.scores), default=1))
        often = Counter(
            round(rate) * steps if rate in (0, 1) else min(max(round(rate * steps), 1), steps - 1)
            for rate in self.by_prompt
        )
        return tuple((step / steps, often[step]) for step in range(steps + 1))

    @cached_property
    def level(self) -> Level:
        """Whether a job can start, by what was found, its intervals aside."""
        low, high = NECESSARY
        if not self.graded or not low <= self.reward <= high:
            return "cannot start"
        if self.mixed.value < LEAST_MIXED and not self.mixed.at_least:
            return "cannot start"
        good = RECOMMENDED[0] <= self.reward <= RECOMMENDED[1]
        return "good" if good and self.mixed.value >= LEAST_MIXED else "can start"

    @property
    def headline(self) -> str:
        """Whether a job can start, with the one number that tells most, in a line."""
        if not self.graded:
            return "Reinforcement cannot start: no answer could be graded"
        what = "of the answers pass" if self.right_or_wrong else "of a full reward on average"
        measured = f"{_percent(self.reward)} {what}"
        if self.reward > NECESSARY[1]:
            return f"There is nothing to learn: {measured}"
        if self.level == "cannot start" and self.reward >= NECESSARY[0]:
            measured = f"only {_percent(self.mixed.value)} of groups are expected to be mixed"
        can = {"cannot start": "cannot start", "can start": "can start, slowly", "good": "can start"}
        return f"Reinforcement {can[self.level]}: {measured}"

    @property
    def verdict(self) -> str:
        """Whether a job can start, why, and the way out."""
        if not self.graded:
            why = next(iter(self.sampled.problems), "no answer came")
            return (
                f"Reinforcement cannot start: the grader gave no number for any of "
                f"{counted(self.answers, 'answer')} ({why}). Repair the grader first."
            )
        low, high = NECESSARY
        if self.reward < low:
            return (
                f"Reinforcement cannot start: {self._measured}, and below {100 * low:g} % hardly a group of "
                f"answers holds a good one to learn from. {self._could_be(self.interval.high >= low)}"
                "Do supervised fine-tuning first (04_launch) and start from its model, show more solved "
                "examples in the prompt, or let the grader give partial credit."
            )
        if self.reward > high:
            return (
                f"There is nothing to learn by reinforcement: {self._measured} already. "
                f"{self._could_be(self.interval.low <= high)}"
                "Use the model as it is, take harder prompts, or a stricter grader."
            )
        groups = self._groups
        if self.level == "cannot start":
            return (
                f"Reinforcement cannot start: {self._measured}, but only {groups}, as all answers to most "
                f"prompts {'pass or all fail' if self.right_or_wrong else 'earn the same'}. Leave out what "
                "is always right, and make what never is easier, or do supervised fine-tuning first."
            )
        if self.level == "good":
            return f"Reinforcement can start: {self._measured}, and {groups}."
        span = f"{_percent(RECOMMENDED[0])} to {_percent(RECOMMENDED[1])}"
        way = "easier prompts or supervised fine-tuning first" if self.reward < 0.5 else "harder prompts"
        return (
            f"Reinforcement can start, and will learn slowly: {self._measured}, and {groups}. From {span} it "
            f"learns fastest; {way} would bring it there."
        )

    @property
    def facts(self) -> dict[str, JSON]:
        """The numbers as JSON; what is not known is ``None``."""
        numbers = {
            "reward": self.reward,
            "low": self.interval.low,
            "high": self.interval.high,
            "mixed": self.mixed.value,
        }
        return {
            "model": self.sampled.model,
            "grader": str(self.sampled.grader["name"]),
            "level": self.level,
            "verdict": self.verdict,
            "prompts": len(self.sampled.items),
            "answers": self.answers,
            "graded": self.graded,
            "right_or_wrong": self.right_or_wrong,
            "group_size": self.group_size,
            "mixed_at_least": self.mixed.at_least,
            "never": len(self.never),
            "always": len(self.always),
            "pass_threshold": self.threshold.value if self.threshold else None,
            **{name: None if math.isnan(number) else number for name, number in numbers.items()},
        }

    def tables(self) -> Iterator[Table]:
        """The numbers under the verdict, then the prompts that teach nothing."""
        yield self.verdict, ("measure", "value"), self._rows()
        for name, items in (("never pass", self.never), ("always pass", self.always)):
            shown = [(item.origin, item.question, item.reference, item.answer) for item in items[:_SHOWN]]
            first = f"; the first {len(shown)}" if len(items) > len(shown) else ""
            caption = f"Prompts that {name}: {len(items)}{first}"
            yield caption, ("row", "prompt", "reference", "one of the answers"), shown

    def _rows(self) -> Iterator[tuple[str, str]]:
        prompts = len(self.sampled.items)
        each = f"{self.answers / prompts:g} to each of {counted(prompts, 'prompt')}"
        yield (
            "sampled",
            f"{counted(self.answers, 'answer')}, {each}, at temperature {self.sampled.temperature:g}",
        )
        if not self.graded:
            return
        what = "pass rate" if self.right_or_wrong else "mean reward"
        yield what, f"{_percent(self.reward)} (95 % interval {self.interval} %)"
        at_least = "at least " if self.mixed.at_least else ""
        yield (
            "mixed groups",
            f"{at_least}{_percent(self.mixed.value)} of groups of {self.group_size} "
            f"(95 % interval {self.mixed.interval} %), {self.mixed.how}",
        )
        if self.threshold:
            advice = "" if self.threshold.tells_apart else "; no threshold lets 25 to 50 % of them fail"
            yield "pass threshold to choose", f"{self.threshold}{advice}"
        if isinstance(self.sampled.grader.get("pass_threshold"), int | float):
            failing = sum(s < self.passing_score for each in self.scores for s in each) / self.graded
            yield "pass threshold of the grader", str(Threshold(self.passing_score, failing))
        for name, items in (("never pass", self.never), ("always pass", self.always)):
            yield f"prompts that {name}", f"{len(items)} of {prompts}; they teach nothing as they are"
        if self.graded < self.answers:
            why = next(iter(self._problems), "")
            yield "not graded", f"{counted(self.answers - self.graded, 'answer')}: {why}"

    @property
    def _measured(self) -> str:
        span = f"(95 % interval {self.interval} %)"
        of = f"{counted(self.graded, 'answer')} to {counted(len(self.by_prompt), 'prompt')}"
        if self.right_or_wrong:
            return f"{_percent(self.reward)} of {of} pass {span}"
        return f"the mean reward of {of} is {_percent(self.reward)} of a full one {span}"

    @property
    def _groups(self) -> str:
        at_least = "at least " if self.mixed.at_least else ""
        share = f"{at_least}{_percent(self.mixed.value)}"
        return f"{share} of groups of {self.group_size} are expected to hold answers of different worth"

    def _could_be(self, within: bool) -> str:
        if not within:
            return ""
        return "The interval does not exclude a mean at which it could: sample more prompts to be sure. "

    @property
    def _problems(self) -> Counter[str]:
        return Counter(a.problem for item in self.sampled.items for a in item.answers if a.problem)

    def _with_rate(self, rate: float) -> tuple[Item, ...]:
        asked = [item for item, each in zip(self.sampled.items, self.scores, strict=True) if each]
        return tuple(item for item, found in zip(asked, self.by_prompt, strict=True) if found == rate)


def pass_rates(sampled: Evaluation, *, compute_multiplier: float | None = None) -> PassRates:
    """Read the pass rates from an evaluation with several samples of each prompt.

    Sample as the job will: ``evaluate(client, model, prompts, grader, samples=8, temperature=1.0)``.
    ``compute_multiplier`` is the job's, from which ``group_size`` tells how many answers are compared.
    """
    if max((len(item.answers) for item in sampled.items), default=0) < 2:
        raise DataError(
            "Each prompt has one answer, which does not tell a pass rate; evaluate with samples=8 and "
            "temperature=1.0."
        )
    return PassRates(sampled, group_size(compute_multiplier))


def drawn(prompts: Dataset, most: int | None, *, seed: int = 0) -> Dataset:
    """So many of the prompts, at random and in their order; all for ``None``, or where there are fewer."""
    if most is None or most >= len(prompts):
        return prompts
    places = sorted(random.Random(seed).sample(range(len(prompts)), max(most, 1)))
    return replace(prompts, examples=tuple(prompts[place] for place in places))


LOCAL_PROMPTS = 64
"""So many prompts are trained on by this machine unless others are asked for: 8 steps of 8. On the support
sample (SmolLM2, ``tests/benchmarks/methods.py``) they won 57 points as the mean of three seeds."""


def enough(
    client: "OpenAI", rows: Dataset, wanted: int | None = None, *, here: int = LOCAL_PROMPTS, seed: int = 0
) -> Dataset:
    """So many of the rows, drawn by the seed; ``None``: all, or ``here`` if this machine trains."""
    if wanted is not None and wanted < 1:
        raise DataError(f"{wanted} is too few to train on; ask for 10 or more, or None.")
    return drawn(rows, wanted or (here if provider_of(client).runs_here else None), seed=seed)


def require(rates: PassRates, quality: GraderQuality | None = None, *, anyway: bool = False) -> str:
    """Stop here unless a job can start and its grader is fit to train with; else say that it can.

    Raises ``DataError`` with every reason and the way out. ``anyway`` says the reasons and goes on.
    """
    wrong = [rates.verdict] if rates.level == "cannot start" else []
    if quality is not None and quality.result == "refused":
        wrong.append(quality.verdict)
    if not wrong:
        return "\n".join(filter(None, (rates.verdict, quality.verdict if quality else "")))
    if not anyway:
        raise DataError(" ".join([*wrong, "START_ANYWAY = True (anyway=True) launches all the same."]))
    return "\n".join(["Launched against this advice:", *wrong])


def _percent(share: float) -> str:
    """``50 %``; near the ends, where a point more decides, ``4.7 %``."""
    near = 0 < share < 0.1 or 0.9 < share < 1
    return f"{100 * share:.1f} %" if near else f"{100 * share:.0f} %"
