"""Failures: the wrong answers of the best prompt, and a label for what is wrong with each.

A rule, a person or an LLM judge labels, and the label says who. What nobody has labelled is counted as
unlabelled; where a program grades, what its scores tell of it (``kinds``) is kept beside the labels. The list
says which data to collect, and is a test of success later.
"""

import hashlib
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, cast, get_args

from workbench import jsonl_log
from workbench.dataset.dataset import Dataset, Example
from workbench.decide.situation import FAILURES, Failure
from workbench.display import table
from workbench.errors import DataError
from workbench.evaluation.evaluation import Item
from workbench.evaluation.graders.grader_types import needs
from workbench.evaluation.graders.grades import Grader
from workbench.evaluation.graders.grading import grade
from workbench.evaluation.prompt_comparison import PromptComparison
from workbench.evaluation.prompts import Documents, Prompt
from workbench.evaluation.requests import Request, ask, progress_bar
from workbench.project import JSON

if TYPE_CHECKING:
    import pandas
    from openai import OpenAI

# Labels: lines of a file that only grows; the latest line about a failure counts. A failure is known by its
# content, so a label is found again when the same answers are measured again.

Labeller: TypeAlias = Literal["rule", "person", "judge"]
LABELLERS: tuple[Labeller, ...] = get_args(Labeller)


@dataclass(frozen=True)
class Label:
    """What is wrong, one of ``workbench.decide.situation.FAILURES``; a judge is a model, and no person."""

    kind: Failure
    by: Labeller
    why: str = ""
    """What the rule saw, or which model judged."""

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        if self.kind not in FAILURES:
            raise DataError(f"There is no failure {self.kind!r}; there are {', '.join(FAILURES)}.")
        if self.by not in LABELLERS:
            raise DataError(f"{self.by!r} labels nothing; a label is by {', '.join(LABELLERS)}.")


class Labels:
    """The latest label of each failure, by ``Failed.key``; what other kernels say shows up too."""

    def __init__(self, path: str | Path) -> None:
        """Nothing is read or written yet."""
        self.path = Path(path)

    @property
    def latest(self) -> Mapping[str, Label]:
        """What counts now."""
        found: dict[str, Label] = {}
        for line in jsonl_log.objects(self.path):
            key = str(line.get("failure"))
            found.pop(key, None)
            if line.get("kind") is not None:
                kind, by = cast(Failure, line["kind"]), cast(Labeller, line.get("by"))
                found[key] = Label(kind, by, str(line.get("why", "")))
        return found

    def label(self, failure: str, kind: Failure, *, by: Labeller = "person", why: str = "") -> Label:
        """Say what is wrong, in place of what was said before; it is on disk when this returns."""
        label = Label(kind, by, why)
        self._say({"failure": failure, **asdict(label)})
        return label

    def forget(self, failure: str) -> None:
        """Take back what was said; the file still tells that it was."""
        self._say({"failure": failure, "kind": None})

    def _say(self, facts: Mapping[str, str | None]) -> None:
        jsonl_log.append(self.path, json.dumps(facts, ensure_ascii=False).encode())

    def __repr__(self) -> str:
        """How many."""
        return f"Labels({len(self.latest)} failures)"


# Labels by rule, only where a rule is sure. In this order: is it well formed; is it JSON, or a tool's call,
# where that was wanted; is it the reference but for its form; would the right passage have helped. Each says
# what it saw.

_FENCED = re.compile(r"```[^\n`]*\n(.*?)\n?```", re.DOTALL)


class Symptom(NamedTuple):
    """The kind of failure, and what was seen."""

    kind: Failure
    why: str


def symptom(item: Item, *, valid: Grader | None = None) -> Symptom | None:
    """What is wrong with the answer, as far as it tells by itself? ``None`` where no rule can."""
    if valid is not None and grade(valid, item.answer, item.fields) < 1:
        return Symptom("format", f"{valid['name']} does not take it")
    return _of_json(item) or _of_the_form(item)


def symptom_of_context(prompts: PromptComparison, place: int, example: Example | None) -> Symptom | None:
    """What does it tell that the right passage helped? ``example`` is the question, with that passage."""
    if prompts.gold is None or prompts.gold.evaluation.items[place].score < 1:
        return None
    documents, gold = prompts.best.prompt.context, prompts.gold.evaluation.prompt.context
    if not isinstance(documents, Documents):
        return Symptom("missing_knowledge", "right once the passage is in the prompt")
    if example is None or gold is None:
        return None
    found = [_plain(text) for text in documents.texts(example)]
    wanted = [_plain(text) for text in gold.texts(example)]
    # Passages are cut from documents: either may be a part of the other.
    if all(any(right in text or text in right for text in found) for right in wanted):
        return Symptom("context_misused", "the right passage was found, and alone it is answered rightly")
    return Symptom("retrieval_miss", "the right passage was not found, and with it the answer is right")


