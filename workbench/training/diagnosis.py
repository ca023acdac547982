"""How does this curve look, and what follows for a job that has ended?

``diagnose`` reads a curve by the rules in ``loss_rules`` or ``reward_rules`` and never raises on one. It says
"cannot tell" rather than guess, and a healthy curve is no proof of a better model: that is measured on the
task. ``conclude`` puts it beside the choice of a checkpoint, the losses of the examples and the test, and
gives one verdict and one next step.
"""

import math
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from workbench.catalog.methods import GRADED_ANSWERS, method_of, short_names
from workbench.display import table
from workbench.errors import DataError
from workbench.project import JSON, Entry, Project
from workbench.training.checkpoints import CheckpointChoice, choose_checkpoint
from workbench.training.curve import LOSSES, REWARD, REWARDS, Curve
from workbench.training.follow import KeptCheckpoint, Progress, job_result, kept_checkpoints
from workbench.training.lineage import Drawback, drawbacks
from workbench.training.loss_rules import (
    FEW_VALIDATIONS,
    LOSS_FLAGS,
    LOSS_RULES,
    PREFERENCE_RULES,
    Evidence,
    Ruling,
    leakage_suspected,
)
from workbench.training.reward_rules import (
    REWARD_FLAGS,
    REWARD_RULES,
    likelihood_displacement,
    pairs_in_order,
)
from workbench.training.trends import Trends, epoch_length, loss_trends, reward_trends

if TYPE_CHECKING:
    from openai import OpenAI

    from workbench.training.example_losses import ExampleLosses

METHODS = short_names()
FEW_POINTS = 20
"""With fewer training points than these, a verdict is less sure (ours)."""
_NOTHING_WRONG = ("still_improving", "healthy", "cannot_tell")
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
        displaced = likelihood_displacement(curve) if method == "dpo" else None
        if displaced:
            found["likelihood_displacement"] = displaced
        if method == "dpo" and ruling.verdict in _NOTHING_WRONG:  # by the losses; the alarm goes first
            if displaced:
                ruling = Ruling("likelihood_displacement", (displaced,))
            elif enough := pairs_in_order(curve):
                ruling = Ruling("pairs_in_order", (enough,))
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


# What follows for a job that has ended: one verdict and one next step, and the reasons with their numbers.
#
# The curve alone says little, so what is better evidence decides first: a curve that nothing can be built on,
# then the test of 06_evaluate, then the checkpoint with the best score on held-out answers or, without
# one, with the best validation loss. What speaks for another run (it still got better) is a reason and no
# second verdict.

_UNUSABLE = {
    "diverged": "Do not use this model",
    "no_signal": "Do not use this model",
    "reward_hacking": "Do not use this model yet",
    "leakage_suspected": "Do not trust the validation numbers yet",
}
_NAMED = 3  # examples, by their lines


@dataclass(frozen=True, repr=False)
class Conclusion:
    """What to do with the model of a job: one verdict, one next step, and why."""

    verdict: str
    next_step: str
    reasons: tuple[tuple[str, str], ...]
    """What each is about, and a sentence with its numbers."""
    diagnosis: Diagnosis
    choice: CheckpointChoice
    checkpoints: KeptCheckpoint

    @property
    def facts(self) -> dict[str, JSON]:
        """The conclusion as plain JSON."""
        reasons: dict[str, JSON] = dict(self.reasons)
        return {"verdict": self.verdict, "next_step": self.next_step, "reasons": reasons}

    def __repr__(self) -> str:
        """The verdict, the next step, and a reason a line."""
        return "\n".join((f"{self.verdict}.", f"Next: {self.next_step}", *map(": ".join, self.reasons)))

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<p style="margin:.45em 0 0;overflow-wrap:break-word"><b>{escape(about)}:</b> {escape(why)}</p>'
            for about, why in self.reasons
        )
        parts = {
            "The curve in detail": self.diagnosis._repr_html_(),
            "How the checkpoint was chosen": self.choice._repr_html_(),
            "The checkpoints that can be used": self.checkpoints._repr_html_(),
        }
        folded = "".join(
            f"<details><summary>{name}</summary>{each}</details>" for name, each in parts.items()
        )
        return (
            '<div class="mathjax_ignore" style="max-width:760px;padding:.6em 1em;border:1px solid #8888;'
            'border-left:5px solid #0072B2;border-radius:4px">'
            f'<p style="font-size:1.35em;font-weight:600;margin:0">{escape(self.verdict)}</p>'
            f'<p style="margin:.3em 0 0"><b>Next:</b> {escape(self.next_step)}</p>'
            f'<div style="margin:.4em 0 .8em">{rows}</div>{folded}</div>'
        )


