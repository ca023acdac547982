"""azd's job file, and the objects of Azure ML's serverless jobs, with what has ended since when."""

import datetime
from dataclasses import replace

import pytest
import yaml
from job_specs import spec

from workbench.dataset.dataset import Dataset, Example
from workbench.errors import DataError, SetupError
from workbench.evaluation.graders.ready_made import grader
from workbench.project import open_project
from workbench.training.older_paths import (
    azd_yaml,
    ended,
    export_azd,
    marketplace_subscription,
    serverless_endpoint,
    serverless_job,
)

DAY = datetime.date(2026, 11, 22)


def dataset(name: str) -> Dataset:
    rows = (
        ({"role": "user", "content": f"{name} {n}?"}, {"role": "assistant", "content": f"{n}."})
        for n in range(12)
    )
    return Dataset(name, tuple(Example(row, f"{name}:{n}") for n, row in enumerate(rows)))


DOGS, CATS = dataset("dogs"), dataset("cats")
ASKED = ({"role": "user", "content": "1 + 1?"},)
PROMPTS = Dataset("sums", tuple(Example(ASKED, f"sums:{n}", {"answer": "2"}) for n in range(12)))
O4 = "o4-mini-2025-04-16"


# azd


def test_the_job_file_is_in_the_form_of_microsofts_sample():
    chosen = {"n_epochs": 4, "batch_size": 8, "learning_rate_multiplier": 0.1}
    job = spec(DOGS, model="Ministral-3B", validation=CATS, seed=42, suffix="sft-oss-trained", **chosen)
    assert yaml.safe_load(azd_yaml(job)) == {
        "model": "Ministral-3B",
        "training_file": "local:training.jsonl",
        "validation_file": "local:validation.jsonl",
        "method": {
            "type": "supervised",
            "supervised": {
                "hyperparameters": {"epochs": 4, "batch_size": 8, "learning_rate_multiplier": 0.1}
            },
        },
        "seed": 42,
        "suffix": "sft-oss-trained",
        "metadata": {"workbench_content": job.content},
        "extra_body": {"trainingType": "globalStandard"},
    }


def test_a_reinforcement_job_takes_its_grader_along():
    job = spec(PROMPTS, model=O4, validation=PROMPTS, grader=grader("exact"), eval_samples=5)
    found = yaml.safe_load(azd_yaml(replace(job, training_type="Developer")))
    assert found["method"]["reinforcement"]["grader"] == grader("exact")
    assert found["method"]["reinforcement"]["hyperparameters"]["eval_samples"] == 5
    assert found["extra_body"] == {"trainingType": "developerTier"}


def test_what_the_job_file_has_no_field_for_is_named():
    schema = {
        "type": "json_schema",
        "json_schema": {"name": "n", "strict": True, "schema": {"type": "object"}},
    }
    job = spec(PROMPTS, model=O4, grader=grader("exact"), response_format=schema)
    with pytest.raises(DataError, match="no field for response_format: leave it out"):
        azd_yaml(job)
    with pytest.raises(DataError, match="no field for max_completion_tokens"):
        azd_yaml(spec(PROMPTS, model=O4, grader=grader("exact"), max_completion_tokens=9))


def test_the_file_and_its_data_lie_in_the_project(home):
    project = open_project("gql")
    command = export_azd(project, spec(DOGS, model="gpt-4.1-mini-2025-04-14"))
    folder = project.path / "azd"
    submit = "azd ai finetuning jobs submit -f fine-tune-job.yaml -e PROJECT-ENDPOINT"
    assert command == f"cd {folder} && {submit}"
    assert (folder / "training.jsonl").read_bytes() == DOGS.to_jsonl()
    found = yaml.safe_load((folder / "fine-tune-job.yaml").read_text())
    assert "validation_file" not in found
    assert sorted(path.name for path in folder.iterdir()) == ["fine-tune-job.yaml", "training.jsonl"]


