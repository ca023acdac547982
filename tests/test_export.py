"""A tuned model leaves as files: what is written, the same answers, and what is refused with nothing lost."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from echo_service import Watch, client_of, echo_service
from openai import OpenAI
from typer.testing import CliRunner

from workbench import export
from workbench.__main__ import app
from workbench.catalog.providers import PROVIDERS
from workbench.connect import connect
from workbench.errors import DataError, SetupError
from workbench.evaluation.evaluate import questions
from workbench.evaluation.evaluation import Evaluation
from workbench.evaluation.graders.ready_made import grader
from workbench.evaluation.prompts import Prompt
from workbench.evaluation.requests import Answer
from workbench.export import SameAnswers, export_model
from workbench.local.models import lora, merged
from workbench.local.models.bases import base_folder
from workbench.local.models.model import load_base
from workbench.project import Project, open_project, state_task
from workbench.settings import models_in

TUNED = "nano.ft-0123456789abcdef0123456789abcdef"
QUESTIONS = ("What is 2 and 2?", "What is 3 and 3?", "What is 4 and 4?")


@pytest.fixture
def client(home: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAI]:
    """The local service, with an adapter that moves every answer of nano."""
    monkeypatch.setenv("WORKBENCH_MODELS", str(models))
    base = load_base("nano", base_folder("nano", models_in(home)), dtype=torch.float32)
    numbers = torch.Generator().manual_seed(3)
    for parameter in lora.add_adapter(base.model, "mine", seed=1):
        parameter.data.copy_(torch.randn(parameter.shape, generator=numbers) * 0.1)
    folder = home / "service" / "adapters" / "ftjob-0123456789abcdef0123456789abcdef" / "step-20"
    lora.save_adapter(base.model, "mine", folder, base_model="nano")
    note = {"model": TUNED, "base_model": "nano", "job_id": folder.parent.name, "step": 20}
    (folder / "checkpoint.json").write_text(json.dumps(note | {"created_at": 1000, "metrics": {}}))
    watch = Watch()
    with echo_service(home / "service", watch) as http:
        yield connect("local", client=client_of(http))


def asked(tmp_path: Path) -> Project:
    """A project whose test has three questions; its record says that the tuned model was judged by them."""
    lines = ["question,answer", *(f"{question},{number}" for number, question in enumerate(QUESTIONS))]
    for name in ("train.csv", "test.csv"):
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    project = open_project("mine")
    state_task(
        project, {"examples": str(tmp_path / "train.csv"), "test": str(tmp_path / "test.csv")}, new=True
    )
    return project


def judged(project: Project, answers: list[str]) -> None:
    named = questions(project.task.read_test())
    items = tuple(
        replace(item, answers=(Answer(text, "stop", 0.1, 9, 4, score=1.0),))
        for item, text in zip(named, answers, strict=True)
    )
    file = project.path / "tuned.jsonl"
    Evaluation(TUNED, Prompt("short"), grader("exact"), items, max_tokens=6, temperature=0.0).save(file)
    facts = {"tuned_model": TUNED, "tuned_evaluation": "tuned.jsonl", "verdict": "It is better."}
    project.record("comparison", **facts, tuned_prompt="short")


def test_the_exported_model_answers_the_test_again_and_what_differs_is_shown(client: OpenAI, tmp_path: Path):
    project = asked(tmp_path)
    examples = project.task.read_test()
    first = export_model(client, tmp_path / "first", TUNED, to="hf", weights="f32")
    assert first.verdict.endswith("its answers were not compared.")
    chats = [Prompt("short").messages(example) for example in examples]
    answers = merged.answers(tmp_path / "first", chats, longest=6)
    judged(project, [*answers[:2], "something else"])
    done = export_model(client, tmp_path / "out", project=project, to="hf", weights="f32", compare=None)
    assert done.model == TUNED
    assert done.parity == SameAnswers(3, ((QUESTIONS[2], "something else", answers[2]),))
    assert done.verdict.endswith("2 of 3 answers are the service's.")
    assert "Where they differ" in done._repr_html_()
    card = (tmp_path / "out" / "README.md").read_text()
    assert "- comparison with the base model: It is better." in card
    assert "- answers equal to those of the service that trained it: 2 of 3" in card
    entry = project.latest("export")
    assert entry is not None
    assert entry.facts["parity"]["same"] == 2


def test_a_gguf_comes_with_a_modelfile_that_carries_the_chat_template(client: OpenAI, tmp_path: Path):
    done = export_model(client, tmp_path / "out", TUNED, to="gguf")
    assert sorted(file.name for file in done.folder.iterdir()) == ["Modelfile", "README.md", "model.gguf"]
    assert (done.folder / "Modelfile").read_text() == (
        "FROM ./model.gguf\nPARAMETER temperature 0\n"
        'TEMPLATE """{{ range .Messages }}'
        '{{ if eq .Role "system" }}<|im_start|>system\n{{ .Content }}<|im_end|>\n{{ end }}'
        '{{ if eq .Role "user" }}<|im_start|>user\n{{ .Content }}<|im_end|>\n{{ end }}'
        '{{ if eq .Role "assistant" }}<|im_start|>assistant\n{{ .Content }}<|im_end|>\n{{ end }}'
        '{{ end }}<|im_start|>assistant\n"""\nPARAMETER stop "<|im_end|>"\n'
    )
    assert done.commands["make a model of Ollama's"].endswith("ollama create nano-ft-01234567 -f Modelfile")


