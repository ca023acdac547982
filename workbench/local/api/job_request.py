"""What a fine-tuning job may be asked for: every field, its range, and its default.

The ranges are those of Azure's reference. ``-1`` stands for "auto" until the job has looked at
its data. One field is the local service's own: a grader in ``method.supervised``, by which
held-out answers are graded while the job trains.
"""

import re
import secrets
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidatorFunctionWrapHandler, WrapValidator
from pydantic import model_validator as check_whole

from workbench.local.api.requests import Shape
from workbench.local.storage.rows import JSON

AUTO = -1
MAX_SEED = 2**31 - 1
TRAINING_TYPES = {
    "standard": "standard",
    "globalstandard": "globalStandard",
    "developertier": "developerTier",
}


def _or_auto(value: object, check: ValidatorFunctionWrapHandler) -> object:
    return AUTO if value is None or value == "auto" else check(value)


def _suffix(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", text):
        raise ValueError("1 to 40 of a-z, A-Z, 0-9, - and _; no dots")
    return text


def _metadata(pairs: dict[str, str]) -> dict[str, str]:
    if len(pairs) > 16:
        raise ValueError(f"at most 16 pairs; there are {len(pairs)}")
    if any(not 1 <= len(key) <= 64 or len(value) > 512 for key, value in pairs.items()):
        raise ValueError("keys have 1 to 64 characters, values at most 512")
    return pairs


def _training_type(name: str) -> str:
    if name.lower() not in TRAINING_TYPES:
        raise ValueError("Standard, globalStandard or developerTier")
    return TRAINING_TYPES[name.lower()]


def _supervised_only(name: object) -> object:
    if name in ("dpo", "reinforcement"):
        raise ValueError(f"local training by {name} is not built yet; the local service knows supervised")
    return name


def _string_check_only(name: object) -> object:
    if name in ("python", "text_similarity", "score_model", "label_model", "multi"):
        raise ValueError(
            f"a {name} grader is not run during local training; use string_check, or grade afterwards"
        )
    return name


class StringCheck(Shape):
    """A grader that compares an answer with its reference, letter by letter."""

    type: Annotated[Literal["string_check"], BeforeValidator(_string_check_only)]
    name: str
    input: str
    reference: str
    operation: Literal["eq", "ne", "like", "ilike"]


class Hyperparameters(Shape):
    """How long, in what portions and how boldly to train."""

    n_epochs: Annotated[int, Field(ge=1, le=50), WrapValidator(_or_auto)] = AUTO
    batch_size: Annotated[int, Field(ge=1, le=256), WrapValidator(_or_auto)] = AUTO
    learning_rate_multiplier: Annotated[float, Field(gt=0), WrapValidator(_or_auto)] = AUTO


class GradedHyperparameters(Hyperparameters):
    """Also after how many steps to grade held-out answers, and how many of them."""

    eval_interval: Annotated[int, Field(ge=1), WrapValidator(_or_auto)] = AUTO
    eval_samples: Annotated[int, Field(ge=1), WrapValidator(_or_auto)] = AUTO


class Supervised(Shape):
    """Learning from examples."""

    hyperparameters: GradedHyperparameters = GradedHyperparameters()
    grader: StringCheck | None = None

    @check_whole(mode="after")
    def _evaluations_need_a_grader(self) -> Self:
        extra = self.hyperparameters.model_fields_set & {"eval_interval", "eval_samples"}
        if extra and self.grader is None:
            raise ValueError(f"{' and '.join(sorted(extra))} need a grader in method.supervised")
        return self


class Method(Shape):
    """The way to train."""

    type: Annotated[Literal["supervised"], BeforeValidator(_supervised_only)]
    supervised: Supervised = Supervised()
    dpo: None = None
    reinforcement: None = None


class JobRequest(Shape):
    """A job as it is asked for."""

    model: str
    training_file: str
    validation_file: str | None = None
    method: Method | None = None
    hyperparameters: Hyperparameters | None = None  # the older place for them
    suffix: Annotated[str, AfterValidator(_suffix)] | None = None
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] | None = None
    metadata: Annotated[dict[str, str], AfterValidator(_metadata)] | None = None
    integrations: Annotated[list[Any], Field(max_length=0)] | None = None
    trainingType: Annotated[str, AfterValidator(_training_type)] | None = None  # noqa: N815 (Azure's own name)

    @check_whole(mode="after")
    def _consistent(self) -> Self:
        if self.method and self.hyperparameters:
            raise ValueError("hyperparameters stand in method or at the top level, not in both")
        if self.method and self.method.supervised.grader and not self.validation_file:
            raise ValueError("method.supervised.grader needs a validation_file whose answers it can grade")
        return self

    def as_job(self, model: str) -> dict[str, JSON]:
        """The new job on base model or tuned model ``model``, in the words in which Azure repeats it."""
        supervised = self.method.supervised if self.method else Supervised()
        chosen = self.hyperparameters or supervised.hyperparameters
        names = ["batch_size", "learning_rate_multiplier", "n_epochs"]
        if supervised.grader:
            names += ["eval_interval", "eval_samples"]
        hyperparameters: dict[str, JSON] = {name: getattr(chosen, name) for name in names}
        method: dict[str, JSON] | None = None
        if self.method:
            method = {"type": "supervised", "supervised": {"hyperparameters": hyperparameters}}
            if supervised.grader:
                method["supervised"] = {
                    "hyperparameters": hyperparameters,
                    "grader": supervised.grader.model_dump(),
                }
        return {
            "hyperparameters": hyperparameters,
            "model": model,
            "seed": secrets.randbelow(MAX_SEED + 1) if self.seed is None else self.seed,
            "training_file": self.training_file,
            "validation_file": self.validation_file,
            "method": method,
            "suffix": self.suffix,
            "trainingType": self.trainingType,
            "metadata": dict(self.metadata) if self.metadata else None,
        }
