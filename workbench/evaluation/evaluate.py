"""Evaluate: ask a model every question of a dataset, grade the answers, keep both.

Also ``scored_answers``: several graded answers to each question, of which preference pairs are made. What an
evaluation is, and how it is saved, is in ``evaluation``; sending requests is in ``requests``.
"""

import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.dataset.dataset import OUTPUTS, TOOLS, Dataset, Example, identity
from workbench.dataset.preference_pairs import Scored
from workbench.errors import DataError
from workbench.evaluation.evaluation import Evaluation, Item
from workbench.evaluation.graders.grader_types import needs, type_of
from workbench.evaluation.graders.grades import Grade, Grader, final_answer
from workbench.evaluation.graders.grading import check_grader, graded
from workbench.evaluation.graders.judges import Ask
from workbench.evaluation.graders.sandbox import SandboxLimits
from workbench.evaluation.prompts import AS_TRAINED, Prompt
from workbench.evaluation.requests import Answer, Request, ResponseCache, ask, judging, note_of, progress_bar
from workbench.project import JSON

if TYPE_CHECKING:
    from openai import OpenAI


def questions(dataset: Dataset, cluster: str | None = None) -> tuple[Item, ...]:
    """Name each item by its content; a repeated one gets its number behind.

    ``cluster`` is a column whose equal values belong together; without it, and where it is empty, examples
    with the same prompt do, as they are no independent measurements.
    """
    if not len(dataset):
        raise DataError(f"{dataset.name} has no examples; there is nothing to ask.")
    prompts = [identity(example.prompt) for example in dataset]
    often = Counter(prompts)
    values = [None] * len(dataset) if cluster is None else dataset.column(cluster)
    seen: Counter[str] = Counter()
    found = []
    for example, prompt, value in zip(dataset, prompts, values, strict=True):
        more = {key: held for key, held in example.more.items() if key not in (*TOOLS, *OUTPUTS)}
        reference = _reference(example, more)
        short = _short([example.question, reference])
        seen[short] += 1
        repeated = f"prompt {_short(prompt)}" if often[prompt] > 1 else ""
        found.append(
            Item(
                id=short if seen[short] == 1 else f"{short}-{seen[short]}",
                origin=example.origin,
                question=example.question,
                reference=reference,
                cluster=repeated if value in (None, "") else str(value),
                more={key: held for key, held in more.items() if key not in ("question", "answer", "origin")},
            )
        )
    return tuple(found)


def _reference(example: Example, more: Mapping[str, JSON]) -> str:
    """What the last message says, else the field of this name, as rows for reinforcement have it."""
    answer = example.answer or more.get("answer", "")
    return (answer if isinstance(answer, str) else json.dumps(answer, default=dict)).strip()


def _short(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]


_PATIENCE = 3  # answers on which a python grader may hang


def evaluate(
    client: "OpenAI",
    model: str,
    dataset: Dataset,
    grader: Grader,
    *,
    prompt: Prompt = AS_TRAINED,
    samples: int = 1,
    max_tokens: int = 64,
    temperature: float = 0.0,
    cluster: str | None = None,
    judge: "OpenAI | None" = None,
    limits: SandboxLimits | None = None,
    concurrency: int = 32,
    cache: str | Path | None = None,
    progress: str | None = None,
) -> Evaluation:
    """Ask ``model`` every question of ``dataset`` and grade what it says.

    Answers lose their thinking text (``<think>…</think>``, a harmony analysis channel), and answers and
    references the white space around them, before grading. Each of several ``samples`` has
    a seed of its own; they need a ``temperature`` above 0. ``cluster`` names the column that says which
    items belong together (a document, a template); without it, repeated questions do. A grader that asks a
    model asks ``judge``, else ``client``; one in Python may use as much time and memory as ``limits`` say,
    else as the service allows: two minutes an answer.

    ``concurrency`` questions are under way at a time, and as many judgements; ``cache`` is a file that keeps
    every answer and every judge's reply, so that an interrupted run goes on and a rerun is free. An item
    that the service refuses to answer, or that cannot be graded, has no score and says why. ``progress``
    names the progress bar; ``None`` names the prompt and the model.

    Raises ``DataError``, before the first question is sent, for a grader that cannot grade these items; and
    the client's own errors, once what was on its way is kept.
    """
    import openai

    if samples < 1:
        raise DataError(f"samples is {samples}; ask for 1 answer to each question, or more.")
    if samples > 1 and temperature <= 0:
        raise DataError(
            f"samples is {samples} and temperature {temperature:g}; answers to one question differ only at "
            "a temperature above 0."
        )
    asked = questions(dataset, cluster)
    check_grader(grader, [item.fields for item in asked])
    check_scale(grader)
    seeds: list[int | None] = [None] if samples == 1 else list(range(samples))
    requests = [
        Request(model, prompt.messages(example), max_tokens, temperature, seed)
        for example in dataset
        for seed in seeds
    ]
    # A judge is waited for like the model; all else is work for this machine's processors.
    at_once = concurrency if "model" in needs(grader) else min(concurrency, os.cpu_count() or 1)
    kept = ResponseCache(cache)
    items = [item.fields for item in asked for _ in seeds]
    scored = _scoring(grader, items, judging(judge or client, kept), limits or SandboxLimits())
    with closing(ask(client, requests, concurrency=concurrency, cache=kept)) as answers:
        try:
            what = f"{progress or prompt.name}, {_shortened(model)}"
            found = _graded(answers, scored, len(requests), what, at_once)
        except (openai.OpenAIError, KeyboardInterrupt) as error:
            answers.close()  # waits for those on their way
            if not getattr(error, "__notes__", ()):
                error.add_note(note_of(requests, kept))
            raise
    answered = tuple(
        replace(item, answers=tuple(found[place * samples : (place + 1) * samples]))
        for place, item in enumerate(asked)
    )
    return Evaluation(model, prompt, json.loads(json.dumps(grader)), answered, max_tokens, temperature)


