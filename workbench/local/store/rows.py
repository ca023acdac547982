"""The shapes that the API shows: what files, uploads, jobs, events and checkpoints look like in JSON."""

from collections.abc import Mapping
from typing import Literal, NotRequired, TypeAlias, TypedDict

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"


Pairs: TypeAlias = Mapping[str, str]  # of metadata
Order: TypeAlias = Literal["asc", "desc"]  # of arrival


class StoredFile(TypedDict):
    """One file."""

    id: str
    bytes: int
    created_at: int
    filename: str
    object: str
    purpose: str
    status: str
    expires_at: NotRequired[int]


class Upload(TypedDict):
    """A file that comes in parts; ``file`` is there once it is whole."""

    id: str
    object: str
    bytes: int
    created_at: int
    filename: str
    purpose: str
    status: str  # pending, completed, cancelled, expired
    expires_at: int
    file: NotRequired[StoredFile]


class JobError(TypedDict):
    """Why a job failed."""

    code: str
    message: str
    param: str | None


class Job(TypedDict):
    """One fine-tuning job; a field without value is absent."""

    id: str
    created_at: int
    object: str
    status: str
    model: str
    training_file: str
    hyperparameters: dict[str, int | float]  # -1: left to the service, and not chosen yet
    seed: int
    validation_file: NotRequired[str]
    method: NotRequired[dict[str, JSON]]
    suffix: NotRequired[str]
    trainingType: NotRequired[str]
    metadata: NotRequired[dict[str, str]]
    fine_tuned_model: NotRequired[str]
    finished_at: NotRequired[int]
    estimated_finish: NotRequired[int]
    trained_tokens: NotRequired[int]
    result_files: NotRequired[list[str]]
    error: NotRequired[JobError]


class JobChanges(TypedDict, total=False):
    """What may change in a job after it was created; ``None`` takes a field away."""

    status: str
    hyperparameters: dict[str, int | float]
    method: dict[str, JSON]
    fine_tuned_model: str | None
    finished_at: int | None
    estimated_finish: int | None
    trained_tokens: int | None
    result_files: list[str] | None
    error: JobError | None


class Event(TypedDict):
    """One line of a job's log; an event of type ``metrics`` has its numbers in ``data``."""

    id: str
    created_at: int
    level: str
    message: str
    object: str
    type: str
    data: NotRequired[dict[str, JSON]]


class Checkpoint(TypedDict):
    """One saved state of a job, usable as a model by its name."""

    id: str
    created_at: int
    fine_tuned_model_checkpoint: str
    fine_tuning_job_id: str
    metrics: dict[str, float]
    object: str
    step_number: int
