"""What the Evals API is sent: a file of items, their schema, the grader, and a template of the messages.

``POST /evals`` takes ``data_source_config`` and ``testing_criteria``, ``POST /evals/{id}/runs`` a
``data_source`` of type ``completions``; each line of the file is ``{"item": {…}}`` (openai's types of
``client.evals``; Azure OpenAI evaluation, v1).
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from workbench.dataset.examples import Dataset
from workbench.errors import DataError
from workbench.evaluation.asking.prompts import Prompt
from workbench.evaluation.graders import Grader
from workbench.evaluation.questions import Question
from workbench.project import JSON

ID = "workbench_id"
"""The field of an item that says which question it is."""
_CRITERIA = ("string_check", "text_similarity", "python", "score_model", "label_model")
_KINDS = {str: "string", bool: "boolean", int: "number", float: "number", list: "array", dict: "object"}


@dataclass(frozen=True)
class EvalBody:
    """Everything of an eval and its runs but the model and the decoding."""

    name: str
    items: tuple[Mapping[str, JSON], ...]
    criterion: Mapping[str, JSON]
    input_messages: Mapping[str, JSON]

    @cached_property
    def file(self) -> bytes:
        """The file of items, one a line."""
        lines = (json.dumps({"item": item}, ensure_ascii=False, default=dict) for item in self.items)
        return "".join(f"{line}\n" for line in lines).encode()

    @property
    def schema(self) -> dict[str, JSON]:
        """The JSON Schema of an item."""
        kinds: dict[str, set[str]] = {}
        for item in self.items:
            for name, value in item.items():
                kinds.setdefault(name, set()).add(_KINDS.get(type(value), ""))
        properties: dict[str, JSON] = {
            name: {"type": next(iter(found))} if len(found) == 1 and "" not in found else {}
            for name, found in kinds.items()
        }
        required = [name for name in kinds if all(name in item for item in self.items)]
        return {"type": "object", "properties": properties, "required": required}

    @property
    def key(self) -> str:
        """The content of the eval: what is graded and how."""
        return content_key([self.schema, self.criterion])

    def run_key(self, model: str, sampling: Mapping[str, JSON]) -> str:
        """The content of one run."""
        sent = hashlib.sha256(self.file).hexdigest()
        return content_key([self.key, sent, self.input_messages, model, sampling])


def eval_body(dataset: Dataset, asked: Sequence[Question], grader: Grader, prompt: Prompt) -> EvalBody:
    """Write it; what is the same around every question stands in the template, all else in the items.

    Where the questions have different turns, or hold more than text, each item brings its messages whole.
    """
    kind = grader["type"]
    if kind not in _CRITERIA:
        raise DataError(
            f"The Evals API grades with {', '.join(_CRITERIA)}, and this grader is of type {kind!r}; "
            "evaluate(client, …) grades with it here."
        )
    sent = [prompt.messages(example) for example in dataset]
    fields: list[dict[str, JSON]] = [
        {"question": each.text, "answer": each.reference, **each.more, ID: each.id} for each in asked
    ]
    if _alike(sent):
        template: list[JSON] = []
        for number, column in enumerate(zip(*sent, strict=True), start=1):
            texts = [str(turn["content"]) for turn in column]
            text = texts[0]
            if len(set(texts)) > 1 or "{{" in text:
                text = f"{{{{item.message_{number}}}}}"
                for item, own in zip(fields, texts, strict=True):
                    item[f"message_{number}"] = own
            template.append({"type": "message", "role": str(column[0]["role"]), "content": text})
        messages: dict[str, JSON] = {"type": "template", "template": template}
    else:
        messages = {"type": "item_reference", "item_reference": "item.messages"}
        for item, turns in zip(fields, sent, strict=True):
            item["messages"] = json.loads(json.dumps(turns, default=dict))
    criterion: dict[str, JSON] = json.loads(json.dumps(grader))
    if kind == "text_similarity":
        criterion.setdefault("pass_threshold", 1)  # which the API wants, and our score does without
    name = f"{dataset.name}, graded by {grader['name']}"
    return EvalBody(name, tuple(fields), criterion, messages)


def content_key(content: JSON) -> str:
    """By what the same content is found again, as a value of the API's metadata."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=dict).encode()).hexdigest()


def _alike(sent: Sequence[Sequence[Mapping[str, object]]]) -> bool:
    """Whether all questions have the same turns, of text alone."""
    shapes = {tuple(message["role"] for message in messages) for messages in sent}
    plain = all(
        set(message) == {"role", "content"} and isinstance(message["content"], str)
        for messages in sent
        for message in messages
    )
    return len(shapes) == 1 and plain
