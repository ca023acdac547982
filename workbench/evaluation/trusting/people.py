"""A grader beside people: do they call the same answers right?

A judge that nobody compared with people is an opinion. Agreement beyond chance from 0.6 on can be worked
with, 0.8 is good (Landis and Koch 1977, Biometrics 33:159-174, call them substantial and almost perfect).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from workbench.errors import DataError
from workbench.evaluation.evaluation import Evaluation
from workbench.evaluation.graders import passes
from workbench.evaluation.items import Item
from workbench.evaluation.statistics.agreement import Agreement, ac1
from workbench.tables import table

ENOUGH = 50
"""Labels of people below which agreement is too uncertain to act on; our choice."""
WORKABLE, GOOD = 0.6, 0.8
SHOWN = 10


@dataclass(frozen=True, repr=False)
class BesidePeople:
    """How far a grader and people agree on the same answers."""

    grader: str
    labels: tuple[tuple[Item, bool, bool], ...]
    """Each answer that both judged: the item, what people said, what the grader said."""
    agreed: Agreement

    @property
    def disagreements(self) -> tuple[Item, ...]:
        """The answers on which they differ: read these first."""
        return tuple(item for item, people, grader in self.labels if people != grader)

    @property
    def trusted(self) -> bool:
        """Whether there are enough labels, and agreement beyond chance is at least 0.6."""
        return len(self.labels) >= ENOUGH and self._beyond_chance >= WORKABLE

    @property
    def verdict(self) -> str:
        """Say it in a sentence or two."""
        lenient = sum(grader and not people for _, people, grader in self.labels)
        strict = sum(people and not grader for _, people, grader in self.labels)
        numbers = (
            f"{self.agreed} on {len(self.labels)} answers; it passed {lenient} that people call wrong, and "
            f"stopped {strict} that they call right"
        )
        if len(self.labels) < ENOUGH:
            return (
                f"Too few labels to judge {self.grader}: {numbers}. Label {ENOUGH - len(self.labels)} more."
            )
        if self._beyond_chance < WORKABLE:
            return f"Do not rely on {self.grader}: {numbers}. Mend it by the disagreements."
        quality = "good" if self._beyond_chance >= GOOD else "workable, not good"
        return f"The agreement of {self.grader} with people is {quality}: {numbers}."

    @property
    def _beyond_chance(self) -> float:
        """The coefficient; where everybody said the same there is nothing beyond chance to be seen."""
        return 0.0 if math.isnan(self.agreed.value) else self.agreed.value

    def __repr__(self) -> str:
        """The verdict."""
        return self.verdict

    def _repr_html_(self) -> str:
        rows = [
            (item.origin, item.question, item.answer, f"{item.score:g}", item.reason)
            for item in self.disagreements
        ]
        if not rows:
            return table(self.verdict, ("disagreements",), ())
        columns = ("row", "question", "answer", "the grader's score", "why")
        return table(self.verdict, columns, rows[:SHOWN])


def beside_people(evaluation: Evaluation, labels: Mapping[str, bool]) -> BesidePeople:
    """Set a grader beside people, who said of answers of ``evaluation`` whether they are right.

    ``labels`` has the item's id. Gwet's AC1 measures agreement, because most answers are of one kind
    sooner or later, and Cohen's kappa misleads there. Raises ``DataError`` for ids that are none of the
    items, and without any label.
    """
    unknown = sorted(set(labels) - {item.id for item in evaluation.items})
    if unknown:
        raise DataError(f"{unknown[0]!r} is no item of this evaluation, so its label means nothing here.")
    both = tuple(
        (item, labels[item.id], passes(evaluation.grader, item.score))
        for item in evaluation.items
        if item.id in labels and not item.problem
    )
    if not both:
        raise DataError("No answer that was graded has a label; label some, fifty or more.")
    said = [[str(people) for _, people, _ in both], [str(grader) for _, _, grader in both]]
    return BesidePeople(str(evaluation.grader["name"]), both, ac1(said))
