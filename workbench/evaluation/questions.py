"""The questions of an evaluation: what each is known by, what a grader reads of it, what it belongs to."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from workbench.dataset.examples import OUTPUTS, TOOLS, Dataset, Example, identity
from workbench.errors import DataError
from workbench.project import JSON


@dataclass(frozen=True)
class Question:
    """One item before it is answered; ``id`` depends on question and reference alone."""

    id: str
    origin: str
    text: str
    reference: str
    cluster: str
    more: Mapping[str, JSON]
    """Reference fields beside the answer, of examples for reinforcement."""

    @property
    def fields(self) -> dict[str, JSON]:
        """What a grader reads as ``item``."""
        return {"question": self.text, "answer": self.reference, "origin": self.origin, **self.more}


def questions(dataset: Dataset, cluster: str | None = None) -> tuple[Question, ...]:
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
            Question(
                id=short if seen[short] == 1 else f"{short}-{seen[short]}",
                origin=example.origin,
                text=example.question,
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
