"""Reinforcement by group-relative policy optimisation (GRPO): the model answers, a grader says how well.

    -A + KL [ref/pi - log(ref/pi) - 1]   for each token of an answer, where A = (reward - mean) / spread

Each prompt is answered several times, and mean and spread are those of its own group (Shao et al. 2024,
arXiv 2402.03300); every step learns once from answers that it has just drawn, so that no ratio to an older
policy is needed. The mean is over all tokens of a step (DAPO, arXiv 2503.14476). Apart because each training
method has a module of its own.
"""

import http.client
import json
import math
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from workbench.catalog.methods import GRADER_ERRORS, group_size
from workbench.dataset.chat_template import tools_in
from workbench.dataset.check.methods import OF_THE_FORMAT
from workbench.dataset.dataset import JSON, Dataset
from workbench.errors import DataError, WorkbenchError
from workbench.evaluation.graders.grades import Grade, Grader, final_answer
from workbench.evaluation.graders.judges import Ask, Judged, JudgeError, Reply
from workbench.local import process
from workbench.local.chat_protocol import Sampling
from workbench.local.inference.batch import Asked, write
from workbench.local.inference.sampling import Constraint, Grammars
from workbench.local.models.model import Base, TokenRow, encode_prompt
from workbench.local.store.rows import Job
from workbench.local.training.packing import log_probabilities
from workbench.local.training.run import (
    BatchLoss,
    Experience,
    InTrainingEvaluation,
    RunSettings,
    grade_all,
    longest_answer,
    settings_of,
)

TEMPERATURE = 1.0  # answers are drawn as the model is: the gradient is that of this very distribution
KL = 0.01
"""Weight of the distance to the reference, in which DeepSeekMath has 0.04 and TRL's GRPOTrainer 0 (ours)."""
EVEN = 1e-4
"""Added to the spread, as TRL adds it; and rewards that differ by less than this are equal."""
ANSWERS_AT_ONCE = 64
PATIENCE = 3  # answers of one step on which a grader may hang; the others of the step are not graded then


@dataclass(frozen=True, kw_only=True)
class PromptRow(TokenRow):
    """A prompt, and what its answers are graded by."""

    item: Mapping[str, JSON]


@dataclass(frozen=True, kw_only=True)
class GroupRow(TokenRow):
    """A prompt with the answers that were drawn to it, and by how much each was better than the others.

    ``reference`` is the log-probability of each token of the answers, in nats, before the first step.
    """

    answers: tuple[tuple[int, ...], ...]
    advantages: tuple[float, ...]

    @property
    def size(self) -> int:
        """How many tokens are read of it; the prompt counts once."""
        return len(self.tokens) + sum(len(answer) - 1 for answer in self.answers)


class Reinforcement:
    """Learning from the rewards of the model's own answers."""

    learning_rate = 5e-4  # SmolLM2 with LoRA rank 8: held-out answers from 33 to 83 % in 10 steps
    auto_steps = 8  # as many move what a model does now and then; more collapse into one answer
    warm_up_steps = 1
    final_share = 1.0  # each step has new answers, and few steps are made

    def encode(self, base: Base, dataset: Dataset) -> list[TokenRow]:
        """The prompts as the chat template writes them; ``DataError`` names one that is too long."""
        rows = list[TokenRow]()
        for example in dataset:
            item = {name: value for name, value in example.wire.items() if name not in OF_THE_FORMAT}
            try:
                tokens = encode_prompt(base.tokenizer, example.messages, tools_in(example.more), base.context)
            except DataError as error:
                raise DataError(f"{example.origin}: {error}") from None
            if len(tokens) >= base.context:
                found = (
                    f"{len(tokens)} tokens, but the model reads at most {base.context}, its answer included"
                )
                raise DataError(f"{example.origin}: {found}; shorten or split the conversation.")
            rows.append(PromptRow(tuple(tokens), (False,) * len(tokens), item=item))
        return rows

    def has_loss(self, row: TokenRow) -> bool:
        """Never before it is answered."""
        return isinstance(row, GroupRow)

    def reference(self, base: Base, rows: Sequence[TokenRow]) -> Sequence[tuple[float, ...]]:
        """The log-probability of every token of the answers; nothing for a prompt."""
        groups = [row for row in rows if isinstance(row, GroupRow)]
        if not groups:
            return [()] * len(rows)
        likelihoods = iter(_log_probabilities(base, groups).tolist())
        return [tuple(next(likelihoods) for answer in row.answers for _ in answer) for row in groups]

    def loss(self, base: Base, rows: Sequence[TokenRow], plan: RunSettings) -> BatchLoss:
        """That of all tokens of the groups' answers; its value is 0 but for the distance to the reference."""
        groups = [cast(GroupRow, row) for row in rows]
        if not groups:
            return BatchLoss(torch.zeros(()), {}, 0, [])
        likelihoods = _log_probabilities(base, groups)
        device = likelihoods.device
        advantages = torch.tensor(
            [
                advantage
                for row in groups
                for answer, advantage in zip(row.answers, row.advantages, strict=True)
                for _ in answer
            ],
            device=device,
        )
        apart = torch.tensor([one for row in groups for one in row.reference], device=device) - likelihoods
        distances = apart.exp() - apart - 1
        losses = -advantages * (likelihoods - likelihoods.detach()).exp() + KL * distances
        found = {"kl": distances.detach().mean().item()}
        return BatchLoss(losses.mean(), found, len(losses), [math.nan] * len(rows))


