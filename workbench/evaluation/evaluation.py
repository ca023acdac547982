"""An evaluation: the items of a dataset with a model's answers and their grades; frozen, and a file on disk.

``Item`` is one question with its answers, ``Answer`` (in ``requests``) one answer with its grade. Files are
JSON lines or Parquet; what earlier versions wrote is read. Also what a request costs on average.
"""

import json
import math
import os
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from workbench import catalog
from workbench.catalog.models import base_name
from workbench.catalog.providers import runs_here
from workbench.dataset.dataset import counted
from workbench.display import Table, safe
from workbench.errors import DataError, SetupError
from workbench.evaluation.graders.grades import Grader
from workbench.evaluation.graders.grading import passes
from workbench.evaluation.prompts import Prompt, prompt_from
from workbench.evaluation.requests import Answer
from workbench.evaluation.statistics import Interval, interval_of
from workbench.jsonl_log import writing
from workbench.project import JSON

if TYPE_CHECKING:
    import pandas
    import pyarrow

# One item: a question with its answers and their grades.

_NONE = Answer("", "", math.nan, 0, 0)


@dataclass(frozen=True)
class Item:
    """One question with its reference and the model's answers to it, each with its grade.

    ``id`` is made of question and reference alone, so the same item has the same id whatever the model and
    the prompt. However often a question is asked, it counts once: ``score`` is the mean of its answers'.
    """

    id: str
    origin: str
    question: str
    reference: str
    answers: tuple[Answer, ...] = ()
    cluster: str = ""
    """What it has in common with others (a document, a conversation, a template); empty: nothing."""
    more: Mapping[str, JSON] = field(default_factory=dict)
    """Further reference fields that a grader may read, as ``item.<name>``."""

    @property
    def fields(self) -> dict[str, JSON]:
        """What a grader reads as ``item``."""
        return {"question": self.question, "answer": self.reference, "origin": self.origin, **self.more}

    @property
    def first(self) -> Answer:
        """The first of its answers, or the only one; an empty one before it is asked."""
        return self.answers[0] if self.answers else _NONE

    @property
    def answer(self) -> str:
        """What the model said first."""
        return self.first.text

    @cached_property
    def score(self) -> float:
        """The mean score of the answers that have one, 0 to 1; ``nan`` when nothing could be graded."""
        scores = [answer.score for answer in self.answers if not math.isnan(answer.score)]
        return statistics.fmean(scores) if scores else math.nan

    @property
    def reason(self) -> str:
        """Why the grader gave the first answer its score."""
        return self.first.reason

    @property
    def problem(self) -> str:
        """Why it has no score; empty where it has one."""
        return self.first.problem if math.isnan(self.score) else ""

    def answered(self, **changes: Any) -> "Item":
        """The same item with its first answer alone, changed: ``item.answered(score=0.0)``."""
        return replace(self, answers=(replace(self.first, **changes),))

    @property
    def facts(self) -> dict[str, JSON]:
        """All of it as JSON, without what is empty; ``item_from`` makes it an item again."""
        facts: dict[str, JSON] = {name: getattr(self, name) for name in _ASKED} | self.first.facts
        facts |= {"score": None if math.isnan(self.score) else self.score, "problem": self.problem}
        facts |= {"cluster": self.cluster, "more": self.more}
        if len(self.answers) > 1:
            facts["samples"] = [answer.facts for answer in self.answers]
        return {name: value for name, value in facts.items() if value or name not in _LATER}

    @property
    def row(self) -> dict[str, JSON]:
        """The same as a row of a table: empty texts are there, and ``nan`` for what is not known."""
        return {**_EMPTY, **_numbers(self.facts)}


_ASKED = ("id", "origin", "question", "reference")
_LATER = ("cluster", "reason", "problem", "more")  # left out where they are empty
_EMPTY = {"cluster": "", "reason": "", "problem": ""}


