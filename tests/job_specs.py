"""Jobs in one line for tests: the fields of a spec by name, everything else a hyperparameter."""

from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob

from workbench.dataset.dataset import Dataset
from workbench.project import Project
from workbench.training.preflight import launch
from workbench.training.spec import JobSpec

FIELDS = (
    "model",
    "validation",
    "method",
    "seed",
    "suffix",
    "grader",
    "response_format",
    "training_type",
)


def spec(training: Dataset, *, model: str, hyperparameters: object = None, **settings: object) -> JobSpec:
    """What is to be trained."""
    given = {name: settings.pop(name) for name in FIELDS if name in settings}
    return JobSpec(training, model, hyperparameters={**(hyperparameters or {}), **settings}, **given)


def start(
    client: OpenAI, training: Dataset, *, model: str, project: Project | None = None, **settings: object
) -> FineTuningJob:
    """Launch it."""
    return launch(client, spec(training, model=model, **settings), project=project)