def _log_probabilities(base: Base, groups: Sequence[GroupRow]) -> Tensor:
    """Of each token of all answers, in their order."""
    answered = [
        TokenRow((*row.tokens, *answer), (*row.learnt, *(True for _ in answer)))
        for row in groups
        for answer in row.answers
    ]
    return log_probabilities(base.model, answered)[0]


# The answers of one step and their rewards.


class UngradedError(WorkbenchError):
    """No answer of a step has a reward, so that nothing can be learnt."""


class GradedTask:
    """What a job's model is asked, and how its answers are graded."""

    def __init__(self, job: Job, base: Base, ask: Ask) -> None:
        """Read what ``job`` says of its answers; ``ask`` reaches the models that its grader asks.

        Raises ``DataError`` for a schema that cannot be followed.
        """
        settings = settings_of(job)
        self._grader: Grader = settings["grader"]
        self._ask = ask
        self._grammars = Grammars(base.tokenizer, base.stop_tokens)
        schema = _schema_of(settings.get("response_format"))
        self._grammar = None if schema is None else self._grammars.of_schema(schema)
        self.max_tokens = longest_answer(job)

    def evaluation(self, rows: Sequence[TokenRow]) -> InTrainingEvaluation | None:
        """The same prompts each time, each with the likeliest answer; ``None`` without any."""
        held_out = [cast(PromptRow, row) for row in rows]
        if not held_out:
            return None
        return InTrainingEvaluation(
            tuple(row.tokens for row in held_out),
            tuple(row.item for row in held_out),
            self._grader,
            self.max_tokens,
            self._ask,
            self._constraint,
            at_first_step=True,
        )

    def experience(
        self, base: Base, prompts: Sequence[TokenRow], plan: RunSettings, number: int
    ) -> Experience:
        """Draw a group of answers to each prompt and grade them; the same for the same seed and step.

        Groups whose rewards are all the same teach nothing and are left out; answers without a grade too.
        Raises ``UngradedError`` where no answer has one.
        """
        rows = [cast(PromptRow, row) for row in prompts]
        size = group_size(float(plan.more["compute_multiplier"]))
        owners = [row for row in rows for _ in range(size)]
        asked = [
            Asked(
                row.tokens,
                Sampling(TEMPERATURE, seed=_seed(plan.seed, number, place)),
                self._constraint(),
            )
            for place, row in enumerate(owners)
        ]
        answers = write(base, asked, max_tokens=self.max_tokens, batch_size=ANSWERS_AT_ONCE)
        texts = [
            base.text([token for token in answer if token not in base.stop_tokens]) for answer in answers
        ]
        items = [row.item for row in owners]
        grades = grade_all(self._grader, texts, items, ask=self._ask, patience=PATIENCE)
        problem = next((grade.problem for grade in grades if not grade.graded), "")
        rewards = [grade.score for grade in grades if grade.graded]
        if not rewards:
            raise UngradedError(
                f"None of the {len(grades)} answers of step {number} could be graded: {problem}. Try the "
                "grader on answers of this model, correct it, and start the job again."
            )
        groups, spreads, means = list[TokenRow](), list[float](), list[float]()
        for at, row in enumerate(rows):
            drawn = slice(at * size, (at + 1) * size)
            group, mean, spread = _group(row, answers[drawn], grades[drawn])
            means.append(mean)
            spreads.append(spread)
            if spread >= EVEN:
                groups.append(group)
        longest = (min(self.max_tokens, base.context - len(row.tokens)) for row in owners)
        cut = sum(
            len(answer) >= most and answer[-1] not in base.stop_tokens
            for answer, most in zip(answers, longest, strict=True)
        )
        errors = Counter(name for grade in grades for name in _errors(grade))
        metrics = {
            "train_mean_reward": statistics.fmean(rewards),
            "completion_tokens_mean": statistics.fmean(map(len, answers)),
            "reasoning_tokens_mean": statistics.fmean(_reasoning_tokens(base, text) for text in texts),
            "mean_unresponsive_rewards": 1 - len(rewards) / len(grades),
            **{f"train_{name}_count": float(errors[name]) for name in GRADER_ERRORS},
            "train_reward_std": statistics.fmean(spreads),
            "train_groups_without_spread": float(len(rows) - len(groups)),
            "train_clipped_ratio": cut / len(answers),
        }
        notes = []
        if problem:
            missing = len(grades) - len(rewards)
            notes.append(f"The grader gave {missing} of {len(grades)} answers no score: {problem}.")
        if not groups:
            notes.append("In no group did the rewards of the answers differ, so this step teaches nothing.")
        return Experience(groups, means, metrics, " ".join(notes))

    def _constraint(self) -> Constraint | None:
        return None if self._grammar is None else self._grammars.follow(self._grammar)


