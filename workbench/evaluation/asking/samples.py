"""Several answers to each question, scored by a grader: what preference pairs are made of.

The best and the worst of a model's own answers teach it more than somebody else's would: draw them from
the model that is going to be tuned (Zephyr, arXiv 2310.16944, and Azure's guide to direct preference
optimization, 5 Oct 2026).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.dataset.examples import Dataset
from workbench.dataset.preference import Scored
from workbench.errors import DataError
from workbench.evaluation.asking.answers import Request, ask
from workbench.evaluation.asking.prompts import AS_TRAINED, Prompt
from workbench.evaluation.evaluate import progress_bar
from workbench.evaluation.graders import Grader, check_grader, grade

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
    concurrency: int = 20,
    cache: str | Path | None = None,
) -> Sequence[Scored]:
    """Draw ``n`` answers to each question and score them; ``pairs_from_samples`` makes pairs of them.

    Each sample has a seed of its own, so an interrupted run goes on, and none is paid for twice.
    """
    if n < 2 or temperature <= 0:
        raise DataError(
            f"n is {n} and temperature {temperature:g}; pairs need two different answers to a question: "
            "draw 2 or more, at a temperature above 0."
        )
    items = [{"question": e.question, "answer": e.answer, "origin": e.origin} for e in dataset]
    check_grader(grader, items)
    requests = [
        Request(model, prompt.messages(example), max_tokens, temperature, seed)
        for example in dataset
        for seed in range(n)
    ]
    answers = ask(client, requests, concurrency=concurrency, cache=cache)
    said = dict(progress_bar(answers, len(requests), f"Sampling {model}"))
    scored = []
    for place in range(len(requests)):
        example, item = dataset[place // n], items[place // n]
        text = said[place].text.strip()
        score = grade(grader, text, item)
        scored.append(Scored(example.prompt, text, score, example.origin, example.metadata))
    return scored
