"""What a fine-tuning job may be asked for: every field, its range, and its default."""

import secrets
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    create_model,
)
from pydantic import model_validator as check_whole

from workbench.catalog.limits import of_provider
from workbench.catalog.methods import COMMON, METHODS, Hyperparameter, Method
from workbench.evaluation.graders.grader_types import check_in_training
from workbench.local.api.http import AUTO, Metadata, RequestShape
from workbench.local.store.rows import JSON

# The shapes are made of the table of methods, with its ranges. ``-1`` stands for "auto" until the job
# has read its data. Methods that the local service does not train by yet are read as closely, so
# that a mistake is found here first. A grader in ``method.supervised``, by which held-out answers are
# graded while the job trains, is the local service's own.


def _or_auto(value: object, check: ValidatorFunctionWrapHandler) -> object:
    return AUTO if value is None or value == "auto" else check(value)


def _graded_in_training(grader: dict[str, JSON]) -> dict[str, JSON]:
    check_in_training(grader)
    return grader


def _type_of(hyperparameter: Hyperparameter) -> object:
    """What pydantic checks a hyperparameter by: its range, or "auto"."""
    if hyperparameter.kind == "choice":
        return Literal[hyperparameter.choices]
    low, high = hyperparameter.low, hyperparameter.high
    number = Field(
        gt=low if hyperparameter.above_low else None, ge=None if hyperparameter.above_low else low, le=high
    )
    kind = int if hyperparameter.kind == "int" else float
    return Annotated[kind, number, WrapValidator(_or_auto)]


def _hyperparameters(names: str, table: Iterable[Hyperparameter]) -> Any:
    """The shape of the object ``hyperparameters`` of one method."""
    fields: dict[str, Any] = {
        each.name: (_type_of(each), AUTO if each.kind != "choice" or each.default is None else each.default)
        for each in table
    }
    return create_model(names, __base__=RequestShape, **fields)


# What a method's settings may hold beside hyperparameters and grader.
_OTHER_SETTINGS: Mapping[str, tuple[object, None]] = {
    "response_format": (dict[str, object] | None, None),
    "tools": (list[dict[str, object]] | None, None),
    "max_episode_steps": (Annotated[int, Field(ge=1)] | None, None),
}


class Settings(RequestShape):
    """The settings of one method; the fields are those of its entry in the table of methods."""

    hyperparameters: RequestShape = RequestShape()

    @property
    def given(self) -> dict[str, Any]:
        """The hyperparameters that the request names."""
        return self.hyperparameters.model_dump(exclude_unset=True)

    @property
    def grader_given(self) -> Any:
        """What grades the answers."""
        return getattr(self, "grader", None)


class MethodAsked(RequestShape):
    """The method, and its settings in the field of its name."""

    type: str

    @property
    def settings(self) -> Settings:
        """Those of the method that is asked for; its defaults where the request names none."""
        found: Settings = getattr(self, self.type) or _settings(METHODS[self.type])()
        return found

    @check_whole(mode="after")
    def _settings_belong_to_the_type(self) -> Self:
        others = sorted(METHODS.keys() - {self.type})
        foreign = [name for name in others if getattr(self, name) is not None]
        if foreign:
            raise ValueError(f"type is {self.type}, but there are settings for {' and '.join(foreign)}")
        if METHODS[self.type].grader == "required" and getattr(self, self.type) is None:
            raise ValueError(f"{self.type} needs a grader in method.{self.type}")
        return self