def _group(
    row: PromptRow, answers: Sequence[Sequence[int]], grades: Sequence[Grade]
) -> tuple[GroupRow, float, float]:
    """A prompt with its graded answers, the mean of their rewards (nan: none), their standard deviation."""
    graded = [pair for pair in zip(answers, grades, strict=True) if pair[1].graded]
    rewards = [grade.score for _, grade in graded]
    mean = statistics.fmean(rewards) if rewards else math.nan
    spread = statistics.stdev(rewards) if len(rewards) > 1 else 0.0
    advantages = tuple((reward - mean) / (spread + EVEN) for reward in rewards)
    said = tuple(tuple(answer) for answer, _ in graded)
    return GroupRow(row.tokens, row.learnt, answers=said, advantages=advantages), mean, spread


def _seed(seed: int, number: int, place: int) -> int:
    return random.Random(f"{seed}, step {number}, answer {place}").getrandbits(63)


def _errors(grade: Grade) -> list[str]:
    """Which of the service's errors a grade has; one that none of them names is ``other_error``."""
    found = [name for name, value in grade.errors.items() if value is True]
    return found or (["other_error"] if grade.problem else [])


def _reasoning_tokens(base: Base, text: str) -> int:
    final = final_answer(text)
    return 0 if final == text else len(base.tokenizer(text[: len(text) - len(final)])["input_ids"])


def _schema_of(response_format: Mapping[str, Any] | None) -> str | None:
    """The JSON schema, as JSON, that answers keep to; ``None`` for plain text."""
    if response_format is None or response_format.get("type") == "text":
        return None
    schema = response_format.get("json_schema", {}).get("schema")
    return json.dumps({"type": "object"} if schema is None else schema)


# Judges: the models that a grader asks are those of the service that this process works for.

JUDGE_SECONDS = 120.0  # until a reply is there
SERVICE_SECONDS = 60.0  # in which a service that restarts is there again
PAUSE = 1.0


class StoppedWhileAskingError(WorkbenchError):
    """This process is to end; what was asked is asked again by its successor."""


def ask_service(home: Path, seed: int, stopped: Callable[[], bool]) -> Ask:
    """The way to ask a model of the service of ``home``; replies repeat where the service's do.

    While ``stopped`` is true, it raises ``StoppedWhileAskingError``. A service that does not answer is waited
    for a while, as it may be starting again.
    """

    def ask(judged: Judged) -> Reply:
        body = json.dumps({"seed": seed, **judged.chat})
        deadline = time.monotonic() + SERVICE_SECONDS
        while True:
            if stopped():
                raise StoppedWhileAskingError("The job was stopped while it asked a judge.")
            try:
                status, answer = _post(home, body)
            except (OSError, http.client.HTTPException, ValueError) as error:
                status, answer = 503, {"error": {"message": f"the service did not answer ({error})"}}
            if status == 200:
                return _reply(answer)
            if status not in (429, 503) or time.monotonic() > deadline:
                why = answer.get("error", {}).get("message", f"status {status}")
                raise JudgeError(f"{judged.model} gave no answer: {why}")
            time.sleep(PAUSE)

    return ask


def _post(home: Path, body: str) -> tuple[int, dict[str, Any]]:
    record = process.read_record(home)
    if record is None:
        raise OSError(f"no service runs in {home}")
    connection = http.client.HTTPConnection(process.HOST, record.port, timeout=JUDGE_SECONDS)
    try:
        headers = {"api-key": record.key, "content-type": "application/json"}
        connection.request("POST", "/openai/v1/chat/completions", body.encode(), headers)
        response = connection.getresponse()
        return response.status, json.load(response)
    finally:
        connection.close()


def _reply(answer: Mapping[str, Any]) -> Reply:
    choice = answer["choices"][0]  # a judge may be asked for several
    filtered = choice["finish_reason"] == "content_filter"
    return Reply(choice["message"]["content"] or "", answer["usage"]["total_tokens"], filtered)