def item_from(facts: Mapping[str, JSON]) -> Item:
    """Make an item of its ``facts``; a ``TypeError``, ``KeyError`` or ``ValueError`` if they are none."""
    samples = facts.get("samples") or [facts]
    if not isinstance(samples, list | tuple):
        raise TypeError("samples is no list")
    more = facts.get("more") or {}
    if not isinstance(more, Mapping):
        raise TypeError("more is no object")
    asked = {name: str(facts[name]) for name in _ASKED}
    answers = tuple(map(_answer_from, samples))
    return Item(**asked, answers=answers, cluster=str(facts.get("cluster") or ""), more=more)


def _answer_from(facts: JSON) -> Answer:
    """Read an answer of any version: what it does not name is left aside, ``null`` is ``nan``."""
    if not isinstance(facts, Mapping):
        raise TypeError("an object was expected")
    known = {name: facts[name] for name in Answer.__dataclass_fields__ if facts.get(name) is not None}
    known = {"seconds": math.nan, **known, "text": facts["answer"]}
    return Answer(**known)  # type: ignore[arg-type]


# On disk: JSON lines, whose first line is what was held fixed, or Parquet, with that in the schema's
# metadata.

_LAYOUT = 1  # the version of what is written here
_HEADER = b"workbench.evaluation"
_PARQUET = b"PAR1"  # what such a file begins with, whatever it is called


def _read(path: Path) -> tuple[dict[str, Any], tuple[Item, ...]]:
    """Read either kind; the content tells which it is."""
    if not path.is_file():
        raise DataError(f"There is no evaluation {path}; run the notebook that makes it.")
    with path.open("rb") as file:
        binary = file.read(len(_PARQUET)) == _PARQUET
    try:
        header, rows = _from_parquet(path) if binary else _from_lines(path)
        items, expected = tuple(item_from(row) for row in rows), header["items"]
    except (ValueError, TypeError, KeyError) as error:
        raise _unreadable(path, error) from error
    if len(items) != expected:
        raise DataError(f"{path} has {len(items)} of its {expected} items; evaluate again.")
    return header, items


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(f"{path} is not a saved evaluation ({error}); evaluate again.")


def _from_lines(path: Path) -> tuple[dict[str, Any], Iterable[Mapping[str, JSON]]]:
    header, *rows = (json.loads(line) for line in path.read_bytes().splitlines())
    return header, rows


def _from_parquet(path: Path) -> tuple[dict[str, Any], Iterable[Mapping[str, JSON]]]:
    from pyarrow import parquet

    found = parquet.read_table(path)
    header = json.loads((found.schema.metadata or {})[_HEADER])
    return header, ({**row, "more": json.loads(row["more"])} for row in found.to_pylist())


def _columns() -> "pyarrow.Schema":
    import pyarrow

    of = {"str": pyarrow.string(), "float": pyarrow.float64(), "int": pyarrow.int64()}
    text = of["str"]
    answer = [
        ("answer" if name == "text" else name, of[kind.__name__])
        for name, kind in get_type_hints(Answer).items()
    ]
    asked = [(name, text) for name in _ASKED]
    samples = pyarrow.list_(pyarrow.struct(answer))
    return pyarrow.schema([*asked, *answer, ("cluster", text), ("samples", samples), ("more", text)])


def _whole(path: Path, write: Callable[[Path], object]) -> Path:
    half = path.with_name(f".{path.name}.{os.getpid()}")
    with writing(path):
        try:
            write(half)
            half.replace(path)
        finally:
            half.unlink(missing_ok=True)
    return path


_COLUMNS = tuple(_NONE.facts)


