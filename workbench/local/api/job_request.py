"""What a fine-tuning job may be asked for: every field, its range, and its default."""

import secrets
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidatorFunctionWrapHandler, WrapValidator
from pydantic import model_validator as check_whole

from workbench.catalog.limits import of_provider
from workbench.evaluation.graders.grader_types import check_in_training
from workbench.local.api.dialects import AUTO
from workbench.local.api.http import Metadata, Shape
from workbench.local.store.rows import JSON

# The ways to train that a job may ask for, with the settings of each.
#
# The ranges are those of Azure's reference; it gives none for ``l2_multiplier``. ``-1`` stands for
# "auto" until the job has looked at its data. The local service trains by ``supervised`` only, but
# reads the others as closely, so that a rehearsal finds its mistakes. One field is the local
# service's own: a grader in ``method.supervised``, by which held-out answers are graded while the
# job trains.


def _or_auto(value: object, check: ValidatorFunctionWrapHandler) -> object:
    return AUTO if value is None or value == "auto" else check(value)


def _graded_in_training(grader: dict[str, JSON]) -> dict[str, JSON]:
    check_in_training(grader)
    return grader


Count = Annotated[int, Field(ge=1), WrapValidator(_or_auto)]


class Hyperparameters(Shape):
    """How long, in what portions and how boldly to train."""

    n_epochs: Annotated[int, Field(ge=1, le=50), WrapValidator(_or_auto)] = AUTO
    batch_size: Annotated[int, Field(ge=1, le=256), WrapValidator(_or_auto)] = AUTO
    learning_rate_multiplier: Annotated[float, Field(gt=0), WrapValidator(_or_auto)] = AUTO


class GradedHyperparameters(Hyperparameters):
    """Also after how many steps to grade held-out answers, and how many of them."""

    eval_interval: Count = AUTO
    eval_samples: Count = AUTO


class PreferenceHyperparameters(Hyperparameters):
    """Also how closely to stay with the model that the job began with."""

    beta: Annotated[float, Field(gt=0, le=2), WrapValidator(_or_auto)] = AUTO
    l2_multiplier: Annotated[float, Field(ge=0), WrapValidator(_or_auto)] = AUTO


class ReinforcementHyperparameters(GradedHyperparameters):
    """Also how long to think and how much to try out."""

    compute_multiplier: Annotated[float, Field(gt=0.00001, le=10), WrapValidator(_or_auto)] = AUTO
    reasoning_effort: Literal["default", "low", "medium", "high"] = "default"


class Supervised(Shape):
    """Learning from examples."""

    hyperparameters: GradedHyperparameters = GradedHyperparameters()
    grader: Annotated[dict[str, Any], AfterValidator(_graded_in_training)] | None = None
    """Of held-out answers; any type that only computes."""

    @check_whole(mode="after")
    def _evaluations_need_a_grader(self) -> Self:
        extra = self.hyperparameters.model_fields_set & {"eval_interval", "eval_samples"}
        if extra and self.grader is None:
            raise ValueError(f"{' and '.join(sorted(extra))} need a grader in method.supervised")
        return self


class Preference(Shape):
    """Learning which of two answers is the better one."""

    hyperparameters: PreferenceHyperparameters = PreferenceHyperparameters()


class Reinforcement(Shape):
    """Learning from the grades of the model's own answers; what a grader may hold is checked apart."""

    grader: dict[str, object]
    hyperparameters: ReinforcementHyperparameters = ReinforcementHyperparameters()
    response_format: dict[str, object] | None = None
    tools: list[dict[str, object]] | None = None
    max_episode_steps: Annotated[int, Field(ge=1)] | None = None


