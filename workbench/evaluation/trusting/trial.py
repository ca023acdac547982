"""A trial of a grader: what it gave to answers whose grade is known, and whether it says the same twice."""

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from workbench.dataset.examples import Dataset, counted
from workbench.evaluation.graders import Ask, Grade, Grader, check_grader, graded, passes
from workbench.evaluation.trusting.cases import Case, Kind, known_cases
from workbench.tables import table

TRUSTED = 0.95
"""The share of known answers that must be judged as they deserve; our choice. Of tricks none may work."""
AT_ONCE = 8  # cases under way, where a model is asked
SHOWN = 10


@dataclass(frozen=True)
class Verdict:
    """What a grader gave to one case, and again when it was asked twice."""

    case: Case
    grade: Grade
    again: Grade
    passed: bool

    @property
    def deserved(self) -> bool:
        """Whether it let pass what is right, and nothing else."""
        return not self.grade.problem and self.passed == (self.case.kind == "right")

    @property
    def consistent(self) -> bool:
        """Whether it gave the same twice."""
        scores = (self.grade.score, self.again.score)
        return scores[0] == scores[1] or all(map(math.isnan, scores))


@dataclass(frozen=True, repr=False)
class Trial:
    """A grader's verdicts on answers whose grade is known."""

    grader: str
    verdicts: tuple[Verdict, ...]

    def share(self, kind: Kind) -> float:
        """The share of the cases of a kind that were judged as they deserve; 1.0 where there is none."""
        of_kind = [verdict.deserved for verdict in self.verdicts if verdict.case.kind == kind]
        return sum(of_kind) / len(of_kind) if of_kind else 1.0

    @property
    def consistency(self) -> float:
        """The share of answers that were graded alike twice."""
        return sum(verdict.consistent for verdict in self.verdicts) / len(self.verdicts)

    @property
    def tricked_by(self) -> tuple[str, ...]:
        """The tricks that it fell for, by name."""
        fallen = (v.case.name for v in self.verdicts if v.case.kind == "trick" and v.passed)
        return tuple(dict.fromkeys(fallen))

    @property
    def surprises(self) -> tuple[Verdict, ...]:
        """The cases that were not judged as they deserve."""
        return tuple(verdict for verdict in self.verdicts if not verdict.deserved)

    @property
    def trusted(self) -> bool:
        """Whether it can be measured and trained with: right and wrong are told apart, and no trick works."""
        told_apart = min(self.share("right"), self.share("wrong")) >= TRUSTED
        return told_apart and not self.tricked_by and self.consistency >= TRUSTED

    @property
    def verdict(self) -> str:
        """Say it in a sentence or two."""
        numbers = (
            f"it let {100 * self.share('right'):.0f} % of the right answers pass, stopped "
            f"{100 * self.share('wrong'):.0f} % of the wrong ones and "
            f"{100 * self.share('trick'):.0f} % of the tricks, and graded "
            f"{100 * self.consistency:.0f} % alike twice"
        )
        if self.trusted:
            return f"The grader {self.grader} can be trusted with these: {numbers}."
        tricks = f" It falls for: {', '.join(self.tricked_by)}." if self.tricked_by else ""
        return f"Do not trust the grader {self.grader} yet: {numbers}.{tricks}"

    def __repr__(self) -> str:
        """The sentence, then the first surprises."""
        surprises = [" · ".join(row) for row in self._surprising()]
        return "\n".join((self.verdict, *surprises[:SHOWN]))

    def _repr_html_(self) -> str:
        names = dict.fromkeys((v.case.kind, v.case.name) for v in self.verdicts)
        rows = []
        for kind, name in names:
            of_name = [v for v in self.verdicts if (v.case.kind, v.case.name) == (kind, name)]
            right = sum(v.deserved for v in of_name)
            rows.append((kind, name, f"{right} of {len(of_name)}"))
        summary = table(self.verdict, ("deserves", "answer", "judged so"), rows)
        if not self.surprises:
            return summary
        caption = f"{counted(len(self.surprises), 'surprise')}; the first of them"
        columns = ("row", "answer", "text", "grade", "why")
        return summary + table(caption, columns, list(self._surprising())[:SHOWN])

    def _surprising(self) -> Iterator[tuple[str, str, str, str, str]]:
        for surprise in self.surprises:
            text, given = surprise.case.answer, surprise.grade
            shown = text if len(text) <= 80 else f"{text[:79]}…"
            why = given.problem or given.reason
            yield surprise.case.example.origin, surprise.case.name, shown, f"{given.score:g}", why


def try_grader(
    grader: Grader,
    dataset: Dataset,
    *,
    more: Sequence[Case] = (),
    items: int = 20,
    seed: int = 0,
    ask: Ask | None = None,
) -> Trial:
    """Try ``grader`` on answers to questions of ``dataset`` whose grade is known, each of them twice.

    ``more`` are cases of your own: the tricky ones that people stumble over. ``ask`` answers for graders
    that are models: ``judging(client)`` without a cache, or the second grade would be the first again. Each
    case costs two questions there, so lower ``items``.
    """
    cases = (*known_cases(dataset, items=items, seed=seed), *more)
    check_grader(grader, [_item(case) for case in cases])

    def tried(case: Case) -> Verdict:
        first, again = (graded(grader, case.answer, _item(case), ask=ask) for _ in range(2))
        return Verdict(case, first, again, not first.problem and passes(grader, first.score))

    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        return Trial(str(grader["name"]), tuple(pool.map(tried, cases)))


def _item(case: Case) -> dict[str, object]:
    example = case.example
    return {
        "question": example.question,
        "answer": example.answer.strip(),
        "origin": example.origin,
        **example.more,
    }
