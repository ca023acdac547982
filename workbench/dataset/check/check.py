"""``check``: everything that is wrong with training data, and what is worth knowing about it, at once.

An error is what a service refuses or what would make a score worthless; a warning is what a person should
look at. Nothing that the data hold stops a check; what cannot be read at all, or changes meanwhile, does.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Self, TypeVar

from workbench.catalog.limits import Limits, in_words, of_provider
from workbench.dataset.check import privacy, rules, texts
from workbench.dataset.check.duplicates import Repeats, overlap
from workbench.dataset.check.json_lines import DEEPEST, LONGEST
from workbench.dataset.check.messages import image_parts
from workbench.dataset.check.methods import Fields, response_format_findings
from workbench.dataset.check.parallel import Cuttable, Seen, executor_for, first_rows, scan
from workbench.dataset.check.report import FileFacts, Findings, Group, Report, ascending, in_order
from workbench.dataset.check.row import Collector, Finding, Row, Source, method_of
from workbench.dataset.check.rules import METHODS, Rules
from workbench.dataset.check.sources import corpus_source, source_of, tell_apart
from workbench.dataset.dataset import JSON, Dataset, counted
from workbench.dataset.tokens import Tokens, counter
from workbench.errors import DataError

# What rows are looked at for, and who looks: the collectors for each file of a check.
#
# The imports stand in the functions, because a process that looks at the format alone should load no more.

ASPECTS = ("format", "tokens", "repeats", "texts", "privacy")

# Of a test only the form is judged; for the rest, and for what only shows examples, see what it shares.
LOOKED_AT: Mapping[str, Collection[str]] = MappingProxyType(
    {
        "training": ASPECTS,
        "validation": ASPECTS,
        "test": ("format", "repeats"),
        "few-shot": ("repeats",),
        "corpus": ("repeats",),
    }
)


@dataclass(frozen=True)
class About:
    """What is asked about the rows, of whatever file."""

    method: str
    model: str | None
    grader: Mapping[str, JSON] | None
    group: str | None
    only: frozenset[str]
    """Aspects."""


@dataclass(frozen=True)
class Aspects:
    """Makes the collectors for a file that plays this role, as often as there are pieces."""

    about: About
    role: str

    def __call__(self) -> list[Collector]:
        """Fresh ones."""
        return list(self._collectors())

    def _collectors(self) -> Iterator[Collector]:
        about, asked = self.about, self.about.only & set(LOOKED_AT[self.role])
        if "format" in asked:
            from workbench import catalog
            from workbench.dataset.check.rules import Rules

            vision = None if about.model is None else catalog.model(about.model).vision
            yield Form(Rules(about.method, about.grader, vision), Counts(about.method, self.role))
        if "tokens" in asked:
            from workbench.dataset.tokens import Tokens

            yield Tokens(about.model, about.method)
        if "repeats" in asked:
            from workbench.dataset.check.duplicates import Repeats

            yield Repeats(about.group)
        if "texts" in asked:
            from workbench.dataset.check.texts import Texts

            yield Texts(about.method)
        if "privacy" in asked:
            from workbench.dataset.check.privacy import Privacy

            yield Privacy()


# Whether there are enough examples, and not too many images or bytes.
#
# What is refused is the provider's limit (``catalog.limits``; Azure's where nobody says which provider);
# what is advised comes from Microsoft's engineers (microsoft/GitHub-Copilot-for-Azure, 2026-08-20).

ADVISED = 50

# How many teach well: the engineers' rules of thumb, no promise of the service.
TEACHES: Mapping[str, int] = MappingProxyType({"sft": 500, "dpo": 500, "rft": 200})
SEVERAL_TIMES_ENOUGH = 2_000  # prompts for reinforcement; more cost hours and teach little

_THINGS = {"sft": "example", "dpo": "pair", "rft": "prompt"}


class Counts:
    """Counts the examples of one file, and those with images."""

    def __init__(self, method: str, role: str = "training", limits: Limits | None = None) -> None:
        """Nothing seen yet; ``role`` is what the file is for, as in ``FileFacts``."""
        self.limits = limits or of_provider("azure")
        self.method = method
        self.role = role
        self.examples = 0
        self.with_images = 0

    def add(self, rows: Sequence[Row]) -> None:
        """Count the next rows."""
        self.examples += len(rows)
        self.with_images += sum(any(image_parts(row.value.get("messages"))) for row in rows)

    def merge(self, later: Self) -> None:
        """Add what was counted behind this stretch."""
        self.examples += later.examples
        self.with_images += later.with_images

    def found(self, source: Source) -> Iterator[tuple[Finding, Sequence[int]]]:
        """What the numbers tell of the whole file."""
        if self.role == "training":
            findings = [*self._enough()]
        elif self.role == "validation" and self.method == "rft" and self._are_too_few:
            findings = [self._too_few("a reinforcement job")]
        else:
            findings = []
        for finding in (*findings, *self._images()):
            yield finding, ()

    @property
    def _are_too_few(self) -> bool:
        return self.limits.min_examples is not None and self.examples < self.limits.min_examples

    def _enough(self) -> Iterator[Finding]:
        thing = _THINGS[self.method]
        found = counted(self.examples, thing)
        teaches = TEACHES[self.method]
        if self._are_too_few:
            yield self._too_few("a job")
        elif self.examples < ADVISED:
            finding = f"{found}, which is enough to start a job and seldom enough to learn from"
            yield Finding("warning", "few", "", finding, f"aim for {ADVISED} good ones or more")
        elif self.examples < teaches:
            finding = f"{found}, which is a start; {teaches} and more teach well"
            yield Finding("info", "few", "", finding, "train, measure, then decide whether to add more")
        elif self.method == "rft" and self.examples > SEVERAL_TIMES_ENOUGH:
            finding = f"{found}, and {teaches} to {SEVERAL_TIMES_ENOUGH:,} are usual, at a price by the hour"
            yield Finding("info", "few", "", finding, "start with the hardest that can be solved")

    def _too_few(self, job: str) -> Finding:
        found = counted(self.examples, _THINGS[self.method])
        finding = f"{found}, and {job} needs at least {self.limits.min_examples}"
        return Finding("error", "too_few", "", finding, f"add {_THINGS[self.method]}s")

    def _images(self) -> Iterator[Finding]:
        most = self.limits.max_examples_with_images
        if most is not None and self.with_images > most:
            finding = f"{self.with_images:,} examples with images, and at most {most:,} are taken"
            yield Finding("error", "images", "", finding, "leave some out")
        elif self.with_images:
            finding = (
                f"{counted(self.with_images, 'example')} with images, of which the service leaves out, "
                "unsaid, those that show people, faces, children or CAPTCHAs"
            )
            yield Finding("info", "images", "", finding, "compare the number of examples in the finished job")


def no_validation(method: str, limits: Limits | None = None) -> list[Finding]:
    """What there is to say when no validation data is given."""
    if method != "rft":
        return []
    finding = "there is no validation data, and a reinforcement job needs some"
    needed = (limits or of_provider("azure")).min_examples or 1
    return [
        Finding("error", "no_validation", "", finding, f"add a file of {counted(needed, 'prompt')} or more")
    ]


def sizes(bytes: int, limits: Limits | None = None) -> list[Finding]:
    """What there is to say about a file of so many bytes."""
    limits, finding = limits or of_provider("azure"), f"the file has {bytes / 1024**2:,.0f} MB"
    if (most := limits.max_upload_bytes) is not None and bytes > most:
        fix = "make several files and jobs of it"
        return [Finding("error", "size", "", f"{finding}, and {in_words(most)} is the most in parts", fix)]
    if (most := limits.max_all_files_bytes) is not None and bytes > most:
        fix = "make it smaller, for instance with fewer or shorter examples"
        finding += f", and all fine-tuning files of a resource together may have {in_words(most)}"
        return [Finding("error", "size", "", finding, fix)]
    size = limits.max_part_bytes
    parts = f"upload it in parts{f' of {in_words(size)}' if size else ''} through /uploads"
    if (most := limits.max_file_bytes) is not None and bytes >= most:
        finding += f", and one upload takes less than {in_words(most)}"
        return [Finding("error", "size", "", finding, parts)]
    if (most := limits.max_safe_file_bytes) is not None and bytes > most:
        finding += f", and jobs on more than {in_words(most)} in one upload were seen to fail late"
        if (portal := limits.max_portal_file_bytes) is not None and bytes >= portal:
            finding += f"; the portal takes less than {in_words(portal)}"
        return [Finding("warning", "size", "", finding, parts)]
    return []


# Whether rows have the form that a service trains on: the rules of the format, and the numbers of rows.


class Form:
    """A collector of what is wrong with each row, and with how many there are."""

    def __init__(self, rules: Rules, counts: Counts) -> None:
        """Nothing seen yet."""
        self._rules = rules
        self._counts = counts
        self._fields = Fields() if rules.method == "rft" and rules.grader is None else None
        self._found = Findings()

    def add(self, rows: Sequence[Row]) -> None:
        """Look at the next rows; most are plain, and a plain one has neither findings nor images."""
        plain = self._rules.plain
        others = [row for row in rows if not plain(row.value)]
        for row in others:
            for finding in self._rules.findings(row.value):
                self._found.add(finding, (row.number,))
        if self._fields is not None:
            self._fields.add(rows)
        self._counts.add(others)
        self._counts.examples += len(rows) - len(others)

    def merge(self, later: Self) -> None:
        """Take over what was seen in the stretch behind this one."""
        self._found.merge(later._found)
        self._counts.merge(later._counts)
        if self._fields is not None and later._fields is not None:
            self._fields.merge(later._fields)

    def found(self, source: Source) -> Iterator[tuple[Finding, Sequence[int]]]:
        """The findings with their rows."""
        yield from self._counts.found(source)
        yield from self._found
        if self._fields is not None:
            yield from self._fields.found(source)


KINDS = 50_000  # different findings of a rule: a duplicate names the row that it repeats
GUESSED_FROM = 1_000  # rows at the beginning, when no method is named

T = TypeVar("T")


def check(
    data: Dataset | str | Path,
    *,
    validation: Dataset | str | Path | None = None,
    test: Dataset | str | Path | None = None,
    shots: Dataset | None = None,
    corpus: Dataset | str | Path | Sequence[str] | None = None,
    method: str | None = None,
    model: str | None = None,
    grader: Mapping[str, JSON] | None = None,
    response_format: Mapping[str, JSON] | None = None,
    group: str | None = None,
    only: Collection[str] = ASPECTS,
    executor: Executor | None = None,
) -> Report:
    """Tell me everything that is wrong with my training data.

    A path to a JSONL file is read piece by piece, so the file may be larger than memory. ``test``,
    ``shots`` (the examples in a prompt) and ``corpus`` (what is looked up) should share nothing with it.
    ``method``: ``sft``, ``dpo`` or ``rft``; else guessed from the first rows. ``model``: whose tokens are
    counted, and whose limits hold; else those of gpt-4o. ``grader``: for ``rft``, whose templates are
    resolved against every row; ``response_format``: the structure that its answers will have. ``group``:
    the field that ties examples together, such as a customer. ``only``: fewer aspects are faster.
    ``executor``: where to look; else all cores of this machine.
    """
    if strange := set(only) - set(ASPECTS):
        raise DataError(f"There is no aspect {min(strange)!r}; choose from {', '.join(ASPECTS)}.")
    sources: dict[str, Cuttable] = {"training": source_of(data)}
    if validation is not None:
        sources["validation"] = source_of(validation)
    if test is not None:
        sources["test"] = source_of(test)
    if shots is not None:
        sources["few-shot"] = source_of(shots)
    if corpus is not None:
        sources["corpus"] = corpus_source(corpus)
    tell_apart(list(sources.values()))
    guessed = _method_of(sources["training"], grader) if method is None else method
    about = About(guessed, model, dict(grader) if grader is not None else None, group, frozenset(only))
    with executor_for(list(sources.values()), executor) as where:
        seen = {role: scan(source, Aspects(about, role), where) for role, source in sources.items()}
    found = {role: Findings(KINDS) for role in sources}
    for finding in _about_all(about, sources, guessed=method is None):
        found["training"].add(finding, ())
    if response_format is not None:
        for finding in response_format_findings(response_format):
            found["training"].add(finding, ())
    for role, source in sources.items():
        for finding, numbers in _found_in(source, role, seen[role]):
            found[role].add(finding, numbers)
        for finding, numbers in _shared(sources, seen, role):
            found["training"].add(finding, numbers)
    for source in sources.values():
        source.hold()
    groups = chain.from_iterable(_groups(sources[role], found[role]) for role in sources)
    files = tuple(_facts(source, role, seen[role], model) for role, source in sources.items())
    return Report(files, in_order(list(groups)), guessed, model)


def _method_of(source: Cuttable, grader: Mapping[str, JSON] | None) -> str:
    """What most of the first rows can teach by."""
    if grader is not None:
        return "rft"
    kinds = Counter(method_of(row.value) for row in first_rows(source, GUESSED_FROM))
    return max(METHODS, key=lambda kind: kinds[kind])


def _about_all(about: About, sources: Mapping[str, Cuttable], guessed: bool) -> Iterator[Finding]:
    """What is the matter with the whole undertaking."""
    if guessed and about.method != "sft":
        kind = "preference pairs" if about.method == "dpo" else "prompts for reinforcement"
        finding = f"most rows are {kind}, so they were checked for {about.method}"
        yield Finding("info", "method", "", finding, "name another method if that is not meant")
    if "format" in about.only:
        yield from Rules(about.method, about.grader).of_the_grader()
        if "validation" not in sources:
            yield from no_validation(about.method)


def _found_in(source: Cuttable, role: str, seen: Seen) -> Iterator[tuple[Finding, Sequence[int]]]:
    for finding in source.notes:
        yield finding, ()
    if role in ("training", "validation"):
        for finding in sizes(seen.bytes):
            yield finding, ()
    yield from seen.lines
    for collector in seen.collectors:
        if role in ("training", "validation") or isinstance(collector, Form):
            yield from collector.found(source)


def _shared(
    sources: Mapping[str, Cuttable], seen: Mapping[str, Seen], role: str
) -> Iterator[tuple[Finding, Sequence[int]]]:
    """What training has in common with another file; the rows are those of training."""
    training, other = _of_kind(Repeats, seen["training"]), _of_kind(Repeats, seen[role])
    if role != "training" and training is not None and other is not None:
        yield from overlap(training, sources["training"], other, sources[role], role)


def _groups(source: Cuttable, found: Findings) -> Iterator[Group]:
    """The findings at their places; the rows of a dataset may come from several files."""
    for finding, numbers in found:
        if not numbers:
            yield Group(finding, source.name)
        for file, lines in source.places(numbers) if numbers else ():
            yield Group(finding, file, ascending(lines))


def _facts(source: Cuttable, role: str, seen: Seen, model: str | None) -> FileFacts:
    tokens = _of_kind(Tokens, seen)
    if tokens is None or tokens.uncounted:
        return FileFacts(source.name, role, seen.examples, bytes=seen.bytes)
    how = counter(model).how
    return FileFacts(source.name, role, seen.examples, tokens.total, tokens.total_trained, how, seen.bytes)


def _of_kind(kind: type[T], seen: Seen) -> T | None:
    return next((collector for collector in seen.collectors if isinstance(collector, kind)), None)


# Every rule of a check in a sentence: what it asks of the data, or why it is there.
#
# The rules of the format, of texts and of privacy are explained where they are; those of lines, tokens and
# repeats, which tell the same at every place, here.

_OF_LINES: Mapping[str, str] = {
    "json": "Every line is one whole JSON value; a line that breaks off is not an example.",
    "object": "That value is an object; a list, a text or a number cannot be an example.",
    "encoding": "The file is UTF-8 to its last byte; a byte order mark may stand in front, and nowhere else.",
    "line_ends": "Lines may end as on Windows, which services take; other tools may show stray characters.",
    "duplicate_key": "A key stands once in its object; of two values, readers silently take the last.",
    "not_finite": "NaN and Infinity are no JSON; a strict reader refuses the line.",
    "surrogate": "Half of a surrogate pair is no character, and no UTF-8 can hold it.",
    "control": "Control characters must be escaped, and in a text they are mostly what a conversion left.",
    "depth": f"No format nests its lists and objects {DEEPEST} deep, and readers give up there.",
    "long_line": f"A line of more than {LONGEST // 2**20} MB is no example but a file without line breaks.",
    "method": "All rows are checked for one method; where none is named, the first rows decide.",
}
_OF_TOKENS: Mapping[str, str] = {
    "too_long": "An example has a limit of tokens, which differs from model to model.",
    "token_outlier": "An example far longer than the rest is often a slip, and sets what a batch costs.",
    "not_counted": "What is not counted (large images, an unknown tokenizer) is missing from the price.",
}
_OF_REPEATS: Mapping[str, str] = {
    "duplicate": "A row that stands twice is learned twice; case and punctuation do not make it another.",
    "near_duplicate": "Rows that are nearly the same teach little more than one of them, and cost as much.",
    "contradiction": "One prompt with two answers teaches to guess.",
    "reversed": "Two pairs that prefer the opposite for one prompt cancel out.",
    "overlap": "A prompt of the test or validation data is learned by heart, and the score lies.",
    "near_overlap": "A prompt that is nearly one of the test or validation data leaks its answer as well.",
    "same_group": "A customer or document on both sides of a split makes the score look better than it is.",
}

EXPLAINED_ASPECTS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "lines": _OF_LINES,
        "format": rules.EXPLAINED,
        "tokens": _OF_TOKENS,
        "repeats": _OF_REPEATS,
        "texts": texts.EXPLAINED,
        "privacy": privacy.EXPLAINED,
    }
)
"""The rules by what they look at: the lines always, the rest as ``check(only=...)`` names it."""

EXPLAINED: Mapping[str, str] = MappingProxyType(
    {rule: sentence for of_aspect in EXPLAINED_ASPECTS.values() for rule, sentence in of_aspect.items()}
)
"""Every rule, in the order of a table for people."""