@dataclass(frozen=True, repr=False)
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
        """All items as a table, one row each."""
        import pandas

        rows = [item.row for item in self.items]
        return pandas.DataFrame(rows, columns=[*_ASKED, *_COLUMNS, "cluster"])

    @property
    def failures(self) -> "pandas.DataFrame":
        """The items that are not wholly right, worst first."""
        import pandas

        columns = ["origin", "question", "reference", "answer", "score"]
        wrong = sorted(self._wrong, key=lambda item: item.score)
        rows = [[getattr(item, name) for name in columns] for item in wrong]
        return pandas.DataFrame(rows, columns=columns)

    @property
    def facts(self) -> dict[str, JSON]:
        """The numbers as JSON; what is not known is ``None``."""
        low, high = self.interval
        numbers = {"score": self.score, "low": low, "high": high}
        names = ("prompt_tokens", "cached_tokens", "completion_tokens", "seconds_p50", "seconds_p95")
        numbers |= {name: getattr(self, name) for name in names}
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
        lines = [self._header, *(item.facts for item in self.items)]
        written = (json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n" for line in lines)
        return "".join(written).encode()

    def save(self, path: str | Path) -> Path:
        """Keep it as JSON lines, whole or not at all; ``Evaluation.load`` reads it back."""
        content = self.to_jsonl()
        return _whole(Path(path), lambda half: half.write_bytes(content))

    def to_parquet(self, path: str | Path) -> Path:
        """Keep it as Parquet, whole or not at all; ``Evaluation.load`` reads it back, and so does pandas.

        ``more`` is JSON, all else has a column of its own kind.
        """
        import pyarrow
        from pyarrow import parquet

        rows = [{**_EMPTY, **item.facts, "more": json.dumps(item.more)} for item in self.items]
        header = json.dumps(self._header, ensure_ascii=False)
        columns = _columns().with_metadata({_HEADER: header.encode()})
        written = pyarrow.Table.from_pylist(rows, schema=columns)
        return _whole(Path(path), lambda half: parquet.write_table(written, half))

    @classmethod
    def load(cls, path: str | Path) -> "Evaluation":
        """Read one that was saved, of either kind."""
        header, items = _read(Path(path))
        try:
            prompt, fixed = prompt_from(header["prompt"]), (header["max_tokens"], header["temperature"])
            return cls(header["model"], prompt, header["grader"], items, *fixed)
        except (ValueError, TypeError, KeyError) as error:
            raise _unreadable(Path(path), error) from error

    def __repr__(self) -> str:
        """Show the score."""
        return f"<Evaluation of {self.model}: {self.verdict}>"

    def _repr_html_(self) -> str:
        name = safe(f"{self.prompt.name}, {self.model}")
        return f'<p class="mathjax_ignore"><b>{name}</b>: {safe(self.line)}</p>'

    @property
    def line(self) -> str:
        """All that is worth knowing at a glance: score, interval, tokens and time, and what went wrong."""
        if not self.graded:
            return f"{self.verdict}."
        low, high = (f"{100 * end:.0f}" for end in self.interval)
        alike = len({item.cluster for item in self.items if item.cluster})
        of = f", {self.correct} of {len(self.graded):,} right" + f" in {alike:,} clusters" * (
            0 < alike < len(self.items)
        )
        said = [f"{100 * self.score:.1f} % ({low} to {high} with 95 % confidence{of})"]
        if self.prompt_tokens > 0:
            said.append(f"{self.prompt_tokens:,.0f} tokens asked")
        if self._seconds:
            said.append(f"{self.seconds_p50:.1f} s for an answer")
        if len(self._answers) > len(self.items):
            said.append(f"{len(self._answers):,} answers at temperature {self.temperature:g}")
        cut = sum(answer.finish_reason == "length" for answer in self._answers)
        if cut:
            said.append(f"{counted(cut, 'answer')} cut short at {self.max_tokens} tokens")
        said += [f"{counted(n, 'item')} not graded: {problem}" for problem, n in self.problems.items()]
        return f"{'; '.join(said)}."

    @property
    def verdict(self) -> str:
        """The score with its interval, and what could not be graded."""
        items, without = counted(len(self.items), "item"), len(self.items) - len(self.graded)
        if not self.graded:
            return f"none of {items} could be graded; {next(iter(self.problems), '')}"
        score = f"{100 * self.score:.1f} % (95 % interval {self.interval})"
        right = f"{self.correct} of {len(self.graded)} right"
        return f"{score}, {right}" + f"; {without} of {items} could not be graded" * bool(without)

    @property
    def _header(self) -> dict[str, JSON]:
        return {
            "evaluation": _LAYOUT,
            "model": self.model,
            "prompt": self.prompt.facts,
            "grader": json.loads(json.dumps(self.grader)),
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "items": len(self.items),
        }

    @cached_property
    def _wrong(self) -> tuple[Item, ...]:
        return tuple(item for item in self.graded if not passes(self.grader, item.score))

    @cached_property
    def _answers(self) -> tuple[Answer, ...]:
        """Every answer that came."""
        return tuple(
            answer for item in self.items for answer in item.answers if answer.finish_reason != "refused"
        )

    @cached_property
    def _seconds(self) -> list[float]:
        return sorted(answer.seconds for answer in self._answers if not math.isnan(answer.seconds))


def _numbers(facts: Mapping[str, JSON]) -> dict[str, JSON]:
    """A table has ``nan`` where JSON has ``null``."""
    return {name: math.nan if value is None else value for name, value in facts.items()}


def _mean(numbers: Iterable[float]) -> float:
    """``nan`` of none."""
    found = list(numbers)
    return statistics.fmean(found) if found else math.nan


# Several evaluations side by side.


def row_of(measured: Evaluation, cost: float | None) -> dict[str, str]:
    """The numbers of an evaluation by column; what was not measured is empty. ``cost``: dollars a request."""
    cached, p50, p95 = measured.cached_tokens, measured.seconds_p50, measured.seconds_p95
    return {
        "model": measured.model,
        "prompt": measured.prompt.name,
        "score": f"{100 * measured.score:.1f} %",
        "95 % interval": f"{measured.interval} %",
        "prompt tokens": f"{measured.prompt_tokens:,.0f}" if measured.prompt_tokens > 0 else "",
        "of them cached": f"{cached:,.0f}" if cached else "",
        "answer tokens": f"{measured.completion_tokens:,.0f}",
        "1,000 requests cost": "" if cost is None else f"${1_000 * cost:,.2f}",
        "median wait": "" if math.isnan(p50) else f"{p50:.2f} s",
        "95 % within": "" if math.isnan(p95) else f"{p95:.2f} s",
    }


def side_by_side(caption: str, rows: Sequence[Mapping[str, str]]) -> Table:
    """A table of them, without the columns that are empty in every row."""
    columns = [name for name in rows[0] if any(row[name] for row in rows)]
    return caption, columns, [[row[name] for name in columns] for row in rows]


# What a request costs: its tokens at the prices of the catalogue; ``None`` where one is not known.

MILLION = 1_000_000  # prices are per million tokens


def cost_per_request(evaluation: Evaluation, service: str | None) -> float | None:
    """US dollars for one question and its answer, on average, at this service (``azure``); 0 on this machine.

    It is known if the catalogue has a price for every kind of token that was used. On Azure one asks a
    deployment, whose name need not tell its model: then nothing is known.
    """
    if runs_here(service):
        return 0.0
    if service is None or not evaluation.prompt_tokens:  # no service reads a prompt of no tokens
        return None
    name, cached = evaluation.model, evaluation.cached_tokens
    try:
        prices = catalog.way_prices(name, service=service, tuned=base_name(name) != name)
    except SetupError:  # no price is known
        return None
    if cached and "cached_price" not in prices:
        return None
    read = (evaluation.prompt_tokens - cached) * prices["input_price"]
    read_again = cached * prices.get("cached_price", 0.0)
    return (read + read_again + evaluation.completion_tokens * prices["output_price"]) / MILLION
