"""Quality against cost: which of several models, each with its best prompt, are on the Pareto frontier.

A candidate is dominated when another scores as well for less, or better for as much. All have answered the
same questions. A file apart because notebooks set candidates side by side without the chart of them.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias, get_args

from workbench.dataset.dataset import counted
from workbench.display import Shown, Table
from workbench.errors import DataError
from workbench.evaluation.evaluation import Evaluation, cost_per_request, row_of, side_by_side

Against: TypeAlias = Literal["cost", "seconds", "tokens"]
AGAINST: tuple[Against, ...] = get_args(Against)
AXES: Mapping[Against, str] = {
    "cost": "US dollars for 1,000 requests",
    "seconds": "median seconds for an answer",
    "tokens": "tokens a request, asked and answered",
}


@dataclass(frozen=True)
class Candidate:
    """A model with its best prompt, and what a request to it costs."""

    name: str
    evaluation: Evaluation
    cost: float | None = None
    """US dollars a request; None where nobody knows."""
    tried: int = 1
    """How many prompts were tried on these questions; this is the best of them."""

    def price(self, against: Against) -> float:
        """Where it stands on the axis: dollars for 1,000 requests, seconds or tokens; nan if not known."""
        measured = self.evaluation
        prices = {
            "cost": math.nan if self.cost is None else 1_000 * self.cost,
            "seconds": measured.seconds_p50,
            "tokens": measured.prompt_tokens + measured.completion_tokens,
        }
        return prices[against]

    def dominates(self, other: "Candidate", against: Against) -> bool:
        """Whether it is at least as good and no dearer, and one of the two more."""
        mine, theirs = self.price(against), other.price(against)
        better = self.evaluation.score - other.evaluation.score
        return mine <= theirs and better >= 0 and (mine < theirs or better > 0)


@dataclass(frozen=True, repr=False)
class Field(Shown):
    """All candidates, and which of them are worth a choice."""

    candidates: tuple[Candidate, ...]
    against: Against

    @property
    def placed(self) -> tuple[Candidate, ...]:
        """Those whose price is known, the cheapest first, of equal prices the best first."""
        known = (each for each in self.candidates if not math.isnan(each.price(self.against)))
        return tuple(sorted(known, key=lambda c: (c.price(self.against), -c.evaluation.score)))

    @property
    def frontier(self) -> tuple[Candidate, ...]:
        """Those that no other dominates, the cheapest first."""
        return tuple(each for each in self.placed if self.better_than(each) is None)

    def better_than(self, candidate: Candidate) -> Candidate | None:
        """The best of those that dominate it; None if none does."""
        found = [each for each in self.placed if each.dominates(candidate, self.against)]
        return max(found, key=lambda each: each.evaluation.score, default=None)

    def sentences_price(self, candidate: Candidate) -> str:
        """``$0.42 for 1,000``, ``0.8 s``, ``310 tokens``."""
        price = candidate.price(self.against)
        shown = {"cost": f"${price:,.2f}", "seconds": f"{price:.2f} s", "tokens": f"{price:,.0f} tokens"}
        return "not known" if math.isnan(price) else shown[self.against]

    @property
    def sentences(self) -> tuple[str, ...]:
        """What is dominated by what, what a step along the frontier costs, and what to be careful with."""
        return (*self._steps(), *self._dominated(), *self._cautions())

    def __repr__(self) -> str:
        """The sentences."""
        return "\n".join(self.sentences)

    def tables(self) -> Iterator[Table]:
        """The numbers of each candidate, then the sentences."""
        on = {candidate.name for candidate in self.frontier}
        rows = []
        for each in self.candidates:
            row = row_of(each.evaluation, each.cost)
            row["prompt"] += f", best of {each.tried}" if each.tried > 1 else ""
            rows.append({"candidate": each.name, **row, "verdict": self._verdict(each, on)})
        questions = counted(len(self.candidates[0].evaluation.items), "question")
        yield side_by_side(f"Quality against {AXES[self.against]}, {questions}", rows)
        yield "In words", ("", ""), enumerate(self.sentences, start=1)

    def _verdict(self, candidate: Candidate, on: set[str]) -> str:
        if candidate.name in on:
            return "on the frontier"
        better = self.better_than(candidate)
        return f"dominated by {better.name}" if better else "price not known"

    def _steps(self) -> Iterator[str]:
        frontier = self.frontier
        for cheap, dear in pairwise(frontier):
            points = 100 * (dear.evaluation.score - cheap.evaluation.score)
            if points > 0:
                yield (
                    f"From {cheap.name} to {dear.name}: {points:.1f} points more, at "
                    f"{self.sentences_price(dear)} in place of {self.sentences_price(cheap)}."
                )
        if len(frontier) == 1:
            yield f"{frontier[0].name} is the best and the cheapest ({self.sentences_price(frontier[0])})."

    def _dominated(self) -> Iterator[str]:
        for candidate in self.placed:
            better = self.better_than(candidate)
            if better is None:
                continue
            mine, theirs = candidate.evaluation, better.evaluation
            unsure = mine.interval.high > theirs.interval.low and mine.score < theirs.score
            careful = "; their intervals overlap, so compare the two before you drop it" if unsure else ""
            yield (
                f"{candidate.name} is dominated by {better.name}: "
                f"{100 * mine.score:.1f} % at {self.sentences_price(candidate)} against "
                f"{100 * theirs.score:.1f} % at {self.sentences_price(better)}{careful}."
            )

    def _cautions(self) -> Iterator[str]:
        for candidate in self.candidates:
            if candidate not in self.placed:
                give = ""
                if self.against == "cost":
                    give = f'; give it as costs={{"{candidate.name}": …}}, in US dollars a request'
                yield f"{candidate.name} has no known {self.against} and is not in the chart{give}."
            if candidate.tried > 1:
                yield (
                    f"{candidate.name} is the best of {candidate.tried} prompts tried on these questions, "
                    "so its score is a little too high; on new questions expect somewhat less."
                )


def field(
    candidates: Mapping[str, Evaluation | Sequence[Evaluation]],
    *,
    costs: Mapping[str, float] | None = None,
    service: str | None = None,
    against: Against | None = None,
) -> Field:
    """Set candidates side by side: base, tuned, a larger one, each by the best of its evaluations.

    ``costs`` are US dollars a request by name, hosting included where you pay for it; what is not there
    is looked up for ``service`` (``azure``, ``local``). ``against``: ``cost``, ``seconds`` or ``tokens``;
    None takes costs if all are known, else tokens. Raises ``DataError`` when the questions
    or graders differ, or nothing could be graded.
    """
    if not candidates:
        raise DataError("There is no candidate; give evaluations by name, such as {'base': …, 'tuned': …}.")
    if against is not None and against not in AGAINST:
        raise DataError(f"There is no axis {against!r}; there are {', '.join(AGAINST)}.")
    unknown = [name for name in costs or {} if name not in candidates]
    if unknown:
        raise DataError(f"There is no candidate {unknown[0]!r}; there are {', '.join(candidates)}.")
    found = tuple(_best(name, given, costs or {}, service) for name, given in candidates.items())
    if len({frozenset(item.id for item in each.evaluation.items) for each in found}) > 1:
        raise DataError("The candidates answered different questions; evaluate all on one dataset.")
    if any(each.evaluation.grader != found[0].evaluation.grader for each in found):
        raise DataError("The candidates were graded by different graders; evaluate all with one.")
    return Field(found, against or _axis(found))


def _best(
    name: str,
    given: Evaluation | Sequence[Evaluation],
    costs: Mapping[str, float],
    service: str | None,
) -> Candidate:
    tried = [given] if isinstance(given, Evaluation) else list(given)
    graded = [each for each in tried if not math.isnan(each.score)]
    if not graded:
        raise DataError(f"{name} has no evaluation with a score; evaluate it first.")
    best = max(graded, key=lambda each: (each.score, -each.prompt_tokens))
    cost = costs[name] if name in costs else cost_per_request(best, service)
    if cost is not None and not 0 <= cost < math.inf:
        raise DataError(f"The cost of {name} is {cost}; give US dollars a request, such as 0.0004.")
    return Candidate(name, best, cost, len(tried))


def _axis(candidates: Sequence[Candidate]) -> Against:
    """Costs say most; where all are 0 or one is not known, tokens, of which costs and waiting are made.

    Seconds were measured with many questions at once, so they say more of that than of the candidates.
    """
    costs = [candidate.cost for candidate in candidates]
    return "cost" if all(cost is not None for cost in costs) and any(costs) else "tokens"
