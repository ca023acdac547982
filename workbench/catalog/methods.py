"""The training methods and their hyperparameters: one table, read by client and service alike.

Whoever adds a method or a hyperparameter adds an entry here: the request, its checks and
explanations, the local service's own checks, the job's settings and its result file follow. How the local
service trains by a method (with torch) stands in ``local.training``, in its table ``TRAINERS``.

Sources: Azure's REST reference (v1, 2025-04-01-preview), "Hyperparameters"; Microsoft Learn,
"Customize a model with fine-tuning" (2026-10-05); microsoft/GitHub-Copilot-for-Azure, fine-tuning
skill (2026-08-20), called "the skill" below.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from workbench.errors import DataError

Value: TypeAlias = int | float | str
Rows: TypeAlias = Literal["chat", "preference", "prompt"]

AUTO = "auto"
"""The API's word for a hyperparameter that is left to the service."""

AUTO_SHARE, AUTO_MOST = 0.002, 256  # of the examples in a batch, and examples (the portal's text)

# Fewer examples than this: the epochs that are usual (the skill's rules of thumb).
_EPOCHS = ((100, "3 to 5"), (500, "2 to 3"), (2_001, "1 to 2"), (math.inf, "1"))


@dataclass(frozen=True)
class Hyperparameter:
    """One setting of a method: its range, what "auto" means, and why one would change it."""

    name: str
    kind: Literal["int", "float", "choice"]
    reason: str
    """In half a sentence; may name ``{examples}``, ``{usual_epochs}`` and ``{auto_batch}``."""
    auto: str
    """What it is when it is left to the service, in words."""
    source: str
    """Who gives the range."""
    low: float | None = None
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

    @property
    def span(self) -> str:
        """What may be given, in words: ``1 to 50``, ``more than 0``."""
        if self.kind == "choice":
            return " or ".join(self.choices)
        if self.low is None:
            return "a number" if self.high is None else f"{self.high:g} or less"
        above = "more than " if self.above_low else ""
        if self.high is None:
            return f"{above}{self.low:g}" if above else f"{self.low:g} or more"
        return f"{above}{self.low:g} to {self.high:g}"

    def allows(self, value: Value) -> bool:
        """Whether a job may be asked for this value; "auto" is always allowed."""
        if value == AUTO:
            return True
        if self.kind == "choice":
            return value in self.choices
        if isinstance(value, str | bool) or not math.isfinite(value):
            return False
        if self.kind == "int" and value != int(value):
            return False
        if self.low is not None and (value < self.low or (self.above_low and value == self.low)):
            return False
        return self.high is None or value <= self.high

    def explained(self, examples: int) -> str:
        """The reason, for a training file of so many examples."""
        return self.reason.format(
            examples=f"{examples:,} example{'' if examples == 1 else 's'}",
            usual_epochs=next(epochs for fewer_than, epochs in _EPOCHS if examples < fewer_than),
            auto_batch=min(AUTO_MOST, max(1, round(examples * AUTO_SHARE))),
        )


@dataclass(frozen=True)
class Method:
    """One way to train: its data, its request, and what comes back."""

    name: str
    """In the API: ``supervised``."""
    short: str
    """In files, on the command line and in the catalogue of models: ``sft``."""
    title: str
    rows: Rows
    """The shape of its examples: conversations that end with an answer, pairs of answers, or prompts."""
    row_noun: str
    """What one example is called: ``pair``."""
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

    def body(
        self, given: Mapping[str, Value], *, grader: Mapping[str, object] | None = None
    ) -> dict[str, object]:
        """The field ``method`` of a request: the type, and under its name the settings."""
        settings: dict[str, object] = {"hyperparameters": self.chosen(given)}
        if grader:
            settings["grader"] = grader
        return {"type": self.name, self.name: settings}

    def columns(self, *, graded: bool) -> tuple[str, ...]:
        """Those of a job's result file, ``step`` first."""
        return ("step", *self.result_columns, *(self.graded_columns if graded else ()))


_RANGE = "Azure's REST reference (2025-04-01-preview)"

