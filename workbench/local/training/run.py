"""One training run, whatever the method: schedule, optimiser, evaluation on the way, save and restore.

The base model stays frozen; a LoRA adapter learns. Same data, seed, machine and version give the same
curve, and a run that was stopped goes on from its saved state as if it had not been. What is learnt
from a row, and how that is measured, is the method's own: a ``Trainer``, such as ``supervised``.
"""

import math
import os
import pickle
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self, cast

import torch
from torch import Tensor

from workbench.catalog.methods import GRADED_ANSWERS, METHODS, local_batch, local_epochs
from workbench.dataset.chat_template import tools_in
from workbench.dataset.dataset import Dataset, Example
from workbench.errors import SetupError, WorkbenchError
from workbench.evaluation.graders.grader_types import needs
from workbench.evaluation.graders.grades import Grade, Grader, ungraded
from workbench.evaluation.graders.grading import graded
from workbench.evaluation.graders.judges import Ask
from workbench.evaluation.graders.sandbox import SandboxLimits, close_sandboxes
from workbench.local.inference.batch import answers
from workbench.local.inference.sampling import Constraint
from workbench.local.models import lora
from workbench.local.models.model import Base, TokenRow, encode, encode_prompt
from workbench.local.store.rows import Job

FINAL_SHARE = 0.05  # of the learning rate, reached linearly at the last step, unless a method says otherwise
MAX_GRADIENT_NORM = 1.0
LOG_INTERVAL = 10  # steps; validation on one batch happens at the first step and then at each of these
ADAPTER = "training"
JUDGED_AT_ONCE = 16  # answers that a judge reads side by side
GRADER_LIMITS = SandboxLimits(seconds=10.0)  # an answer; a grader in Python that takes longer hangs

# How each training example fared: its loss whenever it was visited, which costs nothing to know.
#
# Before the first step and after the last a sample of the examples is measured besides, so that the
# losses of all can be compared with the base model's; the sample is small enough to cost little.

LARGEST_SAMPLE = 2000  # examples
EXTRA_SHARE = 0.05  # of the training: a look forward costs half a step forward and back, and there are two


@dataclass
class Trace:
    """Losses by example, from 0 in the order of the training file; nan where nothing of it is learnt."""

    visits: list[list[float]]
    """One loss an epoch, just before the step that learns from it; in reinforcement, one mean reward."""
    sample: Sequence[int]
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


# The settings of a run, and what is measured in it.


@dataclass(frozen=True)
class RunSettings:
    """The resolved settings of one run; ``eval_interval`` in steps, ``eval_samples`` in examples."""

    n_epochs: int
    batch_size: int
    learning_rate_multiplier: float
    seed: int
    eval_interval: int
    eval_samples: int
    more: Mapping[str, int | float | str] = field(default_factory=dict)
    """The hyperparameters that the method has beside these, by the API's names."""

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """All of them, by the API's names."""
        return {**{name: value for name, value in vars(self).items() if name != "more"}, **self.more}


def resolve(job: Job, rows: int, held_out: int, *, auto_steps: int = 120) -> RunSettings:
    """The job's settings with every ``auto`` replaced by what suits ``rows`` training examples.

    Batches of 8 (4 below 32 rows) use a CPU well; enough epochs, at most 10, for about ``auto_steps``.
    The model is examined four times on the way, on up to 24 held-out examples. Other hyperparameters
    have their defaults in the table of methods.
    """
    table = METHODS[method_name(job)].hyperparameters
    asked: dict[str, Any] = {each.name: each.default for each in table if each.default is not None}
    asked |= {name: value for name, value in job["hyperparameters"].items() if value != -1}
    if METHODS[method_name(job)].grader == "required":
        asked["max_completion_tokens"] = longest_answer(job)
    batch_size = int(asked.get("batch_size", local_batch(rows)))
    n_epochs = int(asked.get("n_epochs", local_epochs(rows, batch_size, auto_steps)))
    steps = math.ceil(rows * n_epochs / batch_size)
    plan = RunSettings(
        n_epochs=n_epochs,
        batch_size=batch_size,
        learning_rate_multiplier=asked.get("learning_rate_multiplier", 1.0),
        seed=job["seed"],
        eval_interval=int(asked.get("eval_interval", math.ceil(steps / 4))),
        eval_samples=min(held_out, int(asked.get("eval_samples", GRADED_ANSWERS))),
    )
    return replace(plan, more={name: value for name, value in asked.items() if name not in vars(plan)})


