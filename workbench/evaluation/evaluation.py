"""An evaluation: a model's answers to the questions of a dataset, with their scores.

It is frozen: the items, and everything that was held fixed (model, prompt,
grader, decoding). It is a file of JSON lines on disk, so that a later notebook
compares the very same items. How one is made is said in ``evaluate``.
"""

import json
import math
import os
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import DataError
from workbench.evaluation.asking.prompts import Prompt, prompt_from
from workbench.evaluation.graders import Grader
from workbench.evaluation.statistics.intervals import Interval, wilson
from workbench.tables import table

if TYPE_CHECKING:
    import pandas

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
    cached_tokens: int = 0

    @property
    def graded(self) -> dict[str, str]:
        """What a grader reads of it as ``item``."""
        return {"question": self.question, "answer": self.reference, "origin": self.origin}


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
    def cached_tokens(self) -> float:
        """Those of the prompt's tokens that the service had read before, per question, on average."""
        return statistics.fmean(item.cached_tokens for item in self.items)

    @property
    def completion_tokens(self) -> float:
        """Tokens answered per question, on average."""
        return statistics.fmean(item.completion_tokens for item in self.items)

    @property
    def seconds_p50(self) -> float:
        """Half of the answers took no longer than this, with the other questions asked beside them."""
        return statistics.median(item.seconds for item in self.items)

    @property
    def seconds_p95(self) -> float:
        """95 of 100 answers took no longer than this (nearest rank)."""
        return sorted(item.seconds for item in self.items)[math.ceil(0.95 * len(self.items)) - 1]

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
        header = {
            "evaluation": 1,  # the version of this layout
            "model": self.model,
            "prompt": self.prompt.facts,
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
            expected = header["items"]
            loaded = cls(
                model=header["model"],
                prompt=prompt_from(header["prompt"]),
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
            ("time", f"{self.seconds_p50:.2f} s for half of the answers, {self.seconds_p95:.2f} s for 95 %"),
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
