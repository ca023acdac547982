"""How each training example fared: its loss whenever it was visited, which costs nothing to know.

Before the first step and after the last a sample of the examples is looked at besides, so that the
losses of all can be told from the base model's; the sample is small enough to cost little.
"""

import math
import os
import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor
from torch.nn import functional

from workbench.errors import WorkbenchError
from workbench.evaluation.graders.grading import grade
from workbench.local.inference.batch import answers
from workbench.local.models.model import Base, logits
from workbench.local.training import lora
from workbench.local.training.encoding import IGNORED, Row, batches
from workbench.local.training.packing import hidden_states, pack

LARGEST_SAMPLE = 2000  # examples
EXTRA_SHARE = 0.05  # of the training: a look forward costs half a step forward and back, and there are two


@dataclass
class Trace:
    """Losses by example, from 0 in the order of the training file; nan where nothing of it is learnt."""

    visits: list[list[float]]
    """One loss an epoch, each just before the step that learns from it."""
    sample: tuple[int, ...]
    """The examples that ``before`` and ``after`` tell of, evenly spread over the file."""
    before: dict[int, float] = field(default_factory=dict)
    after: dict[int, float] = field(default_factory=dict)

    @classmethod
    def of(cls, examples: int, n_epochs: int) -> Self:
        """A trace without a visit yet."""
        size = min(examples, LARGEST_SAMPLE, int(EXTRA_SHARE * examples * n_epochs))
        sample = tuple(number * examples // size for number in range(size))
        return cls([[] for _ in range(examples)], sample)

    def visit(self, rows: Sequence[int], losses: Sequence[float]) -> None:
        """Note the losses of one step's batch."""
        for row, loss in zip(rows, losses, strict=True):
            self.visits[row].append(loss)

    def as_state(self) -> dict[str, Any]:
        """What a stopped run needs to go on noting."""
        return {"visits": self.visits, "sample": list(self.sample), "before": self.before}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The trace that ``as_state`` was taken of."""
        return cls(state["visits"], tuple(state["sample"]), state["before"])


# Supervised fine-tuning, in one loop that reads from top to bottom.
#
# Only the assistant's tokens count. The base model stays frozen; a LoRA adapter learns. Same
# data, seed, machine and version give the same curve, and a run that was stopped goes on from
# its saved state as if it had not been.

LEARNING_RATE = 2e-3  # for a multiplier of 1; measured on SmolLM2 with LoRA rank 8 on all linear layers
WARM_UP_STEPS = 6
FINAL_SHARE = 0.05  # of the learning rate, reached linearly at the last step
MAX_GRADIENT_NORM = 1.0
LOG_INTERVAL = 10  # steps; validation on one batch happens at the first step and then at each of these
ADAPTER = "training"


@dataclass(frozen=True)
class Plan:
    """The resolved settings of one run; ``eval_interval`` in steps, ``eval_samples`` in examples."""

    n_epochs: int
    batch_size: int
    learning_rate_multiplier: float
    seed: int
    eval_interval: int
    eval_samples: int


@dataclass(frozen=True)
class InTrainingEvaluation:
    """Held-out prompts that the model answers during training, and how an answer is graded."""

    prompts: tuple[tuple[int, ...], ...]
    items: tuple[Mapping[str, str], ...]
    grader: Mapping[str, object]
    max_tokens: int

    def score(self, base: Base) -> float:
        """The mean grade of the model's likeliest answers, 0 to 1."""
        said = answers(base, self.prompts, max_tokens=self.max_tokens)
        grades = [grade(self.grader, text.strip(), item) for text, item in zip(said, self.items, strict=True)]
        return sum(grades) / len(grades)


class DamagedStateError(WorkbenchError):
    """A saved state of a run that cannot be read."""


class Step(NamedTuple):
    """One optimiser step: its number from 1, what was measured, and the epoch it completed, if one."""

    number: int
    metrics: dict[str, float]
    epoch: int | None


class Measured(NamedTuple):
    """What some rows cost: the mean over their learnt tokens, and the mean of each row (nan: none learnt)."""

    loss: Tensor
    accuracy: float  # share of learnt tokens predicted right
    tokens: int  # learnt ones
    of_rows: list[float]


class SftRun:
    """One supervised run on a loaded base model: iterate over it to train."""

    def __init__(
        self,
        base: Base,
        plan: Plan,
        training: Sequence[Row],
        validation: Sequence[Row],
        exam: InTrainingEvaluation | None,
    ) -> None:
        """Attach a fresh adapter; nothing is trained before the first step is asked for."""
        self.base, self.plan, self.training, self.validation, self.exam = (
            base,
            plan,
            training,
            validation,
            exam,
        )
        self.parameters = lora.add_adapter(base.model, ADAPTER, seed=plan.seed)
        self.optimizer = torch.optim.AdamW(self.parameters, lr=0.0, weight_decay=0.0, fused=True)
        lengths = [len(row.tokens) for row in training]
        self.schedule = batches(lengths, batch_size=plan.batch_size, n_epochs=plan.n_epochs, seed=plan.seed)
        self.trace = Trace.of(len(training), plan.n_epochs)
        self.done = 0

    def __iter__(self) -> Iterator[Step]:
        """Train from where the run stands to its end, one step at a time."""
        plan, total = self.plan, len(self.schedule)
        epoch_ends = {
            math.ceil(len(self.training) * epoch / plan.batch_size): epoch
            for epoch in range(1, plan.n_epochs + 1)
        }
        for number in range(self.done + 1, total + 1):
            for group in self.optimizer.param_groups:
                group["lr"] = LEARNING_RATE * plan.learning_rate_multiplier * schedule_share(number, total)
            chosen = self.schedule[number - 1]
            measured = learnt_loss(self.base, [self.training[row] for row in chosen])
            measured.loss.backward()
            loss = measured.loss.item()
            if not math.isfinite(loss):
                raise WorkbenchError(
                    f"The training loss became {loss} at step {number}; "
                    "lower learning_rate_multiplier (a tenth is a good next try)."
                )
            torch.nn.utils.clip_grad_norm_(self.parameters, MAX_GRADIENT_NORM, foreach=True)
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.trace.visit(chosen, measured.of_rows)
            self.done = number

            metrics = {"train_loss": loss, "train_mean_token_accuracy": measured.accuracy}
            epoch = epoch_ends.get(number)
            if self.validation and (number == 1 or number % LOG_INTERVAL == 0 or number == total):
                metrics |= self._validate(self._validation_batch(number), prefix="valid")
            if self.validation and epoch:
                metrics |= self._validate(self.validation, prefix="full_valid")
            if self.exam and (number % plan.eval_interval == 0 or number == total):
                metrics["full_valid_mean_reward"] = self.exam.score(self.base)
            yield Step(number, metrics, epoch)

    def save(self, file: Path) -> None:
        """Keep everything the run needs to go on, atomically: 28 MB and 0.1 s for SmolLM2."""
        state = {
            "done": self.done,
            "parameters": [parameter.detach() for parameter in self.parameters],
            "optimizer": self.optimizer.state_dict(),
            "trace": self.trace.as_state(),
        }
        fresh = file.with_suffix(".new")
        with fresh.open("wb") as stream:
            torch.save(state, stream)
            stream.flush()
            os.fsync(stream.fileno())
        fresh.replace(file)

    def restore(self, file: Path) -> None:
        """Go back to what ``save`` kept; the next step is bit for bit the one that would have followed.

        Raises ``DamagedStateError``, and the run stands where it stood, when the file cannot be read.
        """
        try:
            state = torch.load(file, weights_only=True, map_location=self.base.model.device)
        except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise DamagedStateError(f"{file.name} is damaged ({str(error)[:80]}).") from error
        with torch.no_grad():
            for parameter, kept in zip(self.parameters, state["parameters"], strict=True):
                parameter.copy_(kept)
        self.optimizer.load_state_dict(state["optimizer"])
        self.trace = Trace.from_state(state["trace"])
        self.done = state["done"]

    def look(self) -> dict[int, float]:
        """The loss of each example of the trace's sample, as the model stands."""
        sample = sorted(self.trace.sample, key=lambda row: len(self.training[row].tokens))
        found: dict[int, float] = {}
        with torch.no_grad():
            for start in range(0, len(sample), self.plan.batch_size):
                part = sample[start : start + self.plan.batch_size]
                measured = learnt_loss(self.base, [self.training[row] for row in part])
                found |= dict(zip(part, measured.of_rows, strict=True))
        return found

    @torch.no_grad()
    def _validate(self, rows: Sequence[Row], prefix: str) -> dict[str, float]:
        losses, hits, tokens = 0.0, 0.0, 0
        by_length = sorted(rows, key=lambda row: len(row.tokens))
        for start in range(0, len(by_length), self.plan.batch_size):
            found = learnt_loss(self.base, by_length[start : start + self.plan.batch_size])
            losses += found.loss.item() * found.tokens
            hits += found.accuracy * found.tokens
            tokens += found.tokens
        return {f"{prefix}_loss": losses / tokens, f"{prefix}_mean_token_accuracy": hits / tokens}

    def _validation_batch(self, number: int) -> Sequence[Row]:
        """A small validation batch, another one each time, the same one when a step is repeated."""
        size = self.plan.batch_size
        start = (number // LOG_INTERVAL) * size % len(self.validation)
        return [*self.validation, *self.validation][start : start + min(size, len(self.validation))]


def learnt_loss(base: Base, rows: Sequence[Row]) -> Measured:
    """Mean negative log-likelihood over the learnt tokens of ``rows``, ready for ``backward``.

    The output head, 49,152 wide, runs on these tokens only: 1.16 times the speed of running it on all.
    """
    packed = pack(rows, base.model.device)
    learnt = packed.targets != IGNORED
    scores = logits(base.model, hidden_states(base.model, packed)[learnt])
    wanted, owners = packed.targets[learnt], packed.layout.owners[learnt]
    if not len(wanted):  # rows that are only read: no loss, and no gradient
        return Measured(scores.sum(), 0.0, 0, [math.nan] * len(rows))
    losses = functional.cross_entropy(scores, wanted, reduction="none")
    hits = (scores.detach().argmax(-1) == wanted).float().mean().item()
    sums = losses.new_zeros(len(rows)).index_add(0, owners, losses.detach())
    of_rows: list[float] = (sums / owners.bincount(minlength=len(rows))).tolist()
    return Measured(losses.mean(), hits, len(wanted), of_rows)


def schedule_share(number: int, total: int) -> float:
    """The share of the full learning rate at step ``number`` of ``total``: warm-up, then linear decay."""
    warm = min(1.0, number / min(WARM_UP_STEPS, total))
    return warm * (1 - (1 - FINAL_SHARE) * (number - 1) / total)