def _of_json(item: Item) -> Symptom | None:
    wanted, said = _json(item.reference), _json(item.answer)
    if wanted is None:
        return None
    if said is None:
        return Symptom("format", "the answer is no JSON, the reference is")
    if _is_call(wanted) and _is_call(said) and said != wanted:
        return Symptom("tool_use", "it calls another tool than the reference, or with other arguments")
    return None


def _of_the_form(item: Item) -> Symptom | None:
    for but, normal in _NORMAL.items():
        if normal(item.answer) == normal(item.reference) != "":
            return Symptom("format", f"the reference but for {but}")
    fenced = [found[1] for found in _FENCED.finditer(item.answer)]
    if _plain(item.reference) in map(_plain, (*item.answer.splitlines(), *fenced)):
        return Symptom("format", "the reference, with other text around it")
    return None


def _json(text: str) -> object:
    """An object or a list; ``None`` for any other text."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict | list) else None


def _is_call(value: object) -> bool:
    """``{"name": …, "arguments": …}``, as a tool is called, or a list of such."""
    calls = value if isinstance(value, list) else [value]
    return bool(calls) and all(
        isinstance(call, dict) and {"name", "arguments"} <= set(call) for call in calls
    )


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


_NORMAL: dict[str, Callable[[str], str]] = {
    "case and white space": _plain,
    "quotes around it": lambda text: _plain(text).strip("`\"'“”").strip(),
    "the full stop": lambda text: _plain(text).rstrip(".!").rstrip(),
}

# A share of 50 is known to within 14 points (Wilson, 95 %), enough for "most failures are of style";
# twice as many can still be labelled by hand within an hour.
AT_MOST = 100


LISTED = 10  # failures that a notebook lists; all of them are in .frame


@dataclass(frozen=True)
class Failed:
    """One wrong answer, and what somebody says is wrong with it; without a label it is open."""

    item: Item
    label: Label | None = None
    graded: Failure | None = None
    """What it is by its score alone, where a program grades: what counts until somebody labels it."""

    @property
    def key(self) -> str:
        """What it is known by: question, reference and answer; another answer is another failure."""
        return hashlib.sha256(json.dumps([self.item.id, self.item.answer]).encode()).hexdigest()[:16]


class FailureCount(NamedTuple):
    """A kind of failure, in words, and how many there are of it."""

    kind: str
    number: int
    by: str
    """Who labelled them, and how many each."""
    meaning: str


@dataclass(frozen=True)
class Failures:
    """The wrong answers of one evaluation, or a fair sample of them, in random order."""

    prompt: Prompt
    model: str
    items: tuple[Failed, ...]
    found: int
    """How many there are; ``items`` may be a sample."""

    @property
    def labelled(self) -> tuple[Failed, ...]:
        """Those of which somebody said what is wrong."""
        return tuple(failed for failed in self.items if failed.label)

    @property
    def unlabelled(self) -> tuple[Failed, ...]:
        """Those that are still open."""
        return tuple(failed for failed in self.items if not failed.label)

    @property
    def shares(self) -> Mapping[Failure, float]:
        """The share of each kind among the labelled ones; they sum to 1; none before the first label.

        They speak for all failures only when none is unlabelled: rules see some kinds and are blind to
        others, so a half-labelled list leans to what rules see.
        """
        return _shares([label.kind for label in self._labels])

    @property
    def kinds(self) -> Mapping[Failure, float]:
        """The share of each kind among all of them, by label or else by score; none if one has neither."""
        found = [failed.label.kind if failed.label else failed.graded for failed in self.items]
        return {} if None in found else _shares([kind for kind in found if kind])

    @property
    def labelled_by(self) -> Mapping[Labeller, int]:
        """How many labels are whose."""
        found = Counter(label.by for label in self._labels)
        return {by: found[by] for by in LABELLERS if found[by]}

    @property
    def frame(self) -> "pandas.DataFrame":
        """All of them as a table, one row each."""
        import pandas

        columns = ["origin", "question", "reference", "answer", "kind", "by", "why"]
        rows = [{**failed.item.row, **_in_words(failed)} for failed in self.items]
        return pandas.DataFrame(rows, columns=columns)

    def labelled_with(self, labels: Mapping[str, Label]) -> "Failures":
        """The same, with what was said of them (by ``Failed.key``) in place of what a rule said."""
        latest = ((failed, labels.get(failed.key)) for failed in self.items)
        return replace(self, items=tuple(replace(f, label=label) if label else f for f, label in latest))

    def to_jsonl(self) -> bytes:
        """The list of data to collect: a failure a line, with its label."""
        lines = [{**failed.item.facts, **_label_of(failed)} for failed in self.items]
        return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()

    @property
    def facts(self) -> dict[str, JSON]:
        """What the project's record keeps of them."""
        return {
            "found": self.found,
            "looked_at": len(self.items),
            "unlabelled": len(self.unlabelled),
            "labelled_by": {str(by): number for by, number in self.labelled_by.items()},
            "shares": {str(kind): share for kind, share in self.shares.items()},
            "kinds": {str(kind): share for kind, share in self.kinds.items()},
        }

    def __repr__(self) -> str:
        """How many, and how many are open."""
        return f"<{self.summary}>"

    @property
    def counts(self) -> list["FailureCount"]:
        """How many there are of each kind, who says so and what it means; those without a label last."""
        found = []
        for kind in self.shares:
            whose = Counter(label.by for label in self._labels if label.kind == kind)
            by = ", ".join(f"{by} {number}" for by, number in whose.items())
            found.append(FailureCount(kind_in_words(kind), whose.total(), by, FAILURES[kind]))
        if self.unlabelled:
            found.append(FailureCount("not labelled", len(self.unlabelled), "", self._unlabelled_count_as))
        return found

    def _repr_html_(self) -> str:
        rows = []
        for failed in self.items[:LISTED]:
            said = _in_words(failed)
            why = (
                said["kind"] + f" ({said['by']})" * bool(said["by"]) + f": {said['why']}" * bool(said["why"])
            )
            item = failed.item
            rows.append((item.origin, item.question, item.reference, item.answer, why))
        columns = ("origin", "question", "right answer", "the model's answer", "what is wrong")
        return table(f"The first {len(rows)}: {self.summary}", columns, rows)

    @property
    def _unlabelled_count_as(self) -> str:
        kinds = Counter(failed.graded for failed in self.unlabelled if failed.graded)
        if not kinds:
            return "nobody has said what is wrong"
        counts = ", ".join(f"{number} as {kind_in_words(kind)}" for kind, number in kinds.items())
        return f"nobody has said what is wrong; by the grader's scores they count {counts}"

    @property
    def _labels(self) -> list[Label]:
        return [failed.label for failed in self.items if failed.label]

    @property
    def summary(self) -> str:
        """How many there are, of which model with which prompt, and how many are open."""
        some = "" if len(self.items) == self.found else f"a sample of {len(self.items)} of "
        whose = f"{self.model}, {self.prompt.name}"
        return f"{some}{self.found:,} failures of {whose}: {len(self.unlabelled)} not labelled"


