"""How does this curve look? One verdict, the numbers behind it, and what to do next.

``diagnose`` reads a curve by the rules in ``loss_rules`` or ``reward_rules`` and never raises on one. It says
"cannot tell" rather than guess, and a healthy curve is no proof of a better model: that is measured on the
task.
"""

import math
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from workbench.catalog.methods import short_names
from workbench.display import table
from workbench.errors import DataError
from workbench.training.curve import LOSSES, REWARDS, Curve
from workbench.training.loss_rules import (
    FEW_VALIDATIONS,
    LOSS_FLAGS,
    LOSS_RULES,
    PREFERENCE_RULES,
    Evidence,
    Ruling,
    leakage_suspected,
)
from workbench.training.reward_rules import REWARD_FLAGS, REWARD_RULES, likelihood_displacement
from workbench.training.trends import Trends, epoch_length, loss_trends, reward_trends

METHODS = short_names()
FEW_POINTS = 20
"""With fewer training points than these, a verdict is less sure (ours)."""
_CANNOT_TELL = Ruling("cannot_tell", (Evidence("no rule fits these numbers", math.nan, None, None),))


class Verdict(NamedTuple):
    """A verdict in words, and the next step."""

    title: str
    action: str
    alert: str | None = None
    """The kind of alert for a job that shows it: somebody may want to stop it."""


_SAID = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
VERDICTS: Mapping[str, Verdict] = {name: Verdict(**said) for name, said in _SAID["verdict"].items()}
FLAGS: Mapping[str, str] = _SAID["flag"]


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """What a curve shows: a verdict of ``VERDICTS``, and flags of ``FLAGS``."""

    verdict: str
    flags: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    """Of the verdict, the deciding number first; then of each flag."""
    doubts: tuple[str, ...]
    """Why the verdict is less sure than it could be."""
    by_set: "Mapping[str, Diagnosis]" = field(default_factory=dict)
    """What each of several evaluation sets shows, by its name; the gravest is the verdict."""

    @property
    def title(self) -> str:
        """The verdict in words."""
        return VERDICTS[self.verdict].title

    @property
    def action(self) -> str:
        """What to do next."""
        return VERDICTS[self.verdict].action

    @property
    def confidence(self) -> str:
        """High without a doubt, medium with one, low with more."""
        return ("high", "medium", "low")[min(len(self.doubts), 2)]

    @property
    def facts(self) -> dict[str, object]:
        """The diagnosis as plain JSON, for the record and for ``--json``; an infinite number is null."""
        return {
            "verdict": self.verdict,
            "title": self.title,
            "action": self.action,
            "confidence": self.confidence,
            "doubts": list(self.doubts),
            "flags": {name: FLAGS[name] for name in self.flags},
            "evidence": [
                each._asdict() | {"value": each.value if math.isfinite(each.value) else None}
                for each in self.evidence
            ],
            **({"sets": {name: each.facts for name, each in self.by_set.items()}} if self.by_set else {}),
        }

    def __repr__(self) -> str:
        """The verdict with its confidence and reasons, the action, then a flag a line."""
        reasons = "; ".join(each.sentence for each in self.evidence)
        doubts = f" ({'; '.join(self.doubts)})" if self.doubts else ""
        lines = [f"{self.title}: {reasons}.", f"Confidence: {self.confidence}{doubts}.", self.action]
        return "\n".join([*lines, *(FLAGS[name] for name in self.flags), *map(": ".join, self._of_sets)])

    def _repr_html_(self) -> str:
        rows = [("verdict", self.title)]
        rows += [
            (f"because ({each.source})" if number == 0 else f"also ({each.source})", each.sentence)
            for number, each in enumerate(self.evidence)
        ]
        rows += [("confidence", "; ".join((self.confidence, *self.doubts))), ("do", self.action)]
        rows += [(name.replace("_", " "), FLAGS[name]) for name in self.flags]
        return table("How the curve looks", ("", "finding"), [*rows, *self._of_sets])

    @property
    def _of_sets(self) -> list[tuple[str, str]]:
        found = self.by_set.items()
        return [(f"on {name}", f"{each.title}: {each.evidence[0].sentence}.") for name, each in found]