def test_an_adapter_is_that_of_the_service_with_its_base_named(client: OpenAI, home: Path, tmp_path: Path):
    done = export_model(client, tmp_path / "out", TUNED, to="adapter")
    [kept] = (home / "service" / "adapters").glob("*/step-20/adapter_model.safetensors")
    assert (done.folder / kept.name).read_bytes() == kept.read_bytes()
    assert json.loads((done.folder / "adapter_config.json").read_text())["base_model_name_or_path"] == "nano"


def test_a_folder_with_something_in_it_stays_as_it_is(client: OpenAI, tmp_path: Path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="out is there and not empty; name a new folder"):
        export_model(client, tmp_path / "out", TUNED)
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_a_disk_that_refuses_leaves_nothing(client: OpenAI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(merged, "write_folder", full)
    with pytest.raises(SetupError, match=r"out cannot be written: No space left on device\. Free some space"):
        export_model(client, tmp_path / "place" / "out", TUNED)
    assert list((tmp_path / "place").iterdir()) == []


def test_a_model_that_is_not_there_is_named_with_those_that_are(client: OpenAI, tmp_path: Path):
    with pytest.raises(SetupError, match=rf"no tuned model nano\.ft-0123; it has {TUNED}\."):
        export_model(client, tmp_path / "out", "nano.ft-0123")
    with pytest.raises(DataError, match="Name the model to export, or the project that trained it"):
        export_model(client, tmp_path / "out")


def test_weights_that_stay_in_the_cloud_are_said_to(
    client: OpenAI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(export, "provider_of", lambda _: PROVIDERS["azure"])
    with pytest.raises(SetupError, match="azure keeps the weights of the models it tunes"):
        export_model(client, tmp_path / "out", TUNED)


def test_forms_and_types_that_do_not_exist_are_refused_before_anything_is_written(
    client: OpenAI, tmp_path: Path
):
    with pytest.raises(DataError, match="exported to hf, gguf, adapter, with weights f32, f16, bf16, q8_0"):
        export_model(client, tmp_path / "out", TUNED, to="onnx")
    with pytest.raises(DataError, match="q8_0 is a type of GGUF files"):
        export_model(client, tmp_path / "out", TUNED, weights="q8_0")
    assert not (tmp_path / "out").exists()


def test_a_base_that_gguf_does_not_carry_is_refused_with_the_way_round(
    client: OpenAI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(merged, "why_not_gguf", lambda _: "its positions are scaled (rope_scaling)")
    with pytest.raises(SetupError, match=r"nano cannot be written as GGUF here: its positions .*convert_hf"):
        export_model(client, tmp_path / "out", TUNED, to="gguf")
    assert not (tmp_path / "out").exists()


def test_the_command_says_where_it_is_and_how_it_is_used(
    client: OpenAI, tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("workbench.cli.hosting.connect", lambda _: client)
    words = ("export", str(tmp_path / "out"), "--model", TUNED, "--to", "adapter", "--project", "mine")
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0
    assert done.stdout.startswith(f"{TUNED} is in {tmp_path / 'out'} (")
    # A base that no hub has is loaded from its folder.
    assert f"serve it with vLLM: vllm serve {models / 'nano'} --enable-lora" in done.stdout