def failures(
    prompts: PromptComparison,
    *,
    valid: Grader | None = None,
    well_formed: Failure | None = None,
    test: Dataset | None = None,
    examples: Dataset | None = None,
    at_most: int = AT_MOST,
    seed: int = 0,
) -> Failures:
    """What does the best prompt have wrong, and of which kind is it, as far as rules can tell?

    Where all right answers, of the questions and of ``examples``, are few short labels, a rule tells every
    failure: what is no label is wrong in form; another label is an edge case if most questions with the right
    one are answered rightly, and else an instruction that was not understood.

    ``valid`` is the second grader that says whether an answer is well formed. In some tasks all that can be
    wrong with a well-formed answer is one thing: then ``well_formed`` says which, and is taken at its word
    where ``valid`` is given. With ``test``, the questions with their right passages, a rule can tell whether
    retrieval missed one. Of more failures than
    ``at_most``, a sample is drawn, always the same for the same seed. The order is random in either case,
    so that who labels the first fifty has labelled a sample.
    """
    if at_most < 1:
        raise DataError(f"{at_most} failures are none to look at; give 1 or more.")
    best = prompts.best
    if test is not None and [example.question for example in test] != [item.question for item in best.items]:
        raise DataError(f"{test.name} holds other questions than were asked; give the test of this prompts.")
    wrong = [place for place, item in enumerate(best.items) if item.score < 1]
    drawn = random.Random(seed).sample(wrong, min(at_most, len(wrong)))
    rest = Label(well_formed, "rule", "well formed, and wrong") if valid and well_formed else None
    labels = closed_set([item.reference for item in best.items], examples)
    program = "model" not in needs(best.grader)
    items = []
    for place in drawn:
        item, example = best.items[place], None if test is None else test[place]
        found = symptom(item, valid=valid) or symptom_of_context(prompts, place, example)
        found = found or (_of_the_set(item, best.items, labels) if labels else None)
        label = Label(found.kind, "rule", found.why) if found else rest
        items.append(Failed(item, label, None if label or not program else _by_score(item, best.score)))
    return Failures(best.prompt, best.model, tuple(items), len(wrong))


# A closed set of labels: what a classifier chooses from. The bounds are ours.

