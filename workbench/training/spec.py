"""A job before it is sent: what it is made of, what is new in it, and whether the model can be trained.

``JobSpec`` is one frozen noun from the notebook to preflight, request, job and record. Its method and
hyperparameters are those of ``catalog.methods``. Sending it is the business of ``jobs``, judging it
that of ``preflight``.
"""

import codecs
import datetime
import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, cast

from workbench import catalog
from workbench.catalog.limits import TRAINING_TYPES
from workbench.catalog.methods import (
    AUTO,
    DATA_KINDS,
    METHODS,
    Method,
    auto_batch,
    local_batch,
    local_epochs,
    method,
    usual_epochs,
)
from workbench.catalog.models import Model, base_name, formats_of
from workbench.catalog.providers import Provider
from workbench.dataset.check.row import Finding
from workbench.dataset.dataset import counted
from workbench.display import table
from workbench.errors import SetupError
from workbench.project import JSON, SUPERVISED, Project
from workbench.settings import setting

if TYPE_CHECKING:
    from workbench.dataset.dataset import Dataset

METADATA_KEY = "workbench_content"

Hyperparameters: TypeAlias = Mapping[str, int | float | str]
"""By the API's names; "auto" lets the service choose by the size of the data."""


@dataclass(frozen=True, repr=False)
class JobSpec:
    """What to train: a model, by a method, on data, with some hyperparameters.

    To change something makes another one: ``replace(spec, seed=1)``,
    ``spec.with_hyperparameters(n_epochs=2)``. Equal content (data, model, method, hyperparameters,
    grader, seed) is trained once.
    """

    training: "Dataset"
    model: str
    validation: "Dataset | None" = None
    method: str | None = None
    """``supervised``, ``dpo`` or ``reinforcement``; ``None``: by the shape of the examples."""
    hyperparameters: Mapping[str, int | float | str | None] = field(default_factory=dict)
    """Those that you choose, by the API's names; the service chooses the rest, and those of ``None``."""
    seed: int = 0
    suffix: str | None = None
    """A word for the name of the tuned model; no part of the content."""
    grader: Mapping[str, JSON] | None = None
    """What grades the model's answers while it trains."""
    response_format: Mapping[str, JSON] | None = None
    """The JSON Schema that answers keep to while a reinforcement job trains, named and wrapped."""
    training_type: str | None = None
    """Azure's: Standard, Global or Developer; ``None``: what the service needs. No part of the content."""

    def __post_init__(self) -> None:
        """Keep the hyperparameters that were chosen, and the method by the API's name."""
        chosen = {name: value for name, value in self.hyperparameters.items() if value not in (None, AUTO)}
        object.__setattr__(self, "hyperparameters", MappingProxyType(chosen))
        if self.method is not None:
            object.__setattr__(self, "method", method(self.method).name)

    @property
    def trained_by(self) -> Method:
        """Its method, with all that is known of it."""
        return METHODS[self.method] if self.method else self._by_shape

    @property
    def sent_hyperparameters(self) -> Hyperparameters:
        """The hyperparameters as they are sent, with "auto" where the service chooses."""
        return self.trained_by.chosen(cast("Hyperparameters", self.hyperparameters))

    def with_hyperparameters(self, **chosen: int | float | str | None) -> "JobSpec":
        """The same job with some other hyperparameters; ``None`` leaves one to the service again."""
        return replace(self, hyperparameters={**self.hyperparameters, **chosen})

    def at(self, service: Provider) -> "JobSpec":
        """The same job as this service wants it: with the training type that it needs, by the API's name."""
        if not service.limits.training_types:  # the field is Azure's alone
            return replace(self, training_type=None)
        given = self.training_type or service.training_type
        return replace(self, training_type=given and service.limits.training_type_chosen(given))

    @cached_property
    def content(self) -> str:
        """What the job is made of, as one SHA-256: equal content gives equal weights."""
        parts = {
            "training": self.training.sha256,
            "validation": self.validation.sha256 if self.validation else None,
            "model": self.model,
            "method": self._method_field,
            "seed": self.seed,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def body(self, training_file: str, validation_file: str | None) -> dict[str, JSON]:
        """What is sent, with the ids of the two uploaded files."""
        fields: dict[str, JSON] = {
            "model": self.model,
            "training_file": training_file,
            "validation_file": validation_file,
            "method": self._method_field,
            "seed": self.seed,
            "suffix": self.suffix,
            "metadata": {METADATA_KEY: self.content},
            "trainingType": self._sent_type,
        }
        return {name: value for name, value in fields.items() if value is not None}

    def facts(self, provider: str) -> dict[str, JSON]:
        """What the project's record keeps of it."""
        optional: dict[str, JSON] = {
            "method": None if self.trained_by.name == SUPERVISED else self.trained_by.name,
            "suffix": self.suffix,
            "training_type": self.training_type,
            "grader": self.grader or None,
            "response_format": self.response_format or None,
        }
        return {
            "model": self.model,
            "provider": provider,
            "training_sha256": self.training.sha256,
            "validation_sha256": self.validation.sha256 if self.validation else None,
            "training_examples": len(self.training),
            "hyperparameters": self.sent_hyperparameters,
            "seed": self.seed,
            **{name: value for name, value in optional.items() if value is not None},
        }

    def __str__(self) -> str:
        """The job in a sentence."""
        held_out = f" and {counted(len(self.validation), 'example')} held out" if self.validation else ""
        chosen = ", ".join(f"{name} {value}" for name, value in self.sent_hyperparameters.items())
        return (
            f"{self.model} on {counted(len(self.training), 'example')}{held_out} "
            f"({self.trained_by.short}): {chosen}, seed {self.seed}"
        )

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = [(each.name, each.value, each.reason) for each in explained_hyperparameters(self)]
        return table(str(self), ("", "value", "why"), rows)

    @property
    def _by_shape(self) -> Method:
        return method(self.training[0].method if len(self.training) else "sft")

    @property
    def _sent_type(self) -> str | None:
        known = TRAINING_TYPES.get(self.training_type or "")
        return known.sent if known else self.training_type

    @property
    def _method_field(self) -> Mapping[str, JSON]:
        given = cast("Hyperparameters", self.hyperparameters)
        asked = self.trained_by.body(given, grader=self.grader, response_format=self.response_format)
        return cast("Mapping[str, JSON]", asked)


def file_name(dataset: "Dataset", role: str) -> str:
    """What an uploaded file is called: its role and the beginning of its hash."""
    return f"{role}-{dataset.sha256[:12]}.jsonl"


def file_content(dataset: "Dataset") -> bytes:
    """What is uploaded: the data, behind a byte order mark where ``WORKBENCH_BOM`` is 1.

    Azure's documents of every age ask for the mark; none of Microsoft's own samples has one, and jobs on
    them succeeded. So it is left out unless a service refuses the file without it.
    """
    mark = codecs.BOM_UTF8 if setting("WORKBENCH_BOM") == "1" else b""
    return mark + dataset.to_jsonl()


# The settings of a job, each with a reason, and what differs from the project's last run.
#
# Change one thing a run: when two have changed, nobody can say which of them helped
# (microsoft/GitHub-Copilot-for-Azure, fine-tuning skill, 2026-08-20; a rule of thumb).

# Facts of a job on record that are not how it was trained: what it is called, where it is, and its data.
_NOT_SETTINGS = (
    *("job_id", "content", "endpoint", "training_sha256", "validation_sha256"),
    *("training_examples", "ancestors", "estimated_usd"),
)


class ExplainedHyperparameter(NamedTuple):
    """A setting, and what speaks for it."""

    name: str
    value: int | float | str
    reason: str
    guess: str = ""
    """What the service will make of "auto", as far as anybody knows, and from where that is known."""


class SpecChange(NamedTuple):
    """One thing that is not as it was in the last run."""

    what: str
    before: str
    now: str


# What Azure made of "auto" in the jobs of others: saved outputs of microsoft-foundry/fine-tuning, 2026-01-23.
_SEEN = "saved outputs of Microsoft's samples, 2026-01-23"
_RATES_SEEN = {"gpt-4.1-nano": 0.1, "gpt-4.1": 2.0, "gpt-4o-mini": 1.0, "Ministral-3B": 1.0}
_OWN_RULE = "the local service's own rule"
_RULE = "Microsoft's fine-tuning skill, 2026-08-20; no promise of the service"
_PORTAL = "the portal's text: 0.2 % of the examples; jobs on 148 and 2,750 were seen to take 1"


def guessed(spec: JobSpec, service: Provider) -> Mapping[str, tuple[float, float, str]]:
    """What "auto" will become: the least, the most, and from where that is known; nothing without a source.

    What this machine's own service chooses is known exactly. The job says what it became once it runs.
    """
    rows, auto = len(spec.training), [n for n, value in spec.sent_hyperparameters.items() if value == AUTO]
    if service.runs_here:
        batch = int(spec.hyperparameters.get("batch_size") or local_batch(rows))
        chosen = {"batch_size": batch, "n_epochs": local_epochs(rows, batch), "learning_rate_multiplier": 1.0}
        return {n: (chosen[n], chosen[n], _OWN_RULE) for n in auto if n in chosen}
    if not service.azure:  # OpenAI says nothing of its rule
        return {}
    known = spec.trained_by
    by_tokens = known.billed_by == "tokens"
    fewest, most = usual_epochs(rows) if by_tokens else (1, 2)
    found: dict[str, tuple[float, float, str]] = {"n_epochs": (fewest, most, _RULE if by_tokens else _SEEN)}
    if by_tokens:  # of reinforcement one job was seen, of 300 prompts in batches of 9
        found["batch_size"] = (1, auto_batch(rows), _PORTAL)
    if rate := _RATES_SEEN.get(re.sub(r"-20\d\d-\d\d-\d\d$", "", base_name(spec.model))):
        found["learning_rate_multiplier"] = (rate, rate, _SEEN)
    return {n: found[n] for n in auto if n in found}


def guessed_steps(spec: JobSpec, service: Provider) -> tuple[int, int] | None:
    """How many steps the job will take at least and at most, by what is chosen and what is guessed."""
    guesses = guessed(spec, service)
    spans = []
    for name in ("n_epochs", "batch_size"):
        value = spec.hyperparameters.get(name)
        if isinstance(value, int) and value >= 1:
            spans.append((value, value))
        elif name in guesses:
            spans.append((int(guesses[name][0]), int(guesses[name][1])))
    if len(spans) < 2:
        return None
    (fewest, most), (small, large) = spans
    rows = len(spec.training)
    return math.ceil(rows * fewest / large), math.ceil(rows * most / small)


def explained_hyperparameters(
    spec: JobSpec, service: Provider | None = None
) -> tuple[ExplainedHyperparameter, ...]:
    """Those that are sent, why they may stand as they are, and what ``service`` will make of "auto"."""
    known, guesses = spec.trained_by, guessed(spec, service) if service else {}
    return tuple(
        ExplainedHyperparameter(
            name,
            value,
            entry.explained(len(spec.training))
            if (entry := known.hyperparameter(name))
            else f"{known.short} has no such hyperparameter",
            _in_a_phrase(*guesses[name]) if name in guesses else "",
        )
        for name, value in spec.sent_hyperparameters.items()
    )


def _in_a_phrase(least: float, most: float, source: str) -> str:
    span = f"{least:g}" if least == most else f"{least:g} to {most:g}"
    return f"{'it will be' if source == _OWN_RULE else 'probably'} {span} ({source})"


def changes(spec: JobSpec, provider: str, project: Project) -> tuple[SpecChange, ...] | None:
    """What is new in this request, setting by setting; ``None`` where no run by its method is on record."""
    last = project.latest_job(spec.trained_by.name)
    if last is None:
        return None
    sizes = _sizes(project, spec)
    before, now = _in_words(last.facts, sizes), _in_words(spec.facts(provider), sizes)
    every = ((what, before.get(what, "not given"), now.get(what, "not given")) for what in now | before)
    return tuple(SpecChange(what, was, is_) for what, was, is_ in every if was != is_)


def settings_of(facts: Mapping[str, JSON]) -> dict[str, JSON]:
    """The facts of a job on record in one row: each hyperparameter beside the model."""
    row: dict[str, JSON] = {}
    for name, value in facts.items():
        if name == "hyperparameters" and isinstance(value, Mapping):
            row |= value
        elif name not in _NOT_SETTINGS:
            row[name] = value
    return row


def _in_words(facts: Mapping[str, JSON], sizes: Mapping[str, int]) -> dict[str, str]:
    """A run's facts in words that can be compared."""
    words = {}
    for role in ("training", "validation"):
        sha256 = facts.get(f"{role}_sha256")
        if isinstance(sha256, str):
            size = f"{counted(sizes[sha256], 'example')}, " if sha256 in sizes else ""
            words[f"{role} data"] = f"{size}SHA-256 {sha256[:12]}"
    for name, value in settings_of(facts).items():
        if name == "grader" and isinstance(value, Mapping):  # its source may be long
            text = json.dumps(dict(sorted(value.items())), default=str)
            digest = hashlib.sha256(text.encode()).hexdigest()
            words[name] = f"{value.get('name')} ({value.get('type')}), SHA-256 {digest[:12]}"
        else:
            words[name] = str(dict(sorted(value.items())) if isinstance(value, Mapping) else value)
    return words


def _sizes(project: Project, spec: JobSpec) -> dict[str, int]:
    """How many examples the data on record and that of the request has, by its hash."""
    sizes = {data.sha256: len(data) for data in (spec.training, spec.validation) if data is not None}
    for entry in (entry for entry in project.entries() if entry.kind in DATA_KINDS):
        for role in ("training", "validation"):
            sha256, size = entry.facts.get(f"{role}_sha256"), entry.facts.get(f"{role}_examples")
            if isinstance(sha256, str) and isinstance(size, int):
                sizes[sha256] = size
    return sizes


# Whether a model can be trained: still, here, by this method, as this training type, in this region.
#
# Known from the catalogue, whose every fact has a source, and from the service's own list of models.

SOON = 90  # days before the last one on which a model can be trained (our own choice)


def model_findings(
    spec: JobSpec,
    service: Provider,
    *,
    listed: Sequence[str],
    region: str | None = None,
    existing_customer: bool | None = None,
    deployments: Mapping[str, str] = MappingProxyType({}),
    on: datetime.date,
) -> Iterator[Finding]:
    """Can this model still be trained here, by this method, as this training type, in this region?

    ``listed``: the models that the service itself names; ``deployments``: those on record by their names,
    with the model of each.
    """
    if spec.model in deployments:
        answers = deployments[spec.model]
        message = f"{spec.model} is the name of a deployment; what is trained is the model behind it"
        yield Finding("error", "deployment_name", "model", message, f"give {answers} as the model")
        return
    if spec.model.lower() not in map(str.lower, listed):
        yield _not_listed(spec.model, service, listed)
    try:
        model = catalog.model(spec.model)
    except SetupError:
        if not service.runs_here:
            message = f"the catalogue does not know {spec.model}, so its dates and methods are not checked"
            yield Finding("warning", "unknown_model", "model", message, "look it up in the service's list")
        return
    yield from _dates(model, service, existing_customer, on)
    known = spec.trained_by
    if service.runs_here:
        if known.not_local:
            yield Finding("error", "method", "method.type", known.not_local, "train it at another service")
    elif model.methods is not None and known.short not in model.methods:
        message = f"{model.name} is not trained by {known.short}"
        fix = f"it takes {', '.join(model.methods) or 'no method'}; choose another model or other data"
        yield Finding("error", "method", "method.type", message, fix)
    if service.training_type is not None:
        yield from _training_type(spec, service, model, region)
        yield from _open_weights(model)


def _open_weights(model: Model) -> Iterator[Finding]:
    """What an open-weight model needs at Azure, before and after the job (Microsoft Learn, 2026-10-06)."""
    if not model.open_weights:
        return
    message = f"{model.name} has open weights: it is trained on a Foundry resource, neither on a hub nor on "
    message += "one for Azure OpenAI alone; its job cannot be paused, and its result not trained further"
    fix = f"deploy it as GlobalStandard, with the format {formats_of(model.name)[0]} and a capacity of 100"
    if model.deployment_types is not None and "globalStandard" not in model.deployment_types:
        fix = "it is not deployed serverless: the portal offers managed compute or Fireworks"
    yield Finding("info", "open_weights", "model", message, fix)
    for remark in model.remarks:
        yield Finding("info", "open_weights", "model", remark.text.removesuffix("."), str(remark.source))


def _not_listed(name: str, service: Provider, listed: Sequence[str]) -> Finding:
    some = ", ".join(listed[:8]) + (", …" if len(listed) > 8 else "")
    message = f"{service.name} lists no model {name}"
    if service.runs_here:
        return Finding("error", "unknown_model", "model", message, f"choose from {some}")
    fix = "give the base model with its version, not the name of a deployment"
    versions = [each for each in listed if each.lower().startswith(f"{name.lower()}-20")]
    if versions:
        fix = f"give it with its version: {' or '.join(versions)}"
    return Finding("warning", "unknown_model", "model", message, fix)


def _dates(
    model: Model, service: Provider, existing_customer: bool | None, on: datetime.date
) -> Iterator[Finding]:
    can = model.trainable(on, existing_customer=existing_customer is not False, service=service.name)
    life = model.life(service.name)
    closed = model.trainable(on, existing_customer=False, service=service.name) is False
    if can is False:
        message = f"{model.name} can no longer be trained at {service.name} ({model.status(service.name)})"
        fix = (
            "choose another; python -m workbench models --on DAY --new-customer lists what everyone can train"
        )
        if life and life.successor:
            fix += f"; in its place the service recommends {life.successor}"
        yield Finding("error", "retired", "model", message, fix)
    elif can is None:
        message = f"no source says for certain that {model.name} can be trained at {service.name} today"
        yield Finding("warning", "retired", "model", message, "try; a refusal costs nothing")
    elif closed:
        who = "an organisation that used a tuned model within the last 60 days"
        who = "a subscription that has deployed this version before" if service.azure else who
        message = f"{model.name} is closed to new customers: only {who} can train it"
        level, fix = "info", "choose a newer one if you are refused"
        if existing_customer is None:
            yours = "say whether yours is one (EXISTING_CUSTOMER in 04_launch, existing_customer= in Python)"
            level, fix = "warning", f"{yours}, or choose a newer model"
        yield Finding(level, "closed", "model", message, fix)
    ends = life.dates("training_ends") if life else []
    if can and ends and (ends[0] - on).days <= SOON:
        message = f"{model.name} can be trained until {ends[0]}, which is less than three months away"
        yield Finding("info", "retired", "model", message, "plan with a newer one")


def _training_type(spec: JobSpec, service: Provider, model: Model, region: str | None) -> Iterator[Finding]:
    given, there_are = spec.training_type or "", service.limits.training_types
    type, names = service.limits.training_type(given), {each: _called(each) for each in there_are}
    if type is None:
        message = f"there is no training type '{given}'"
        fix = f"choose one of {', '.join(names.values())}"
        yield Finding("error", "training_type", "trainingType", message, fix)
        return
    if model.training_types is not None and type not in model.training_types:
        known = [names[each] for each in model.training_types if each in there_are]
        message = f"{model.name} is not trained as {names[type]}"
        yield Finding("error", "training_type", "trainingType", message, f"choose {' or '.join(known)}")
    elif type == "developerTier":
        message = "a developer job runs on idle machines, so it may be interrupted and goes on by itself"
        yield Finding("info", "training_type", "trainingType", message, "take Global if it is urgent")
    places = [p for p in model.regions if (p.use, p.type) == ("training", _place(type))]
    if region and places and not any(place.has(region) for place in places):
        message = f"{model.name} is not trained as {names[type]} in {region}"
        fix = f"take a resource in {', '.join(places[0].names[:4])}{' …' if len(places[0].names) > 4 else ''}"
        yield Finding("error", "region", "", message, fix)


def _called(type: str) -> str:
    return str(TRAINING_TYPES.get(type, type))


def _place(type: str) -> str:
    """Developer jobs run wherever global ones do."""
    return "globalStandard" if type == "developerTier" else type
