"""Failures: the wrong answers of the best prompt, and what is wrong with each.

A rule labels where a rule can tell, a person by hand, a model as judge; who did
it stands beside every label. What nobody has labelled stays open: it is counted,
never guessed. The list is what data to collect, and a test of success later.
"""

import hashlib
import json
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from workbench.dataset.examples import Dataset
from workbench.decide.situation import FAILURES, Failure
from workbench.errors import DataError
from workbench.evaluation.asking.prompts import Prompt
from workbench.evaluation.baseline import Ladder
from workbench.evaluation.evaluation import Item
from workbench.evaluation.failing.labels import LABELLERS, Label, Labeller
from workbench.evaluation.failing.symptoms import symptom, symptom_of_context
from workbench.evaluation.graders import Grader
from workbench.project import JSON
from workbench.tables import table

if TYPE_CHECKING:
    import pandas

# A share of 50 is known to within 14 points (Wilson, 95 %), enough for "most failures are of style";
# twice as many can still be labelled by hand within an hour.
AT_MOST = 100


@dataclass(frozen=True)
class Failed:
    """One wrong answer, and what somebody says is wrong with it; without a label it is open."""

    item: Item
    label: Label | None = None

    @property
    def key(self) -> str:
        """What it is known by: question, reference and answer; another answer is another failure."""
        return hashlib.sha256(json.dumps([self.item.id, self.item.answer]).encode()).hexdigest()[:16]


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
        found = Counter(label.kind for label in self._labels)
        return {kind: found[kind] / found.total() for kind in FAILURES if found[kind]}

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
        rows = [{**asdict(failed.item), **_told_of(failed)} for failed in self.items]
        return pandas.DataFrame(rows, columns=columns)

    def labelled_with(self, labels: Mapping[str, Label]) -> "Failures":
        """The same, with what was said of them (by ``Failed.key``) in place of what a rule said."""
        told = ((failed, labels.get(failed.key)) for failed in self.items)
        return replace(self, items=tuple(replace(f, label=label) if label else f for f, label in told))

    def to_jsonl(self) -> bytes:
        """The list of data to collect: a failure a line, with its label."""
        lines = [{**asdict(failed.item), **_told_of(failed)} for failed in self.items]
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
        }

    def __repr__(self) -> str:
        """How many, and how many are open."""
        return f"<{self._told()}>"

    def _repr_html_(self) -> str:
        rows: list[tuple[object, ...]] = []
        for kind, share in self.shares.items():
            whose = Counter(label.by for label in self._labels if label.kind == kind)
            by = ", ".join(f"{by} {number}" for by, number in whose.items())
            rows.append((kind.replace("_", " "), whose.total(), f"{share:.0%}", by, FAILURES[kind]))
        if self.unlabelled:
            rows.append(("not labelled", len(self.unlabelled), "", "", "nobody has said what is wrong"))
        return table(self._told(), ("what is wrong", "failures", "share", "labelled by", "meaning"), rows)

    @property
    def _labels(self) -> list[Label]:
        return [failed.label for failed in self.items if failed.label]

    def _told(self) -> str:
        some = "" if len(self.items) == self.found else f"a sample of {len(self.items)} of "
        whose = f"{self.model}, {self.prompt.name}"
        return f"{some}{self.found:,} failures of {whose}: {len(self.unlabelled)} not labelled"


def failures(
    ladder: Ladder,
    *,
    valid: Grader | None = None,
    well_formed: Failure | None = None,
    test: Dataset | None = None,
    at_most: int = AT_MOST,
    seed: int = 0,
) -> Failures:
    """What does the best prompt have wrong, and of which kind is it, as far as rules can tell?

    ``valid`` is the second grader that says whether an answer is well formed. In some tasks all that can be
    wrong with a well-formed answer is one thing: then ``well_formed`` says which, and is taken at its word
    where ``valid`` is given. With ``test``, the questions with their right passages, a rule can tell whether
    retrieval missed one. Of more failures than
    ``at_most``, a sample is drawn, always the same for the same seed. The order is random in either case,
    so that who labels the first fifty has labelled a sample.
    """
    if at_most < 1:
        raise DataError(f"{at_most} failures are none to look at; give 1 or more.")
    best = ladder.best
    if test is not None and [example.question for example in test] != [item.question for item in best.items]:
        raise DataError(f"{test.name} holds other questions than were asked; give the test of this ladder.")
    wrong = [place for place, item in enumerate(best.items) if item.score < 1]
    drawn = random.Random(seed).sample(wrong, min(at_most, len(wrong)))
    rest = Label(well_formed, "rule", "well formed, and wrong") if valid and well_formed else None
    items = []
    for place in drawn:
        item, example = best.items[place], None if test is None else test[place]
        found = symptom(item, valid=valid) or symptom_of_context(ladder, place, example)
        items.append(Failed(item, Label(found.kind, "rule", found.why) if found else rest))
    return Failures(best.prompt, best.model, tuple(items), len(wrong))


def _told_of(failed: Failed) -> dict[str, str | None]:
    label = failed.label
    return {"kind": label.kind, "by": label.by, "why": label.why} if label else {"kind": None, "by": None}
