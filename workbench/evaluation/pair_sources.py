"""The preference pairs of a project: from a file, from ratings, or from a model's own answers.

What a pair is, and what pairs have in common, is in ``dataset.preference_pairs``. Apart because it asks
models and reads a project's record, which neither pairs nor ratings do.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from workbench.dataset.dataset import Dataset, Example, counted, identity, items_of
from workbench.dataset.preference_pairs import Likeness, Scored, likeness, pairs_from_samples, rejected_answer
from workbench.dataset.read import read
from workbench.errors import DataError
from workbench.evaluation.evaluate import evaluate, scored_answers
from workbench.evaluation.evaluation import Evaluation
from workbench.evaluation.graders.grades import Grader
from workbench.evaluation.graders.ready_made import grader
from workbench.evaluation.pass_rates import enough
from workbench.evaluation.preferences import pairs, preferences
from workbench.evaluation.prompts import Prompt
from workbench.evaluation.ratings import SIDES
from workbench.evaluation.records import open_ratings

if TYPE_CHECKING:
    from openai import OpenAI

    from workbench.project import Project

Source: TypeAlias = Literal["file", "ratings", "sampled"]
SOURCES: tuple[Source, ...] = get_args(Source)
SAMPLED_AT = 1.0  # the temperature at which a model seldom gives one question the same answer twice


def source_of_pairs(project: "Project", wanted: str | None = None) -> Source:
    """Where the pairs come from: ``wanted``, else the task's file, else what was rated, else samples."""
    if wanted in SOURCES:
        return wanted
    if wanted is not None:
        raise DataError(f"PAIRS is {wanted!r}; choose {', '.join(SOURCES)}, or None.")
    if project.task.preference_pairs is not None:
        return "file"
    rated = open_ratings(project).latest.values()
    return "ratings" if any(rating.choice in SIDES for rating in rated) else "sampled"


def pairs_of_project(
    client: "OpenAI",
    project: "Project",
    model: str,
    source: Source,
    *,
    questions: int | None = None,
    samples: int = 8,
    max_tokens: int = 64,
    cache: str | Path | None = None,
) -> Dataset:
    """Make the preference pairs of a project, for ``model``, from one of ``SOURCES``.

    ``file``: the task's ``preference_pairs``. ``ratings``: what people preferred in the blind review of
    06_evaluate; those are questions of the test, which then no longer count in a comparison. ``sampled``:
    ``samples`` answers of ``model`` to each of the first ``questions`` training questions, those of rehearsal
    left out, graded by the task's grader and its ``preference_grader``; the best against the worst, where
    the best is worse by neither. Raises ``DataError`` where that gives no pair.
    """
    if source == "file":
        return project.task.read_pairs()
    if source == "ratings":
        return _rated_pairs(project)
    training = _own_examples(project)
    asked = training if questions is None else training.take(questions)
    task = project.task
    graded = [
        scored_answers(
            evaluate(
                *(client, model, asked, grader(name)),
                prompt=Prompt("short"),
                samples=samples,
                temperature=SAMPLED_AT,
                max_tokens=max_tokens,
                cache=cache,
            ),
            asked,
        )
        for name in filter(None, (task.preference_grader, task.grader))
    ]
    return _sampled_pairs(graded, f"{model} on {asked.name}")


def _own_examples(project: "Project") -> Dataset:
    """The training examples without rehearsal, whose prompts are none of the task's."""
    facts = project.need("dataset", "03_build_data").facts
    training = read(project.path / str(facts["training_file"]))
    rehearsal = facts.get("rehearsal")
    lines = items_of(rehearsal.get("lines")) if isinstance(rehearsal, Mapping) else ()
    return training.without({f"{training.name}:{line}" for line in lines})


def split_pairs(
    pairs: Dataset, held_out: float, *, group: str | None = None, seed: int = 0
) -> tuple[Dataset, Dataset]:
    """Keep a share of the pairs back; those of one ``group`` stay together, where they have that column."""
    has = group is not None and any(group in pair.metadata for pair in pairs)
    return pairs.split(held_out, seed, group=group if has else None)