class Method(Shape):
    """The way to train, and its settings."""

    type: Literal["supervised", "dpo", "reinforcement"]
    supervised: Supervised | None = None
    dpo: Preference | None = None
    reinforcement: Reinforcement | None = None

    @check_whole(mode="after")
    def _settings_belong_to_the_type(self) -> Self:
        others = {"supervised", "dpo", "reinforcement"} - {self.type}
        foreign = sorted(name for name in others if getattr(self, name) is not None)
        if foreign:
            raise ValueError(f"type is {self.type}, but there are settings for {' and '.join(foreign)}")
        if self.type == "reinforcement" and self.reinforcement is None:
            raise ValueError("reinforcement needs a grader in method.reinforcement")
        return self


# Whatever its quota, the service holds the fields of a job to Azure's limits.


def _suffix(text: str) -> str:
    limits = of_provider("azure")
    if not limits.suffix.fullmatch(text):
        raise ValueError(f"1 to {limits.max_suffix} of a-z, A-Z, 0-9, - and _; no dots")
    return text


def _seed(seed: int) -> int:
    if seed > _max_seed():
        raise ValueError(f"should be less than or equal to {_max_seed()}")
    return seed


def _max_seed() -> int:
    return of_provider("azure").max_seed or 2**31 - 1


def _training_type(name: object) -> object:
    # As a number it is sent by tools that were written for the portal.
    said = "globalStandard" if name == "1" or (name == 1 and not isinstance(name, bool)) else str(name)
    limits = of_provider("azure")
    meant = limits.training_type(said)
    if meant is None:
        raise ValueError(f"{', '.join(limits.training_types)}; or 1 for globalStandard")
    return meant


class Wandb(Shape):
    """Where in Weights & Biases a curve would be drawn."""

    project: str
    entity: str | None = None
    name: str | None = None
    tags: list[str] | None = None


class Integration(Shape):
    """Another service that would be told about the job."""

    type: Literal["wandb"]
    wandb: Wandb


class JobRequest(Shape):
    """A job as it is asked for."""

    model: str
    training_file: str
    validation_file: str | None = None
    method: Method | None = None
    hyperparameters: Hyperparameters | None = None  # the older place for them; those in method win
    suffix: Annotated[str, AfterValidator(_suffix)] | None = None
    seed: Annotated[int, Field(ge=0), AfterValidator(_seed)] | None = None
    metadata: Metadata | None = None
    integrations: list[Integration] | None = None
    trainingType: Annotated[str, BeforeValidator(_training_type)] | None = None  # noqa: N815 (Azure's own name)

    @check_whole(mode="after")
    def _consistent(self) -> Self:
        if self.validation_file or not self.method:
            return self
        if self.method.supervised and self.method.supervised.grader:
            raise ValueError("method.supervised.grader needs a validation_file whose answers it can grade")
        if self.method.reinforcement:
            raise ValueError("reinforcement needs a validation_file")
        return self

    def as_job(self, model: str) -> dict[str, JSON]:
        """The new supervised job on ``model``, in the words in which Azure repeats it."""
        supervised = (self.method and self.method.supervised) or Supervised()
        outer = self.hyperparameters or Hyperparameters()
        chosen = outer.model_dump() | supervised.hyperparameters.model_dump(exclude_unset=True)
        names = ["batch_size", "learning_rate_multiplier", "n_epochs"]
        if supervised.grader:
            names += ["eval_interval", "eval_samples"]
        hyperparameters: dict[str, JSON] = {name: chosen.get(name, AUTO) for name in names}
        method: dict[str, JSON] | None = None
        if self.method:
            settings: dict[str, JSON] = {"hyperparameters": hyperparameters}
            if supervised.grader:
                settings["grader"] = supervised.grader
            method = {"type": "supervised", "supervised": settings}
        return {
            "hyperparameters": hyperparameters,
            "model": model,
            "seed": secrets.randbelow(_max_seed() + 1) if self.seed is None else self.seed,
            "training_file": self.training_file,
            "validation_file": self.validation_file,
            "method": method,
            "suffix": self.suffix,
            "trainingType": self.trainingType,
            "metadata": dict(self.metadata) if self.metadata else None,
        }
