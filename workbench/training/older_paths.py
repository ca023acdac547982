"""Neighbouring and older ways to start the same training: azd's job file, and Azure ML's serverless jobs.

Apart because the second needs a package of its own, ``azure-ai-ml``, and because it ends: the models that
were trained so are retired one by one, and what took its place is the one jobs API of ``jobs``. The objects
are made and nothing is sent; whoever has a workspace sends them with an ``MLClient``.
"""

import datetime
import importlib
from typing import Any

import yaml

from workbench import catalog
from workbench.catalog.models import Model
from workbench.catalog.providers import provider
from workbench.errors import DataError, SetupError
from workbench.project import Project
from workbench.training.spec import JobSpec, file_content

# azd's job file, for ``azd ai finetuning jobs submit -f fine-tune-job.yaml``.
#
# Its fields are those that the extension azure.ai.finetune reads (Azure/azure-dev, pkg/models/finetune.go,
# 2026), its form that of Microsoft's sample for Ministral-3B (microsoft-foundry/foundry-samples).

JOB_FILE = "fine-tune-job.yaml"
_AZD_HYPERPARAMETERS = {
    "n_epochs": "epochs",
    **{
        name: name
        for name in (
            *("batch_size", "learning_rate_multiplier", "beta", "compute_multiplier"),
            *("reasoning_effort", "eval_interval", "eval_samples"),
        )
    },
}


def azd_yaml(spec: JobSpec, *, training: str = "training.jsonl", validation: str = "validation.jsonl") -> str:
    """The job as azd's file, with the data in two files beside it; as Azure wants it, with a training type.

    The metadata make it the same job as one of ``launch``: either finds the other. ``DataError`` names what
    the file has no field for.
    """
    spec = spec.at(provider("azure"))
    lacking = [name for name in spec.sent_hyperparameters if name not in _AZD_HYPERPARAMETERS]
    lacking += ["response_format"] if spec.response_format else []
    if lacking:
        raise DataError(
            f"azd's job file has no field for {', '.join(lacking)}: leave it out, or launch from here."
        )
    body = spec.body(f"local:{training}", f"local:{validation}" if spec.validation else None)
    settings: dict[str, Any] = {
        "hyperparameters": {
            _AZD_HYPERPARAMETERS[name]: value for name, value in spec.sent_hyperparameters.items()
        }
    }
    settings |= {"grader": dict(spec.grader)} if spec.grader else {}
    method = {"type": spec.trained_by.name, spec.trained_by.name: settings}
    file = body | {"method": method, "extra_body": {"trainingType": body.pop("trainingType")}}
    return yaml.safe_dump(file, sort_keys=False, allow_unicode=True)


def export_azd(project: Project, spec: JobSpec) -> str:
    """Write azd's job file and its data into the project's folder ``azd``; gives the command to run there."""
    project.save("azd/training.jsonl", file_content(spec.training))
    if spec.validation is not None:
        project.save("azd/validation.jsonl", file_content(spec.validation))
    path = project.save(f"azd/{JOB_FILE}", azd_yaml(spec))
    return f"cd {path.parent} && azd ai finetuning jobs submit -f {JOB_FILE} -e PROJECT-ENDPOINT"


# Serverless jobs of Azure ML, the way of Phi, Llama and Mistral from 2024 on (Azure/azureml-examples,
# 2026-07-31; azure-ai-ml 1.35.2). Of the models that were trained in this way only, the table of those that
# can be tuned today (Microsoft Learn, 2026-10-06) has none.

LEARNING_RATE = 0.00002
"""Of Microsoft's samples. It is a rate and no multiplier, so it does not follow from a ``JobSpec``."""
_NOW = (
    "The way now is the jobs API on a Foundry resource, with the training type Global (04_launch): "
    "gpt-oss-20b, Qwen3-32B, Llama-3.3-70B-Instruct or Ministral-3B"
)


def ended(model: str, *, on: datetime.date | None = None) -> str:
    """What has ended of the serverless way for this model, since when, and what took its place."""
    known, today = _serverless(model), on or datetime.date.today()
    life = known.life("azure")
    if life is None or not life.is_retired(today):
        source = life.sources.get("training") if life else None
        return f"{known.name} still answers, but today's table of models to tune lacks it ({source}). {_NOW}."
    since = f" since {life.base_retires}" if life.base_retires else ""
    instead = f"; Azure names {life.successor} in its place" if life.successor else ""
    source = life.sources["base_retires" if life.base_retires else "stage"]
    return f"{known.name} is retired{since}{instead} ({source}). {_NOW}."


def serverless_job(
    spec: JobSpec,
    *,
    model_id: str,
    training_data: str,
    validation_data: str,
    name: str,
    learning_rate: float = LEARNING_RATE,
    on: datetime.date | None = None,
) -> Any:
    """The job as ``MLClient.jobs.create_or_update`` takes it; ``SetupError`` where its model is retired.

    ``model_id``: that of the model in the registry (``azureml://registries/azureml/models/…``).
    ``training_data`` and ``validation_data``: the ids of two data assets of the type URI_FILE, both needed:
    the package fails without the second.
    """
    known = _alive(spec.model, on)
    if spec.trained_by.name != "supervised":
        raise DataError(f"{known.name} was trained by supervised fine-tuning only; give demonstrations.")
    package, chosen = _package("azure.ai.ml.finetuning"), spec.hyperparameters
    numbers = {
        "per_device_train_batch_size": chosen.get("batch_size") or 1,
        "learning_rate": f"{learning_rate:f}",
        "num_train_epochs": chosen.get("n_epochs") or 1,
    }
    return package.create_finetuning_job(
        task=package.FineTuningTaskType.CHAT_COMPLETION,
        model=model_id,
        training_data=training_data,
        validation_data=validation_data,
        hyperparameters={setting: str(value) for setting, value in numbers.items()},  # it takes texts only
        name=name,
        display_name=name,
        experiment_name=name,
        output_model_name_prefix=spec.suffix or name,
    )


def serverless_endpoint(model: str, *, model_id: str, name: str, on: datetime.date | None = None) -> Any:
    """The endpoint of a tuned model, as ``MLClient.serverless_endpoints.begin_create_or_update`` takes it.

    ``model_id``: ``azureml://locations/…/workspaces/…/models/…/versions/1``. An endpoint that nobody calls is
    deleted after 15 days.
    """
    _alive(model, on)
    return _package("azure.ai.ml.entities").ServerlessEndpoint(name=name, model_id=model_id)


def marketplace_subscription(model: str, *, model_id: str, name: str, on: datetime.date | None = None) -> Any:
    """What a model of another company needs first; ``None`` for Microsoft's own (Phi)."""
    known = _alive(model, on)
    if known.name.startswith("Phi"):
        return None
    return _package("azure.ai.ml.entities").MarketplaceSubscription(name=name, model_id=model_id)


def _serverless(name: str) -> Model:
    known = catalog.model(name)
    if "serverless" not in (known.training_types or ()):
        raise DataError(f"{known.name} was never trained as a serverless model. {_NOW}.")
    return known


def _alive(name: str, on: datetime.date | None) -> Model:
    known, life = _serverless(name), _serverless(name).life("azure")
    if life is not None and life.is_retired(on or datetime.date.today()):
        raise SetupError(ended(name, on=on))
    return known


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise SetupError(
            "Serverless jobs need the package azure-ai-ml: pip install -e '.[serverless]' in the repository."
        ) from error
