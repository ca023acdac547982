"""Several models on the same items by several measures: what a further training reached, and what it cost.

The first measure is the aim (a tone, a reward); the others, the task's own score among them, are to be kept.
The models stand in the order in which each was made from the one before. Apart because ``compare`` is about
two models and one measure.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from workbench.dataset.dataset import Dataset, counted
from workbench.display import Shown, Table
from workbench.errors import DataError
from workbench.evaluation.compare import MINIMUM, Comparison, compare, points
from workbench.evaluation.evaluate import evaluate
from workbench.evaluation.evaluation import Evaluation
from workbench.evaluation.graders.grades import Grader
from workbench.evaluation.probes import NonInferiority
from workbench.evaluation.prompts import Prompt
from workbench.evaluation.scores import LeftOut
from workbench.evaluation.statistics import p_in_words
from workbench.project import JSON

if TYPE_CHECKING:
    from openai import OpenAI

Measured: TypeAlias = Mapping[str, Mapping[str, Evaluation]]
"""By measure and by model."""
Outcome = Literal[
    "reached, and nothing lost",
    "reached, at a price",
    "reached, the price not known",
    "not shown",
    "not reached",
]


class AskedModel(NamedTuple):
    """A model, and the prompt it is asked with."""

    model: str
    prompt: Prompt


def measure_models(
    client: "OpenAI",
    models: Mapping[str, AskedModel],
    dataset: Dataset,
    graders: Mapping[str, Grader],
    *,
    cluster: str | None = None,
    max_tokens: int = 64,
    cache: str | Path | None = None,
) -> Measured:
    """Ask every model every question once, and grade the answers by every grader."""
    return {
        measure: {
            name: evaluate(
                *(client, one.model, dataset, grader),
                prompt=one.prompt,
                cluster=cluster,
                max_tokens=max_tokens,
                cache=cache,
            )
            for name, one in models.items()
        }
        for measure, grader in graders.items()
    }


@dataclass(frozen=True, repr=False)
class ModelComparison(Shown):
    """Models by measures: the last model against the one before it, and against the first."""

    measured: Measured
    """Without the items that do not count."""
    minimum: float
    """The smallest gain of the aim that matters, a share."""
    margin: float
    """The loss that is acceptable elsewhere, a share."""
    comparisons_made: int = 2
    left_out: tuple[LeftOut, ...] = ()

    @property
    def models(self) -> tuple[str, ...]:
        """Their names, in the order in which they were made."""
        return tuple(next(iter(self.measured.values())))

    @property
    def aim(self) -> str:
        """The measure that the last training was for."""
        return next(iter(self.measured))

    @cached_property
    def steps(self) -> Mapping[str, Comparison]:
        """By measure: the last model against the one it was made from."""
        return {measure: self._against(-2, measure) for measure in self.measured}

    @cached_property
    def whole(self) -> Mapping[str, Comparison]:
        """By measure: the last model against the first."""
        return {measure: self._against(0, measure) for measure in self.measured}

    @cached_property
    def kept(self) -> Mapping[str, NonInferiority]:
        """By measure other than the aim: whether no more than the margin was lost."""
        return {
            name: NonInferiority(step, self.margin) for name, step in self.steps.items() if name != self.aim
        }

    @property
    def outcome(self) -> Outcome:
        """Whether the aim was reached, and whether anything else was lost for it."""
        aim = self.steps[self.aim].outcome
        if aim != "better":
            return "not shown" if aim == "inconclusive" else "not reached"
        found = {each.outcome for each in self.kept.values()}
        if "worse" in found or any(each.comparison.outcome == "worse" for each in self.kept.values()):
            return "reached, at a price"
        return "reached, the price not known" if "inconclusive" in found else "reached, and nothing lost"

    @property
    def headline(self) -> str:
        """The outcome in a line: ``Reached, at a price: preference 2.5 → 98.3 %, task 80.0 → 75.8 %``."""
        scores = (
            f"{name} {100 * step.base.score:.1f} → {100 * step.tuned.score:.1f} %"
            for name, step in self.steps.items()
        )
        return f"{self.outcome[0].upper()}{self.outcome[1:]}: {', '.join(scores)}"

    @property
    def verdict(self) -> str:
        """Say it in a few sentences: what was reached, what it cost, what does not count."""
        first = f"{self.outcome[0].upper()}{self.outcome[1:]}: "
        reached = f"{self.aim} {self._change(self.steps[self.aim])}"
        cost = "; ".join(
            f"{name} {self._change(each.comparison)}, {_KEPT[each.outcome].format(100 * self.margin)}"
            for name, each in self.kept.items()
        )
        return " ".join(
            filter(None, (first + "; ".join(filter(None, (reached, cost))) + ".", *map(str, self.left_out)))
        )

    def __str__(self) -> str:
        """The verdict."""
        return self.verdict

    @property
    def facts(self) -> dict[str, JSON]:
        """The same as JSON."""
        return {
            "outcome": self.outcome,
            "verdict": self.verdict,
            "aim": self.aim,
            "models": {name: one.model for name, one in self.measured[self.aim].items()},
            "items": self.steps[self.aim].items,
            "minimum": self.minimum,
            "margin": self.margin,
            "measures": {
                measure: {
                    "grader": str(next(iter(evaluations.values())).grader["name"]),
                    "scores": {
                        name: {"score": one.score, "low": one.interval.low, "high": one.interval.high}
                        for name, one in evaluations.items()
                    },
                    "last_step": _facts(self.steps[measure]),
                    "from_the_first": _facts(self.whole[measure]),
                    **({"kept": self.kept[measure].outcome} if measure in self.kept else {}),
                }
                for measure, evaluations in self.measured.items()
            },
            "left_out": [{"why": each.why, "ids": list(each.ids)} for each in self.left_out],
        }

    def tables(self) -> Iterator[Table]:
        """Each model's scores with their intervals, then the tests."""
        items = counted(self.steps[self.aim].items, "item")
        rows = [
            (name, self.measured[self.aim][name].model, *(_score(of[name]) for of in self.measured.values()))
            for name in self.models
        ]
        columns = ("", "model", *(f"{measure}, 95 % interval" for measure in self.measured))
        yield f"{self.verdict} Scores on the same {items}:", columns, rows
        last, before, first = self.models[-1], self.models[-2], self.models[0]
        tests = [
            (measure, f"{last} against {against}", *_test(compared))
            for measure in self.measured
            for against, compared in {before: self.steps[measure], first: self.whole[measure]}.items()
        ]
        yield "The same items, paired", ("measure", "", "points", "95 % interval", "p", "outcome"), tests

    def _change(self, step: Comparison) -> str:
        before, now = step.base.score, step.tuned.score
        low, high = step.interval
        return (
            f"{100 * before:.1f} → {100 * now:.1f} % ({points(step.difference)} points, 95 % interval "
            f"{points(low)} to {points(high)}, {p_in_words(step.p_value)})"
        )

    def _against(self, place: int, measure: str) -> Comparison:
        evaluations = [*self.measured[measure].values()]
        made = max(self.comparisons_made, 2 if len(evaluations) > 2 else 1)
        return compare(evaluations[place], evaluations[-1], minimum=self.minimum, comparisons_made=made)