def graders_of_project(project: "Project") -> Mapping[str, Grader]:
    """What preferences are judged by, then the task: the aim, and what must not be lost for it.

    The aim is the task's ``preference_grader``, else its ``format_grader``; without either it is the task.
    """
    task = project.task
    named = {"preference": task.preference_grader, "well formed": task.format_grader}
    aim = next(((what, name) for what, name in named.items() if name), None)
    return ({} if aim is None else {aim[0]: grader(aim[1])}) | {"task": grader(task.grader)}


def _rated_pairs(project: "Project") -> Dataset:
    """Of every comparison on record: what was rated then is a rating still."""
    test, ratings = project.task.read_test(), open_ratings(project)
    found: dict[tuple[str, str], Example] = {}
    notes: list[str] = []
    for entry in reversed(project.entries("comparison")):
        files = [entry.facts.get(f"{side}_evaluation") for side in SIDES]
        if all(isinstance(file, str) and (project.path / file).is_file() for file in files):
            base, tuned = (Evaluation.load(project.path / str(file)) for file in files)
            rated = preferences(base, tuned, ratings)
            if set(rated.values.values()) - {0.5}:
                made = pairs(rated, test)
                notes += made.notes
                for pair in made:
                    found.setdefault((pair.origin, repr(pair.wire)), pair)
    if not found:
        raise DataError(
            f"Nobody has preferred an answer in project {project.name} yet: rate answers in 06_evaluate "
            "first, or take other pairs with PAIRS = 'sampled' or 'file'."
        )
    return Dataset(f"{project.name} (rated)", tuple(found.values()), tuple(dict.fromkeys(notes)))


def _sampled_pairs(graded: Sequence[Sequence[Scored]], name: str) -> Dataset:
    """Pairs by the sum of all grades, of which none speaks for the rejected answer."""
    by_grader = [{_said(each): each.score for each in scored} for scored in graded]
    first, *others = by_grader
    scores = {
        said: (score, *(other[said] for other in others))
        for said, score in first.items()
        if all(said in other for other in others)  # what a grader could not grade makes no pair
    }
    summed = [each._replace(score=sum(scores[_said(each)])) for each in graded[0] if _said(each) in scores]
    made = pairs_from_samples(summed, name=name)
    kept = []
    for pair in made:
        better, worse = (
            scores[identity(pair.prompt), answer] for answer in (pair.answer, rejected_answer(pair))
        )
        if all(one >= other for one, other in zip(better, worse, strict=True)):
            kept.append(pair)
    if not kept:
        raise DataError(
            f"{name} gives no pair: what one grader prefers, the other rejects; sample more answers."
        )
    against = len(made) - len(kept)
    note = (f"{counted(against, 'pair')} left out, as the graders disagree",) if against else ()
    return Dataset(made.name, tuple(kept), (*made.notes, *note))


def _said(scored: Scored) -> tuple[str, str]:
    return identity(scored.prompt), scored.answer


LOCAL_PAIRS = 128
"""So many pairs are trained on by this machine unless others are asked for: 16 steps of 8. On the support
sample (SmolLM2, three seeds, ``tests/benchmarks/methods.py``) the tone was then that of 98 % of answers."""


def enough_pairs(client: "OpenAI", pairs: Dataset, wanted: int | None = None, *, seed: int = 0) -> Dataset:
    """So many of the pairs, drawn by the seed; ``None``: all, or ``LOCAL_PAIRS`` if this machine trains."""
    return enough(client, pairs, wanted, here=LOCAL_PAIRS, seed=seed)


def plausible(
    client: "OpenAI",
    model: str,
    pairs: Dataset,
    *,
    questions: int = 40,
    max_tokens: int = 64,
    cache: str | Path | None = None,
) -> Likeness | None:
    """Ask ``model`` the first ``questions`` of the pairs: could it give either answer? ``None`` for 0."""
    if questions < 1:
        return None
    asked = pairs.take(questions)
    said = evaluate(
        *(client, model, asked, grader("exact")), prompt=Prompt("short"), max_tokens=max_tokens, cache=cache
    )
    return likeness(model, asked, [item.answer for item in said.items])
