"""Probes for forgetting: questions whose answers can be checked, on what any assistant should still do.

The set in ``data/probes`` has five categories of 80: format, instructions, general knowledge, refusing harm
(and nothing else), and neighbouring tasks. Your own table has the columns ``category``, ``question`` and
``check``. Base and tuned model are compared by category, and the question is whether the tuned one is not
worse by more than a margin (non-inferiority).
"""

import inspect
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal

from workbench.dataset.check.texts import REFUSAL_PATTERN
from workbench.dataset.dataset import Dataset, Example, Message
from workbench.dataset.read import read
from workbench.decide.power import DISCORDANT, POWER
from workbench.display import Shown, Table
from workbench.errors import DataError
from workbench.evaluation.compare import MINIMUM, Comparison, both_scores, compare, points
from workbench.evaluation.evaluate import evaluate
from workbench.evaluation.evaluation import Evaluation
from workbench.evaluation.graders.sources import probe_checks
from workbench.evaluation.prompts import AS_TRAINED, Prompt
from workbench.evaluation.statistics import Interval, quantile
from workbench.project import JSON
from workbench.settings import DATA

if TYPE_CHECKING:
    from openai import OpenAI

# Non-inferiority: a model is not worse when the most it may have lost is less than a margin, chosen before.
# "No significant difference" does not show that: with few items nothing is ever significant.

_ONE_SIDED = 0.9  # both ends of a 90 % interval are one-sided 95 % bounds


@dataclass(frozen=True, repr=False)
class NonInferiority:
    """Whether the tuned model lost no more than a margin."""

    comparison: Comparison
    margin: float
    """The loss that is still acceptable, a share."""
    asked: int = 1
    """How many are judged together, any of which would be called worse: each is, at 5 % divided by this."""

    @cached_property
    def bounds(self) -> Interval:
        """With 95 % confidence the true difference is above the one, and as surely below the other.

        That none of several is worse by luck takes a higher upper bound (Bonferroni).
        """
        found = self.comparison.found
        high = found.interval(1 - (1 - _ONE_SIDED) / self.asked).high
        return Interval(found.interval(_ONE_SIDED).low, high)

    @property
    def outcome(self) -> Literal["not worse", "worse", "inconclusive"]:
        """``not worse`` when even the lower bound loses less than the margin."""
        if self.bounds.low > -self.margin:
            return "not worse"
        return "worse" if self.bounds.high <= -self.margin else "inconclusive"

    @property
    def more_items(self) -> int:
        """How many more items would show that it is not worse, if it is as good as it looks; else 0.

        A gain that was seen is not counted on. n = (1.645 + 0.842)^2 variance / (margin + difference)^2.
        Also 0 where the loss seen is beyond the margin, as more items would hardly help.
        """
        found = self.comparison.found
        left = self.margin + min(found.value, 0.0)
        if self.outcome != "inconclusive" or left <= 0:
            return 0
        # Where nothing varied, take it that the next item is lost.
        variance = found.variance if found.variance > 0 else 1 / found.items
        z = quantile(_ONE_SIDED) + NormalDist().inv_cdf(POWER)
        return max(math.ceil(variance * (z / left) ** 2) - found.items, 1)

    @property
    def verdict(self) -> str:
        """Say it in a sentence or two."""
        found, margin = self.comparison.found, f"{100 * self.margin:g} points"
        above = f"with 95 % confidence above {points(self.bounds.low)}"
        numbers = f"{both_scores(found)} ({points(found.value)} points, {above})"
        if self.outcome == "not worse":
            return f"Not worse: {numbers}; a loss of up to {margin} was acceptable."
        if self.outcome == "worse":
            return f"Worse: {numbers}, and below {points(self.bounds.high)}; {margin} were acceptable."
        unshown = f"Not shown to be no worse: {numbers}"
        if not self.more_items:
            return f"{unshown}, and the loss seen is beyond the {margin} acceptable."
        return (
            f"{unshown}; {margin} were acceptable. About {self.more_items:,} more items would show it, if it "
            "is as good as it looks (80 % power)."
        )

    @property
    def facts(self) -> dict[str, JSON]:
        """The same as JSON."""
        return {
            "outcome": self.outcome,
            "verdict": self.verdict,
            "items": self.comparison.items,
            "difference": self.comparison.difference,
            "lower": self.bounds.low,
            "upper": self.bounds.high,
            "margin": self.margin,
            "more_items": self.more_items,
        }

    def __repr__(self) -> str:
        """The verdict."""
        return f"<NonInferiority: {self.verdict}>"