_NAMED = 28  # letters of a model in a progress bar


def _shortened(model: str) -> str:
    """The name of a model, without its middle where it is long: both ends tell models apart."""
    return model if len(model) <= _NAMED else f"{model[: _NAMED // 2]}…{model[-_NAMED // 2 :]}"


def check_scale(grader: Grader) -> None:
    """Refuse a judge's scale that is not 0 to 1, before anybody is asked."""
    low, high = type_of(grader).range(grader)
    if (low, high) != (0, 1):
        raise DataError(
            f"grader.range is [{low:g}, {high:g}], and an evaluation's scores lie between 0 and 1; put the "
            f'grader into a multi grader that says "calculate_output": "(judge - {low:g}) / {high - low:g}".'
        )


def _scoring(
    grader: Grader, items: Sequence[Mapping[str, JSON]], judges: Ask, limits: SandboxLimits
) -> Callable[[int, Answer], Answer]:
    """What grades the answer at a place; a grader that hangs again and again is not waited for any more."""
    hung = 0

    def scored(place: int, answer: Answer) -> Answer:
        nonlocal hung
        said = final_answer(answer.text).strip()
        if answer.problem:
            return replace(answer, text=said, seconds=math.nan)
        if hung >= _PATIENCE:
            grade = Grade(math.nan, "", f"not graded, as the grader hung on {_PATIENCE} answers before")
        else:
            grade = graded(grader, said, items[place], ask=judges, limits=limits)
            hung += grade.errors["python_grader_server_error_type"] == "timeout"
        score, problem = grade.score, grade.problem
        if not problem and not 0 <= score <= 1:
            score, problem = math.nan, f"the grader gave {score:g}, and a score lies between 0 and 1"
        return replace(answer, text=said, score=score, reason=grade.reason, problem=problem)

    return scored


def _graded(
    answers: Generator[tuple[int, Answer], None, None],
    scored: Callable[[int, Answer], Answer],
    total: int,
    what: str,
    at_once: int,
) -> list[Answer]:
    """Grade each answer as it comes, beside the asking: a judge takes as long as the model does."""
    failed: list[Future[Answer]] = []
    grading: dict[Future[Answer], int] = {}

    def note_failure(done: Future[Answer]) -> None:
        if not done.cancelled() and done.exception() is not None:
            failed.append(done)

    pool = ThreadPoolExecutor(max_workers=at_once)
    try:
        for place, answer in progress_bar(answers, total, what):
            one = pool.submit(scored, place, answer)
            grading[one] = place
            one.add_done_callback(note_failure)
            if failed:
                failed[0].result()  # the judge's service is gone: ask no more
        ready = progress_bar(as_completed(grading), total, f"{what}, graded")
        found = {grading[done]: done.result() for done in ready}
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return [found[place] for place in range(total)]


def scored_answers(evaluation: Evaluation, dataset: Dataset) -> Sequence[Scored]:
    """The graded answers of an evaluation of ``dataset``; ``pairs_from_samples`` makes pairs of them.

    The best and the worst of a model's own answers teach it more than somebody else's would: evaluate the
    model that is going to be tuned with several ``samples`` (Zephyr, arXiv 2310.16944, and Azure's guide to
    direct preference optimization, 5 Oct 2026). An answer that could not be graded makes no pair.
    """
    return [
        Scored(example.prompt, answer.text, answer.score, example.origin, example.metadata)
        for example, item in zip(dataset, evaluation.items, strict=True)
        for answer in item.answers
        if not math.isnan(answer.score)
    ]
