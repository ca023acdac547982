"""Evaluate: ask a model every question of a dataset, grade the answers, keep both."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.dataset.examples import Dataset
from workbench.errors import DataError
from workbench.evaluation.asking.answers import Answer, Request, ask
from workbench.evaluation.asking.prompts import AS_TRAINED, Prompt
from workbench.evaluation.evaluation import Evaluation as Evaluation
from workbench.evaluation.evaluation import Item as Item
from workbench.evaluation.graders import Grader, check_grader, grade
from workbench.settings import setting

if TYPE_CHECKING:
    from openai import OpenAI


def evaluate(
    client: "OpenAI",
    model: str,
    dataset: Dataset,
    grader: Grader,
    *,
    prompt: Prompt = AS_TRAINED,
    max_tokens: int = 64,
    temperature: float = 0.0,
    concurrency: int = 32,
    cache: str | Path | None = None,
) -> Evaluation:
    """Ask ``model`` every question of ``dataset`` and grade what it says.

    Answers and references lose the white space around them before grading.
    ``concurrency`` questions are under way at a time; ``cache`` is a file that
    keeps every answer, so that an interrupted run goes on and a rerun is free.
    Grader and items are checked before the first question is sent.

    Raises ``DataError`` for a grader that cannot grade these items or scores
    outside 0 to 1, and the client's own errors, once what was on its way is kept.
    """
    if not len(dataset):
        raise DataError(f"{dataset.name} has no examples; there is nothing to ask.")
    questions = [
        {"question": example.question, "answer": example.answer.strip(), "origin": example.origin}
        for example in dataset
    ]
    check_grader(grader, questions)
    ids = _ids(questions)
    requests = [Request(model, prompt.messages(example), max_tokens, temperature) for example in dataset]
    items: dict[int, Item] = {}
    with closing(ask(client, requests, concurrency=concurrency, cache=cache)) as answers:
        for place, answer in progress_bar(answers, len(requests), prompt.name):
            items[place] = _graded(ids[place], questions[place], answer, grader)
    in_order = tuple(items[place] for place in range(len(requests)))
    return Evaluation(model, prompt, json.loads(json.dumps(grader)), in_order, max_tokens, temperature)


def _ids(questions: Sequence[Mapping[str, str]]) -> list[str]:
    """Name each item by its content; a repeated one gets its number behind."""
    seen: Counter[str] = Counter()
    ids = []
    for item in questions:
        content = json.dumps([item["question"], item["answer"]])
        short = hashlib.sha256(content.encode()).hexdigest()[:12]
        seen[short] += 1
        ids.append(short if seen[short] == 1 else f"{short}-{seen[short]}")
    return ids


def _graded(id: str, item: Mapping[str, str], answer: Answer, grader: Grader) -> Item:
    said = answer.text.strip()
    score = grade(grader, said, item)
    if not 0 <= score <= 1:
        raise DataError(
            f"grader {grader['name']!r} gave {score:g} for item {item['origin']}; "
            "a score lies between 0 and 1, so divide by the largest one."
        )
    return Item(
        id=id,
        origin=item["origin"],
        question=item["question"],
        reference=item["answer"],
        answer=said,
        score=score,
        seconds=answer.seconds,
        prompt_tokens=answer.prompt_tokens,
        completion_tokens=answer.completion_tokens,
        finish_reason=answer.finish_reason,
        cached_tokens=answer.cached_tokens,
    )


def progress_bar(
    answers: Iterable[tuple[int, Answer]], total: int, what: str
) -> Iterable[tuple[int, Answer]]:
    """Show how far it is, if it takes longer than two seconds; what comes from the cache does not."""
    from tqdm.auto import tqdm as widget
    from tqdm.std import tqdm as text

    # Headless, a line of text now and then: whoever runs the notebook shows it, and keeps it short.
    if setting("WORKBENCH_HEADLESS") == "1":
        return text(answers, total=total, desc=what, unit="item", mininterval=5, delay=2)
    bar: Iterable[tuple[int, Answer]] = widget(answers, total=total, desc=what, unit="item", delay=2)
    return bar