_KEPT = {
    "not worse": "no more than {0:g} points lost",
    "worse": "more than {0:g} points lost",
    "inconclusive": "too few items to show that no more than {0:g} points are lost",
}


def compare_models(
    measured: Measured,
    *,
    minimum: float = MINIMUM,
    margin: float = 0.05,
    comparisons_made: int = 2,
    contaminated: Collection[str] = (),
) -> ModelComparison:
    """Compare models that were measured on the same items; the first measure is the aim.

    ``minimum`` is the smallest gain of the aim that matters and ``margin`` the loss that is acceptable
    elsewhere, both shares chosen before the scores are seen. ``comparisons_made`` counts what was compared
    on these items in all. ``contaminated`` are ids or origins of items that were trained on; they do not
    count. Raises ``DataError`` where fewer than two models, or no item, is left.
    """
    if not measured or min(map(len, measured.values())) < 2:
        raise DataError("There is nothing to compare; measure two models at least, by one grader or more.")
    if len({tuple(models) for models in measured.values()}) > 1:
        raise DataError("The measures are of different models; measure every model by every grader.")
    evaluations = [one for models in measured.values() for one in models.values()]
    seen = {
        item.id for item in evaluations[0].items if item.id in contaminated or item.origin in contaminated
    }
    items = len(evaluations[0].items)
    if len(seen) == items:
        raise DataError(
            f"All {items} questions were trained on, so nothing is left to judge by; add questions to the "
            "test, or train on other pairs (PAIRS = 'sampled' or 'file')."
        )
    kept = {
        measure: {name: _without(one, seen) for name, one in models.items()}
        for measure, models in measured.items()
    }
    left_out = (LeftOut("trained on", tuple(sorted(seen))),) if seen else ()
    return ModelComparison(kept, minimum, margin, comparisons_made, left_out)


def _without(evaluation: Evaluation, ids: Collection[str]) -> Evaluation:
    if not ids:
        return evaluation
    return replace(evaluation, items=tuple(item for item in evaluation.items if item.id not in ids))


def _facts(compared: Comparison) -> dict[str, JSON]:
    known = compared.facts
    return {name: known[name] for name in ("outcome", "difference", "low", "high", "p_value", "test")}


def _score(evaluation: Evaluation) -> str:
    return f"{100 * evaluation.score:.1f} % ({evaluation.interval} %)"


def _test(compared: Comparison) -> tuple[str, str, str, str]:
    low, high = compared.interval
    span = f"{points(low)} to {points(high)}"
    return points(compared.difference), span, p_in_words(compared.p_value), compared.outcome
