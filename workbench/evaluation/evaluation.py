"""An evaluation: a model's answers to the questions of a dataset, with their scores.

It is frozen: the items, and everything that was held fixed (model, prompt,
grader, decoding). It is a file on disk, so that a later notebook compares the
very same items. How one is made is said in ``evaluate``.
"""

import json
import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.dataset.examples import counted
from workbench.errors import DataError
from workbench.evaluation import stored
from workbench.evaluation.asking.prompts import Prompt, prompt_from
from workbench.evaluation.graders import Grader, passes
from workbench.evaluation.items import Item as Item
from workbench.evaluation.items import Sample
from workbench.evaluation.statistics.effective import interval_of
from workbench.evaluation.statistics.intervals import Interval
from workbench.project import JSON
from workbench.tables import table

if TYPE_CHECKING:
    import pandas

_SHOWN = 5  # failures under a summary; all of them are in .failures


@dataclass(frozen=True)
class Evaluation:
    """A model's answers to one dataset with one prompt, graded."""

    model: str
    prompt: Prompt
    grader: Grader
    items: tuple[Item, ...]
    max_tokens: int
    temperature: float

    @cached_property
    def graded(self) -> tuple[Item, ...]:
        """The items that have a score; all numbers speak of these."""
        return tuple(item for item in self.items if not math.isnan(item.score))

    @property
    def problems(self) -> Mapping[str, int]:
        """Why items have no score, and how many for that reason, the most frequent first."""
        found = Counter(item.problem for item in self.items if math.isnan(item.score))
        return dict(found.most_common())

    @property
    def score(self) -> float:
        """The mean score of those that could be graded; ``nan`` where none could."""
        return statistics.fmean(item.score for item in self.graded) if self.graded else math.nan

    @property
    def correct(self) -> int:
        """How many items are wholly right: score 1, or the grader's ``pass_threshold``."""
        return len(self.graded) - len(self._wrong)

    @cached_property
    def interval(self) -> Interval:
        """The score's 95 % interval: Wilson's, for as many independent items as these are worth.

        Items of one cluster, and repeated questions, are not independent; how they are counted is said
        in ``effective``.
        """
        return interval_of([item.score for item in self.graded], [item.cluster for item in self.graded])

    @property
    def prompt_tokens(self) -> float:
        """Tokens sent per question, on average."""
        return _mean(answer.prompt_tokens for answer in self._answers)

    @property
    def cached_tokens(self) -> float:
        """Those of the prompt's tokens that the service had read before, per question, on average."""
        return _mean(answer.cached_tokens for answer in self._answers)

    @property
    def completion_tokens(self) -> float:
        """Tokens answered per question, on average."""
        return _mean(answer.completion_tokens for answer in self._answers)

    @property
    def seconds_p50(self) -> float:
        """Half of the answers took no longer than this, with the other questions asked beside them."""
        return statistics.median(self._seconds) if self._seconds else math.nan

    @property
    def seconds_p95(self) -> float:
        """95 of 100 answers took no longer than this (nearest rank)."""
        return self._seconds[math.ceil(0.95 * len(self._seconds)) - 1] if self._seconds else math.nan

    @property
    def frame(self) -> "pandas.DataFrame":
        """All items as a table, one row each; ``answers`` has a row for each answer."""
        columns = [name for name in Item.__dataclass_fields__ if name not in ("samples", "more")]
        return self._listed(self.items, columns)

    @property
    def answers(self) -> "pandas.DataFrame":
        """All answers as a table, one row each, with the ``id`` of the item and the number of the sample."""
        import pandas

        rows = [
            {"id": item.id, "sample": number, **asdict(answer)}
            for item in self.items
            for number, answer in enumerate(item.answers)
        ]
        return pandas.DataFrame(rows, columns=["id", "sample", *Sample.__dataclass_fields__])

    @property
    def failures(self) -> "pandas.DataFrame":
        """The items that are not wholly right, worst first."""
        columns = ["origin", "question", "reference", "answer", "score"]
        wrong = sorted(self._wrong, key=lambda item: item.score)
        return self._listed(wrong, columns)

    @property
    def facts(self) -> dict[str, JSON]:
        """The numbers as JSON; what is not known is ``None``."""
        numbers = {
            "score": self.score,
            "low": self.interval.low,
            "high": self.interval.high,
            "prompt_tokens": self.prompt_tokens,
            "cached_tokens": self.cached_tokens,
            "completion_tokens": self.completion_tokens,
            "seconds_p50": self.seconds_p50,
            "seconds_p95": self.seconds_p95,
        }
        return {
            "model": self.model,
            "prompt": self.prompt.name,
            "grader": str(self.grader["name"]),
            "items": len(self.items),
            "graded": len(self.graded),
            "correct": self.correct,
            **{name: None if math.isnan(number) else number for name, number in numbers.items()},
            "problems": dict(self.problems),
        }

    def to_jsonl(self) -> bytes:
        """Write it as JSON lines: first what was held fixed, then an item a line."""
        return stored.lines(self._header, self.items)

    def save(self, path: str | Path) -> Path:
        """Keep it as JSON lines, whole or not at all; ``Evaluation.load`` reads it back."""
        return stored.save_lines(Path(path), self._header, self.items)

    def to_parquet(self, path: str | Path) -> Path:
        """Keep it as Parquet, whole or not at all; ``Evaluation.load`` reads it back, and so does pandas."""
        return stored.save_parquet(Path(path), self._header, self.items)

    @classmethod
    def load(cls, path: str | Path) -> "Evaluation":
        """Read one that was saved, of either kind."""
        header, items = stored.read(Path(path))
        try:
            prompt = prompt_from(header["prompt"])
            return cls(
                header["model"], prompt, header["grader"], items, header["max_tokens"], header["temperature"]
            )
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"{path} is not a saved evaluation ({error}); evaluate again.") from error

    def __repr__(self) -> str:
        """Show the score."""
        return f"<Evaluation of {self.model}: {self._told()}>"

    def _repr_html_(self) -> str:
        cut = sum(answer.finish_reason == "length" for answer in self._answers)
        rows = [
            ("score", self._told()),
            ("prompt", f"{self.prompt.name}, {self.prompt_tokens:.0f} tokens a question"),
            ("grader", str(self.grader["name"])),
        ]
        if self._seconds:
            half, most = self.seconds_p50, self.seconds_p95
            rows.append(("time", f"{half:.2f} s for half of the answers, {most:.2f} s for 95 %"))
        if len(self._answers) > len(self.items):
            asked = f"{len(self._answers):,} answers, at temperature {self.temperature:g}"
            rows.append(("samples", f"{asked}; an item's score is the mean of its answers'"))
        if self._clusters:
            rows.append(("clusters", f"{self._clusters:,}; items of one are counted as alike as they are"))
        if cut:
            rows.append(("cut short", f"{counted(cut, 'answer')}, at {self.max_tokens} tokens"))
        rows += [("not graded", f"{counted(n, 'item')}: {problem}") for problem, n in self.problems.items()]
        summary = table(f"{self.model} on {counted(len(self.items), 'item')}", ("measure", "value"), rows)
        wrong = [(item.origin, item.question, item.reference, item.answer) for item in self._wrong]
        if not wrong:
            return summary
        caption = f"{min(_SHOWN, len(wrong))} of {len(wrong)} failures; all of them are in .failures"
        return summary + table(caption, ("origin", "question", "reference", "answer"), wrong[:_SHOWN])

    def _told(self) -> str:
        """The score with its interval, and what could not be graded."""
        without = len(self.items) - len(self.graded)
        if not self.graded:
            why = next(iter(self.problems), "")
            return f"none of {counted(len(self.items), 'item')} could be graded; {why}"
        told = (
            f"{100 * self.score:.1f} % (95 % interval {self.interval}), "
            f"{self.correct} of {len(self.graded)} right"
        )
        return told + (
            f"; {without} of {counted(len(self.items), 'item')} could not be graded" * bool(without)
        )

    def _listed(self, items: Iterable[Item], columns: Sequence[str]) -> "pandas.DataFrame":
        import pandas

        rows = [[getattr(item, name) for name in columns] for item in items]
        return pandas.DataFrame(rows, columns=list(columns))

    @property
    def _header(self) -> dict[str, JSON]:
        return {
            "model": self.model,
            "prompt": self.prompt.facts,
            "grader": json.loads(json.dumps(self.grader)),
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
        }

    @cached_property
    def _wrong(self) -> tuple[Item, ...]:
        return tuple(item for item in self.graded if not passes(self.grader, item.score))

    @cached_property
    def _answers(self) -> tuple[Sample, ...]:
        """Every answer that came."""
        return tuple(
            answer for item in self.items for answer in item.answers if answer.finish_reason != "refused"
        )

    @cached_property
    def _seconds(self) -> list[float]:
        return sorted(answer.seconds for answer in self._answers if not math.isnan(answer.seconds))

    @property
    def _clusters(self) -> int:
        """How many groups of items there are that have something in common; 0 where none has."""
        sizes = Counter(item.cluster for item in self.items if item.cluster)
        return len(sizes) if max(sizes.values(), default=1) > 1 else 0


def _mean(numbers: Iterable[float]) -> float:
    """``nan`` of none."""
    found = list(numbers)
    return statistics.fmean(found) if found else math.nan