N_EPOCHS = Hyperparameter(
    "n_epochs",
    "int",
    "how often each example is seen; with {examples} {usual_epochs} are usual",
    "chosen by the number of examples",
    _RANGE,
    low=1,
    high=50,
    always_sent=True,
)
BATCH_SIZE = Hyperparameter(
    "batch_size",
    "int",
    "examples a step; Azure's portal would choose 0.2 % of them, which is {auto_batch}",
    "chosen by the number of examples",
    _RANGE,
    low=1,
    high=256,
    always_sent=True,
)
LEARNING_RATE_MULTIPLIER = Hyperparameter(
    "learning_rate_multiplier",
    "float",
    "how large a step is; leave it to the service first, then try half or double of what it chose",
    "the model's own",
    _RANGE,
    low=0,
    above_low=True,
    default=1.0,
    always_sent=True,
)
COMMON = (N_EPOCHS, BATCH_SIZE, LEARNING_RATE_MULTIPLIER)


def _evaluation(source: str, *, only_with_grader: bool) -> tuple[Hyperparameter, Hyperparameter]:
    """How often and on how much the model is graded while it trains."""
    return (
        Hyperparameter(
            "eval_interval",
            "int",
            "after how many steps held-out answers are graded; the skill takes 5 for reinforcement",
            "four times in a local job; elsewhere the service's choice",
            source,
            low=1,
            only_with_grader=only_with_grader,
        ),
        Hyperparameter(
            "eval_samples",
            "int",
            "how many held-out answers are graded each time; the skill takes 10 for reinforcement",
            "24 in a local job; elsewhere the service's choice",
            source,
            low=1,
            only_with_grader=only_with_grader,
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

METHODS: Mapping[str, Method] = {
    "supervised": Method(
        "supervised",
        "sft",
        "learning from examples",
        "chat",
        "example",
        (
            *COMMON,
            *_evaluation("the local service's own; Azure has it for reinforcement", only_with_grader=True),
        ),
        _LOSS_COLUMNS,
        graded_columns=(REWARD_COLUMN,),
        grader="local",
    ),
    "dpo": Method(
        "dpo",
        "dpo",
        "learning which of two answers is the better one",
        "preference",
        "pair",
        (
            *COMMON,
            Hyperparameter(
                "beta",
                "float",
                "how near to the base model it stays; 0.1 is usual",
                "the service's choice; 0.1 in the skill",
                _RANGE,
                low=0,
                high=2,
                above_low=True,
            ),
            Hyperparameter(
                "l2_multiplier",
                "float",
                "Azure's own, and not explained there; the skill takes 0.1",
                "the service's choice",
                "no source gives an upper bound",
                low=0,
            ),
        ),
        ("train_loss", "valid_loss", "full_valid_loss"),  # as its events have them; no source gives a table
        not_local="local training by dpo comes later",
    ),
    "reinforcement": Method(
        "reinforcement",
        "rft",
        "learning from the grades of the model's own answers",
        "prompt",
        "prompt",
        (
            *COMMON,
            *_evaluation(_RANGE, only_with_grader=False),
            Hyperparameter(
                "compute_multiplier",
                "float",
                "how much is tried out in training; the skill takes 1.5",
                "the service's choice",
                _RANGE,
                low=0.00001,
                high=10,
                above_low=True,
            ),
            Hyperparameter(
                "reasoning_effort",
                "choice",
                "how long the model thinks before it answers",
                "the model's own, called default",
                _RANGE,
                choices=("default", "low", "medium", "high"),
                default="default",
            ),
        ),
        (
            "train_mean_reward",
            REWARD_COLUMN,
            "completion_tokens_mean",
            "reasoning_tokens_mean",
            "mean_unresponsive_rewards",
        ),
        grader="required",
        needs_validation=True,
        other_settings=("response_format", "tools", "max_episode_steps"),
        billed_by="hours",
        teaching_examples=200,
        not_local="local training by reinforcement comes later",
    ),
}
"""By the API's names, in the order in which they are offered."""


def method(name: str) -> Method:
    """The method called so, by the API's name or the short one; ``DataError`` lists them."""
    for each in METHODS.values():
        if name in (each.name, each.short):
            return each
    raise DataError(f"There is no method {name!r}; choose {', '.join(short_names())}.")


def short_names() -> tuple[str, ...]:
    """The short names of all methods: ``("sft", "dpo", "rft")``."""
    return tuple(each.short for each in METHODS.values())
