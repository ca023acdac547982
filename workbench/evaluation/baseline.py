"""The baseline ladder: how far the base model comes with prompts alone.

Each rung is one evaluation of the same model on the same questions, with one
prompt more laborious than the last. The best rung is what a tuned model has to
beat; without it "fine-tuning helped" is a claim about a bad prompt.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from workbench.errors import DataError
from workbench.evaluation.evaluate import Evaluation
from workbench.evaluation.graders import Grader, grade
from workbench.project import JSON
from workbench.tables import table


@dataclass(frozen=True)
class Rung:
    """One prompt's evaluation, and how many of its answers were at least well formed."""

    evaluation: Evaluation
    valid: float | None = None  # a share from 0 to 1; None when nobody asked

    @property
    def facts(self) -> dict[str, JSON]:
        """What the project's record keeps of it."""
        measured = self.evaluation
        return {
            "prompt": measured.prompt.name,
            "score": measured.score,
            "low": measured.interval.low,
            "high": measured.interval.high,
            "correct": measured.correct,
            "items": len(measured.items),
            "valid": self.valid,
            "prompt_tokens": measured.prompt_tokens,
            "seconds_p50": measured.seconds_p50,
        }


@dataclass(frozen=True)
class Ladder:
    """All prompts that were tried on one base model, in the order they were tried."""

    rungs: tuple[Rung, ...]

    @property
    def best(self) -> Evaluation:
        """The rung with the highest score; of equal ones the shortest prompt."""
        return max((rung.evaluation for rung in self.rungs), key=lambda e: (e.score, -e.prompt_tokens))

    def __repr__(self) -> str:
        """Name the scores."""
        scores = (f"{rung.evaluation.prompt.name} {100 * rung.evaluation.score:.1f} %" for rung in self.rungs)
        return f"<Ladder of {self.best.model}: {', '.join(scores)}>"

    def _repr_html_(self) -> str:
        checked = any(rung.valid is not None for rung in self.rungs)
        columns = ["prompt", "right", "95 % interval", "prompt tokens", "median wait"]
        columns[3:3] = ["valid"] if checked else []
        caption = f"{self.best.model} on {len(self.best.items)} questions; best: {self.best.prompt.name}"
        return table(caption, columns, (_row(rung, checked) for rung in self.rungs))


def ladder(evaluations: Iterable[Evaluation], *, valid: Grader | None = None) -> Ladder:
    """Put the prompts I tried beside each other.

    ``valid`` is a second grader that says whether an answer is well formed at
    all; it grades the answers that are there, so it costs nothing.
    """
    measured = tuple(evaluations)
    if not measured:
        raise DataError("There is no evaluation to put on a ladder; evaluate one prompt first.")
    if len({(e.model, tuple(item.id for item in e.items)) for e in measured}) > 1:
        raise DataError(
            "These evaluations differ in model or questions; a ladder has one model and one test set."
        )
    return Ladder(tuple(Rung(e, None if valid is None else _share(e, valid)) for e in measured))


def _share(evaluation: Evaluation, valid: Grader) -> float:
    items = ({"question": i.question, "answer": i.reference, "origin": i.origin} for i in evaluation.items)
    return fmean(
        grade(valid, item.answer, graded) for item, graded in zip(evaluation.items, items, strict=True)
    )


def _row(rung: Rung, checked: bool) -> list[object]:
    measured = rung.evaluation
    row: list[object] = [
        measured.prompt.name,
        f"{100 * measured.score:.1f} %",
        f"{measured.interval} %",
        f"{measured.prompt_tokens:.0f}",
        f"{measured.seconds_p50:.2f} s",
    ]
    row[3:3] = [f"{100 * (rung.valid or 0):.0f} %"] if checked else []
    return row
