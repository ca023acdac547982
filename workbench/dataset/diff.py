"""What a change looks like to a person: who says what, with the lines that differ marked with + and -.

White space around a text is drawn (``·`` for a space, ``→`` for a tab, ``↵`` for a line break), long texts
are cut to the place where they differ, and what a terminal would take for a command is written as an escape.
Personal data and secrets are masked: a diff is kept in notebooks.
"""

import difflib
import json
import re
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import islice

from workbench.dataset.check.privacy import masked
from workbench.dataset.dataset import JSON, OUTPUTS, Dataset, Example, counted
from workbench.display import HtmlCell, table

WIDEST = 160  # characters of a line before it is cut
AROUND = 40  # characters kept on both sides of the place where two long texts differ
MOST_LINES = 2_000  # of one value; comparing takes time that grows with their product
MOST_SHOWN = 60  # lines of one diff
NEAR = 1  # unchanged lines shown around a change, so that one sees what it is said to

_INDENTED = " " * 4  # further lines of a text
_ROLE = re.compile(r"[\w.-]{1,40}")
_LABEL = re.compile(r"[\w.-]{1,40}(?:, [\w.-]{1,40})?: ")
_DRAWN = str.maketrans({" ": "·", "\t": "→", "\n": "↵"})
_COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


_ADDED, _REMOVED = "rgba(46, 160, 67, .22)", "rgba(218, 54, 51, .22)"  # behind text of the page's colour


class Diff(str):
    """Lines that differ, marked with + and -; a notebook colours them as well."""

    def _repr_html_(self) -> str:
        drawn = "".join(_coloured(self.splitlines())) or "There is nothing to change."
        look = "white-space:pre-wrap;overflow-wrap:anywhere;word-break:normal;margin:0;line-height:1.5;"
        look += "background:none;font-family:var(--jp-code-font-family, monospace);font-size:.93em"
        return f'<pre class="mathjax_ignore" style="{look}">{drawn}</pre>'


def _coloured(lines: Sequence[str]) -> Iterator[str]:
    """HTML of each line; what is different within two lines that belong together is underlined."""
    number = 0
    while number < len(lines):
        gone = _run(lines, number, "- ")
        come = _run(lines, number + len(gone), "+ ")
        if not gone and not come:
            strong = lines[number].startswith(("---", "+++"))
            line = escape(lines[number])
            yield f"<b>{line}</b>\n" if strong else f"{line}\n"
            number += 1
            continue
        paired = len(gone) == len(come)
        for mine, others, colour in ((gone, come, _REMOVED), (come, gone, _ADDED)):
            for place, line in enumerate(mine):
                shown = _underlined(line, others[place]) if paired else escape(line)
                yield f'<span style="background:{colour};display:block">{shown}\n</span>'
        number += len(gone) + len(come)


def _run(lines: Sequence[str], start: int, mark: str) -> list[str]:
    end = start
    while end < len(lines) and lines[end].startswith(mark):
        end += 1
    return list(lines[start:end])


def _underlined(line: str, other: str) -> str:
    """The line with what the other one has not underlined; the marks in front count for nothing."""
    start, end = _changed(line[2:], other[2:])
    start, end = start + 2, end + 2
    changed = f"<u>{escape(line[start:end])}</u>" if start < end else ""
    return f"{escape(line[:start])}{changed}{escape(line[end:])}"


def _changed(line: str, other: str) -> tuple[int, int]:
    """Where in a line it begins to differ from another one, and from where on it is the same again."""
    start = _shared(line, other)
    return start, len(line) - _shared(line[start:][::-1], other[start:][::-1])


def _shared(line: str, other: str) -> int:
    """How many letters two texts have in common at their beginning."""
    pairs = enumerate(zip(line, other, strict=False))
    return next((n for n, (mine, others) in pairs if mine != others), min(len(line), len(other)))


