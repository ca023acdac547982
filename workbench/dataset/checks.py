"""What is wrong with a dataset, and what is worth knowing about it, before anybody pays for training on it.

``check`` never raises: it gives every problem at once, each with its place and its fix. An error is
what a service refuses or what would make a score worthless; a warning is what a person should look at.
The rules and numbers are those of Azure OpenAI's documentation (How to customize a model, Oct 2026).
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from workbench.dataset.examples import JSON, Dataset, Example, Message, counted, identity
from workbench.tables import table

LEVELS = ("error", "warning", "info")
ROLES = ("system", "developer", "user", "assistant", "tool", "function")
ENOUGH, ADVISED = 10, 50
SHOWN = 50


@dataclass(frozen=True)
class Problem:
    """One finding: how bad, by which rule, where, what is the matter and what to do about it."""

    level: str
    rule: str
    origin: str
    path: str
    message: str
    fix: str

    def __str__(self) -> str:
        """The finding as one line."""
        place = f"{self.origin} {self.path}".strip()
        return f"{self.level}: {place}: {self.message}; {self.fix}."


@dataclass(frozen=True, repr=False)
class Report:
    """All that ``check`` found, the worst first."""

    problems: tuple[Problem, ...]
    name: str
    examples: int

    @property
    def ok(self) -> bool:
        """Whether nothing stands in the way of training."""
        return not self.errors

    @property
    def errors(self) -> tuple[Problem, ...]:
        """What must be put right."""
        return tuple(problem for problem in self.problems if problem.level == "error")

    @property
    def counts(self) -> dict[str, int]:
        """How many problems there are of each level."""
        found = Counter(problem.level for problem in self.problems)
        return {level: found[level] for level in LEVELS}

    @property
    def bad(self) -> frozenset[str]:
        """Where the errors are, for ``dataset.without(report.bad)``."""
        return frozenset(problem.origin for problem in self.errors)

    def __str__(self) -> str:
        """The sum in a sentence."""
        counts = self.counts
        return (
            f"{self.name}: {counted(self.examples, 'example')}, "
            f"{counted(counts['error'], 'error')}, {counted(counts['warning'], 'warning')}"
        )

    def __repr__(self) -> str:
        """The sum, and the first problems line by line."""
        return "\n".join([str(self) + _cut(self.problems), *map(str, self.problems[:SHOWN])])

    def _repr_html_(self) -> str:
        rows = [
            (problem.level, f"{problem.origin} {problem.path}".strip(), problem.message, problem.fix)
            for problem in self.problems[:SHOWN]
        ]
        rows = rows or [("none", self.name, "Nothing to complain about.", "")]
        return table(str(self) + _cut(self.problems), ("level", "where", "finding", "fix"), rows)


def check(dataset: Dataset, *, other: Dataset | None = None) -> Report:
    """Tell me everything that is wrong with my training data.

    ``other`` is data that must stay unseen in training: validation or test examples.
    """
    problems = [
        *_size(dataset),
        *(problem for example in dataset for problem in _form(example)),
        *_repeats(dataset),
        *_systems(dataset),
        *_overlap(dataset, other or Dataset("", ())),
    ]
    problems.sort(key=lambda problem: LEVELS.index(problem.level))
    return Report(tuple(problems), dataset.name, len(dataset))


def _cut(problems: Sequence[Problem]) -> str:
    return f", the first {SHOWN} of {len(problems):,} findings" if len(problems) > SHOWN else ""


def _size(dataset: Dataset) -> Iterator[Problem]:
    found = counted(len(dataset), "example")
    if len(dataset) < ENOUGH:
        finding = f"{found}, and a job needs at least {ENOUGH}"
        yield Problem("error", "too_few", dataset.name, "", finding, "add examples")
    elif len(dataset) < ADVISED:
        finding = f"{found}, which is enough to start a job and seldom enough to learn from"
        yield Problem("warning", "few", dataset.name, "", finding, f"aim for {ADVISED} good ones or more")


def _form(example: Example) -> Iterator[Problem]:
    """What the format asks of one conversation."""
    for position, message in enumerate(example.messages):
        for level, rule, part, finding, fix in (*_content(message), *_weight(message)):
            yield Problem(level, rule, example.origin, f"messages[{position}]{part}", finding, fix)
    for level, rule, part, finding, fix in _order([message.get("role") for message in example.messages]):
        yield Problem(level, rule, example.origin, f"messages{part}", finding, fix)
    learned = [
        message.get("weight") != 0 for message in example.messages if message.get("role") == "assistant"
    ]
    if learned and not any(learned):
        finding = "every assistant message has weight 0, so nothing is learned from it"
        yield Problem("warning", "weight", example.origin, "messages", finding, "give one of them weight 1")


# level, rule, the rest of the path, finding, fix
Finding = tuple[str, str, str, str, str]


def _content(message: Message) -> Iterator[Finding]:
    role, content = message.get("role"), message.get("content")
    if not isinstance(role, str) or role not in ROLES:
        yield "error", "role", ".role", f"{_shown(role)} is no role", "use system, user or assistant"
    if role == "assistant" and (message.get("tool_calls") or message.get("function_call")):
        return
    if content is None or content == [] or (isinstance(content, str) and not content.strip()):
        if role not in ("tool", "function"):
            yield "error", "empty", ".content", "there is no text", "fill it in, or leave the example out"
    elif isinstance(content, list):
        for position, part in enumerate(content):
            if not isinstance(part, Mapping) or not isinstance(part.get("type"), str):
                finding = f"{_shown(part)} is no part of a message"
                yield (
                    "error",
                    "content",
                    f".content[{position}]",
                    finding,
                    "write {'type': 'text', 'text': ...}",
                )
    elif not isinstance(content, str):
        yield "error", "content", ".content", f"{_shown(content)} is no text", "put it in quotes"


def _weight(message: Message) -> Iterator[Finding]:
    if "weight" not in message:
        return
    weight = message["weight"]
    if message.get("role") != "assistant":
        finding = "only an assistant message may have a weight"
        yield "error", "weight", ".weight", finding, "remove it"
    elif type(weight) is not int or weight not in (0, 1):
        yield (
            "error",
            "weight",
            ".weight",
            f"the weight is {_shown(weight)}",
            "use 1 (learn this) or 0 (do not)",
        )


def _order(roles: Sequence[JSON]) -> Iterator[Finding]:
    if "user" not in roles:
        yield "error", "user", "", "nobody asks: there is no user message", "add the question"
    if not roles or roles[-1] != "assistant":
        place = f"[{len(roles) - 1}]" if roles else ""
        finding = "the last message is not the assistant's"
        yield "error", "last", place, finding, "end with the answer to learn"
    for position, (before, role) in enumerate(pairwise(roles), 1):
        if before == role and role in ("assistant", "user"):
            level = "error" if role == "assistant" else "warning"
            finding = f"this is a second {role} message in a row"
            yield level, "order", f"[{position}]", finding, f"merge it with messages[{position - 1}]"
        if role in ("system", "developer") and before not in ("system", "developer"):
            finding = f"a {role} message stands behind others"
            yield "warning", "order", f"[{position}]", finding, "put it first"


def _repeats(dataset: Dataset) -> Iterator[Problem]:
    """The same example again, and the same prompt with another answer."""
    answers: dict[str, dict[str, str]] = {}  # prompt -> answer -> where it stood first
    for example in dataset:
        answer = identity(example.messages[-1:])
        known = answers.setdefault(identity(_asks(example)), {})
        if answer in known:
            finding = f"the same example stands at {known[answer]}"
            yield Problem("warning", "duplicate", example.origin, "", finding, "keep one of them")
        elif known:
            finding = f"the same prompt has another answer at {next(iter(known.values()))}"
            yield Problem(
                "warning", "contradiction", example.origin, "", finding, "decide which answer is right"
            )
        known.setdefault(answer, example.origin)


def _systems(dataset: Dataset) -> Iterator[Problem]:
    """A model learns best under one system message: the one that it will be asked with."""
    systems = [
        identity(m for m in example.messages if m.get("role") in ("system", "developer"))
        for example in dataset
    ]
    kinds = Counter(systems)
    if len(kinds) > 1:
        usual, times = kinds.most_common(1)[0]
        other = next(
            example.origin for example, system in zip(dataset, systems, strict=True) if system != usual
        )
        finding = (
            f"{len(kinds)} different system messages (no message counts as one); the most frequent stands in "
            f"{times:,} of {counted(len(dataset), 'example')}, {other} has another"
        )
        fix = "use the one that the model will be asked with"
        yield Problem("warning", "system", dataset.name, "messages[0]", finding, fix)


def _overlap(dataset: Dataset, other: Dataset) -> Iterator[Problem]:
    """Questions that the model will be judged by, and has seen."""
    unseen = {_asked(example): example.origin for example in other}
    for example in dataset:
        if _asked(example) in unseen:
            finding = f"{unseen[_asked(example)]} asks the same, so its score would be a recital"
            yield Problem("error", "overlap", example.origin, "", finding, "take it out of one of the two")


def _asked(example: Example) -> str:
    """The prompt without its system messages, which differ between files that ask the same."""
    return identity(m for m in _asks(example) if m.get("role") not in ("system", "developer"))


def _asks(example: Example) -> Sequence[Message]:
    """The messages before the answer; all of them where there is none."""
    ends = example.messages and example.messages[-1].get("role") == "assistant"
    return example.prompt if ends else example.messages


def _shown(value: JSON) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:40] + "…"
