"""Each training example by itself: its loss at every visit; which are suspicious, never learnt, memorised."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

import openai

from workbench.dataset.dataset import Dataset, Example, counted
from workbench.dataset.rendering import Rendering, Stretch
from workbench.display import table
from workbench.errors import DataError, SetupError
from workbench.training.follow import ENDED, follow, id_of

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types.fine_tuning import FineTuningJob

# What the losses of an example say of it: suspicious, never learnt, or learnt by heart.
#
# An example with a wrong answer is learnt late, because all others speak against it (Toneva et al. 2018,
# arXiv 1812.05159; Pleiss et al. 2020, "area under the margin", arXiv 2001.10528). So what it cost
# whenever the model met it again is better evidence than what it costs in the end.

SMALLEST = 1e-4  # nats; below, losses differ by rounding
STILL_OPEN = 0.25
"""The share of its first loss that an example never learnt still costs (ours); a pair, all of it."""
BY_HEART = 0.1
"""The share of the validation loss below which an example is known by heart (ours)."""


@dataclass(frozen=True)
class Losses:
    """What an example cost, in nats per learnt token, or a pair; nan where nothing of it is learnt.

    ``visits``: one an epoch, each just before the step that learnt from it. ``before`` the first step
    and ``after`` the last, where the service measured them.
    """

    visits: tuple[float, ...]
    before: float | None = None
    after: float | None = None

    @property
    def last(self) -> float:
        """The latest that is known."""
        return self.after if self.after is not None else self.visits[-1] if self.visits else math.nan


def label_error_score(examples: Sequence[Losses]) -> list[float]:
    """How far each example's losses stand out, in robust standard deviations; nan where they are not enough.

    Taken is the mean logarithm of the losses from the second visit on, so at least two epochs are needed:
    at the first visit the model still knows too little. Of 5 % planted wrong answers among 358 pairs of
    the sample project (SmolLM2, 3 epochs, two seeds) the first 18 of this order held all 18 that had
    another question's answer, and 13 and 15 of 18 with a small slip; chance is 1
    (``tests/benchmarks/example_losses.py``).
    """
    costs = [
        fmean(math.log(max(loss, SMALLEST)) for loss in example.visits[1:]) if _known(example) else math.nan
        for example in examples
    ]
    known = [cost for cost in costs if not math.isnan(cost)]
    if not known:
        return costs
    middle = median(known)
    spread = 1.4826 * median(abs(cost - middle) for cost in known)  # a standard deviation, were they normal
    return [(cost - middle) / spread if spread else 0.0 * cost for cost in costs]


def never_learnt(examples: Sequence[Losses], still_open: float = STILL_OPEN) -> list[int]:
    """The places of the examples that cost a quarter of their first loss still, the costliest first.

    The first loss is the base model's where the service measured it, else the median of those.
    """
    measured = [example.before for example in examples if example.before is not None]
    firsts = measured or [example.visits[0] for example in examples if example.visits]
    usual = median(first for first in firsts if not math.isnan(first)) if firsts else math.nan
    found = [
        place
        for place, example in enumerate(examples)
        if example.last >= still_open * (usual if example.before is None else example.before)
    ]
    return sorted(found, key=lambda place: -examples[place].last)


def memorised(examples: Sequence[Losses], *, validation_loss: float) -> list[int]:
    """The places of the examples known ten times better than what was never seen, the best known first.

    Memorising is what an example gains by being in the training file (Zhang et al. 2021, arXiv
    2112.12938); the loss on the validation file stands for what it would cost were it not.
    """
    found = [place for place, each in enumerate(examples) if each.last < BY_HEART * validation_loss]
    return sorted(found, key=lambda place: examples[place].last)


def _known(example: Losses) -> bool:
    return len(example.visits) > 1 and not any(math.isnan(loss) for loss in example.visits)


# What the model saw, and what it did not learn: the loss of every training example, beside the example.
#
# The local service writes it in a file beside the loss curve; clouds keep the losses of single examples to
# themselves. What follows from a loss is judged by the functions above.

NAME = "lessons.jsonl"
SHOWN = 15  # rows of the table
OUTLYING = 2.5
"""Robust standard deviations above which an example is suspicious, unless one asks for a number of them.

