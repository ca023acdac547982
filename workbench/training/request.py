"""The request for a job: what is sent, word for word, and the one content that it stands for.

It is made of data, a model and knobs before anything is uploaded, and shown before anything is
paid. Sending it is the business of ``jobs``, judging it that of ``limits``.
"""

import datetime
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, cast

from workbench import catalog
from workbench.catalog.models import Model
from workbench.catalog.providers import Provider
from workbench.dataset.check.row import Finding
from workbench.dataset.dataset import counted
from workbench.errors import SetupError
from workbench.project import JSON, Entry, Project

if TYPE_CHECKING:
    from workbench.dataset.dataset import Dataset

METADATA_KEY = "workbench_content"

# What the API calls the ways to train.
_TYPES: Mapping[str, str] = MappingProxyType({"sft": "supervised", "dpo": "dpo", "rft": "reinforcement"})

Hyperparameters: TypeAlias = Mapping[str, int | float | str]
"""The knobs of a job; "auto" lets the service choose by the size of the data."""


@dataclass(frozen=True, repr=False)
class Request:
    """A job before it is sent."""

    training: "Dataset"
    validation: "Dataset | None"
    model: str
    method: Mapping[str, JSON]
    """The field of the request: its type, and under that name the hyperparameters and the grader."""
    seed: int
    suffix: str | None
    training_type: str | None
    """Azure's; ``None``: the field is not sent."""

    @property
    def way(self) -> str:
        """How it trains, in the workbench's words: ``sft``, ``dpo`` or ``rft``."""
        return next(way for way, type in _TYPES.items() if type == self.method["type"])

    @property
    def hyperparameters(self) -> Hyperparameters:
        """The knobs as they are sent."""
        return cast("Hyperparameters", self._settings["hyperparameters"])

    @property
    def grader(self) -> Mapping[str, JSON] | None:
        """What grades the answers while it trains."""
        return cast("Mapping[str, JSON] | None", self._settings.get("grader"))

    @property
    def extras(self) -> Mapping[str, JSON]:
        """What may be left out, where it is not."""
        said = {"suffix": self.suffix, "training_type": self.training_type, "grader": self.grader}
        return {name: value for name, value in said.items() if value is not None}

    @cached_property
    def content(self) -> str:
        """What the job is made of, as one SHA-256; suffix and training type are no part of it."""
        return content_of(
            self.training, validation=self.validation, model=self.model, method=self.method, seed=self.seed
        )

    def body(self, training_file: str, validation_file: str | None) -> dict[str, JSON]:
        """What is sent, with the ids of the two uploaded files."""
        said: dict[str, JSON] = {
            "model": self.model,
            "training_file": training_file,
            "validation_file": validation_file,
            "method": self.method,
            "seed": self.seed,
            "suffix": self.suffix,
            "metadata": {METADATA_KEY: self.content},
            "trainingType": self.training_type,
        }
        return {field: value for field, value in said.items() if value is not None}

    @property
    def _settings(self) -> Mapping[str, JSON]:
        return cast("Mapping[str, JSON]", self.method[str(self.method["type"])])


def request_for(
    service: "Provider",
    training: "Dataset",
    *,
    validation: "Dataset | None" = None,
    model: str,
    n_epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate_multiplier: float | None = None,
    hyperparameters: Hyperparameters | None = None,
    seed: int = 0,
    suffix: str | None = None,
    grader: Mapping[str, object] | None = None,
    training_type: str | None = None,
) -> Request:
    """Put a request together; the shape of the examples decides by which method it trains.

    A hyperparameter of ``None`` is the service's choice. ``hyperparameters`` holds those that its
    method has beside the three, by the API's names: ``{"beta": 0.1}``.
    """
    knobs = {
        "n_epochs": n_epochs,
        "batch_size": batch_size,
        "learning_rate_multiplier": learning_rate_multiplier,
    }
    chosen = {name: "auto" if value is None else value for name, value in knobs.items()}
    type = _TYPES[training[0].method if len(training) else "sft"]
    settings: dict[str, JSON] = {"hyperparameters": {**chosen, **(hyperparameters or {})}}
    if grader:
        settings["grader"] = cast("Mapping[str, JSON]", grader)
    return Request(
        training,
        validation,
        model,
        {"type": type, type: settings},
        seed,
        suffix,
        training_type or service.training_type,
    )


