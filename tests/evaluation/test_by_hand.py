"""Models tried by hand: streamed answers of the real app, a project's models and prompts, what is kept."""

import json
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from echo_service import Watch, client_of, echo_service, tune
from starlette.testclient import TestClient

from workbench.connect import connect
from workbench.dataset.read import read
from workbench.errors import DataError
from workbench.evaluation.by_hand import Kept, asked_by_hand, cost_of, models_of, prompts_of, stream
from workbench.evaluation.requests import Answer, Request
from workbench.project import Project, open_project

TASK = 'examples = "train.csv"\ntest = "test.csv"\nsystem = "Be brief."\nreference = "rules.md"\n'


@pytest.fixture
def http(home: Path) -> Iterator[TestClient]:
    with echo_service(home, Watch()) as http:
        yield http


@pytest.fixture
def project(home: Path) -> Project:
    """A project with a task of one training row and one question of the test."""
    project = open_project("shop")
    project.save("project.toml", TASK)
    project.save("train.csv", "question,answer\nIs it blue?,Yes.\n")
    project.save("test.csv", "question,answer\nIs it red?,No.\n")
    project.save("rules.md", "All is blue.")
    return project


def question(text: str) -> Request:
    return Request("nano", [{"role": "user", "content": text}], 10, 0.0)


def test_an_answer_comes_as_it_is_written_and_whole_at_the_end(http: TestClient):
    growing, whole = stream(client_of(http), question("one two"))
    assert (growing.text, growing.finish_reason, growing.completion_tokens) == ("one two", "", 1)
    assert (whole.text, whole.finish_reason) == ("one two", "stop")
    assert (whole.prompt_tokens, whole.completion_tokens) == (5, 2)


def test_the_service_refuses_in_its_own_words(http: TestClient):
    with pytest.raises(openai.APIError, match="The process ended; ask again"):
        list(stream(client_of(http), question("out of order")))


def test_what_an_answer_took_is_told_in_words():
    assert cost_of(Answer("a", "stop", 0.84, 48, 12)) == "48 tokens read, 12 written, 0.8 s"
    assert cost_of(Answer("a", "length", 2.0, 0, 1200)) == "1,200 written, 2.0 s, cut off at the limit"


def test_the_models_are_the_base_and_what_its_jobs_made(http: TestClient, project: Project, home: Path):
    client = connect("local", client=client_of(http))
    assert models_of(client, project) == {"base": "SmolLM2-135M-Instruct"}
    project.record("job", job_id=tune(home, "nano.ft-1"), method="supervised")
    assert models_of(client, project) == {"base": "nano", "tuned": "nano.ft-1"}


def test_the_prompts_are_the_projects_own(project: Project):
    prompts = prompts_of(project)
    assert {name: prompt.system for name, prompt in prompts.items()} == {
        "short": None,
        "engineered": "Be brief.\n\nAll is blue.",
    }
    assert prompts["short"].messages(asked_by_hand(project, "Is it green?")) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Is it green?"},
    ]


def test_a_project_without_a_task_asks_the_question_alone(home: Path):
    nothing = open_project("nothing")
    assert list(prompts_of(nothing)) == ["short"]
    assert asked_by_hand(nothing, "Why?").messages == ({"role": "user", "content": "Why?"},)


def test_what_is_kept_is_read_back_as_examples(project: Project):
    kept = Kept(project)
    assert kept.keep("training", "Is it green?", "No, <b>blue</b>.") is None
    [line] = map(json.loads, kept.file("training").read_text().splitlines())
    assert [message["role"] for message in line["messages"]] == ["system", "user", "assistant"]
    [example] = read(kept.file("training"))
    assert (example.question, example.answer) == ("Is it green?", "No, <b>blue</b>.")


def test_the_same_question_is_kept_once_and_can_be_forgotten(project: Project):
    kept = Kept(project)
    kept.keep("test", "Is it green?", "No.")
    assert kept.keep("test", "is it  GREEN?", "Never.") == "No."
    assert kept.answers("test") == {"is it  GREEN?": "Never."}
    assert kept.keep("test", "Is it green?", None) == "Never."
    assert kept.answers("test") == {}


@pytest.mark.parametrize(
    ("use", "asked", "answer", "finding"),
    [
        ("training", "is it red?", "No.", "The test asks this question"),
        ("test", "Is it blue?", "Yes.", "It is trained on this question"),
        ("test", "Is it kept?", "Yes.", "It is trained on this question"),
        ("training", "Is it green?", " ", "The answer is empty"),
        ("later", "Is it green?", "No.", "'later' is nothing to keep a question for"),
    ],
)
def test_what_would_spoil_a_test_or_teach_nothing_is_not_kept(project, use, asked, answer, finding):
    kept = Kept(project)
    kept.keep("training", "Is it kept?", "Yes.")
    with pytest.raises(DataError, match=finding):
        kept.keep(use, asked, answer)
    assert kept.answers("test") == {}
