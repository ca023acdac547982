"""Several answers to each question, scored by a grader: what preference pairs are made of.

The best and the worst of a model's own answers teach it more than somebody else's would: draw them from
the model that is going to be tuned (Zephyr, arXiv 2310.16944, and Azure's guide to direct preference
optimization, 5 Oct 2026).
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.dataset.examples import Dataset
from workbench.dataset.preference import Scored
from workbench.errors import DataError
from workbench.evaluation.asking.prompts import AS_TRAINED, Prompt
from workbench.evaluation.evaluate import evaluate
from workbench.evaluation.graders import Grader

if TYPE_CHECKING:
    from openai import OpenAI


def samples(
    client: "OpenAI",
    model: str,
    dataset: Dataset,
    grader: Grader,
    *,
    n: int = 4,
    prompt: Prompt = AS_TRAINED,
    temperature: float = 1.0,
    max_tokens: int = 256,
    judge: "OpenAI | None" = None,
    concurrency: int = 20,
    cache: str | Path | None = None,
) -> Sequence[Scored]:
    """Draw ``n`` answers to each question and score them; ``pairs_from_samples`` makes pairs of them.

    Each sample has a seed of its own, so an interrupted run goes on, and none is paid for twice. An answer
    that could not be graded makes no pair, and is left out.
    """
    if n < 2 or temperature <= 0:
        raise DataError(
            f"n is {n} and temperature {temperature:g}; pairs need two different answers to a question: "
            "draw 2 or more, at a temperature above 0."
        )
    found = evaluate(
        client,
        model,
        dataset,
        grader,
        prompt=prompt,
        samples=n,
        max_tokens=max_tokens,
        temperature=temperature,
        judge=judge,
        concurrency=concurrency,
        cache=cache,
    )
    return [
        Scored(example.prompt, answer.answer, answer.score, example.origin, example.metadata)
        for example, item in zip(dataset, found.items, strict=True)
        for answer in item.answers
        if not math.isnan(answer.score)
    ]
