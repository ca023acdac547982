"""The table of check rules: for each its levels, its phase, a sentence, a way out, and what finds it.

A new rule is a function and an entry in ``RULES``: the check then runs it, filters by it and explains it.
Most lines are plain and right, and a ``clear`` beside a function says so in about a microsecond; where all
functions have one, a plain line costs no more. What a rule looks at in detail is in the modules beside this.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from types import MappingProxyType
from typing import NamedTuple, Self

from workbench.catalog.limits import in_words, of_provider
from workbench.catalog.methods import method as method_named
from workbench.dataset.check import counts, texts
from workbench.dataset.check.counts import Counts, no_validation, sizes
from workbench.dataset.check.duplicates import Repeats, overlap
from workbench.dataset.check.methods import (
    METHODS,
    CheckTask,
    Fields,
    grader_findings,
    is_plain,
    of_the_format,
    response_format_findings,
    skew,
)
from workbench.dataset.check.privacy import Privacy
from workbench.dataset.check.report import Findings
from workbench.dataset.check.row import (
    DEEPEST,
    LONGEST,
    Collector,
    Finding,
    Row,
    RowSource,
    meant,
    method_of,
    parsed,
)
from workbench.dataset.check.sources import DatasetSource, FileSource
from workbench.dataset.dataset import JSON
from workbench.dataset.tokens import Tokens
from workbench.errors import DataError

PHASES = ("lines", "format", "tokens", "repeats", "texts", "privacy")
"""What a check looks at, in this order; the lines always, the others as ``check(only=...)`` names them."""


class RowCheck(NamedTuple):
    """A function that judges each row for itself."""

    find: Callable[[Row, CheckTask], Iterable[Finding]]
    """It never raises, whatever the row holds."""
    clear: Callable[[Mapping[str, JSON], CheckTask], bool] | None = None
    """Whether ``find`` is known to find nothing in such a row; much faster. ``None``: every row is judged."""


class FileCheck(NamedTuple):
    """What judges all rows of a file together."""

    collector: Callable[[CheckTask], Collector | None]
    """Makes a fresh one for a stretch of rows; ``None`` where the task has no use for it."""


@dataclass(frozen=True)
class CheckRule:
    """One thing that is asked of training data."""

    id: str
    """As it stands in every finding, in reports and in ``fix --rules``; once published it stays."""
    levels: str
    """Those of its findings, the worst first: ``error, warning``."""
    phase: str
    fix: str
    """What to do about it in general; each finding has its own advice."""
    sentence: str
    """What it asks, or why it is there."""
    functions: tuple[RowCheck | FileCheck | Callable[..., object], ...]
    """What finds it; several rules may share one. The table runs ``RowCheck`` and ``FileCheck``; a plain
    function reads the lines, or is about several files, and is called by its one caller."""
    methods: tuple[str, ...] = METHODS
    """The methods of training that it holds for."""

    @property
    def level(self) -> str:
        """The worst of its levels, which a finding has that names none."""
        return self.levels.split(", ")[0]


_MOST = of_provider("azure")
_FORMAT = RowCheck(of_the_format, is_plain)
_COUNTS = FileCheck(lambda task: Counts(task.method, task.role))
_TOKENS = FileCheck(lambda task: Tokens(task.model, task.method))
_REPEATS = FileCheck(lambda task: Repeats(task.group))
_PRIVACY = FileCheck(lambda task: Privacy())


# fmt: off
_TABLE = (
    # lines
    CheckRule("json", "error", "lines", "write each line with json.dumps",
         "Every line is one whole JSON value; a line that breaks off is not an example.", (parsed,)),
    CheckRule("object", "error", "lines", "put each example on a line of its own, as an object",
         "That value is an object; a list, a text or a number cannot be an example.",
         (parsed, DatasetSource)),
    CheckRule("encoding", "error", "lines", "save the file as UTF-8",
         "The file is UTF-8 to its last byte; a byte order mark may stand in front, and nowhere else.",
         (parsed, FileSource)),
    CheckRule("line_ends", "info", "lines", "leave them, or let the repair make them line feeds",
         "Lines may end as on Windows, which services take; other tools may show stray characters.",
         (FileSource,)),
    CheckRule("duplicate_key", "warning", "lines", "keep the one that is right",
         "A key stands once in its object; of two values, readers silently take the last.", (parsed,)),
    CheckRule("not_finite", "error", "lines", "write a number, or null",
         "NaN and Infinity are no JSON; a strict reader refuses the line.", (parsed,)),
    CheckRule("surrogate", "error", "lines", "write the whole character, or remove it",
         "Half of a surrogate pair is no character, and no UTF-8 can hold it.", (parsed,)),
    CheckRule("control", "error, warning", "lines", "remove them, or write them as escapes",
         "Control characters must be escaped, and in a text they are mostly what a conversion left.",
         (parsed,)),
    CheckRule("depth", "error", "lines", "write what is so deep as a text",
         f"No format nests its lists and objects {DEEPEST} deep, and readers give up there.", (parsed,)),
    CheckRule("long_line", "error", "lines", "put every example on a line of its own",
         f"A line of more than {LONGEST // 2**20} MB is no example but a file without line breaks.",
         (parsed,)),
    CheckRule("method", "info", "lines", "name the method",
         "All rows are checked for one method; where none is named, the first rows decide.", (method_of,)),
    # format
    CheckRule("messages", "error", "format", "write a list of objects with role and content",
         "A line has a list of messages, and each of them is an object.", (_FORMAT,)),
    CheckRule("role", "error", "format", "name the role of the message",
         "Each message has a role: system, developer, user, assistant or tool.", (_FORMAT,)),
    CheckRule("content", "error", "format", "write a text, or parts that the role may send",
         "The content is a text or a list of parts that this role may send.", (_FORMAT,)),
    CheckRule("empty", "error, warning", "format", "fill it in, or leave the example out",
         "Every message has content; only a call or a refusal replaces an answer's text.", (_FORMAT,)),
    CheckRule("weight", "error, warning", "format", "use 0 or 1, on assistant messages only",
         "Only assistant messages have a weight, 0 or 1, and not all of them 0.", (_FORMAT,)),
    CheckRule("order", "error, warning", "format", "merge the messages that follow each other",
         "User and assistant take turns.", (_FORMAT,)),
    CheckRule("user", "error", "format", "add the question",
         "There is a user message: the question.", (_FORMAT,)),
    CheckRule("last", "error", "format", "end with the answer to learn",
         "A supervised example ends with the assistant's answer.", (_FORMAT,)),
    CheckRule("system_place", "warning", "format", "put them first",
         "System and developer messages stand first.", (_FORMAT,)),
    CheckRule("name", "error, warning", "format", "use letters, digits, _ and -",
         "A name is a short text without spaces.", (_FORMAT,)),
    CheckRule("tools", "error, warning", "format", "put names and schemas right",
         "Declared functions have a name of their own and a valid JSON Schema.", (_FORMAT,)),
    CheckRule("tool_call", "error, warning, info", "format", "put the call right, or declare the tool",
         "A call has an id of its own, the type 'function' and the name of a declared tool.", (_FORMAT,)),
    CheckRule("tool_pairing", "error", "format", "add the answer of the tool, or remove the call",
         "Each call is answered once, before the next message of another role.", (_FORMAT,)),
    CheckRule("arguments", "error", "format", "write the object as json.dumps gives it",
         "A call's arguments are a JSON object in a text, and keep to the tool's schema.", (_FORMAT,)),
    CheckRule("legacy", "warning", "format", "use tools and tool_calls",
         "functions, function_call and the role function are the old form of tools.", (_FORMAT,)),
    CheckRule("image", "error", "format", "convert or remove the image",
         f"Only users send images: {_MOST.max_images} in an example, "
         f"{in_words(_MOST.max_image_bytes or 0)} each, JPEG, PNG or WEBP in RGB or RGBA.", (_FORMAT,)),
    CheckRule("unknown_key", "error, warning", "format", "rename or remove the key",
         "A key that training does not read is a typing mistake, or belongs elsewhere.", (_FORMAT,)),
    CheckRule("input", "error, warning", "format", "put messages and tools inside input",
         "A preference pair has its prompt in input, which ends before the answer.", (_FORMAT,)),
    CheckRule("outputs", "error", "format", "write both outputs as lists of messages",
         "Both outputs are lists of assistant (and tool) messages.", (_FORMAT,)),
    CheckRule("identical", "error, warning", "format", "say which is better and why, or leave the pair out",
         "The two outputs of a pair differ.", (_FORMAT,)),
    CheckRule("last_user", "error", "format", "end with the user's message",
         "A prompt for reinforcement ends with the user's message.", (_FORMAT,)),
    CheckRule("template", "error, warning", "format", "fill the field in, or change the grader",
         "Every place that the grader reads is filled in every line.", (_FORMAT, grader_findings)),
    CheckRule("reference", "warning, info", "format", "add what the grader needs",
         "A prompt for reinforcement carries what its grader compares with, under a plain name.", (_FORMAT,)),
    CheckRule("missing_field", "warning", "format", "fill it in, or leave the row out",
         "What nearly all prompts carry is what a grader reads; a row without it is lost.",
         (FileCheck(lambda task: Fields() if task.grader is None else None),), ("rft",)),
    CheckRule("response_format", "error, warning", "format", "wrap and name the schema",
         "A response format is a JSON Schema, named and wrapped.", (response_format_findings,), ("rft",)),
    CheckRule("too_few", "error", "format", "add examples",
         f"A job needs {_MOST.min_examples} examples at least, and for reinforcement "
         f"{_MOST.min_examples} for validation.", (_COUNTS,)),
    CheckRule("few", "warning, info", "format", "train, measure, then decide whether to add more",
         "50 good examples are a start; hundreds teach well.", (_COUNTS,)),
    CheckRule("size", "error, warning", "format", "upload it in parts",
         f"A file can be uploaded in one piece below {in_words(_MOST.max_file_bytes or 0)}, "
         f"and safely below {in_words(_MOST.max_safe_file_bytes or 0)}.", (sizes,)),
    CheckRule("no_validation", "error", "format", "add a file of prompts for validation",
         "A reinforcement job needs a validation file.", (no_validation,), ("rft",)),
    CheckRule("images", "error, info", "format", "compare the number of examples in the finished job",
         f"At most {_MOST.max_examples_with_images:,} examples with images train, "
         "and the service leaves some out without notice.", (_COUNTS,)),
    # tokens
    CheckRule("too_long", "error", "tokens", "shorten or split the conversation",
         "An example has a limit of tokens, which differs from model to model.", (_TOKENS,)),
    CheckRule("token_outlier", "warning", "tokens", "see whether it belongs here",
         "An example far longer than the rest is often a mistake, and sets what a batch costs.", (_TOKENS,)),
    CheckRule("not_counted", "warning, info", "tokens", "install the tokenizer, or expect a higher price",
         "What is not counted (large images, an unknown tokenizer) is missing from the price.", (_TOKENS,)),
    # repeats
    CheckRule("duplicate", "warning", "repeats", "keep one of them",
         "A row that stands twice is learned twice; case and punctuation do not make it another.",
         (_REPEATS,)),
    CheckRule("near_duplicate", "warning, info", "repeats", "keep one of them, unless the difference matters",
         "Rows that are nearly the same teach little more than one of them, and cost as much.", (_REPEATS,)),
    CheckRule("contradiction", "error, warning, info", "repeats", "decide which answer is right",
         "One prompt with two answers teaches to guess.", (_REPEATS,)),
    CheckRule("reversed", "error", "repeats", "decide which answer is better",
         "Two pairs that prefer the opposite for one prompt cancel out.", (_REPEATS,)),
    CheckRule("overlap", "error, warning, info", "repeats", "remove it from one of the two",
         "A prompt of the test or validation data in the training data inflates the score.", (overlap,)),
    CheckRule("near_overlap", "error, warning, info", "repeats", "remove it, unless only a template is alike",
         "A prompt that is nearly one of the test or validation data contaminates as well.", (overlap,)),
    CheckRule("same_group", "error, warning, info", "repeats", "split by the group",
         "A customer or document on both sides of a split makes the score look better than it is.",
         (_REPEATS, overlap)),
    # texts
    CheckRule("system", "warning", "texts", "use the one that the model will be asked with",
         "A model answers best under the system message that it was trained under.",
         (FileCheck(lambda task: counts.Systems()),)),
    CheckRule("skew", "warning", "texts", "train with the prompt in use, or use the one that was trained",
         "A model answers best when it is asked as in training: same instruction, tools and form.",
         (RowCheck(skew),)),
    CheckRule("refusal", "warning, info", "texts", "keep those that the model should give",
         "A model that saw many refusals refuses too often; keep about the share that you want.",
         (FileCheck(lambda task: texts.Refusals()),)),
    CheckRule("boilerplate", "warning", "texts", "remove what not every answer should have",
         "What stands in every answer is learned first and best.",
         (FileCheck(lambda task: texts.Openings()), RowCheck(texts.machine_talk))),
    CheckRule("whitespace", "warning", "texts", "strip it",
         "Space at the ends of an answer is learned, costs tokens and breaks exact comparisons.",
         (RowCheck(texts.white_space),)),
    CheckRule("length_outlier", "info", "texts", "see whether it is whole, and meant so",
         "A text of very unusual length is often cut off, joined to another or misplaced.",
         (FileCheck(lambda task: counts.Lengths()),)),
    CheckRule("length_bias", "warning", "texts", "add pairs in which the shorter answer is better",
         "If length alone tells the preferred answers, preference training teaches length.",
         (FileCheck(lambda task: counts.LengthBias()),), ("dpo",)),
    CheckRule("alike", "warning, info", "texts", "take answers that differ in more",
         "Pairs whose answers differ in a word or two make the preferred one less likely too.",
         (FileCheck(lambda task: counts.Alike()),), ("dpo",)),
    CheckRule("language", "warning, info", "texts", "answer in the language of the question",
         "A model answers in the languages that it saw; an answer in another than asked is a mistake.",
         (FileCheck(lambda task: texts.Languages()),)),
    CheckRule("balance", "warning", "texts", "bring the classes nearer to what the model will meet",
         "A model that sees one label most of the time prefers it; a rare one it hardly learns.",
         (FileCheck(lambda task: counts.Balance()),)),
    CheckRule("mojibake", "warning", "texts", "decode the file as UTF-8, or let the repair correct the text",
         "Text decoded in the wrong encoding teaches the model to write broken letters.",
         (RowCheck(texts.mojibake),)),
    # privacy
    CheckRule("pii", "warning", "privacy", "redact it, or leave the example out",
         "Personal data in a training file can come out of the model again; redact it, or leave it out.",
         (_PRIVACY,)),
    CheckRule("secret", "error", "privacy", "revoke it, and redact it",
         "A model can recite a key or password that it was trained on; revoke it, then redact it.",
         (_PRIVACY,)),
    CheckRule("safety", "warning, info", "privacy", "read the row, and leave it out if it is harmful",
         "The service refuses files and models that its safety checks find harmful, and names no row.",
         (_PRIVACY,)),
)
# fmt: on
RULES: Mapping[str, CheckRule] = MappingProxyType({rule.id: rule for rule in _TABLE})
"""Every rule by its id, in the order of a table for people."""


def completed(finding: Finding) -> Finding:
    """The finding with the level and the way out that its rule has in the table, where it names none."""
    if finding.level and finding.fix:
        return finding
    rule = RULES[finding.rule]
    return finding._replace(level=finding.level or rule.level, fix=finding.fix or rule.fix)


class Rules:
    """The rules of one phase that judge row by row, for one method, model and grader."""

    def __init__(
        self,
        method: str,
        grader: Mapping[str, JSON] | None = None,
        vision: bool | None = None,
        phase: str = "format",
    ) -> None:
        """``vision``: whether the model learns from images; ``None`` where that is not known."""
        method = method_named(method).format
        self.task = CheckTask(method, grader, vision)
        checks = [each for each in _functions(phase, method) if isinstance(each, RowCheck)]
        self._clears = tuple(check.clear for check in checks if check.clear is not None)
        self._cleared = tuple(check.find for check in checks if check.clear is not None)
        self._always = tuple(check.find for check in checks if check.clear is None)

    def findings(self, value: Mapping[str, JSON]) -> list[Finding]:
        """All findings of one line by every rule; it never raises, whatever the line holds."""
        row = Row(0, value)
        every = (*self._cleared, *self._always)
        return [completed(finding) for find in every for finding in find(row, self.task)]

    def plain(self, value: Mapping[str, JSON]) -> bool:
        """Whether ``findings`` has none for this line, by the quick tests; ``False`` means: ask it."""
        row = Row(0, value)
        return not self.unclear([row]) and not any(True for _ in self.always([row]))

    def unclear(self, rows: Sequence[Row]) -> Sequence[Row]:
        """The rows that the quick tests do not clear."""
        task, clears = self.task, self._clears
        if len(clears) == 1:
            (clear,) = clears
            return [row for row in rows if not clear(row.value, task)]
        return [row for row in rows if not all(clear(row.value, task) for clear in clears)] if clears else ()

    def of_unclear(self, rows: Sequence[Row]) -> Iterator[tuple[Row, Finding]]:
        """What the functions with a quick test find in rows that it did not clear."""
        return ((row, finding) for row in rows for find in self._cleared for finding in find(row, self.task))

    def always(self, rows: Sequence[Row]) -> Iterator[tuple[Row, Finding]]:
        """What the functions without a quick test find."""
        if self._always:
            for row in rows:
                for find in self._always:
                    for finding in find(row, self.task):
                        yield row, finding


class Phase:
    """A collector of what the rules of one phase find in a stretch of rows of one file."""

    def __init__(self, phase: str, task: CheckTask) -> None:
        """Nothing seen yet."""
        self.name = phase
        self._rules = Rules(task.method, phase=phase)
        self._rules.task = task
        self._found = Findings()
        checks = (each for each in _functions(phase, task.method) if isinstance(each, FileCheck))
        parts = (check.collector(task) for check in checks)
        self.parts: tuple[Collector, ...] = tuple(part for part in parts if part is not None)

    def add(self, rows: Sequence[Row]) -> None:
        """Judge the next rows; those that are clear in the format have no images to count."""
        unclear = self._rules.unclear(rows)
        for row, finding in chain(self._rules.of_unclear(unclear), self._rules.always(rows)):
            self._found.add(completed(finding), (row.number,))
        for part in self.parts:
            if isinstance(part, Counts):
                part.add(unclear)
                part.examples += len(rows) - len(unclear)
            else:
                part.add(rows)

    def merge(self, later: Self) -> None:
        """Take over what was seen in the stretch behind this one."""
        self._found.merge(later._found)
        for part, other in zip(self.parts, later.parts, strict=True):
            part.merge(other)

    def found(self, source: RowSource) -> Iterator[tuple[Finding, Sequence[int]]]:
        """The findings with their rows."""
        yield from self._found
        for part in self.parts:
            yield from ((completed(finding), rows) for finding, rows in part.found(source))


def explained(wanted: Collection[str] = ()) -> str:
    """The rules (``()``: all) as a table in Markdown; ``DataError`` for one that there is not."""
    if unknown := [name for name in wanted if name not in RULES]:
        right = meant(unknown[0], RULES)
        fix = f"did you mean {right!r}?" if right else f"there are {', '.join(RULES)}."
        raise DataError(f"There is no rule {unknown[0]!r}; {fix}")
    rows = [
        f"| {rule.phase} | `{rule.id}` | {rule.levels} | {rule.sentence} | {rule.fix} |"
        for rule in RULES.values()
        if not wanted or rule.id in wanted
    ]
    head = "| looks at | rule | level | what it asks, or why | what to do |"
    return "\n".join([head, "| --- | --- | --- | --- | --- |", *rows])


def phases_of(only: Collection[str]) -> frozenset[str]:
    """The phases that these phases and ids of rules need; ``DataError`` for a name of neither."""
    known = {**{phase: phase for phase in PHASES}, **{rule.id: rule.phase for rule in RULES.values()}}
    if strange := set(only) - known.keys():
        raise DataError(
            f"There is no aspect {min(strange)!r}; choose from {', '.join(PHASES[1:])}, or the id of a rule."
        )
    return frozenset(known[name] for name in only)


def _functions(phase: str, method: str) -> list[RowCheck | FileCheck | Callable[..., object]]:
    """Each function of the phase once, in the order of the table."""
    rules = (rule for rule in RULES.values() if rule.phase == phase and method in rule.methods)
    return list(dict.fromkeys(function for rule in rules for function in rule.functions))