def noninferior(base: Evaluation, tuned: Evaluation, *, margin: float = MINIMUM) -> NonInferiority:
    """Ask whether the tuned model lost no more than ``margin`` (a share) on items that both answered.

    For several probe sets that must all be not worse, no correction is needed: each has to pass at 5 %, so
    all together pass by luck even less often (Berger 1982, Technometrics 24:295).

    Raises ``DataError`` as ``compare`` does.
    """
    if not 0 < margin < 1:
        raise DataError(f"margin is {margin:g}; give a share between 0 and 1, such as 0.02 for 2 points.")
    return NonInferiority(compare(base, tuned), margin)


# Forgetting: base and tuned model on the same probes, by category.
#
# Tuning on one task can cost others: following instructions, and declining what does harm, which even
# harmless training data weakens (Qi et al. 2023, arXiv 2310.03693).

MARGIN = 0.08
"""The loss on probes that is acceptable unless said otherwise; ours, as small as 400 of them can tell.

They show it in 80 of 100 cases for a model that lost up to 2.4 points while one answer in five changed;
5 points would take 1,800 probes then, and 120 probes show 10 points at best (``margin_shown``).
"""
SHOWN = 10


@dataclass(frozen=True, repr=False)
class Forgetting(Shown):
    """Two models on the same probes, as a whole and by category."""

    whole: NonInferiority
    categories: Mapping[str, NonInferiority]

    @property
    def outcome(self) -> Literal["not worse", "worse", "inconclusive"]:
        """``worse`` when all or any category are; ``not worse`` when that is shown of all together."""
        outcomes = {found.outcome for found in (*self.categories.values(), self.whole)}
        return "worse" if "worse" in outcomes else self.whole.outcome

    @property
    def lost(self) -> tuple[str, ...]:
        """The categories that got worse by more than the margin."""
        return tuple(name for name, found in self.categories.items() if found.outcome == "worse")

    @property
    def verdict(self) -> str:
        """Say it in a sentence or two."""
        lost = f" Lost: {', '.join(self.lost)}." if self.lost else ""
        return f"{self.whole.verdict}{lost}"

    @property
    def facts(self) -> dict[str, JSON]:
        """The same as JSON."""
        by_category = {name: found.facts for name, found in self.categories.items()}
        as_whole: dict[str, JSON] = {"outcome": self.outcome, "verdict": self.verdict}
        return {**self.whole.facts, **as_whole, "categories": by_category}

    @property
    def numbers(self) -> dict[str, JSON]:
        """How many probes there were, and how many each model had right, for the record."""
        found = self.whole.comparison
        numbers = {"items": found.items, "base": found.base.correct, "tuned": found.tuned.correct}
        by_category: dict[str, JSON] = {
            name: [each.comparison.base.correct, each.comparison.tuned.correct]
            for name, each in self.categories.items()
        }
        asked: dict[str, JSON] = {name: each.comparison.items for name, each in self.categories.items()}
        outcome: dict[str, JSON] = {"outcome": self.outcome, "margin": self.whole.margin}
        return {**numbers, **outcome, "categories": by_category, "asked": asked}

    def __repr__(self) -> str:
        """The verdict, then each category."""
        lines = [f"{name}: {found.verdict}" for name, found in self.categories.items()]
        return "\n".join((self.verdict, *lines))

    def tables(self) -> Iterator[Table]:
        """What each category lost and gained, then probes that were lost."""
        rows = [
            (
                name,
                f"{found.comparison.base.correct} of {found.comparison.items}",
                f"{found.comparison.tuned.correct} of {found.comparison.items}",
                found.comparison.broken,
                found.comparison.fixed,
                found.outcome,
            )
            for name, found in (*self.categories.items(), ("all", self.whole))
        ]
        columns = ("probes", "base right", "tuned right", "lost", "gained", "within the margin")
        yield self.verdict, columns, rows
        pairs = zip(self.whole.comparison.base.items, self.whole.comparison.tuned.items, strict=True)
        lost = [
            (str(base.more.get("category")), base.question, base.answer, tuned.answer)
            for base, tuned in pairs
            if tuned.score < base.score
        ]
        caption = f"{min(SHOWN, len(lost))} of {len(lost)} probes that were lost"
        yield caption, ("probes", "question", "base answer", "tuned answer"), lost[:SHOWN]


