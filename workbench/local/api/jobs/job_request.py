"""What a fine-tuning job may be asked for: every field, its range, and its default."""

import re
import secrets
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic import model_validator as check_whole

from workbench.local.api.dialects import AUTO
from workbench.local.api.jobs.methods import Hyperparameters, Method, Supervised
from workbench.local.api.metadata import Metadata
from workbench.local.api.requests import Shape
from workbench.local.storage.rows import JSON

MAX_SEED = 2**31 - 1
TRAINING_TYPES = {
    "standard": "standard",
    "globalstandard": "globalStandard",
    "developertier": "developerTier",
    "1": "globalStandard",  # as tools send it that were written for the portal
}


def _suffix(text: str) -> str:
    # Azure's documents say 40, its specification 64, its portal 18; what is taken here is taken there.
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", text):
        raise ValueError("1 to 40 of a-z, A-Z, 0-9, - and _; no dots")
    return text


def _training_type(name: object) -> object:
    number = 1 if name == 1 and not isinstance(name, bool) else name
    if str(number).lower() not in TRAINING_TYPES:
        raise ValueError("Standard, globalStandard (or 1) or developerTier")
    return TRAINING_TYPES[str(number).lower()]


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
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] | None = None
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
                settings["grader"] = supervised.grader.model_dump()
            method = {"type": "supervised", "supervised": settings}
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