def diagnose(
    curve: Curve,
    *,
    method: str | None = None,
    n_epochs: float | None = None,
    steps_per_epoch: float | None = None,
    leaks: int | None = None,
) -> Diagnosis:
    """Say how a curve looks; ``method`` ("sft", "dpo", "rft") is read from its columns, else "sft".

    ``n_epochs`` is how many epochs the curve covers, ``steps_per_epoch`` does for
    a job that still runs; without either, regular full validations tell them.
    ``leaks`` is how many validation rows the data check found in the training
    data: 0 sets the suspicion aside. Raises ``DataError`` for an unknown method
    or an impossible length; no curve makes it raise.
    """
    if method not in (None, *METHODS):
        raise DataError(f"There is no method {method!r}; choose {', '.join(METHODS)}.")
    for name, number in (("n_epochs", n_epochs), ("steps_per_epoch", steps_per_epoch)):
        if number is not None and not 0 < number < math.inf:
            raise DataError(f"{name} is {number}; give a number above 0.")
    method = method or curve.method
    # 0.0 is none: where a library lets the processor round the least numbers to nothing, a quotient is it.
    length = steps_per_epoch or epoch_length(curve, n_epochs) or None
    if method == "rft" or not (sets := curve.evaluation_sets):
        return _diagnosed(curve, method, length, leaks)
    if len(curve.measured("full_valid_loss")):
        sets = {"the whole validation set": "full_valid_loss"} | sets
    found = {name: _diagnosed(_of_set(curve, column), method, length, leaks) for name, column in sets.items()}
    gravest = min(found, key=lambda name: _SAID["gravest_first"].index(found[name].verdict))
    if len(found) == 1:
        return found[gravest]
    first, *others = found[gravest].evidence
    first = first._replace(sentence=f"on {gravest}, {first.sentence}")
    return replace(found[gravest], evidence=(first, *others), by_set=found)


def _of_set(curve: Curve, column: str) -> Curve:
    """The curve with one evaluation set's loss as the validation loss, and no other set's."""
    others = [*curve.evaluation_sets.values(), "full_valid_loss"]
    frame = curve.frame.drop(columns=others, errors="ignore")
    frame = frame.assign(full_valid_loss=curve.frame[column])
    marks = {name: each for name, each in curve.undefined.items() if name not in others}
    if column in curve.undefined:
        marks["full_valid_loss"] = curve.undefined[column]
    return Curve(frame, curve.notes, marks)


def _diagnosed(curve: Curve, method: str | None, length: float | None, leaks: int | None) -> Diagnosis:
    with np.errstate(all="ignore"):  # a curve may hold numbers whose ratio no float can
        if method == "rft":
            trends, raised, rules = reward_trends(curve, length), REWARD_FLAGS, REWARD_RULES
        else:
            trends, raised = loss_trends(curve, length), LOSS_FLAGS
            rules = PREFERENCE_RULES if method == "dpo" else LOSS_RULES
        if leaks == 0:
            rules = tuple(rule for rule in rules if rule is not leakage_suspected)
        ruled = filter(None, (rule(trends) for rule in rules))
        ruling = _not_finite(curve, REWARDS if method == "rft" else LOSSES) or next(ruled, _CANNOT_TELL)
        found = {look.__name__: seen for look in raised if (seen := look(trends)) is not None}
        if method == "dpo" and (displaced := likelihood_displacement(curve)):
            found["likelihood_displacement"] = displaced
    doubts = tuple(_doubts(ruling, trends, found, leaks))
    evidence = (*ruling.evidence, *(each for each in found.values() if each not in ruling.evidence))
    return Diagnosis(ruling.verdict, tuple(found), evidence, doubts)


def _not_finite(curve: Curve, names: Sequence[str]) -> Ruling | None:
    """The first step at which a measure was infinite, or no number."""
    steps = {name: int(found[0]) for name in names if len(found := curve.not_finite(name))}
    if not steps:
        return None
    name = min(steps, key=lambda each: steps[each])
    sentence = f"{name} is infinite or no number at step {steps[name]}"
    return Ruling("diverged", (Evidence(sentence, math.inf, None, steps[name]),))


def _doubts(ruling: Ruling, trends: Trends, raised: Collection[str], leaks: int | None) -> Iterator[str]:
    """What makes a verdict less sure; what is missing, or infinite, is certain."""
    first = ruling.evidence[0]
    if ruling.verdict in ("insufficient_data", "no_validation_cannot_judge") or math.isinf(first.value):
        return
    if first.close:
        yield f"{first.value:.3g} is close to the threshold of {first.threshold:.3g}"
    if len(trends.train) < FEW_POINTS:
        yield f"training was measured at {len(trends.train)} steps only"
    if "noisy" in raised:
        yield "the training loss is noisy"
    if ruling.verdict in ("diverged", "memorised", "no_signal"):
        return  # read from the training measure alone
    if trends.valid.name == "valid_loss":
        yield "each validation loss is of one batch, not of the whole set"
    if len(trends.valid) < FEW_VALIDATIONS:
        yield f"validation was measured at {len(trends.valid)} steps only"
    if ruling.verdict == "leakage_suspected":
        if not leaks:
            yield "the data were not searched for equal rows"
    elif trends.steps_per_epoch is None and trends.valid.name in LOSSES:
        yield "without n_epochs no leak could be looked for in the fall of the training loss"