def margin_shown(probes: int, *, lost: float = 0.0, discordant: float = DISCORDANT) -> float:
    """The smallest margin that so many probes show, a share, for a model that truly ``lost`` this share.

    In 80 of 100 cases, when the share ``discordant`` of the answers turns from right to wrong or back:
    lost + (1.645 + 0.842) sqrt(discordant / probes), as in ``NonInferiority.more_items``.
    """
    z = quantile(_ONE_SIDED) + NormalDist().inv_cdf(POWER)
    return lost + z * math.sqrt(discordant / probes)


def forgotten(base: Evaluation, tuned: Evaluation, *, margin: float = MARGIN) -> Forgetting:
    """Compare what ``probe`` gave for the two models; ``margin`` is the loss, a share, that is acceptable.

    Choose the margin before you look. Raises ``DataError`` when the two answered different probes.
    """
    names = dict.fromkeys(str(item.more.get("category", "")) for item in base.items)
    if "" in names:
        raise DataError("An item has no category, so these are no probes; evaluate them with probe(…).")
    by_category = {
        name: replace(noninferior(_only(base, name), _only(tuned, name), margin=margin), asked=len(names))
        for name in names
    }
    return Forgetting(noninferior(base, tuned, margin=margin), by_category)


def _only(evaluation: Evaluation, category: str) -> Evaluation:
    kept = tuple(item for item in evaluation.items if item.more.get("category") == category)
    return replace(evaluation, items=kept)


ANSWER_TOKENS = 96  # what is asked for has at most a few dozen


def read_probes(path: str | Path | None = None) -> Dataset:
    """Read a table of probes; ``None`` is the set that comes with the workbench.

    Raises ``DataError`` with the row whose check is none.
    """
    probes = read(path or DATA / "probes" / "probes.csv", question="question", answer="check")
    return replace(probes, examples=tuple(map(_checked, probes)))


def probe_grader() -> dict[str, object]:
    """The one grader of all probes: it reads from each what is to be checked."""
    return {"type": "python", "name": "probe", "source": inspect.getsource(probe_checks)}


def probe(
    client: "OpenAI",
    model: str,
    probes: Dataset | None = None,
    *,
    prompt: Prompt = AS_TRAINED,
    concurrency: int = 32,
    cache: str | Path | None = None,
) -> "Evaluation":
    """Ask ``model`` every probe and check its answers; ``prompt`` may put a system message in front.

    Base and tuned model are probed alike, with what stands in front of users' questions in use, or with
    nothing. Each item's ``more`` holds its category.
    """
    asked = read_probes() if probes is None else probes
    return evaluate(
        client,
        model,
        asked,
        probe_grader(),
        prompt=prompt,
        max_tokens=ANSWER_TOKENS,
        concurrency=concurrency,
        cache=cache,
        progress="probes",
    )


def _checked(example: Example) -> Example:
    """The probe with all that its check needs, or what is wrong with it."""
    try:
        wanted = json.loads(example.answer)
    except ValueError as error:
        raise DataError(f"{example.origin}: the check is no JSON object ({error}).") from error
    if not isinstance(wanted, dict) or not wanted:
        raise DataError(f"{example.origin}: the check is no JSON object that names a check.")
    unknown = sorted(set(wanted) - set(probe_checks.CHECKS))
    if unknown:
        raise DataError(
            f"{example.origin}: there is no check {unknown[0]!r}; there are {', '.join(probe_checks.CHECKS)}."
        )
    if not example.metadata.get("category"):
        raise DataError(f"{example.origin} has no category; probes are compared by it.")
    if "refuses" in wanted:
        wanted["refusal"] = REFUSAL_PATTERN
    answer: Message = {**example.messages[-1], "content": json.dumps(wanted, ensure_ascii=False)}
    more = {**example.more, "category": example.metadata["category"]}
    return replace(example, messages=(*example.prompt, answer), more=more)