Ours: in the measurement of ``label_error_score``, all 18 answers of another question stood above it,
10 and 7 of 18 small slips, and nothing else.
"""


_MEANING = (
    "The loss is how surprised the model was by each word piece of the answer, on average (of a pair: by the "
    "preferred answer beside the other): 0 is sure, 0.7 is one chance in two, 3 is one in twenty. "
    f"An example stands out by so many robust standard deviations of all; above {OUTLYING:g} read it again."
)


@dataclass(frozen=True)
class ExampleLoss:
    """One training example and how it fared."""

    example: Example
    losses: Losses
    suspicion: float
    """How far its losses stand out among its like, in robust standard deviations; nan where unknown."""
    rewards: tuple[float, ...] = ()
    """Of a prompt for reinforcement, which has no loss: the mean reward of its answers, once an epoch."""

    @property
    def origin(self) -> str:
        """Where it comes from (``faq.csv:12``)."""
        return self.example.origin


@dataclass(frozen=True, repr=False)
class ExampleLosses:
    """What a job's training examples were to the model; the most suspicious first in the table."""

    job_id: str
    examples: tuple[ExampleLoss, ...]
    """In the order of the training file."""
    first_batch: tuple[Rendering, ...]
    """The examples of the first step, token by token as the model read them."""
    validation_loss: float | None = None
    """The last one on the whole validation file, nats per token."""

    def suspicious(self, n: int | None = None) -> tuple[str, ...]:
        """The origins of the examples whose labels deserve a second reading, the worst first.

        The ``n`` worst, or all that stand out. ``dataset.without(losses.suspicious())`` is one step further.
        """
        outlying = [example.origin for example in self._ranked if example.suspicion > OUTLYING]
        worst = [example.origin for example in self._ranked]
        return tuple(outlying if n is None else worst[: max(n, 0)])

    @cached_property
    def never_learnt(self) -> tuple[str, ...]:
        """The origins of the examples that the model cannot say after training either, the worst first.

        Of pairs, those whose rejected answer has not become the less likely one of the two.
        """
        pairs = any(each.example.method == "dpo" for each in self.examples)
        found = never_learnt([each.losses for each in self.examples], 1.0 if pairs else STILL_OPEN)
        return tuple(self.examples[place].origin for place in found)

    @cached_property
    def memorised(self) -> tuple[str, ...] | None:
        """The origins of the examples learnt by heart; ``None`` without a validation loss to compare with."""
        if self.validation_loss is None:
            return None
        losses = [example.losses for example in self.examples]
        found = memorised(losses, validation_loss=self.validation_loss)
        return tuple(self.examples[place].origin for place in found)

    @property
    def sentence(self) -> str:
        """The findings in a sentence."""
        if self._rewarded:
            none, full = (sum(set(each.rewards) == {end} for each in self.examples) for end in (0.0, 1.0))
            return (
                f"{counted(len(self.examples), 'training prompt')}: the answers to {none:,} had no reward in "
                f"any epoch, those to {full:,} the full 1 in every one; from both nothing is learnt."
            )
        found = [f"{len(self.never_learnt):,} never learnt"]
        if self._ranked:
            found.insert(0, f"{len(self.suspicious()):,} to read again for a wrong answer")
        if self.memorised is not None:
            found.append(f"{len(self.memorised):,} learnt by heart (a tenth of the validation loss or less)")
        few = (
            "" if self._ranked else " Which are suspicious shows from the second epoch on; train two or more."
        )
        return f"{counted(len(self.examples), 'training example')}: {', '.join(found)}.{few}"

    @property
    def _rewarded(self) -> bool:
        return any(each.rewards for each in self.examples)

    @cached_property
    def _ranked(self) -> tuple[ExampleLoss, ...]:
        known = (example for example in self.examples if not math.isnan(example.suspicion))
        return tuple(sorted(known, key=lambda example: -example.suspicion))

    def __repr__(self) -> str:
        """The findings, and the most suspicious examples, one a line."""
        return "\n".join([self.sentence, *("  ".join(row) for row in self._rows())])

    def _repr_html_(self) -> str:
        if self._rewarded:
            columns: tuple[str, ...] = ("origin", "question", "mean reward at each visit")
            return table(f"{self.sentence} The least rewarded first.", columns, self._rows())
        losses = ("loss in each epoch", "loss before training", "loss after it")
        columns = ("from", "stands out by", "question", "answer", *losses)
        rows, again = list(self._rows()), min(len(self.suspicious()), SHOWN)
        rest = table("Those that stand out most of the others" if again else "", columns, rows[again:])
        read_again = table("To be read again, the most unusual first", columns, rows[:again]) if again else ""
        return (
            f"<p>{escape(self.sentence)}</p>{read_again}"
            f"<details><summary>{counted(len(rows) - again, 'more example')}</summary>{rest}</details>"
            f"<p>{_MEANING}</p>"
        )

    def _rows(self) -> Iterator[tuple[str, ...]]:
        if self._rewarded:
            for each in sorted(self.examples, key=_mean_reward)[:SHOWN]:
                rewards = " → ".join("none" if math.isnan(one) else f"{one:.2f}" for one in each.rewards)
                yield each.origin, each.example.question, rewards
            return
        for each in (self._ranked or self.examples)[:SHOWN]:
            losses, suspicion = each.losses, "" if math.isnan(each.suspicion) else f"{each.suspicion:.1f}"
            visits = " → ".join(map(_shown, losses.visits))
            first = (each.origin, suspicion, each.example.question, each.example.answer, visits)
            yield (*first, _shown(losses.before), _shown(losses.after))