@cache
def _settings(method: Method) -> type[Settings]:
    hyperparameters = _hyperparameters(f"{method.name}_hyperparameters", method.hyperparameters)
    fields: dict[str, Any] = {"hyperparameters": (hyperparameters, hyperparameters())}
    fields |= {name: _OTHER_SETTINGS[name] for name in method.other_settings}
    if method.grader == "required":
        fields["grader"] = (dict[str, object], ...)
    if method.grader == "local":
        # Of held-out answers; any type that only computes.
        fields["grader"] = (Annotated[dict[str, Any], AfterValidator(_graded_in_training)] | None, None)

    graded = {each.name for each in method.hyperparameters if each.only_with_grader}

    def evaluations_need_a_grader(self: Settings) -> Settings:
        extra = self.hyperparameters.model_fields_set & graded
        if extra and self.grader_given is None:
            raise ValueError(f"{' and '.join(sorted(extra))} need a grader in method.{method.name}")
        return self

    checks: dict[str, Any] = {"graded": check_whole(mode="after")(evaluations_need_a_grader)}
    return create_model(f"{method.name}_settings", __base__=Settings, __validators__=checks, **fields)


OlderHyperparameters = _hyperparameters("hyperparameters", COMMON)


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


class Wandb(RequestShape):
    """Where in Weights & Biases a curve would be drawn."""

    project: str
    entity: str | None = None
    name: str | None = None
    tags: list[str] | None = None


class Integration(RequestShape):
    """Another service that would get the curve of the job."""

    type: Literal["wandb"]
    wandb: Wandb


class JobRequest(RequestShape):
    """A job as it is asked for."""

    model: str
    training_file: str
    validation_file: str | None = None
    method: MethodAsked | None = None
    hyperparameters: Any = None  # the older place for them; those in method win
    suffix: Annotated[str, AfterValidator(_suffix)] | None = None
    seed: Annotated[int, Field(ge=0), AfterValidator(_seed)] | None = None
    metadata: Metadata | None = None
    integrations: list[Integration] | None = None
    trainingType: Annotated[str, BeforeValidator(_training_type)] | None = None  # noqa: N815 (Azure's own name)

    @check_whole(mode="after")
    def _consistent(self) -> Self:
        if self.validation_file or not self.method:
            return self
        method = METHODS[self.method.type]
        if method.grader == "local" and self.method.settings.grader_given:
            raise ValueError(f"method.{method.name}.grader needs a validation_file to grade the answers to")
        if method.needs_validation:
            raise ValueError(f"{method.name} needs a validation_file")
        return self

    def as_job(self, model: str) -> dict[str, JSON]:
        """The new job on ``model``, in the words in which Azure repeats it."""
        method = METHODS[self.method.type] if self.method else METHODS["supervised"]
        settings = self.method.settings if self.method else _settings(METHODS["supervised"])()
        outer = self.hyperparameters.model_dump() if self.hyperparameters else {}
        chosen = outer | settings.given
        graded = settings.grader_given is not None
        hyperparameters: dict[str, JSON] = {
            each.name: chosen.get(each.name, AUTO)
            for each in sorted(method.hyperparameters, key=lambda each: (not each.always_sent, each.name))
            if each.always_sent or each.name in chosen or (each.only_with_grader and graded)
        }
        asked: dict[str, JSON] | None = None
        if self.method:
            kept = {name: value for name, value in settings if value is not None}
            asked = {"type": method.name, method.name: {**kept, "hyperparameters": hyperparameters}}
        return {
            "hyperparameters": hyperparameters,
            "model": model,
            "seed": secrets.randbelow(_max_seed() + 1) if self.seed is None else self.seed,
            "training_file": self.training_file,
            "validation_file": self.validation_file,
            "method": asked,
            "suffix": self.suffix,
            "trainingType": self.trainingType,
            "metadata": dict(self.metadata) if self.metadata else None,
        }


def job_request() -> type[JobRequest]:
    """The shape of a request, with the methods that the table has now."""
    return _request(tuple(METHODS.values()))


@cache
def _request(methods: tuple[Method, ...]) -> type[JobRequest]:
    fields: dict[str, Any] = {each.name: (_settings(each) | None, None) for each in methods}
    fields["type"] = (Literal[tuple(each.name for each in methods)], ...)
    asked: Any = create_model("Method", __base__=MethodAsked, **fields)
    older: Any = OlderHyperparameters | None
    return create_model(
        "JobRequest", __base__=JobRequest, method=(asked | None, None), hyperparameters=(older, None)
    )
