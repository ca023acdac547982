"""Evaluate: ask a model every question of a dataset, grade the answers, keep both.

An evaluation is frozen: the items with their answers and scores, and everything
that was held fixed (model, prompt, grader, decoding). It is a file of JSON
lines on disk, so that a later notebook compares the very same items.
"""

import hashlib
import json
import os
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.dataset.examples import Dataset, Example
from workbench.errors import DataError
from workbench.evaluation.answers import Answer, Request, ask
from workbench.evaluation.graders import Grader, check_grader, grade
from workbench.evaluation.intervals import Interval, wilson
from workbench.evaluation.prompts import AS_TRAINED, Prompt
from workbench.settings import setting
from workbench.tables import table

if TYPE_CHECKING:
    import pandas
    from openai import OpenAI

_SHOWN = 5  # failures under a summary; all of them are in .failures


@dataclass(frozen=True)
class Item:
    """One question with its reference, the model's answer and its score from 0 to 1.

    ``id`` is made of question and reference alone, so the same item has the
    same id whatever the model and the prompt.
    """

    id: str
    origin: str
    question: str
    reference: str
    answer: str
    score: float
    seconds: float
    prompt_tokens: int
    completion_tokens: int
    finish_reason: str


@dataclass(frozen=True)
class Evaluation:
    """A model's answers to one dataset with one prompt, graded."""

    model: str
    prompt: Prompt
    grader: Grader
    items: tuple[Item, ...]
    max_tokens: int
    temperature: float

    @property
    def score(self) -> float:
        """The mean score."""
        return statistics.fmean(item.score for item in self.items)

    @property
    def correct(self) -> int:
        """How many items are wholly right (score 1)."""
        return sum(item.score == 1 for item in self.items)

    @property
    def interval(self) -> Interval:
        """The score's 95 % interval by Wilson's method."""
        return wilson(self.score, len(self.items))

    @property
    def prompt_tokens(self) -> float:
        """Tokens sent per question, on average."""
        return statistics.fmean(item.prompt_tokens for item in self.items)

    @property
    def seconds_p50(self) -> float:
        """Half of the answers took no longer than this, with the other questions asked beside them."""
        return statistics.median(item.seconds for item in self.items)

    @property
    def frame(self) -> "pandas.DataFrame":
        """All items as a table, one row each."""
        import pandas

        return pandas.DataFrame(
            [asdict(item) for item in self.items], columns=list(Item.__dataclass_fields__)
        )

    @property
    def failures(self) -> "pandas.DataFrame":
        """The items that are not wholly right, worst first."""
        frame = self.frame
        wrong = frame[frame["score"] < 1].sort_values("score", kind="stable")
        return wrong[["origin", "question", "reference", "answer", "score"]].reset_index(drop=True)

    def to_jsonl(self) -> bytes:
        """Write it as JSON lines: first what was held fixed, then an item a line."""
        shots = [{"messages": [dict(m) for m in s.messages], "origin": s.origin} for s in self.prompt.shots]
        header = {
            "evaluation": 1,  # the version of this layout
            "model": self.model,
            "prompt": {"name": self.prompt.name, "system": self.prompt.system, "shots": shots},
            "grader": dict(self.grader),
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "items": len(self.items),
        }
        lines = [header, *(asdict(item) for item in self.items)]
        return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()

    def save(self, path: str | Path) -> Path:
        """Keep it in a file, whole or not at all; ``Evaluation.load`` reads it back."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        half = path.with_name(f".{path.name}.{os.getpid()}")
        half.write_bytes(self.to_jsonl())
        half.replace(path)
        return path

    @classmethod
    def load(cls, path: str | Path) -> "Evaluation":
        """Read one that was saved."""
        path = Path(path)
        if not path.is_file():
            raise DataError(f"There is no evaluation {path}; run the notebook that makes it.")
        lines = path.read_bytes().splitlines()
        try:
            header, *rows = (json.loads(line) for line in lines)
            items = tuple(Item(**row) for row in rows)
            prompt = header["prompt"]
            shots = tuple(Example(tuple(shot["messages"]), shot["origin"]) for shot in prompt["shots"])
            expected = header["items"]
            loaded = cls(
                model=header["model"],
                prompt=Prompt(prompt["name"], prompt["system"], shots),
                grader=header["grader"],
                items=items,
                max_tokens=header["max_tokens"],
                temperature=header["temperature"],
            )
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"{path} is not a saved evaluation ({error}); evaluate again.") from error
        if len(items) != expected:
            raise DataError(f"{path} has {len(items)} of its {expected} items; evaluate again.")
        return loaded

    def __repr__(self) -> str:
        """Show the score."""
        return f"<Evaluation of {self.model}: {self._told()}>"

    def _repr_html_(self) -> str:
        cut = sum(item.finish_reason == "length" for item in self.items)
        rows = [
            ("score", self._told()),
            ("prompt", f"{self.prompt.name}, {self.prompt_tokens:.0f} tokens a question"),
            ("grader", str(self.grader["name"])),
            ("time", f"{self.seconds_p50:.2f} s for half of the answers"),
        ]
        if cut:
            rows.append(("cut short", f"{cut} answers, at {self.max_tokens} tokens"))
        summary = table(f"{self.model} on {len(self.items)} items", ("measure", "value"), rows)
        wrong = [
            (item.origin, item.question, item.reference, item.answer) for item in self.items if item.score < 1
        ]
        if not wrong:
            return summary
        caption = f"{min(_SHOWN, len(wrong))} of {len(wrong)} failures; all of them are in .failures"
        return summary + table(caption, ("origin", "question", "reference", "answer"), wrong[:_SHOWN])

    def _told(self) -> str:
        return (
            f"{100 * self.score:.1f} % (95 % interval {self.interval}), "
            f"{self.correct} of {len(self.items)} right"
        )


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
        for place, answer in _bar(answers, len(requests), prompt.name):
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
    )


def _bar(answers: Iterable[tuple[int, Answer]], total: int, what: str) -> Iterable[tuple[int, Answer]]:
    from tqdm.auto import tqdm as widget
    from tqdm.std import tqdm as text

    # Headless, a line of text now and then: whoever runs the notebook shows it, and keeps it short.
    if setting("WORKBENCH_HEADLESS") == "1":
        return text(answers, total=total, desc=what, unit="item", mininterval=5)
    bar: Iterable[tuple[int, Answer]] = widget(answers, total=total, desc=what, unit="item")
    return bar
