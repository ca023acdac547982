"""The prompts that were tried on the base model, compared: how far it comes without tuning.

Each was evaluated on the same questions. The best of them is what a tuned model has to beat; without it
"fine-tuning helped" is a claim about a bad prompt. Two more evaluations are shown with them but are no
candidates: one with the right passage in the prompt, and one of a larger model.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from statistics import fmean

from workbench.display import table
from workbench.errors import DataError
from workbench.evaluation.evaluation import Evaluation, cost_per_request
from workbench.evaluation.graders.grades import Grader
from workbench.evaluation.graders.grading import grade
from workbench.evaluation.prompts import Gold
from workbench.project import JSON


@dataclass(frozen=True)
class PromptScore:
    """One prompt's evaluation, how many of its answers were at least well formed, and what one costs."""

    evaluation: Evaluation
    valid: float | None = None  # a share from 0 to 1; None when nobody asked
    cost: float | None = None  # US dollars a request; None where it is not known

    @property
    def facts(self) -> dict[str, JSON]:
        """What the project's record keeps of it."""
        measured = self.evaluation
        return {
            "prompt": measured.prompt.name,
            "model": measured.model,
            "score": measured.score,
            "low": measured.interval.low,
            "high": measured.interval.high,
            "correct": measured.correct,
            "items": len(measured.items),
            "valid": self.valid,
            "prompt_tokens": measured.prompt_tokens,
            "cached_tokens": measured.cached_tokens,
            "completion_tokens": measured.completion_tokens,
            "seconds_p50": measured.seconds_p50,
            "seconds_p95": measured.seconds_p95,
            "cost": self.cost,
        }


@dataclass(frozen=True)
class PromptComparison:
    """All prompts that were tried on one base model, in the order they were tried."""

    scores: tuple[PromptScore, ...]
    gold: PromptScore | None = None
    """With the right passage in the prompt: what perfect retrieval would give."""
    teacher: PromptScore | None = None
    """A larger model."""

    @property
    def best(self) -> Evaluation:
        """The evaluation with the highest score; of equal ones the shortest prompt."""
        measured = (one.evaluation for one in self.scores)
        return max(measured, key=lambda e: (bool(e.graded), e.score, -e.prompt_tokens))  # nan is no score

    @property
    def all(self) -> tuple[PromptScore, ...]:
        """Every prompt's score, with the right passage's and the larger model's."""
        return (*self.scores, *filter(None, (self.gold, self.teacher)))

    @property
    def doubling(self) -> tuple[Evaluation, Evaluation] | None:
        """The last doubling of fixed examples in an otherwise equal prompt: with n and with 2n of them."""
        measured = [one.evaluation for one in self.scores]
        found = [
            (few, many)
            for few, many in product(measured, measured)
            if len(many.prompt.shots) == 2 * len(few.prompt.shots) > 0
            and replace(many.prompt, name="", shots=()) == replace(few.prompt, name="", shots=())
        ]
        return max(found, key=lambda pair: len(pair[1].prompt.shots), default=None)

    def __repr__(self) -> str:
        """Name the scores."""
        shown = (f"{one.evaluation.prompt.name} {100 * one.evaluation.score:.1f} %" for one in self.scores)
        return f"<Prompts of {self.best.model}: {', '.join(shown)}>"

    def _repr_html_(self) -> str:
        columns = {title: values for title, values in self._columns() if any(values)}
        caption = f"{self.best.model} on {len(self.best.items)} questions; best: {self.best.prompt.name}"
        return table(caption, tuple(columns), zip(*columns.values(), strict=True))

    def _columns(self) -> Iterator[tuple[str, list[str]]]:
        """Each column with its cells; those that nobody measured are empty."""
        measured = [one.evaluation for one in self.all]
        costs = [one.cost for one in self.all]
        yield "prompt", [self._named(one) for one in self.all]
        yield "right", [f"{100 * e.score:.1f} %" for e in measured]
        yield "95 % interval", [f"{e.interval} %" for e in measured]
        yield "valid", ["" if r.valid is None else f"{100 * r.valid:.0f} %" for r in self.all]
        yield "prompt tokens", [f"{e.prompt_tokens:.0f}" for e in measured]
        yield "of them cached", [f"{e.cached_tokens:.0f}" if e.cached_tokens else "" for e in measured]
        yield "answer tokens", [f"{e.completion_tokens:.0f}" for e in measured]
        yield "median wait", [f"{e.seconds_p50:.2f} s" for e in measured]
        yield "95 % within", [f"{e.seconds_p95:.2f} s" for e in measured]
        yield "1,000 requests cost", ["" if cost is None else f"${1_000 * cost:,.2f}" for cost in costs]

    def _named(self, one: PromptScore) -> str:
        name = one.evaluation.prompt.name
        return f"{name}, {one.evaluation.model}" if one is self.teacher else name


def compare_prompts(
    evaluations: Iterable[Evaluation | None],
    *,
    gold: Evaluation | None = None,
    teacher: Evaluation | None = None,
    valid: Grader | None = None,
    service: str | None = None,
) -> PromptComparison:
    """Put the prompts I tried beside each other; ``None`` is one that was left out.

    ``gold`` was measured with the right passage in the prompt and ``teacher`` with a larger model; neither
    can be the best prompt. ``valid`` is a second grader that says whether an answer is well formed at
    all; it grades the answers that are there, so it costs nothing. ``service`` (``azure``, ``openai``,
    ``local``) is where prices are looked up.
    """
    measured = tuple(filter(None, evaluations))
    if not measured:
        raise DataError("There is no evaluation to compare; evaluate one prompt first.")
    if len({_questions(e) for e in (*measured, *filter(None, (gold, teacher)))}) > 1 or (
        len({e.model for e in (*measured, *filter(None, (gold,)))}) > 1
    ):
        raise DataError(
            "These evaluations differ in model or questions; compare prompts on one model and one test set."
        )
    if teacher is not None and teacher.model == measured[0].model:
        raise DataError(f"{teacher.model} is the base model itself; a teacher is another, larger one.")
    for one in measured:
        if isinstance(one.prompt.context, Gold):
            raise DataError(
                f"The prompt {one.prompt.name!r} was given the right passages, which nobody has in use; "
                "give its evaluation as gold=."
            )

    def scored(evaluation: Evaluation) -> PromptScore:
        share = None if valid is None else _share(evaluation, valid)
        return PromptScore(evaluation, share, cost_per_request(evaluation, service))

    return PromptComparison(
        tuple(scored(evaluation) for evaluation in measured),
        None if gold is None else scored(gold),
        None if teacher is None else scored(teacher),
    )


def _questions(evaluation: Evaluation) -> tuple[str, ...]:
    return tuple(item.id for item in evaluation.items)


def _share(evaluation: Evaluation, valid: Grader) -> float:
    return fmean(grade(valid, item.answer, item.fields) for item in evaluation.items)