TEXT_TOKENS, JSON_TOKENS = 32, 256
"""The longest answer where nobody says: a label or a sentence, and an object of a dozen fields (ours)."""


def longest_answer(job: Job) -> int:
    """How many tokens an answer of a reinforcement job may have."""
    asked = job["hyperparameters"].get("max_completion_tokens", -1)
    form = settings_of(job).get("response_format")
    usual = TEXT_TOKENS if form is None or form.get("type") == "text" else JSON_TOKENS
    return usual if asked == -1 else int(asked)


def method_name(job: Job) -> str:
    """The method of a job by the API's name; one without the field is supervised."""
    return str(job.get("method", {}).get("type", "supervised"))


def settings_of(job: Job) -> Mapping[str, Any]:
    """What its method was given beside hyperparameters: ``grader``, ``response_format``."""
    return cast(Mapping[str, Any], job.get("method", {}).get(method_name(job), {}))


@dataclass(frozen=True)
class InTrainingEvaluation:
    """Held-out prompts that the model answers during training, and how an answer is graded."""

    prompts: tuple[tuple[int, ...], ...]
    items: tuple[Mapping[str, object], ...]
    grader: Mapping[str, object]
    max_tokens: int
    ask: Ask | None = None
    """Where a grader asks a model: whoever brings its reply."""
    constraint: Callable[[], Constraint | None] = lambda: None
    """What keeps an answer to a schema."""
    at_first_step: bool = False
    """Whether to measure after the first step too, and at the end of every epoch."""

    def score(self, base: Base) -> tuple[float | None, str]:
        """The mean grade of the model's likeliest answers, 0 to 1, and what kept some from a grade.

        Answers without a grade do not count. A grader that hangs on one answer is not waited for again.
        """
        written = answers(base, self.prompts, max_tokens=self.max_tokens, constraint=self.constraint)
        grades, problem = list[Grade](), ""
        try:
            grades = grade_all(self.grader, written, self.items, ask=self.ask)
        except SetupError as error:
            problem = str(error)
        scores = [grade.score for grade in grades if grade.graded]
        problem = problem or next((grade.problem for grade in grades if not grade.graded), "")
        note = f"The grader gave {len(written) - len(scores)} of {len(written)} answers no score: {problem}"
        return (sum(scores) / len(scores) if scores else None), note if problem else ""


def grade_all(
    grader: Grader,
    written: Sequence[str],
    items: Sequence[Mapping[str, object]],
    *,
    ask: Ask | None = None,
    patience: int = 1,
) -> list[Grade]:
    """Grade each answer; one that hangs takes ``GRADER_LIMITS``, and after ``patience`` of them no more do.

    Answers that wait for a judge are graded side by side.
    """
    hung = 0

    def one(text: str, item: Mapping[str, object]) -> Grade:
        nonlocal hung
        if hung >= patience:
            return ungraded("it was not asked again, as it hangs", "other_error")
        found = graded(grader, text.strip(), item, ask=ask, limits=GRADER_LIMITS)
        hung += _hangs(found)
        return found

    try:
        if not needs(grader) & {"model", "address"}:
            return [one(*pair) for pair in zip(written, items, strict=True)]
        with ThreadPoolExecutor(JUDGED_AT_ONCE, "grade") as threads:
            return list(threads.map(one, written, items))
    finally:
        close_sandboxes()  # none waits through the steps in between


def _hangs(grade: Grade) -> bool:
    """Whether there was no reply in time; a judge that took long over one that cannot be read does reply."""
    if grade.errors["python_grader_server_error_type"] == "timeout":
        return True
    silent = grade.errors["model_grader_server_error"] or grade.errors["other_error"]
    return bool(silent) and grade.seconds >= GRADER_LIMITS.seconds