def example_losses(client: "OpenAI", job: "FineTuningJob | str", dataset: Dataset) -> ExampleLosses:
    """Give what each example of ``dataset``, on which ``job`` was trained, was to the model.

    ``SetupError`` while the job has not succeeded, and where the service does not say; ``DataError`` when
    the job was trained on something else.
    """
    job = client.fine_tuning.jobs.retrieve(id_of(job))
    lines = _lines(client, job)
    about = next(line for line in lines if line["kind"] == "about")
    if about["training_sha256"] != dataset.sha256:
        raise DataError(
            f"Job {job.id} was trained on other examples than those of {dataset.name}; give the very dataset "
            "that was uploaded (in a project: the training file that 03_build_data kept)."
        )
    losses = [
        Losses(
            tuple(math.nan if loss is None else loss for loss in line["losses"]),
            line["before"],
            line["after"],
        )
        for line in lines
        if line["kind"] == "example"
    ]
    rewards = [
        tuple(math.nan if one is None else one for one in line.get("rewards", ()))
        for line in lines
        if line["kind"] == "example"
    ]
    examples = zip(dataset, losses, label_error_score(losses), rewards, strict=True)
    batch = tuple(
        Rendering(
            dataset[line["line"] - 1].origin,
            about["model"],
            tuple(Stretch(text, learnt) for text, learnt in line["pieces"]),
            tuple(Stretch(text, learnt) for text, learnt in line.get("rejected", ())),
            exact=True,
        )
        for line in lines
        if line["kind"] == "first_batch"
    )
    progress = next(follow(client, job))
    validation_loss = progress.curve.final.get("full_valid_loss")
    return ExampleLosses(job.id, tuple(ExampleLoss(*each) for each in examples), batch, validation_loss)


def _lines(client: "OpenAI", job: "FineTuningJob") -> list[dict[str, Any]]:
    for file_id in job.result_files or ():
        try:
            if client.files.retrieve(file_id).filename == NAME:
                content = client.files.content(file_id).read()
                return [json.loads(line) for line in content.splitlines()]
        except openai.NotFoundError:  # deleted meanwhile
            continue
    if job.status not in ENDED:
        raise SetupError(f"Job {job.id} is {job.status}; the losses are there when it has succeeded.")
    raise SetupError(
        f"Job {job.id} has no {NAME}. Only the local service gives the loss of each example, of jobs that "
        "succeeded; clouds keep them to themselves. To see them, train the same file with it."
    )


def _mean_reward(example: ExampleLoss) -> float:
    """Of the visits with a reward; infinite where none has one."""
    known = [reward for reward in example.rewards if not math.isnan(reward)]
    return fmean(known) if known else math.inf


def _shown(loss: float | None) -> str:
    return "" if loss is None else f"{loss:.3g}"
