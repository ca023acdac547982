"""The training methods and their hyperparameters: one table, read by client and service alike.

Whoever adds a method or a hyperparameter adds an entry here: the request, its checks and
explanations, the local service's own checks, the job's settings and its result file follow. How the local
service trains by a method (with torch) stands in ``local.training``, in its table ``TRAINERS``.

Sources: Azure's REST reference (v1, 2025-04-01-preview), "Hyperparameters"; Microsoft Learn,
"Customize a model with fine-tuning" (2026-10-05); microsoft/GitHub-Copilot-for-Azure, fine-tuning
skill (2026-08-20), called "the skill" below.
"""

import datetime
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from workbench.catalog.citations import Source
from workbench.catalog.limits import SPECIFICATION
from workbench.errors import DataError

if TYPE_CHECKING:
    from openai.types.fine_tuning import FineTuningJob

Value: TypeAlias = int | float | str
Rows: TypeAlias = Literal["chat", "preference", "prompt"]

AUTO = "auto"
"""The API's word for a hyperparameter that is left to the service."""

AUTO_SHARE, AUTO_MOST = 0.002, 256  # of the examples in a batch, and examples (the portal's text)

# Fewer examples than this: the epochs that are usual, from and to (the skill's rules of thumb).
_EPOCHS = ((100, (3, 5)), (500, (2, 3)), (2_001, (1, 2)), (math.inf, (1, 1)))


def usual_epochs(examples: int) -> tuple[int, int]:
    """The fewest and the most epochs that are usual for a training file of so many examples."""
    return next(epochs for fewer_than, epochs in _EPOCHS if examples < fewer_than)


def auto_batch(examples: int) -> int:
    """The batch that Azure's portal says it takes for "auto": 0.2 % of the examples, 1 to 256."""
    return min(AUTO_MOST, max(1, round(examples * AUTO_SHARE)))


def local_batch(examples: int) -> int:
    """What the local service takes for "auto": 8, or 4 below 32 examples, use a CPU well (ours)."""
    return 8 if examples >= 32 else 4


def local_epochs(examples: int, batch_size: int, steps: int = 120) -> int:
    """What the local service takes for "auto": enough for about so many steps, at most 10 (ours)."""
    return min(10, max(1, math.ceil(steps * batch_size / examples)))


@dataclass(frozen=True)
class Hyperparameter:
    """One setting of a method: its range, what "auto" means, and why one would change it."""

    name: str
    kind: Literal["int", "float", "choice"]
    reason: str
    """In half a sentence; may name ``{examples}``, ``{usual_epochs}`` and ``{auto_batch}``."""
    auto: str
    """What it is when it is left to the service, in words."""
    source: Source
    """Which page gives the range."""
    low: float = 0
    high: float | None = None
    above_low: bool = False
    """Whether ``low`` itself is not allowed."""
    choices: tuple[str, ...] = ()
    default: Value | None = None
    """What the local service takes for "auto"; ``None``: it chooses by the size of the data."""
    always_sent: bool = False
    """Sent as "auto" too: part of the content of every job since the first, so that old ones are found."""
    only_with_grader: bool = False
    """Means something only where answers are graded while the model trains."""
    only_local: bool = False
    """No service but the local one has it."""

    @property
    def span(self) -> str:
        """What may be given, in words: ``1 to 50``, ``more than 0``."""
        if self.kind == "choice":
            return " or ".join(self.choices)
        if self.high is None:
            return f"more than {self.low:g}" if self.above_low else f"{self.low:g} or more"
        return f"{'more than ' if self.above_low else ''}{self.low:g} to {self.high:g}"

    def allows(self, value: Value) -> bool:
        """Whether a job may be asked for this value; "auto" is always allowed."""
        if value == AUTO:
            return True
        if self.kind == "choice":
            return value in self.choices
        if isinstance(value, str | bool) or not math.isfinite(value):
            return False
        whole = self.kind != "int" or value == int(value)
        enough = value > self.low if self.above_low else value >= self.low
        return whole and enough and (self.high is None or value <= self.high)

    def explained(self, examples: int) -> str:
        """The reason, for a training file of so many examples."""
        fewest, most = usual_epochs(examples)
        return self.reason.format(
            examples=f"{examples:,} example{'' if examples == 1 else 's'}",
            usual_epochs=f"{fewest} to {most}" if fewest < most else fewest,
            auto_batch=auto_batch(examples),
        )


