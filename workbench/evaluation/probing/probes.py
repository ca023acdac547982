"""Probes: questions with an answer that can be checked, on what any assistant should still be able to do.

The set in ``data/probes`` has five categories of 24: keeping to a format, following instructions,
general knowledge, declining what does harm (and nothing else), and tasks that are neighbours of many
tasks. A table of your own has the same columns: ``category``, ``question``, ``check``.
"""

import inspect
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.dataset.examples import Dataset, Example, Message
from workbench.dataset.quality.refusals import REFUSAL_PATTERN
from workbench.dataset.reading import read
from workbench.errors import DataError
from workbench.evaluation.asking.prompts import AS_TRAINED, Prompt
from workbench.evaluation.evaluate import evaluate
from workbench.evaluation.probing import checks
from workbench.settings import DATA

if TYPE_CHECKING:
    from openai import OpenAI

    from workbench.evaluation.evaluation import Evaluation

ANSWER_TOKENS = 96  # what is asked for has at most a few dozen


def read_probes(path: str | Path | None = None) -> Dataset:
    """Read a table of probes; ``None`` is the set that comes with the workbench.

    Raises ``DataError`` with the row whose check is none.
    """
    probes = read(path or DATA / "probes" / "probes.csv", question="question", answer="check")
    return replace(probes, examples=tuple(map(_checked, probes)))


def probe_grader() -> dict[str, object]:
    """The one grader of all probes: it reads from each what is to be checked."""
    return {"type": "python", "name": "probe", "source": inspect.getsource(checks)}


def probe(
    client: "OpenAI",
    model: str,
    probes: Dataset | None = None,
    *,
    prompt: Prompt = AS_TRAINED,
    concurrency: int = 32,
    cache: str | Path | None = None,
) -> "Evaluation":
    """Ask ``model`` every probe and check its answers; ``prompt`` may put a system message in front.

    Base and tuned model are probed alike, with what stands in front of users' questions in use, or with
    nothing. Each item's ``more`` holds its category.
    """
    asked = read_probes() if probes is None else probes
    return evaluate(
        client,
        model,
        asked,
        probe_grader(),
        prompt=prompt,
        max_tokens=ANSWER_TOKENS,
        concurrency=concurrency,
        cache=cache,
    )


def _checked(example: Example) -> Example:
    """The probe with all that its check needs, or what is wrong with it."""
    try:
        wanted = json.loads(example.answer)
    except ValueError as error:
        raise DataError(f"{example.origin}: the check is no JSON object ({error}).") from error
    if not isinstance(wanted, dict) or not wanted:
        raise DataError(f"{example.origin}: the check is no JSON object that names a check.")
    unknown = sorted(set(wanted) - set(checks.CHECKS))
    if unknown:
        raise DataError(
            f"{example.origin}: there is no check {unknown[0]!r}; there are {', '.join(checks.CHECKS)}."
        )
    if not example.metadata.get("category"):
        raise DataError(f"{example.origin} has no category; probes are told apart by it.")
    if "refuses" in wanted:
        wanted["refusal"] = REFUSAL_PATTERN
    answer: Message = {**example.messages[-1], "content": json.dumps(wanted, ensure_ascii=False)}
    told = {**example.more, "category": example.metadata["category"]}
    return replace(example, messages=(*example.prompt, answer), more=told)