def difference(before: JSON, after: JSON) -> Diff:
    """The lines of two values that differ; a text is a line of a file that is no JSON object.

    Nothing (``None``) after means that the row is dropped: each of its lines is a removal.
    """
    before = _parsed(before) if isinstance(before, str) else before
    as_lines = isinstance(before, str) or isinstance(after, str)  # the line itself was put right
    old = _line(before) if as_lines else list(_told(before))
    new = [] if after is None else _line(after) if as_lines else list(_told(after))
    marked = list(islice(_marked(old[:MOST_LINES], new[:MOST_LINES]), MOST_SHOWN + 1))
    return Diff("\n".join([*marked[:MOST_SHOWN], "…"] if len(marked) > MOST_SHOWN else marked))


def _marked(old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    groups = difflib.SequenceMatcher(None, old, new, autojunk=False).get_grouped_opcodes(NEAR)
    for number, group in enumerate(groups):
        if number:
            yield "  …"
        for kind, start, end, new_start, new_end in group:
            gone, come = old[start:end], new[new_start:new_end]
            if kind == "equal":
                yield from (f"  {_cut(line)}" for line in gone)
            elif len(gone) == len(come):
                pairs = [_cut_around(masked(a), masked(b)) for a, b in zip(gone, come, strict=True)]
                yield from (f"- {line}" for line, _ in pairs)
                yield from (f"+ {line}" for _, line in pairs)
            else:
                yield from (f"- {_cut(line)}" for line in gone)
                yield from (f"+ {_cut(line)}" for line in come)


def _parsed(line: str) -> JSON:
    """What a line of a file holds; the line itself where that is not for sure."""
    try:
        value: JSON = json.loads(line)
    except (ValueError, RecursionError):
        return line
    return value if isinstance(value, Mapping) else line


def _line(value: JSON) -> list[str]:
    """As it stands in the file."""
    return [value.rstrip("\r\n") if isinstance(value, str) else _json(value)]


def _told(value: JSON) -> Iterator[str]:
    """A row as a person would tell it: ``user: …``, ``assistant: …``, and the rest by its key."""
    for key, part in value.items() if isinstance(value, Mapping) else ():
        if key == "input" and isinstance(part, Mapping):
            for inner, content in part.items():
                yield from _told_by_key(f"input.{inner}", content)
        else:
            yield from _told_by_key(key, part)


def _told_by_key(path: str, part: JSON) -> Iterator[str]:
    speaks_for = f"{path}, " if path in OUTPUTS else ""
    if path not in ("messages", "input.messages", *OUTPUTS) or not isinstance(part, list | tuple):
        yield f"{path}: {_json(part)}"
        return
    for position, message in enumerate(part):
        said = _said(message)
        if said is None:
            yield f"{path}[{position}]: {_json(message)}"
            continue
        role, text = said
        first, *further = _with_ends_drawn(text).split("\n")
        yield f"{speaks_for}{role}: {first}".rstrip()
        yield from (f"{_INDENTED}{line}".rstrip() for line in further)


def _said(message: JSON) -> tuple[str, str] | None:
    """Role and text of a message that has nothing else."""
    if not isinstance(message, Mapping) or message.keys() != {"role", "content"}:
        return None
    role, content = message["role"], message["content"]
    if not isinstance(role, str) or not isinstance(content, str) or not _ROLE.fullmatch(role):
        return None
    return role, content


def _with_ends_drawn(text: str) -> str:
    body = text.strip(" \t\n")
    before, _, behind = text.partition(body) if body else (text, "", "")
    return f"{before.translate(_DRAWN)}{body}{behind.translate(_DRAWN)}"


def _json(value: JSON) -> str:
    return json.dumps(value, ensure_ascii=False, default=dict)


def _cut_around(old: str, new: str) -> tuple[str, str]:
    """Two lines without the long stretches that they share; whose they are is still said."""
    if max(len(old), len(new)) <= WIDEST:
        return _plain(old), _plain(new)
    return _around(old, *_changed(old, new)), _around(new, *_changed(new, old))


def _around(line: str, start: int, end: int) -> str:
    """A line's label, and what differs with ``AROUND`` characters on both sides."""
    label = _LABEL.match(line[:start])
    begin = label.end() if label else 0
    start, end = max(begin, start - AROUND), min(len(line), end + AROUND)
    before = f"{line[:begin]}…" if begin < start else line[:begin]
    return _plain(before) + _cut(line[start:end]) + ("…" if end < len(line) else "")


def _cut(line: str) -> str:
    line = masked(line)
    return _plain(line if len(line) <= WIDEST else f"{line[: WIDEST - AROUND]}…{line[-AROUND:]}")


def _plain(line: str) -> str:
    return _COMMANDS.sub(lambda found: f"\\u{ord(found[0]):04x}", line)


# Two versions of a dataset, row by row: what came, what went, and which answers changed.
#
# Rows are known by their content, so another order or another file name is no difference.

SHOWN = 10


@dataclass(frozen=True, repr=False)
class RowChanges:
    """What differs between two versions of a dataset."""

    added: tuple[Example, ...]
    removed: tuple[Example, ...]
    changed: tuple[tuple[Example, Example], ...]
    """Rows that ask the same and answer otherwise: as they were, and as they are."""
    same: int
    """Rows that both versions have."""

    def __len__(self) -> int:
        """How many rows were added, removed or changed."""
        return len(self.added) + len(self.removed) + len(self.changed)

    @property
    def verdict(self) -> str:
        """Say it in a sentence."""
        if not len(self):
            return f"The same {counted(self.same, 'row')} in both."
        return (
            f"{counted(len(self.added), 'row')} added, {len(self.removed):,} removed, "
            f"{len(self.changed):,} with another answer, {self.same:,} the same."
        )

    def __repr__(self) -> str:
        """The sentence, then the first differences as they are shown of repairs."""
        shown = [f"{origin}\n{shown}" for _, origin, shown in list(self._rows())[:SHOWN]]
        return "\n\n".join((self.verdict, *shown))

    def _repr_html_(self) -> str:
        rows = list(self._rows())
        more = f" The first {SHOWN} of them:" if len(rows) > SHOWN else ""
        shown = [
            (what, origin, HtmlCell(Diff(diff)._repr_html_(), diff)) for what, origin, diff in rows[:SHOWN]
        ]
        return table(self.verdict + more, ("", "row", "difference"), shown)

    def _rows(self) -> Iterator[tuple[str, str, str]]:
        for before, after in self.changed:
            yield "changed", after.origin, difference(before.wire, after.wire)
        for example in self.removed:
            yield "removed", example.origin, difference(example.wire, None)
        for example in self.added:
            yield "added", example.origin, _as_added(example)


def row_changes(before: Dataset, after: Dataset) -> RowChanges:
    """Tell what was added, removed or answered otherwise from one version to the next.

    A row that occurs several times counts as often; of rows with one question the first go together.
    """
    same, gone, come = _partners(before, after, lambda example: _text(example.wire))
    changed, removed, added = _partners(gone, come, lambda example: _text(example.prompt))
    return RowChanges(tuple(added), tuple(removed), tuple(changed), len(same))


def _partners(
    before: Sequence[Example], after: Sequence[Example], key: Callable[[Example], str]
) -> tuple[list[tuple[Example, Example]], list[Example], list[Example]]:
    """The pairs with the same key, and those of either side that found no partner."""
    waiting: dict[str, deque[Example]] = defaultdict(deque)
    for example in after:
        waiting[key(example)].append(example)
    pairs, gone = [], []
    for example in before:
        partners = waiting[key(example)]
        if partners:
            pairs.append((example, partners.popleft()))
        else:
            gone.append(example)
    unmet = {id(example) for partners in waiting.values() for example in partners}
    return pairs, gone, [example for example in after if id(example) in unmet]


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=dict)


def _as_added(example: Example) -> str:
    dropped = difference(example.wire, None).splitlines()
    return "\n".join(f"+{line.removeprefix('-')}" for line in dropped)