LONGEST_LABEL = 60  # characters
REPEATED = 3  # times that each label stands there, on average
MOST_LABELS = 200


def closed_set(references: Sequence[str], examples: Dataset | None = None) -> frozenset[str]:
    """The labels that all right answers are taken from, in plain spelling; empty where they are no such set.

    Two labels at least, short, in one line, each of them three times on average; numbers are no labels.
    """
    every = [*references, *(example.answer for example in examples or () if example.answer)]
    labels = frozenset(map(_plain, every))
    numbers = all(re.fullmatch(r"[-+]?[\d.,]+", label) for label in labels)
    short = all(0 < len(text.strip()) <= LONGEST_LABEL and "\n" not in text.strip() for text in every)
    closed = 2 <= len(labels) <= MOST_LABELS and len(every) >= REPEATED * len(labels)
    return labels if closed and short and not numbers else frozenset()


def _of_the_set(item: Item, items: Sequence[Item], labels: frozenset[str]) -> Symptom:
    if _plain(item.answer) not in labels:
        return Symptom("format", f"none of the {len(labels)} labels that answers are taken from")
    same = [other for other in items if _plain(other.reference) == _plain(item.reference)]
    right = sum(other.score == 1 for other in same)
    seen = f"another label; {right} of {len(same)} questions with the right one are answered rightly"
    return Symptom("edge_case" if 2 * right >= len(same) else "instruction", seen)


def _by_score(item: Item, score: float) -> Failure:
    """What a program's score alone tells: a wrong number was reasoned wrongly; else how usual failing is."""
    if re.fullmatch(r"[-+]?[\d.,]+", item.reference.strip()):
        return "reasoning" if re.search(r"\d", item.answer) else "format"
    return "edge_case" if score >= 0.5 else "instruction"


def _shares(kinds: Sequence[Failure]) -> dict[Failure, float]:
    counts = Counter(kinds)
    return {kind: counts[kind] / len(kinds) for kind in FAILURES if counts[kind]}


def _label_of(failed: Failed) -> dict[str, str | None]:
    label = failed.label
    return {"kind": label.kind, "by": label.by, "why": label.why} if label else {"kind": None, "by": None}


def _in_words(failed: Failed) -> dict[str, str]:
    """The label as a person reads it; where there is none, what the score alone tells."""
    if failed.label:
        return {"kind": kind_in_words(failed.label.kind), "by": failed.label.by, "why": failed.label.why}
    by_score = f"counts as {kind_in_words(failed.graded)} by its score" if failed.graded else ""
    return {"kind": "not labelled", "by": "", "why": by_score}


def kind_in_words(kind: Failure) -> str:
    """``edge case`` for ``edge_case``."""
    return kind.replace("_", " ")


# Labels by an LLM judge, for what neither a rule nor a person has labelled. A person's label counts more.

ANSWER_TOKENS = 16  # the longest name has five

_ASKED = """You are shown a model's instructions, a question, the right answer, and the model's wrong answer.
Say what is wrong with the model's answer. Reply with exactly one of these names and nothing else:

{kinds}
"""
_SHOWN = """Instructions:
{instructions}

Question:
{question}

Right answer:
{reference}

The model's answer:
{answer}

The name of what is wrong:"""


def ask_judge(
    client: "OpenAI",
    model: str,
    failures: Failures,
    labels: Labels,
    *,
    concurrency: int = 32,
    cache: str | Path | None = None,
) -> Failures:
    """Let ``model`` label what nobody has labelled yet; a reply that names no kind leaves a failure open."""
    known = failures.labelled_with(labels.latest)
    requests = [Request(model, _messages(failed, known), ANSWER_TOKENS, 0.0) for failed in known.unlabelled]
    with closing(ask(client, requests, concurrency=concurrency, cache=cache)) as answers:
        for place, answer in progress_bar(answers, len(requests), f"labelled by {model}"):
            kind = named(answer.text)
            if kind is not None:
                labels.label(known.unlabelled[place].key, kind, by="judge", why=model)
    return failures.labelled_with(labels.latest)


def named(reply: str) -> Failure | None:
    """The one kind of failure that a reply names, whatever is around it; ``None`` for none or several."""
    words = reply.casefold().replace(" ", "_")
    found = [kind for kind in FAILURES if kind in words]
    return found[0] if len(found) == 1 else None


def _messages(failed: Failed, failures: Failures) -> list[dict[str, object]]:
    kinds = "\n".join(f"{kind}: {meaning}" for kind, meaning in FAILURES.items())
    shown = _SHOWN.format(
        instructions=failures.prompt.system or "none",
        question=failed.item.question,
        reference=failed.item.reference,
        answer=failed.item.answer,
    )
    return [{"role": "system", "content": _ASKED.format(kinds=kinds)}, {"role": "user", "content": shown}]