def evaluation_of(job: Job, base: Base, validation: Dataset, samples: int) -> InTrainingEvaluation | None:
    """What the job's grader asks on the way; ``None`` where nothing is to be graded."""
    grader = settings_of(job).get("grader")
    if METHODS[method_name(job)].grader != "local" or not grader or not samples:
        return None
    chosen = list(validation)[:samples]
    asked = [encode_prompt(base.tokenizer, example.prompt, tools_in(example.more)) for example in chosen]
    wanted = [_as_said(base, *pair) for pair in zip(chosen, asked, strict=True)]
    longest = max(len(base.tokenizer(answer)["input_ids"]) for answer in wanted)
    pairs = zip(chosen, wanted, strict=True)
    items = tuple({"question": example.question, "answer": answer} for example, answer in pairs)
    return InTrainingEvaluation(tuple(map(tuple, asked)), items, grader, longest + longest // 2)


def _as_said(base: Base, example: Example, prompt: Sequence[int]) -> str:
    """The answer of ``example`` as the model is to say it; a call of a tool is a text then."""
    if not any(example.messages[-1].get(key) for key in ("tool_calls", "function_call", "refusal")):
        return example.answer
    row = encode(base.tokenizer, example.messages, tools_in(example.more))
    return base.text(list(row.tokens[len(prompt) :])).strip()


class DamagedStateError(WorkbenchError):
    """A saved state of a run that cannot be read."""


class TrainingStep(NamedTuple):
    """One optimiser step: its number from 1, what was measured, and the epoch it completed, if one."""

    number: int
    metrics: dict[str, float]
    epoch: int | None
    note: str = ""
    """What went wrong with grading, in words; empty where nothing did."""


class BatchLoss(NamedTuple):
    """What some rows cost: the mean over their learnt tokens, and the mean of each row (nan: none learnt)."""

    loss: Tensor
    metrics: Mapping[str, float]
    """What else was measured, by the names of the result columns without ``train_`` or ``valid_``."""
    weight: int
    """What the means are over: learnt tokens, or pairs."""
    of_rows: list[float]


class Trainer(Protocol):
    """A method: how its examples become rows, and what is learnt from them."""

    learning_rate: float
    """For a multiplier of 1."""
    auto_steps: int
    """About how many steps a job takes whose epochs are left to the service."""
    warm_up_steps: int
    """Over so many steps the learning rate rises to its full size."""
    final_share: float
    """Of the learning rate, which it falls to linearly until the last step."""

    def encode(self, base: Base, dataset: Dataset) -> list[TokenRow]:
        """One row for each example, ``DataError`` for one that cannot be one; a subclass may hold more."""

    def has_loss(self, row: TokenRow) -> bool:
        """Whether anything is learnt from it, or measured on it where it is held out."""

    def reference(self, base: Base, rows: Sequence[TokenRow]) -> Sequence[tuple[float, ...]]:
        """For each row what its ``reference`` is, said by the model as it is before the first step."""

    def loss(self, base: Base, rows: Sequence[TokenRow], plan: RunSettings) -> BatchLoss:
        """The loss of some rows, ready for ``backward``."""


class Experience(NamedTuple):
    """What a model's own answers at one step gave to learn from."""

    rows: list[TokenRow]
    rewards: list[float]
    """The mean of each prompt's answers; nan where none has one."""
    metrics: Mapping[str, float]
    """By the names of the result columns."""
    note: str = ""
    """What was wrong with them, in words; empty where nothing was."""


class Rollouts(Protocol):
    """How a method makes its rows while it trains: the model answers prompts, and the answers are graded."""

    def experience(
        self, base: Base, prompts: Sequence[TokenRow], plan: RunSettings, number: int
    ) -> Experience:
        """What the model, as it stands at step ``number``, makes of these prompts."""


class TrainingRun:
    """One run on a loaded base model: iterate over it to train."""

    reference_adapter: str | None = None
    """What a method compares answers with that come up while it trains; ``None``: the base model."""

    def __init__(
        self,
        trainer: Trainer,
        base: Base,
        plan: RunSettings,
        training: Sequence[TokenRow],
        validation: Sequence[TokenRow] = (),
        evaluation: InTrainingEvaluation | None = None,
        rollouts: Rollouts | None = None,
    ) -> None:
        """Attach a fresh adapter; nothing is trained before the first step is asked for."""
        self.trainer, self.base, self.plan, self.rollouts = trainer, base, plan, rollouts
        self.training, self.validation, self.evaluation = list(training), list(validation), evaluation
        self.parameters = lora.add_adapter(base.model, ADAPTER, seed=plan.seed)
        decay = float(plan.more.get("l2_multiplier", 0.0))
        self.optimizer = torch.optim.AdamW(self.parameters, lr=0.0, weight_decay=decay, fused=True)
        self.schedule = batches([row.size for row in training], plan)
        self.epoch_ends = {  # the last step of each epoch
            math.ceil(len(training) * epoch / plan.batch_size): epoch for epoch in range(1, plan.n_epochs + 1)
        }
        self.trace = Trace.of(len(training), plan.n_epochs)
        self.done = 0
        self.tokens = 0
        """Trained on so far."""
        self.seconds = 0.0
        """Of training so far."""

    def __iter__(self) -> Iterator[TrainingStep]:
        """Train from where the run stands to its end, one step at a time."""
        plan, total, trainer = self.plan, len(self.schedule), self.trainer
        for _ in self.measure_reference():
            pass
        for number in range(self.done + 1, total + 1):
            began = time.monotonic()
            share = schedule_share(number, total, trainer.warm_up_steps, trainer.final_share)
            for group in self.optimizer.param_groups:
                group["lr"] = trainer.learning_rate * plan.learning_rate_multiplier * share
            chosen = self.schedule[number - 1]
            rows, rewards, metrics, note = self._rows_of(number)
            measured = self._measured(rows)
            loss = measured.loss.item()
            if not math.isfinite(loss):
                way_out = "lower learning_rate_multiplier (a tenth is a good next try)"
                raise WorkbenchError(f"The training loss became {loss} at step {number}; {way_out}.")
            if rows:
                measured.loss.backward()
                torch.nn.utils.clip_grad_norm_(self.parameters, MAX_GRADIENT_NORM, foreach=True)
                self.optimizer.step()
                self.optimizer.zero_grad()
            self.trace.visit(chosen, rewards or measured.of_rows)
            if self.rollouts is None:
                metrics = {"train_loss": loss, **metrics}
            metrics |= _named("train", measured.metrics)
            self.tokens += sum(row.size for row in rows)
            self.done = number

            epoch = self.epoch_ends.get(number)
            if self.validation and (number == 1 or number % LOG_INTERVAL == 0 or number == total):
                metrics |= self._validate(self._validation_batch(number), prefix="valid")
            if self.validation and epoch:
                metrics |= self._validate(self.validation, prefix="full_valid")
            if self.evaluation and self._evaluates(number):
                score, problem = self.evaluation.score(self.base)
                note = " ".join(filter(None, (note, problem)))
                metrics |= {} if score is None else {"full_valid_mean_reward": score}
            self.seconds += time.monotonic() - began
            yield TrainingStep(number, metrics, epoch, note)

    def _rows_of(self, number: int) -> tuple[list[TokenRow], list[float], dict[str, float], str]:
        """What is learnt from at a step; if answers were graded, also what was measured and went wrong."""
        chosen = [self.training[row] for row in self.schedule[number - 1]]
        if self.rollouts is None:
            return chosen, [], {}, ""
        found = self.rollouts.experience(self.base, chosen, self.plan, number)
        with torch.no_grad(), self._as_reference():
            references = self.trainer.reference(self.base, found.rows)
        rows = [replace(row, reference=known) for row, known in zip(found.rows, references, strict=True)]
        return rows, found.rewards, dict(found.metrics), found.note

    @contextmanager
    def _as_reference(self) -> Iterator[None]:
        lora.use(self.base.model, self.reference_adapter)
        try:
            yield
        finally:
            lora.use(self.base.model, ADAPTER)

    def _evaluates(self, number: int) -> bool:
        often = self.evaluation is not None and self.evaluation.at_first_step
        on_the_way = number % self.plan.eval_interval == 0 or number == len(self.schedule)
        return on_the_way or (often and (number == 1 or number in self.epoch_ends))

    def save(self, file: Path) -> None:
        """Keep everything the run needs to go on, atomically: 28 MB and 0.1 s for SmolLM2."""
        state = {
            "done": self.done,
            "parameters": [parameter.detach() for parameter in self.parameters],
            "optimizer": self.optimizer.state_dict(),
            "trace": vars(self.trace),
            "references": [row.reference for row in (*self.training, *self.validation)],
            "tokens": self.tokens,
            "seconds": self.seconds,
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
        self.trace = Trace(**state["trace"])
        self.done = state["done"]
        # States of earlier versions count neither; the rows of the steps that were done tell the tokens.
        read = sum(self.training[row].size for chosen in self.schedule[: self.done] for row in chosen)
        self.tokens, self.seconds = state.get("tokens", read), state.get("seconds", 0.0)
        references = iter(state["references"])
        for rows in (self.training, self.validation):
            rows[:] = [replace(row, reference=next(references)) for row in rows]

    @torch.no_grad()
    def measure_reference(self) -> Iterator[int]:
        """Ask the model, as it is before the first step, of the rows without a reference; yields how many.

        It is its own reference, so that there is no second one in memory: the base model, or the tuned
        model from whose adapter the run starts. What it says is kept with the run.
        """
        for rows in (self.training, self.validation):
            for part in self._parts({at: row for at, row in enumerate(rows) if not row.reference}):
                found = self.trainer.reference(self.base, list(part.values()))
                for (at, row), numbers in zip(part.items(), found, strict=True):
                    rows[at] = replace(row, reference=numbers)
                yield len(part)

    @torch.no_grad()
    def look(self) -> dict[int, float]:
        """The loss of each example of the trace's sample, as the model stands."""
        found: dict[int, float] = {}
        sample = {row: self.training[row] for row in self.trace.sample}
        for part in self._parts({at: row for at, row in sample.items() if self.trainer.has_loss(row)}):
            found |= dict(zip(part, self._measured(part.values()).of_rows, strict=True))
        return found

    @torch.no_grad()
    def _validate(self, rows: Sequence[TokenRow], prefix: str) -> dict[str, float]:
        sums, weight = dict[str, float](), 0
        for part in self._parts(dict(enumerate(rows))):
            found = self._measured(part.values())
            for name, mean in {"loss": found.loss.item(), **found.metrics}.items():
                sums[name] = sums.get(name, 0.0) + mean * found.weight
            weight += found.weight
        return _named(prefix, {name: total / weight for name, total in sums.items()})

    def _parts(self, rows: Mapping[int, TokenRow]) -> Iterator[dict[int, TokenRow]]:
        """The numbered rows in batches of like length."""
        ordered = sorted(rows.items(), key=lambda pair: pair[1].size)
        for start in range(0, len(ordered), self.plan.batch_size):
            yield dict(ordered[start : start + self.plan.batch_size])

    def _measured(self, rows: Iterable[TokenRow]) -> BatchLoss:
        return self.trainer.loss(self.base, list(rows), self.plan)

    def _validation_batch(self, number: int) -> Sequence[TokenRow]:
        """A small validation batch, another one each time, the same one when a step is repeated."""
        size = self.plan.batch_size
        start = (number // LOG_INTERVAL) * size % len(self.validation)
        return [*self.validation, *self.validation][start : start + min(size, len(self.validation))]


def _named(prefix: str, metrics: Mapping[str, float]) -> dict[str, float]:
    return {f"{prefix}_{name}": value for name, value in metrics.items()}


def schedule_share(number: int, total: int, warm_up: int, final_share: float = FINAL_SHARE) -> float:
    """The share of the full learning rate at step ``number`` of ``total``: warm-up, then linear decay."""
    warm = min(1.0, number / min(warm_up, total))
    return warm * (1 - (1 - final_share) * (number - 1) / total)


def batches(lengths: Sequence[int], plan: RunSettings) -> list[list[int]]:
    """The whole schedule of a job: row numbers for each step, ``ceil(rows * n_epochs / batch_size)`` steps.

    Every epoch is a fresh shuffle of all rows; an epoch may end inside a batch. Within a window
    of eight batches rows of like length go together, so that attention meets little padding.
    """
    batch_size, draw = plan.batch_size, random.Random(plan.seed)
    order = [row for _ in range(plan.n_epochs) for row in draw.sample(range(len(lengths)), len(lengths))]
    schedule = []
    for start in range(0, len(order), 8 * batch_size):
        window = sorted(order[start : start + 8 * batch_size], key=lambda row: lengths[row])
        chunks = [window[at : at + batch_size] for at in range(0, len(window), batch_size)]
        draw.shuffle(chunks)
        schedule += chunks
    return schedule
