"""Starting a fine-tuning job, or finding the one that already has the same content.

A job is ``openai``'s own ``FineTuningJob``. The same content (data, model,
method, hyperparameters, seed) is never started twice: not by a second kernel,
not after a restart, not by a retry. What becomes of a job is in ``progress``.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, TypeAlias, cast

import openai

from workbench.catalog import Provider, provider_at
from workbench.errors import DataError, SetupError

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types import FileObject
    from openai.types.fine_tuning import FineTuningJob
    from openai.types.fine_tuning.job_create_params import Method

    from workbench.dataset.examples import Dataset
    from workbench.project import Project

_LOST = ("failed", "cancelled")
_FEWEST_EXAMPLES = 10  # every service refuses fewer
_METADATA_KEY = "workbench_content"

# What Azure says, and what the cause mostly is.
_MISLEADING = "does not support fine-tuning"
_HINT = (
    "Hint: often the model is fine and trainingType is not (this request: {kind}; there are globalStandard, "
    "Standard and developerTier), or model is a deployment's name: give the base model with its version, "
    "such as gpt-4.1-mini-2025-04-14."
)

Hyperparameters: TypeAlias = Mapping[str, int | float | str]
"""The knobs of a job; "auto" lets the service choose by the size of the data."""


def start_job(
    client: "OpenAI",
    dataset: "Dataset",
    *,
    model: str,
    validation: "Dataset | None" = None,
    n_epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate_multiplier: float | None = None,
    seed: int = 0,
    suffix: str | None = None,
    grader: Mapping[str, object] | None = None,
    training_type: str | None = None,
    project: "Project | None" = None,
) -> "FineTuningJob":
    """Start a supervised job on ``dataset``, or find the one that has the same content.

    What the project's record or the service knows already is not started again,
    unless it failed or was cancelled. A hyperparameter of ``None`` is the
    service's choice. With a ``grader`` the model answers held-out questions at
    intervals, and its mean grade joins the curve: only the local service can.
    ``suffix`` (for the tuned model's name) and ``training_type`` (Azure's;
    ``None`` is what the service needs) are no part of the content.
    """
    service = provider_at(str(client.base_url))
    _check(service, dataset, suffix, grader)
    hyperparameters: Hyperparameters = {
        "n_epochs": "auto" if n_epochs is None else n_epochs,
        "batch_size": "auto" if batch_size is None else batch_size,
        "learning_rate_multiplier": "auto" if learning_rate_multiplier is None else learning_rate_multiplier,
    }
    method = _supervised(hyperparameters, grader)
    content = content_of(dataset, validation=validation, model=model, method=method, seed=seed)
    with project.lock() if project else nullcontext():
        if project and (job := _recorded_job(client, project, content, service)):
            return job
        job = find_job(client, content)
        if job is None:
            kind = training_type or service.training_type
            training_file = _upload(client, dataset, "train").id
            validation_file = _upload(client, validation, "validation").id if validation else None
            try:
                # No retry by the client: the first try may have arrived although its answer did not.
                job = client.with_options(max_retries=0).fine_tuning.jobs.create(
                    model=model,
                    training_file=training_file,
                    validation_file=validation_file or openai.omit,
                    method=cast("Method", method),
                    seed=seed,
                    suffix=suffix or openai.omit,
                    metadata={_METADATA_KEY: content},
                    extra_body={"trainingType": kind} if kind else None,
                )
            except (openai.APIConnectionError, openai.InternalServerError):
                job = find_job(client, content)
                if job is None:
                    raise
            except openai.APIStatusError as error:
                if service.training_type and _MISLEADING in error.message:
                    error.add_note(_HINT.format(kind=kind or "none"))
                raise
        if project:
            project.record(
                "job",
                job_id=job.id,
                content=content,
                model=model,
                provider=service.name,
                endpoint=client.base_url.netloc.decode(),
                training_sha256=dataset.sha256,
                validation_sha256=validation.sha256 if validation else None,
                hyperparameters=hyperparameters,
                seed=seed,
            )
    return job


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


def find_job(client: "OpenAI", content: str) -> "FineTuningJob | None":
    """Find the newest job on the service with this content that did not fail and was not cancelled."""
    for job in client.fine_tuning.jobs.list(limit=100):
        if (job.metadata or {}).get(_METADATA_KEY) == content and job.status not in _LOST:
            return job
    return None


def _recorded_job(
    client: "OpenAI", project: "Project", content: str, service: Provider
) -> "FineTuningJob | None":
    """The newest job on record with this content that this service has and that did not come to nothing."""
    for entry in reversed(project.entries("job")):
        if (entry.facts.get("content"), entry.facts.get("provider")) != (content, service.name):
            continue
        try:
            job = client.fine_tuning.jobs.retrieve(str(entry.facts["job_id"]))
        except openai.NotFoundError:
            continue
        if job.status not in _LOST:
            return job
    return None


def _supervised(
    hyperparameters: Hyperparameters, grader: Mapping[str, object] | None
) -> Mapping[str, object]:
    """The request's ``method``; the grader's place is that which it has in a reinforcement job."""
    settings: dict[str, object] = {"hyperparameters": hyperparameters}
    return {"type": "supervised", "supervised": settings | ({"grader": grader} if grader else {})}


def _check(
    service: Provider, dataset: "Dataset", suffix: str | None, grader: Mapping[str, object] | None
) -> None:
    """Refuse what the service would refuse, before anything is uploaded."""
    if len(dataset) < _FEWEST_EXAMPLES:
        raise DataError(
            f"{dataset.name} has {len(dataset)} examples; a job needs at least {_FEWEST_EXAMPLES}, "
            "and 50 to 100 to show anything."
        )
    if suffix is not None and not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", suffix):
        raise DataError(
            f"'{suffix}' cannot be a suffix; use up to 40 letters (a-z, A-Z), digits, '_' and '-'."
        )
    if grader is not None and not service.grades_while_training:
        raise SetupError(
            f"{service.name} takes no grader in a supervised job; leave it out, and use evaluate afterwards."
        )


def _upload(client: "OpenAI", dataset: "Dataset", role: str) -> "FileObject":
    """Upload the data, unless a file of the same content is there; wait until it can be used."""
    content = dataset.to_jsonl()
    name = f"{role}-{dataset.sha256[:12]}.jsonl"
    there = (
        file
        for file in client.files.list(purpose="fine-tune")
        if (file.filename, file.bytes, file.status) == (name, len(content), "processed")
    )
    file = next(there, None) or client.files.create(file=(name, content), purpose="fine-tune")
    if file.status != "processed":
        file = client.files.wait_for_processing(file.id, poll_interval=1)
    if file.status != "processed":
        reason = file.status_details or "it gave no reason"
        raise DataError(f"The service cannot use {dataset.name} as a training file: {reason}")
    return file