def conclude(
    client: "OpenAI",
    done: Progress,
    *,
    project: Project | None = None,
    learnt: "ExampleLosses | None" = None,
    held_out: int | None = None,
) -> Conclusion:
    """Say what to do with the model of a job that has succeeded; ``SetupError`` where it has not.

    ``project``: its record knows whether the model was tested. ``learnt``: the losses of the training
    examples. ``held_out``: how many validation rows there are, by which a share of right answers has its
    standard error.
    """
    result, curve, job = job_result(done), done.curve, done.job
    epochs = result.facts.get("n_epochs")
    n_epochs = epochs if isinstance(epochs, int) else None
    chosen = job.hyperparameters.model_dump() if job.hyperparameters else {}
    items = min(held_out, int(chosen.get("eval_samples") or GRADED_ANSWERS)) if held_out else None
    kept = kept_checkpoints(client, job)
    diagnosis = diagnose(curve, method=method_of(job).short, n_epochs=n_epochs)
    choice = choose_checkpoint(curve, kept.checkpoints, n_epochs=n_epochs, n_items=items)
    entries = project.entries("comparison") if project else ()
    tests = [entry for entry in entries if entry.facts.get("job_id") == job.id]
    against = drawbacks(tests, result.model, job.id)
    verdict, next_step = _concluded(diagnosis, choice, curve.steps, tests[-1:], against)
    reasons = (
        *_of_the_task(curve, items),
        ("Checkpoint", choice.sentence),
        (
            "Curve",
            f"{diagnosis.title}: {diagnosis.evidence[0].sentence} (confidence: {diagnosis.confidence}).",
        ),
        *_of_more_epochs(diagnosis, n_epochs),
        *_of_the_examples(learnt),
        *_of_the_test(tests[-1:], against),
    )
    return Conclusion(verdict, next_step, reasons, diagnosis, choice, kept)


def _concluded(
    diagnosis: Diagnosis,
    choice: CheckpointChoice,
    last: int,
    test: Sequence[Entry],
    against: Sequence[Drawback],
) -> tuple[str, str]:
    if diagnosis.verdict in _UNUSABLE:
        return _UNUSABLE[diagnosis.verdict], diagnosis.action
    is_better = bool(test) and test[0].facts.get("outcome") == "better"
    for each in against:
        if each.grave:
            remedy = each.remedy or "change one thing (data, epochs or model) and train it again"
            words = "It is better at the task, but " if is_better else ""
            return (
                f"{words}{'t' if words else 'T'}rain again before you use this model",
                f"{remedy[0].upper()}{remedy[1:]}.",
            )
    best = choice.chosen
    if best is not None and best.step < last:
        name = f" ({best.model})" if best.model else ""
        ask = f"python -m workbench evaluate TEST --model {best.model or 'NAME'}"
        return f"Use the checkpoint of step {best.step}{name}, not the last one", f"Test it: {ask}"
    if is_better:
        return (
            "Use this model: the test confirms it",
            "Read in 06_evaluate what got worse; 07_deploy deploys it.",
        )
    if diagnosis.verdict == "underfitting":
        return "Train again: the model has hardly learnt", diagnosis.action
    if test:
        return "Do not count on this model: the test did not show that it is better", diagnosis.action
    if best is None:
        return "The curve does not tell whether to use this model", "Run 06_evaluate: the test does."
    return (
        "Use the last checkpoint, once the test confirms it",
        "Run 06_evaluate: the curve does not show answers.",
    )


def _of_the_task(curve: Curve, items: int | None) -> Iterator[tuple[str, str]]:
    scores = curve.measured(REWARD)
    if not len(scores):
        return
    share = all(0 <= score <= 1 for score in scores) and curve.method != "rft"
    first, last = (f"{100 * score:.0f} %" if share else f"{score:.3g}" for score in scores.iloc[[0, -1]])
    of = f" of {items}" if items and share else ""
    words = f"{last}{of} are right" if share else f"a mean grade of {last}"
    yield "Held-out answers", f"{words} at step {scores.index[-1]}, {first} at step {scores.index[0]}."


def _of_more_epochs(diagnosis: Diagnosis, n_epochs: int | None) -> Iterator[tuple[str, str]]:
    if diagnosis.verdict == "still_improving":
        now = f" (N_EPOCHS = {n_epochs + 1} in place of {n_epochs})" if n_epochs else ""
        yield (
            "More epochs",
            "Validation was still getting better at the end. Where the test falls short of your target, "
            f"train one epoch more{now}.",
        )
    if diagnosis.verdict == "pairs_in_order":
        yield "More epochs", "None are needed: no validation pair is left to put right."


def _of_the_examples(learnt: "ExampleLosses | None") -> Iterator[tuple[str, str]]:
    if learnt is None:
        return
    read_again = learnt.suspicious()
    words = learnt.sentence
    if read_again:
        more = f" and {len(read_again) - _NAMED} more" if len(read_again) > _NAMED else ""
        words += f" To be read again: {', '.join(read_again[:_NAMED])}{more}."
    yield "Training examples", words


def _of_the_test(test: Sequence[Entry], against: Sequence[Drawback]) -> Iterator[tuple[str, str]]:
    if not test:
        yield (
            "Test and forgetting",
            "Not measured yet; 06_evaluate asks the test and what it forgot beside its task.",
        )
        return
    facts = test[0].facts
    yield "Test", str(facts.get("verdict"))
    lost = facts.get("forgetting")
    if isinstance(lost, Mapping):
        yield (
            "Forgetting",
            f"Of {lost.get('items')} questions beside the task the base model has {lost.get('base')} right, "
            f"this one {lost.get('tuned')}.",
        )
    for each in against:
        yield "Forgetting" if each.why.startswith("forgot") else "Against it", f"It {each.why}."
