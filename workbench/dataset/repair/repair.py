"""Repairs of training data: proposed, shown as a diff, applied, and undone.

Nothing is changed until somebody applies a repair, and applying gives new data: what it started from stays.
A file is repaired line by line, and a line that nobody can read is left as it is.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from workbench.catalog.methods import method as method_named
from workbench.dataset.chat_formats import example_of
from workbench.dataset.check.report import Report
from workbench.dataset.check.row import method_of
from workbench.dataset.check.sources import LINES
from workbench.dataset.dataset import JSON, Dataset, Example, counted
from workbench.dataset.diff import Diff
from workbench.dataset.json_text import place_of
from workbench.dataset.repair.changes import RepairChange, RepairChanges, last_states
from workbench.dataset.repair.fixes import Current, Fix, Wish, chosen
from workbench.dataset.repair.lines import (
    ENCODING,
    LINE_ENDS,
    SYNTAX,
    Form,
    RepairLine,
    Value,
    body_of,
    end_of,
    example_from,
    lines_of,
    raw_lines,
    repaired_line,
    sha256_of,
    written,
)
from workbench.display import HtmlCell, bar, table
from workbench.errors import DataError

# The data as the changes make it: a dataset, or the lines of a file one after the other.


def applied(dataset: Dataset, changes: RepairChanges) -> Dataset:
    """The examples after the changes; those that none of them is about are the same objects."""
    last = last_states(changes)
    examples = []
    for position, example in enumerate(dataset):
        if position not in last:
            examples.append(example)
        elif isinstance(value := last[position].after, Mapping):
            examples.append(example_from(value, example.origin, example.metadata))
    return Dataset(dataset.name, tuple(examples), dataset.notes)


def repaired_lines(path: Path, changes: RepairChanges) -> Iterator[bytes]:
    """The bytes of the file after the changes; lines that none of them is about are the same bytes."""
    last = last_states(changes)
    about_the_file = [change for change in changes if change.position is None]
    ends_change = any(change.rule == LINE_ENDS for change in about_the_file)
    form, lines = raw_lines(path)

    def repaired() -> Iterator[str]:
        for position, raw in enumerate(lines):
            if position not in last:
                yield with_plain_end(raw) if ends_change else raw
                continue
            after = last[position].after
            if after is not None:
                line = after if isinstance(after, str) else written(after) + end_of(raw)
                yield with_plain_end(line) if ends_change else line

    for change in about_the_file:
        if isinstance(change.after, Mapping):
            form = form.with_facts(change.after)
    return form.written(repaired())


def sha256_after(data: Dataset | Path, changes: RepairChanges) -> str:
    """The hash of what there will be."""
    if isinstance(data, Dataset):
        return applied(data, changes).sha256
    hashed = hashlib.sha256()
    for line in repaired_lines(data, changes):
        hashed.update(line)
    return hashed.hexdigest()


def with_plain_end(line: str) -> str:
    """The line with a line feed, if anything, behind it."""
    return body_of(line) + ("\n" if end_of(line) else "")


# The making of a repair: one fix after the other, each on what the fixes before have left.

ROUNDS = 3  # a fix can give an earlier one something to do; two are enough but for contrived rows


@dataclass
class Work:
    """Changes in the making."""

    source: Dataset | Path
    changes: list[RepairChange] = field(default_factory=list)
    unreadable: dict[int, str] = field(default_factory=dict)
    """Where rows stand that are still no object, by position."""
    _latest: dict[int, Value | str | None] = field(default_factory=dict)

    def repair(self, fixes: Sequence[Fix]) -> None:
        """Put each row right by itself."""
        rules = {fix.rule for fix in fixes}
        edits = [fix for fix in fixes if fix.edit is not None]
        of_plain_lines = [fix for fix in edits if not fix.is_rare]
        form = Form()
        for line in _watched(self.source, form):
            value = self._read(line, rules) if line.value is None else line.value
            if value is not None:
                self._edit(line, value, of_plain_lines if line.is_plain else edits)
        if isinstance(self.source, Path):
            self._rewrite(self.source, form, rules)

    def choose(self, fix: Fix, wish: Wish) -> None:
        """Put rows right by what the others are."""
        for row, after in list(fix.choose(self, wish)) if fix.choose is not None else ():
            self._keep(row.line, fix.rule, after)
            self.unreadable.pop(row.line.position, None)

    def __iter__(self) -> Iterator[Current]:
        """The rows as they are by now; blank lines, and what was dropped, are none."""
        for line in _watched(self.source):
            now = self._latest.get(line.position, line.value)
            if isinstance(now, Mapping) or line.position in self.unreadable:
                yield Current(line, now if isinstance(now, Mapping) else None)

    def _read(self, line: RepairLine, rules: Collection[str]) -> Value | None:
        now: Value | str | None = line.raw
        for rule, after in repaired_line(line.raw, rules) if line.raw is not None else ():
            self._keep(line, rule, after)
            now = after
        if isinstance(now, Mapping):
            return now
        if not line.is_blank and (now is not None or line.raw is None):
            self.unreadable[line.position] = line.origin
        return None

    def _edit(self, line: RepairLine, value: Value, edits: Sequence[Fix]) -> None:
        for _ in range(ROUNDS):
            before = value
            for fix in edits:
                after = fix.edit(value) if fix.edit is not None else value
                if after is not value:
                    self._keep(line, fix.rule, after)
                if after is None:
                    return
                value = after
            if value is before:
                return

    def _keep(self, line: RepairLine, rule: str, after: Value | str | None) -> None:
        begin = line.value if line.raw is None else line.raw
        before = self._latest.get(line.position, begin)
        metadata = line.metadata if after is None else {}
        self.changes.append(
            RepairChange(line.origin, line.position, rule, {} if before is None else before, after, metadata)
        )
        self._latest[line.position] = after

    def _rewrite(self, path: Path, form: Form, rules: Collection[str]) -> None:
        """What is changed about the file as a whole."""
        facts = form.facts
        if form.encoding != "utf-8":
            _expect_a_way_back(path, form, rules)
            was = {key: facts[key] for key in ("encoding", "mark")}
            self.changes.append(
                RepairChange(path.name, None, ENCODING, was, {"encoding": "utf-8", "mark": False})
            )
        marked = form.mark and form.encoding == "utf-8"
        if LINE_ENDS in rules and (marked or any(end not in ("\n", "") for end, _ in form.ends)):
            was = {"mark": marked, "ends": facts["ends"]}
            self.changes.append(RepairChange(path.name, None, LINE_ENDS, was, {"mark": False, "ends": "\n"}))


def _watched(source: Dataset | Path, form: Form | None = None) -> Iterator[RepairLine]:
    """The rows, under a bar that appears when they take more than two seconds."""
    from tqdm.auto import tqdm

    total = len(source) if isinstance(source, Dataset) else source.stat().st_size
    with tqdm(total=total, desc=f"Repairing {source.name}", unit_scale=True, delay=2, leave=False) as bar:
        for line in lines_of(source, form):
            yield line
            bar.update(1 if line.raw is None else len(line.raw))


def _expect_a_way_back(path: Path, form: Form, rules: Collection[str]) -> None:
    if ENCODING not in rules:
        raise DataError(f"{path.name} is {form.encoding}, not UTF-8; name the rule {ENCODING!r} as well.")
    again, lines = raw_lines(path)
    hashed = sha256()
    with suppress(UnicodeEncodeError):
        for piece in again.written(lines):
            hashed.update(piece)
    if hashed.hexdigest() != sha256_of(path):
        raise DataError(
            f"{path.name} seems to be {form.encoding}, but holds bytes that are not; save it as UTF-8, then "
            "repair it."
        )


SHOWN = 20  # changes of a diff, unless more are asked for
OF_LINES = (LINE_ENDS, SYNTAX)  # they drop lines, and no row
JUDGED = 1_000  # rows by which the method is guessed


class Proposal(NamedTuple):
    """What a repair does by one rule."""

    rows: int
    title: str
    by_default: bool


@dataclass(frozen=True, repr=False)
class Repair:
    """Changes that are proposed for a dataset or a file; nothing has happened to it yet."""

    source: Dataset | Path
    wish: Wish
    fixes: tuple[Fix, ...]
    """What was looked for, in order."""
    changes: RepairChanges
    unreadable: tuple[str, ...] = ()
    """Lines that hold no example and that no fix understood; they stay as they are."""

    @property
    def name(self) -> str:
        """What is repaired."""
        return self.source.name

    @property
    def before_sha256(self) -> str:
        """The hash of what is there."""
        return self.changes.before_sha256

    @property
    def after_sha256(self) -> str:
        """The hash of what there will be."""
        return self.changes.after_sha256

    @cached_property
    def rules(self) -> Mapping[str, Proposal]:
        """The rules by which something is changed, in order."""
        rows = Counter(rule for rule, _ in {(change.rule, change.position) for change in self.changes})
        fixes = {fix.rule: fix for fix in self.fixes if rows[fix.rule]}
        return {rule: Proposal(rows[rule], fix.title, fix.by_default) for rule, fix in fixes.items()}

    @cached_property
    def dropped(self) -> tuple[str, ...]:
        """Where the rows stand that there will be no more; blank lines and lone brackets are no rows."""
        return tuple(c.origin for c in self.changes if c.after is None and c.rule not in OF_LINES)

    @property
    def record(self) -> Mapping[str, JSON]:
        """What a project keeps of it: hashes and numbers, none of the texts."""
        return {
            "data": self.name,
            "before_sha256": self.before_sha256,
            "after_sha256": self.after_sha256,
            "rows_changed": {rule: proposal.rows for rule, proposal in self.rules.items()},
            "rows_dropped": len(self.dropped),
            "unreadable": len(self.unreadable),
        }

    def only(self, *rules: str) -> "Repair":
        """The repair by these rules alone."""
        self._expect(rules)
        return _proposed(self.source, self.wish, tuple(fix for fix in self.fixes if fix.rule in rules))

    def without(self, *rules: str) -> "Repair":
        """The repair without these rules."""
        self._expect(rules)
        return _proposed(self.source, self.wish, tuple(fix for fix in self.fixes if fix.rule not in rules))

    def diff(self, rule: str | None = None, limit: int = SHOWN, start: int = 0) -> Diff:
        """The changes from the ``start``-th on, as the lines of each row that differ."""
        if rule is not None:
            self._expect((rule,))
        changes = [change for change in self.changes if rule in (None, change.rule)]
        parts = [_shown(change) for change in changes[start : start + limit]]
        rest = len(changes) - start - len(parts)
        return Diff("\n".join([*parts, f"and {counted(rest, 'more change')}"] if rest > 0 else parts))

    def apply(self) -> Dataset:
        """The examples as they are to be, each with its origin and metadata; what was there stays."""
        if isinstance(self.source, Path):
            return Dataset(self.name, tuple(self._from_file(self.source)))
        return applied(self.source, self.changes)

    def to_jsonl(self) -> bytes:
        """The file as it is to be; lines that nobody can read are in it, unless they were to be dropped."""
        if isinstance(self.source, Dataset):
            return self.apply().to_jsonl()
        return b"".join(self._lines(self.source))

    def write(self, path: str | Path) -> Path:
        """Write the file as it is to be, whole or not at all."""
        path = Path(path)
        unfinished = path.with_name(f"{path.name}.part")
        source = self.source
        try:
            with unfinished.open("wb") as file:
                file.writelines([self.to_jsonl()] if isinstance(source, Dataset) else self._lines(source))
            unfinished.replace(path)
        except OSError as error:
            raise DataError(f"{path} cannot be written: {error.strerror or error}.") from error
        finally:
            with suppress(OSError):
                unfinished.unlink()
        return path

    def __str__(self) -> str:
        """The sum in a sentence."""
        rows = len({change.position for change in self.changes} - {None})
        text = f"Repair of {self.name}: {counted(len(self.changes), 'change')} in {counted(rows, 'row')}"
        text += f", {counted(len(self.dropped), 'row')} dropped" if self.dropped else ""
        unreadable = counted(len(self.unreadable), "line")
        return text + (f", {unreadable} left that cannot be read" if self.unreadable else "")

    def __repr__(self) -> str:
        """The sum, and what is done by each rule."""
        done = (f"{rule}: {counted(rows, 'row')}, {title}" for rule, (rows, title, _) in self.rules.items())
        return "\n".join([str(self), *done])

    def _repr_html_(self) -> str:
        first = {change.rule: change for change in reversed(self.changes.items)}
        most = max((rows for rows, *_ in self.rules.values()), default=1)
        rows = [
            (rule, bar(rows / most, f"{rows:,}"), title, _drawn(first[rule]))
            for rule, (rows, title, _) in self.rules.items()
        ]
        if not rows:
            return table(str(self), ("", ""), [("none", "Nothing to repair.")])
        return table(str(self), ("rule", "rows", "what it does", "the first change"), rows)

    def _expect(self, rules: Collection[str]) -> None:
        for rule in rules:
            if rule not in self.rules:
                has = ", ".join(self.rules) or "no changes"
                raise DataError(f"the repair of {self.name} changes nothing by {rule!r}; it has {has}.")

    def _from_file(self, path: Path) -> Iterator[Example]:
        if self.unreadable:
            rest = len(self.unreadable) - 1
            more = f" and {counted(rest, 'more line')}" if rest else ""
            raise DataError(
                f"{place_of(self.unreadable[0])}{more} cannot be read even now; put it right by hand, or "
                "name 'errors' among the rules, which drops what cannot be read."
            )
        last = last_states(self.changes)
        for line in lines_of(self._unchanged(path)):
            value = last[line.position].after if line.position in last else line.value
            if isinstance(value, Mapping):
                yield example_of(value, line.origin)

    def _lines(self, path: Path) -> Iterator[bytes]:
        return repaired_lines(self._unchanged(path), self.changes)

    def _unchanged(self, path: Path) -> Path:
        if sha256_of(path) != self.before_sha256:
            raise DataError(f"{path.name} has changed since the repair was proposed; propose it anew.")
        return path


def propose(
    data: Dataset | str | Path,
    report: Report | None = None,
    *,
    rules: Collection[str] | None = None,
    method: str | None = None,
    system: str | None = None,
) -> Repair:
    """Tell me what can be put right in my data, and show it before anything happens.

    ``rules`` names the findings to repair (``fixes.FIXES``); by default those whose repair keeps all that
    the rows say, and rows that are blank or equal to an earlier one. What goes by the findings of a check
    (``overlap``, ``contradiction``) needs its ``report``. ``system`` is the message that the rule of that
    name puts in front of every row; by default the most frequent one.
    """
    if not isinstance(data, Dataset):
        data = Path(data)
        if data.suffix.lower() not in LINES:
            raise DataError(
                f"{data.name} is not written line by line; read it first: propose(read({data.name!r}))."
            )
    method = method or (report.method if report else _method(data))
    method = method_named(method).format
    fixes = tuple(fix for fix in chosen(rules) if method in fix.methods)
    return _proposed(data, Wish(method, report, system), fixes)


def _proposed(source: Dataset | Path, wish: Wish, fixes: tuple[Fix, ...]) -> Repair:
    before = sha256_of(source)
    work = Work(source)
    work.repair(fixes)
    for fix in fixes:
        work.choose(fix, wish)
    kind = "dataset" if isinstance(source, Dataset) else "file"
    changes = RepairChanges(source.name, kind, before, "", tuple(work.changes))
    changes = replace(changes, after_sha256=sha256_after(source, changes))
    return Repair(source, wish, fixes, changes, tuple(work.unreadable.values()))


def _method(data: Dataset | Path) -> str:
    """What most of the first rows can teach by."""
    methods = Counter(method_of(line.value) for line in islice(lines_of(data), JUDGED) if line.value)
    return methods.most_common(1)[0][0] if methods else "sft"


def _drawn(change: RepairChange) -> HtmlCell:
    diff = Diff(f"--- {change.origin}\n{change.diff()}")
    return HtmlCell(diff._repr_html_(), diff)


def _shown(change: RepairChange) -> str:
    fate = "dropped" if change.after is None else "repaired"
    return f"--- {change.origin}\n+++ {change.origin}, {fate} by the rule {change.rule!r}\n{change.diff()}"
