"""Grading one answer by OpenAI's grader JSON, the same for evaluation, for training and for the service.

``graded`` gives a ``Grade`` and never stops for what an answer, a judge or a grader's code does; ``grade``
gives the bare score and raises instead. Python graders run in a sandbox, judges are asked through ``ask``.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace

from workbench.errors import DataError
from workbench.evaluation.graders.grader_types import (
    Resources,
    check_shape,
    grade_answer,
    python_sources,
    template_texts,
    type_of,
)
from workbench.evaluation.graders.grades import (
    AnswerToGrade,
    BadGraderError,
    Grade,
    Grader,
    name_of,
    places,
    unfilled,
    value_at,
)
from workbench.evaluation.graders.judges import Ask
from workbench.evaluation.graders.sandbox import LIMITS, SandboxLimits, load_problem


def check_grader(grader: Grader, items: Iterable[Mapping[str, object]] = ()) -> None:
    """Tell me what is wrong with my grader, and with the items it will read, before anything is paid.

    Python sources are loaded once, in a sandbox. Raises ``DataError`` with the path of the finding
    (``grader.operation``), or with the template that an item cannot fill.
    """
    check_shape(grader)
    for path, source in python_sources(grader):
        problem = load_problem(source)
        if problem:
            raise BadGraderError(path, f"does not load: {problem}")
    every = {place for _, text in template_texts(grader) for place in places(text)}
    needed = sorted(place for place in every if place.path[0] == "item")
    for item in items:
        for shown, path_in_item in needed:
            if value_at(path_in_item, {"item": item}) is None:
                raise DataError(f"grader {grader['name']!r}: {unfilled(shown, item)}.")


def graded(
    grader: Grader,
    output_text: str,
    item: Mapping[str, object],
    *,
    ask: Ask | None = None,
    limits: SandboxLimits = LIMITS,
) -> Grade:
    """Grade one answer against its item, with the reason, or with what kept it from a score.

    Thinking text (``<think>…</think>``, harmony's analysis channel) is no part of the answer and is left out.
    A template that reads JSON from an answer which is none (``{{sample.output_json.total}}``) makes that
    answer wrong: the lowest score. ``limits`` are those of python graders, for each answer.

    Raises ``DataError`` for a grader that could grade nothing, and what ``ask`` raises if it is no
    ``JudgeError``.
    """
    check_shape(grader)
    start = time.perf_counter()
    grade = grade_answer(grader, AnswerToGrade.of(output_text, item), Resources(ask, limits))
    return replace(grade, seconds=time.perf_counter() - start)


def grade(grader: Grader, output_text: str, item: Mapping[str, object]) -> float:
    """Score one answer as ``graded`` does, asking no model; what keeps it from a score is a ``DataError``."""
    result = graded(grader, output_text, item)
    if not result.graded:
        # A template that finds nothing names its item itself.
        where = "" if result.errors["invalid_variable_error"] else f" stopped at item {name_of(item)}"
        raise DataError(f"grader {grader['name']!r}{where}: {result.problem}.")
    return result.score


def passes(grader: Grader, score: float) -> bool:
    """Whether this score passes: the lowest that does is the grader's ``pass_threshold``, else a full one."""
    lowest = grader.get("pass_threshold")
    full = type_of(grader).range(grader)[1]
    return score >= (float(lowest) if isinstance(lowest, int | float) else full)