@dataclass(frozen=True)
class Method:
    """One way to train: its data, its request, and what comes back."""

    name: str
    """In the API: ``supervised``."""
    short: str
    """In files, on the command line and in the catalogue of models: ``sft``."""
    rows: Rows
    """The shape of its examples: conversations that end with an answer, pairs of answers, or prompts."""
    row_noun: str
    """What one example is called: ``pair``."""
    evidence: str
    """What a ``Situation`` calls its examples when it is asked whether to fine-tune: ``demonstrations``."""
    hyperparameters: tuple[Hyperparameter, ...]
    result_columns: tuple[str, ...]
    """Of a result file, after ``step``, in the service's order."""
    graded_columns: tuple[str, ...] = ()
    """Those that join where a grader is given."""
    grader: Literal["required", "local", "none"] = "none"
    """``local``: only the local service takes one, to grade held-out answers while the model trains."""
    needs_validation: bool = False
    other_settings: tuple[str, ...] = ()
    """What a request may hold beside hyperparameters and grader."""
    billed_by: Literal["tokens", "hours"] = "tokens"
    teaching_examples: int = 500
    """So many teach well: the skill's rules of thumb, no promise of a service."""
    not_local: str = ""
    """Why the local service does not train by it; empty where it does."""
    from_tuned: Source | None = None
    """Which page says that a job may start from a tuned model at Azure; ``None``: no page does."""

    @property
    def trained_locally(self) -> bool:
        """Whether the local service trains by it."""
        return not self.not_local

    @property
    def format(self) -> str:
        """The short name of the method whose rules its rows are checked by: the first with this shape."""
        return next((each.short for each in METHODS.values() if each.rows == self.rows), self.short)

    def hyperparameter(self, name: str) -> Hyperparameter | None:
        """The one of this name; ``None`` where the method has no such."""
        return next((each for each in self.hyperparameters if each.name == name), None)

    def chosen(self, given: Mapping[str, Value]) -> dict[str, Value]:
        """The hyperparameters as they are sent: those always sent first, "auto" unless given."""
        return {each.name: AUTO for each in self.hyperparameters if each.always_sent} | dict(given)

    def body(self, given: Mapping[str, Value], **settings: object) -> dict[str, object]:
        """The field ``method`` of a request: the type, and under its name the settings.

        ``settings``: those beside the hyperparameters, such as ``grader``; what is ``None`` is not sent.
        """
        more = {name: value for name, value in settings.items() if value}
        return {"type": self.name, self.name: {"hyperparameters": self.chosen(given), **more}}

    def columns(self, *, graded: bool) -> tuple[str, ...]:
        """Those of a job's result file, ``step`` first."""
        return ("step", *self.result_columns, *(self.graded_columns if graded else ()))


_TRL = Source(
    "TRL, DPO trainer (rpo_alpha)", datetime.date(2026, 11, 22), "https://github.com/huggingface/trl"
)
_TRL_GRPO = Source(
    "TRL, GRPO trainer (max_completion_length)",
    datetime.date(2026, 11, 22),
    "https://github.com/huggingface/trl",
)

_AZURE = "https://learn.microsoft.com/azure/ai-foundry/openai/how-to/"
_CONTINUOUS = Source(
    "Azure, customize a model with fine-tuning (continuous fine-tuning)",
    datetime.date(2026, 10, 5),
    f"{_AZURE}fine-tuning",
)
_AFTER_SFT = Source(
    "Azure, direct preference optimization",
    datetime.date(2026, 10, 5),
    f"{_AZURE}fine-tuning-direct-preference-optimization",
)

