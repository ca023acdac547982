"""The prompts that were tried on the base model, compared: how far it comes without tuning.

Each was evaluated on the same questions. The best of them is what a tuned model has to beat; without it
"fine-tuning helped" is a claim about a bad prompt. Two more evaluations are shown with them but are no
candidates: one with the right passage in the prompt, and one of a larger model.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import product
from statistics import fmean

from workbench.display import Shown, Table
from workbench.errors import DataError
from workbench.evaluation.evaluation import Evaluation, cost_per_request, row_of, side_by_side
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
        return {**self.evaluation.facts, "valid": self.valid, "cost": self.cost}


@dataclass(frozen=True, repr=False)
class PromptComparison(Shown):
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

    def tables(self) -> list[Table]:
        """Each prompt with what was measured of it."""
        caption = f"{self.best.model} on {len(self.best.items)} questions; best: {self.best.prompt.name}"
        rows = []
        for one in self.all:
            row = row_of(one.evaluation, one.cost)
            model = f", {row.pop('model')}"
            row["prompt"] += model if one is self.teacher else ""
            rows.append({**row, "valid": "" if one.valid is None else f"{100 * one.valid:.0f} %"})
        return [side_by_side(caption, rows)]


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
    of_the_model = [*measured, *filter(None, (gold,))]
    everything = [*of_the_model, *filter(None, (teacher,))]
    questions = {tuple(item.id for item in each.items) for each in everything}
    if len(questions) > 1 or len({each.model for each in of_the_model}) > 1:
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
        share = None
        if valid is not None:
            share = fmean(grade(valid, item.answer, item.fields) for item in evaluation.items)
        return PromptScore(evaluation, share, cost_per_request(evaluation, service))

    beside = (None if each is None else scored(each) for each in (gold, teacher))
    return PromptComparison(tuple(map(scored, measured)), *beside)