# Serverless jobs

JOB = {
    "model_id": "azureml://registries/azureml/models/Phi-4-mini-instruct/versions/1",
    "training_data": "azureml:train:1",
    "validation_data": "azureml:valid:1",
    "name": "gql-1",
    "on": DAY,
}


def test_what_has_ended_is_said_with_its_day_and_what_took_its_place():
    llama, phi = ended("Meta-Llama-2-70b", on=DAY), ended("Phi-4-mini-instruct", on=DAY)
    assert llama.startswith(
        "Meta-Llama-2-70b is retired since 2025-06-30; Azure names Llama-3.3-70B-Instruct"
    )
    assert phi.startswith("Phi-4-mini-instruct still answers, but today's table of models to tune lacks it")
    assert "the jobs API on a Foundry resource, with the training type Global" in llama
    assert llama.rpartition(" (")[0] != phi.rpartition(" (")[0]
    with pytest.raises(DataError, match=r"gpt-4\.1 was never trained as a serverless model"):
        ended("gpt-4.1", on=DAY)


def test_nothing_is_built_for_a_model_that_is_retired():
    with pytest.raises(SetupError, match="Phi-3-mini-4k-instruct is retired since 2025-08-30"):
        serverless_job(spec(DOGS, model="Phi-3-mini-4k-instruct"), **JOB)
    with pytest.raises(SetupError, match="Mistral-Nemo is retired since 2026-01-30"):
        serverless_endpoint("Mistral-Nemo", model_id="azureml://x", name="nemo", on=DAY)


def test_without_the_package_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "azure.ai.ml.finetuning", None)
    with pytest.raises(SetupError, match=r"need the package azure-ai-ml: pip install -e '\.\[serverless\]'"):
        serverless_job(spec(DOGS, model="Phi-4-mini-instruct"), **JOB)


def test_the_job_is_the_one_that_azure_ml_takes():
    pytest.importorskip("azure.ai.ml", reason="the optional extra 'serverless' is not installed")
    job = serverless_job(spec(DOGS, model="Phi-4-mini-instruct", n_epochs=3, suffix="gql"), **JOB)
    sent = job._to_rest_object().as_dict()["properties"]
    details = sent["fineTuningDetails"]
    assert (sent["jobType"], details["taskType"], details["modelProvider"]) == (
        "FineTuning",
        "chatCompletion",
        "Custom",
    )
    assert details["model"] == {"uri": JOB["model_id"], "jobInputType": "mlflow_model"}
    assert details["trainingData"] == {"uri": "azureml:train:1", "jobInputType": "uri_file"}
    assert details["validationData"] == {"uri": "azureml:valid:1", "jobInputType": "uri_file"}
    assert details["hyperParameters"] == {
        "per_device_train_batch_size": "1",
        "learning_rate": "0.000020",
        "num_train_epochs": "3",
    }
    assert sent["outputs"]["registered_model"] == {"assetName": "gql", "jobOutputType": "mlflow_model"}


def test_the_endpoint_and_the_subscription_are_those_that_azure_ml_takes():
    pytest.importorskip("azure.ai.ml", reason="the optional extra 'serverless' is not installed")
    model_id = "azureml://locations/eastus2/workspaces/w/models/gql/versions/1"
    endpoint = serverless_endpoint("Phi-4-mini-instruct", model_id=model_id, name="gql", on=DAY)
    assert endpoint.name == "gql"
    assert endpoint._to_rest_object().as_dict() == {
        "properties": {"modelSettings": {"modelId": model_id}},
        "sku": {"name": "Consumption"},
    }
    assert marketplace_subscription("Phi-4", model_id="azureml://x", name="phi", on=DAY) is None
    before = datetime.date(2025, 6, 1)
    wanted = marketplace_subscription("Llama-2-7B-chat", model_id="azureml://y", name="llama", on=before)
    assert (wanted.name, wanted.model_id) == ("llama", "azureml://y")