N_EPOCHS = Hyperparameter(
    "n_epochs",
    "int",
    "how often each example is seen; with {examples} {usual_epochs} are usual",
    "chosen by the number of examples",
    SPECIFICATION,
    low=1,
    high=50,
    always_sent=True,
)
BATCH_SIZE = Hyperparameter(
    "batch_size",
    "int",
    "examples a step; Azure's portal would choose 0.2 % of them, which is {auto_batch}",
    "chosen by the number of examples",
    SPECIFICATION,
    low=1,
    high=256,
    always_sent=True,
)
LEARNING_RATE_MULTIPLIER = Hyperparameter(
    "learning_rate_multiplier",
    "float",
    "how large a step is; leave it to the service first, then try half or double of what it chose",
    "the model's own",
    SPECIFICATION,
    low=0,
    above_low=True,
    default=1.0,
    always_sent=True,
)
COMMON = (N_EPOCHS, BATCH_SIZE, LEARNING_RATE_MULTIPLIER)


# How often and on how much the model is graded while it trains; for supervised training only here.
GRADED_ANSWERS = 24  # each time, where a local job does not say how many
EVALUATION = (
    Hyperparameter(
        "eval_interval",
        "int",
        "after how many steps held-out answers are graded; the skill takes 5 for reinforcement",
        "four times in a local job; elsewhere the service's choice",
        SPECIFICATION,
        low=1,
    ),
    Hyperparameter(
        "eval_samples",
        "int",
        "how many held-out answers are graded each time; the skill takes 10 for reinforcement",
        f"{GRADED_ANSWERS} in a local job; elsewhere the service's choice",
        SPECIFICATION,
        low=1,
    ),
)

_LOSS_COLUMNS = (
    "train_loss",
    "train_mean_token_accuracy",
    "valid_loss",
    "valid_mean_token_accuracy",
    "full_valid_loss",
    "full_valid_mean_token_accuracy",
)
REWARD_COLUMN = "full_valid_mean_reward"
# What may go wrong with grading an answer: the names in the service's answer about a grader that was run.
GRADER_ERRORS = (
    "formula_parse_error",
    "sample_parse_error",
    "truncated_observation_error",
    "unresponsive_reward_error",
    "invalid_variable_error",
    "other_error",
    "python_grader_server_error",
    "python_grader_runtime_error",
    "model_grader_server_error",
    "model_grader_refusal_error",
    "model_grader_parse_error",
)
GROUP, SMALLEST_GROUP = 8, 2  # answers to one prompt that are compared with each other


def group_size(compute_multiplier: float | None = None) -> int:
    """How many answers to one prompt the local service draws; no other service says how many it does.

    ``max(2, round(8 x compute_multiplier))``: 8 learnt well in trials on short answers (ours).
    """
    return max(SMALLEST_GROUP, round(GROUP * (compute_multiplier or 1.0)))


# Of groups of answers, the local service's: the mean spread of rewards in a group, groups that teach nothing,
# the distance to the reference in nats a token, and the share of answers cut at the longest allowed.
GROUP_COLUMNS = ("train_reward_std", "train_groups_without_spread", "train_kl", "train_clipped_ratio")
# Of pairs, in the words of TRL's DPOTrainer: rewards are beta times the log-ratio to the reference model.
PREFERENCE_MEASURES = (
    "rewards/chosen",
    "rewards/rejected",
    "rewards/margins",
    "rewards/accuracies",
    "logps/chosen",
    "logps/rejected",
)
PREFERENCE_COLUMNS = tuple(
    f"{part}_{name}" for part in ("train", "full_valid") for name in PREFERENCE_MEASURES
)