def content_of(
    dataset: "Dataset",
    *,
    validation: "Dataset | None" = None,
    model: str,
    method: Mapping[str, object],
    seed: int,
) -> str:
    """What a job is made of, as one SHA-256: equal content gives equal weights, so it is trained once.

    ``method`` is the field of the request, hyperparameters and grader included.
    """
    parts = {
        "training": dataset.sha256,
        "validation": validation.sha256 if validation else None,
        "model": model,
        "method": method,
        "seed": seed,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def file_name(dataset: "Dataset", role: str) -> str:
    """What an uploaded file is called: its role and the beginning of its hash."""
    return f"{role}-{dataset.sha256[:12]}.jsonl"


# The settings of a job, each with a reason, and what differs from the project's last run.
#
# Change one thing a run: when two have changed, nobody can say which of them helped
# (microsoft/GitHub-Copilot-for-Azure, fine-tuning skill, 2026-08-20; a rule of thumb).

AUTO_SHARE, AUTO_MOST = 0.002, 256  # of the examples in a batch, and examples (the portal's text)

# Fewer examples than this: the epochs that are usual (the skill's rules of thumb).
_EPOCHS = ((100, "3 to 5"), (500, "2 to 3"), (2_001, "1 to 2"), (math.inf, "1"))


class Hyperparameter(NamedTuple):
    """A setting, and what speaks for it."""

    name: str
    value: int | float | str
    reason: str


class Change(NamedTuple):
    """One thing that is not as it was in the last run."""

    what: str
    before: str
    now: str


def explained_hyperparameters(request: Request) -> tuple[Hyperparameter, ...]:
    """The three that matter and why they may stand as they are; then those of the method."""
    size = len(request.training)
    usual = next(epochs for fewer_than, epochs in _EPOCHS if size < fewer_than)
    batch = min(AUTO_MOST, max(1, round(size * AUTO_SHARE)))
    reasons = {
        "n_epochs": f"how often each example is seen; with {counted(size, 'example')} {usual} are usual",
        "batch_size": f"examples a step; Azure's portal would choose 0.2 % of them, which is {batch}",
        "learning_rate_multiplier": "how large a step is; leave it to the service first, then try half or "
        "double of what it chose",
        "beta": "how near to the base model it stays; 0.1 is usual",
    }
    return tuple(
        Hyperparameter(name, value, reasons.get(name, "the method's own; the service's default if left out"))
        for name, value in request.hyperparameters.items()
    )


def changes(request: Request, provider: str, project: Project) -> tuple[Change, ...] | None:
    """What is new in this request, setting by setting; ``None`` where no run is on record."""
    last = project.latest("job")
    return None if last is None else tuple(_changes(request, provider, project, last))


def _changes(request: Request, provider: str, project: Project, last: Entry) -> Iterator[Change]:
    sizes = _sizes(project, request)
    before, now = _said(last.facts, sizes), _said(_facts(request, provider), sizes)
    for what in (*now, *(what for what in before if what not in now)):
        was, is_ = before.get(what, "not given"), now.get(what, "not given")
        if was != is_:
            yield Change(what, was, is_)


def _facts(request: Request, provider: str) -> Mapping[str, JSON]:
    return {
        "training_sha256": request.training.sha256,
        "validation_sha256": request.validation.sha256 if request.validation else None,
        "model": request.model,
        "provider": provider,
        "hyperparameters": request.hyperparameters,
        "seed": request.seed,
        **request.extras,
    }


def _said(facts: Mapping[str, JSON], sizes: Mapping[str, int]) -> dict[str, str]:
    """A run's facts in words that can be compared."""
    said: dict[str, str] = {}
    for role in ("training", "validation"):
        sha256 = facts.get(f"{role}_sha256")
        if isinstance(sha256, str):
            size = f"{counted(sizes[sha256], 'example')}, " if sha256 in sizes else ""
            said[f"{role} data"] = f"{size}SHA-256 {sha256[:12]}"
    said |= {name: str(facts[name]) for name in ("model", "provider") if name in facts}
    hyperparameters = facts.get("hyperparameters")
    if isinstance(hyperparameters, Mapping):
        said |= {name: str(value) for name, value in hyperparameters.items()}
    said |= {name: str(facts[name]) for name in ("seed", "suffix", "training_type") if name in facts}
    grader = facts.get("grader")
    if isinstance(grader, Mapping):
        said["grader"] = str(dict(sorted(grader.items())))
    return said


def _sizes(project: Project, request: Request) -> dict[str, int]:
    """How many examples the data on record and that of the request has, by its hash."""
    sizes = {data.sha256: len(data) for data in (request.training, request.validation) if data is not None}
    for entry in project.entries("dataset"):
        for role in ("training", "validation"):
            sha256, size = entry.facts.get(f"{role}_sha256"), entry.facts.get(f"{role}_examples")
            if isinstance(sha256, str) and isinstance(size, int):
                sizes[sha256] = size
    return sizes


# Whether a model can be trained: still, here, by this method, as this training type, in this region.
#
# Told by the catalogue, whose every fact has a source, and by the models that the service lists itself.

SOON = 90  # days before the last one on which a model can be trained (our own choice)


def model_findings(
    request: Request,
    service: Provider,
    *,
    listed: Sequence[str],
    region: str | None = None,
    existing_customer: bool = True,
    on: datetime.date,
) -> Iterator[Finding]:
    """Can this model still be trained here, by this method, as this training type, in this region?

    ``listed``: the models that the service itself names.
    """
    if request.model.lower() not in map(str.lower, listed):
        yield _not_listed(request.model, service, listed)
    try:
        model = catalog.model(request.model)
    except SetupError:
        if not service.runs_here:
            message = f"the catalogue does not know {request.model}, so nobody looks at dates and methods"
            yield Finding("warning", "unknown_model", "model", message, "look it up in the service's list")
        return
    yield from _dates(model, service, existing_customer, on)
    if model.methods is not None and request.way not in model.methods:
        message = f"{model.name} is not trained by {request.way}"
        fix = f"it takes {', '.join(model.methods) or 'no method'}; choose another model or other data"
        yield Finding("error", "method", "method.type", message, fix)
    if service.training_type is not None:
        yield from _training_type(request, service, model, region)


def _not_listed(name: str, service: Provider, listed: Sequence[str]) -> Finding:
    some = ", ".join(listed[:8]) + (", …" if len(listed) > 8 else "")
    message = f"{service.name} lists no model {name}"
    if service.runs_here:
        return Finding("error", "unknown_model", "model", message, f"choose from {some}")
    fix = "give the base model with its version, not the name of a deployment"
    return Finding("warning", "unknown_model", "model", message, fix)


def _dates(model: Model, service: Provider, existing_customer: bool, on: datetime.date) -> Iterator[Finding]:
    can = model.trainable(on, existing_customer=existing_customer, service=service.name)
    if can is False:
        message = f"{model.name} can no longer be trained at {service.name} ({model.status(service.name)})"
        fix = "choose another: python -m workbench models lists those that can be"
        yield Finding("error", "retired", "model", message, fix)
    elif can is None:
        message = f"no source says for certain that {model.name} can be trained at {service.name} today"
        yield Finding("warning", "retired", "model", message, "try; a refusal costs nothing")
    elif model.trainable(on, existing_customer=False, service=service.name) is False and existing_customer:
        message = f"{model.name} is closed to new customers: only who had it deployed can train it"
        yield Finding("info", "closed", "model", message, "choose a newer one if you are refused")
    life = model.life(service.name)
    ends = life.dates("training_ends") if life else []
    if can and ends and (ends[0] - on).days <= SOON:
        message = f"{model.name} can be trained until {ends[0]}, which is less than three months away"
        yield Finding("info", "retired", "model", message, "plan with a newer one")


def _training_type(
    request: Request, service: Provider, model: Model, region: str | None
) -> Iterator[Finding]:
    said, there_are = request.training_type or "", service.limits.training_types
    type = service.limits.training_type(said)
    if type is None:
        message = f"there is no training type '{said}'"
        fix = f"choose one of {', '.join(there_are)}"
        yield Finding("error", "training_type", "trainingType", message, fix)
        return
    if model.training_types is not None and type not in model.training_types:
        known = [each for each in model.training_types if each in there_are]
        message = f"{model.name} is not trained as {said}"
        yield Finding("error", "training_type", "trainingType", message, f"choose {' or '.join(known)}")
    elif type == "developerTier":
        message = "a developer job runs on idle machines, so it may be interrupted and goes on by itself"
        yield Finding("info", "training_type", "trainingType", message, "take globalStandard if it is urgent")
    places = [p for p in model.regions if (p.use, p.type) == ("training", _place(type))]
    if region and places and not any(place.has(region) for place in places):
        message = f"{model.name} is not trained as {said} in {region}"
        fix = f"take a resource in {', '.join(places[0].names[:4])}{' …' if len(places[0].names) > 4 else ''}"
        yield Finding("error", "region", "", message, fix)


def _place(type: str) -> str:
    """Developer jobs run wherever global ones do."""
    return "globalStandard" if type == "developerTier" else type
