"""Labels: what somebody says is wrong with an answer, and who says so.

Labels are lines of a file in the project's folder; it only grows, and the latest
line about a failure counts. A failure is known by its content, so a label is
found again when the same answers are measured again.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TypeAlias, cast, get_args

from workbench import journal
from workbench.decide.situation import FAILURES, Failure
from workbench.errors import DataError

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
        for line in journal.objects(self.path):
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
        journal.append(self.path, json.dumps(facts, ensure_ascii=False).encode())

    def __repr__(self) -> str:
        """How many."""
        return f"Labels({len(self.latest)} failures)"