METHODS: Mapping[str, Method] = {
    "supervised": Method(
        "supervised",
        "sft",
        "chat",
        "example",
        "demonstrations",
        (*COMMON, *(replace(each, only_with_grader=True) for each in EVALUATION)),
        _LOSS_COLUMNS,
        graded_columns=(REWARD_COLUMN,),
        grader="local",
        from_tuned=_CONTINUOUS,
    ),
    "dpo": Method(
        "dpo",
        "dpo",
        "preference",
        "pair",
        "pairs",
        (
            *COMMON,
            Hyperparameter(
                "beta",
                "float",
                "how near to the base model it stays; 0.1 is usual",
                "the service's choice; 0.1 in the skill and in a local job",
                SPECIFICATION,
                low=0,
                high=2,
                above_low=True,
                default=0.1,
            ),
            Hyperparameter(
                "l2_multiplier",
                "float",
                "Azure's own, and not explained there; the skill takes 0.1, and a local job takes it as "
                "the weight decay of its adapter",
                "the service's choice; 0 in a local job",
                SPECIFICATION,
                low=0,  # no source gives an upper bound
                default=0.0,
            ),
            Hyperparameter(
                "chosen_likelihood",
                "float",
                "how much the loss of the preferred answer itself counts beside the preference; "
                "0.5 works against a fall of its likelihood",
                "0",
                _TRL,
                low=0,
                default=0.0,
                only_local=True,
            ),
        ),
        # The losses as Azure's events have them, no source gives a table; the others are the local service's.
        ("train_loss", "valid_loss", "full_valid_loss", *PREFERENCE_COLUMNS),
        from_tuned=_AFTER_SFT,
    ),
    "reinforcement": Method(
        "reinforcement",
        "rft",
        "prompt",
        "prompt",
        "prompts",
        (
            *COMMON,
            *EVALUATION,
            Hyperparameter(
                "compute_multiplier",
                "float",
                "how much is tried out in training; the skill takes 1.5",
                "the service's choice; 1 in a local job, which draws 8 answers to each prompt with it",
                SPECIFICATION,
                low=0.00001,
                high=10,
                above_low=True,
                default=1.0,
            ),
            Hyperparameter(
                "reasoning_effort",
                "choice",
                "how long the model thinks before it answers",
                "the model's own, called default",
                SPECIFICATION,
                choices=("default", "low", "medium", "high"),
                default="default",
            ),
            Hyperparameter(
                "max_completion_tokens",
                "int",
                "how long an answer may get while it trains; a longer one is graded as far as it came",
                "32, or 256 with a response format",
                _TRL_GRPO,
                low=1,
                only_local=True,
            ),
        ),
        (
            "train_mean_reward",
            REWARD_COLUMN,
            "completion_tokens_mean",
            "reasoning_tokens_mean",
            "mean_unresponsive_rewards",
            *(f"train_{name}_count" for name in GRADER_ERRORS),
            *GROUP_COLUMNS,
        ),
        grader="required",
        needs_validation=True,
        other_settings=("response_format", "tools", "max_episode_steps"),
        billed_by="hours",
        teaching_examples=200,
    ),
}
"""By the API's names, in the order in which they are offered."""

DATA_KINDS = ("dataset", "pairs", "prompts")
"""The kinds of entries of a project's record that say what a job was trained on, of the three methods."""


def method(name: str) -> Method:
    """The method called so, by the API's name or the short one; ``DataError`` lists them."""
    for each in METHODS.values():
        if name in (each.name, each.short):
            return each
    raise DataError(f"There is no method {name!r}; choose {', '.join(short_names())}.")


def method_of(job: "FineTuningJob") -> Method:
    """The method by which a job trains; supervised where it names none."""
    return METHODS.get(job.method.type if job.method else "supervised", METHODS["supervised"])


def short_names() -> tuple[str, ...]:
    """The short names of all methods: ``("sft", "dpo", "rft")``."""
    return tuple(each.short for each in METHODS.values())
