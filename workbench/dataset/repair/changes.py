"""What a repair has changed, row by row, and the way back.

Changes are kept as JSONL, whole: with them the data of before is had again to
the byte. So they hold what was redacted, too; a folder of them is as private as the data.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from itertools import count, islice
from pathlib import Path
from typing import TypeVar, overload

from workbench.dataset.dataset import Dataset, Example
from workbench.dataset.diff import Diff, difference
from workbench.dataset.repair.lines import Form, Value, example_from, texts_of
from workbench.errors import DataError

Item = TypeVar("Item")


@dataclass(frozen=True)
class RepairChange:
    """What one rule has done to one row, or to the whole file."""

    origin: str
    position: int | None
    """From 0, among the rows before the repair (in a file among all lines); ``None``: about the file."""
    rule: str
    before: Value | str
    """The line's object; a text is the line as it stood, with its end."""
    after: Value | str | None
    """``None``: the row is dropped."""
    metadata: Value = field(default_factory=dict)
    """Of an example that is dropped, so that it can come back whole."""

    def diff(self) -> Diff:
        """The lines that differ, marked with + and -."""
        return difference(self.before, self.after)


@dataclass(frozen=True, repr=False)
class RepairChanges(Collection[RepairChange]):
    """The changes from one state of the data to another, in the order in which they were made."""

    name: str
    kind: str
    """``dataset`` or ``file``: what they can be undone in."""
    before_sha256: str
    after_sha256: str
    items: tuple[RepairChange, ...]

    def __len__(self) -> int:
        """How many changes."""
        return len(self.items)

    def __contains__(self, change: object) -> bool:
        """Whether it is one of them."""
        return change in self.items

    def __iter__(self) -> Iterator[RepairChange]:
        """One after the other."""
        return iter(self.items)

    def __repr__(self) -> str:
        """The name and the number."""
        return f"RepairChanges({self.name!r}, {len(self)} changes)"


@overload
def undo(data: Dataset, changes: RepairChanges) -> Dataset: ...


@overload
def undo(data: bytes, changes: RepairChanges) -> bytes: ...


def undo(data: Dataset | bytes, changes: RepairChanges) -> Dataset | bytes:
    """Give me back what was there before this repair; ``data`` is a dataset, or a file's content."""
    kind = "dataset" if isinstance(data, Dataset) else "file"
    if kind != changes.kind:
        raise DataError(f"the changes were made to a {changes.kind}, and this is a {kind}; undo them there.")
    if _sha256(data) != changes.after_sha256:
        raise DataError(
            f"{changes.name} is no longer as the repair left it (its hash is {_sha256(data)[:12]}, it was "
            f"{changes.after_sha256[:12]}); undo needs the repaired data unedited."
        )
    before = _dataset(data, changes) if isinstance(data, Dataset) else _file(data, changes)
    if _sha256(before) != changes.before_sha256:
        raise DataError(f"the changes of {changes.name} are incomplete; take the file that was repaired.")
    return before


def changes_to_jsonl(changes: RepairChanges) -> bytes:
    """The changes as a file: a line about all of them, then one each."""
    head = {key: getattr(changes, key) for key in ("name", "kind", "before_sha256", "after_sha256")}
    lines = [head, *(vars(change) for change in changes)]
    return b"".join(json.dumps(line, default=dict).encode() + b"\n" for line in lines)


def changes_from_jsonl(data: bytes) -> RepairChanges:
    """The changes that ``changes_to_jsonl`` has written."""
    try:
        head, *lines = (json.loads(line) for line in data.splitlines())
        return RepairChanges(**head, items=tuple(RepairChange(**line) for line in lines))
    except (ValueError, TypeError) as error:
        raise DataError(f"these are no changes of a repair ({error}); give the file that it wrote.") from None


def keep_changes(changes: RepairChanges, folder: Path) -> Path:
    """Write the changes where ``find_changes`` finds them by the hash of the repaired data."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{changes.after_sha256}.jsonl"
    unfinished = folder / f"{path.name}.part"
    unfinished.touch(mode=0o600)  # it may hold what was redacted
    unfinished.write_bytes(changes_to_jsonl(changes))
    unfinished.replace(path)
    return path


def find_changes(sha256: str, folder: Path) -> RepairChanges:
    """The changes that led to the data with this hash."""
    path = folder / f"{sha256}.jsonl"
    if not path.is_file():
        raise DataError(
            f"no repair led to this data (its hash is {sha256[:12]}), or it was edited since; "
            "only the unedited result of a repair can be undone."
        )
    return changes_from_jsonl(path.read_bytes())


def first_states(changes: Iterable[RepairChange]) -> dict[int, RepairChange]:
    """For each row that is changed, the change that found it as it was."""
    first: dict[int, RepairChange] = {}
    for change in changes:
        if change.position is not None:
            first.setdefault(change.position, change)
    return first


def last_states(changes: Iterable[RepairChange]) -> dict[int, RepairChange]:
    """For each row that is changed, the change that left it as it is."""
    return {change.position: change for change in changes if change.position is not None}


def _dataset(repaired: Dataset, changes: RepairChanges) -> Dataset:
    def as_before(example: Example | None, first: RepairChange, last: RepairChange) -> Example:
        value = first.before if isinstance(first.before, Mapping) else {}
        return example_from(value, first.origin, last.metadata if example is None else example.metadata)

    return Dataset(changes.name, tuple(_restored(repaired, changes, as_before)), repaired.notes)


def _file(repaired: bytes, changes: RepairChanges) -> bytes:
    form = Form()
    texts = texts_of(BytesIO(repaired), form)
    lines = list(_restored(texts, changes, lambda _, first, __: str(first.before)))
    for change in reversed(changes.items):
        if change.position is None and isinstance(change.before, Mapping):
            form = form.with_facts(change.before)
            lines = list(form.with_ends(lines)) if "ends" in change.before else lines
    return b"".join(form.written(lines))


def _restored(
    rows: Iterable[Item],
    changes: RepairChanges,
    as_before: Callable[[Item | None, RepairChange, RepairChange], Item],
) -> Iterator[Item]:
    """The rows of before, in their order, made from those of after."""
    first, last = first_states(changes), last_states(changes)
    left = iter(rows)
    for position in count():
        if position in last and last[position].after is None:
            yield as_before(None, first[position], last[position])
            continue
        for row in islice(left, 1):
            yield as_before(row, first[position], last[position]) if position in first else row
            break
        else:
            return


def _sha256(data: Dataset | bytes) -> str:
    return data.sha256 if isinstance(data, Dataset) else hashlib.sha256(data).hexdigest()
