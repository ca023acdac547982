"""``python -m workbench ask``: a question of one's own in a shell."""

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import uvicorn
from echo_service import EchoWorkers, Watch, tune
from idle_service import KEY
from typer.testing import CliRunner, Result

from workbench.cli import OneSentence
from workbench.cli import evaluate as commands
from workbench.local.api.app import create_app
from workbench.local.emulation import Emulation
from workbench.project import open_project


@pytest.fixture
def service(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The service that the commands talk to; its models repeat what they are asked."""
    listening = socket.create_server(("127.0.0.1", 0))
    app = create_app(home, KEY, workers=EchoWorkers(), emulation=Emulation(clock=Watch().clock()))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    monkeypatch.setenv("WORKBENCH_PROVIDER", "azure")
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", f"http://127.0.0.1:{listening.getsockname()[1]}")
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
    yield
    server.should_exit = True
    thread.join(timeout=30)


def call(*words: str, stdin: str = "") -> Result:
    app = typer.Typer(cls=OneSentence, pretty_exceptions_enable=False)
    commands.add_to(app)
    return CliRunner().invoke(app, [*words], input=stdin, catch_exceptions=False)


def seconds_out(text: str) -> str:
    return "\n".join(line.rpartition(", ")[0] or line for line in text.splitlines())


def test_each_model_answers_in_turn(service: None):
    done = call("ask", "one two", "--project", "none", "--model", "nano", "--model", "smollm2-135m-instruct")
    assert (done.exit_code, done.stderr) == (0, "")
    assert seconds_out(done.stdout) == (
        "nano:\none two\n(5 tokens read, 2 written\n\n"
        "smollm2-135m-instruct:\none two\n(5 tokens read, 2 written\n"
    )


def test_the_projects_base_and_tuned_model_are_asked_and_given_as_json(service: None, home: Path):
    open_project("shop").record("job", job_id=tune(home, "nano.ft-1"), method="supervised")
    done = call("ask", "--project", "shop", "--json", stdin="Why?\n")
    facts = json.loads(done.stdout)
    assert (facts["question"], facts["prompt"]) == ("Why?", "short")
    assert [(one["name"], one["model"], one["answer"]) for one in facts["answers"]] == [
        ("base", "nano", "Why?"),
        ("tuned", "nano.ft-1", "Why?"),
    ]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("ask", "Why?", "--project", "none", "--prompt", "long"), "Project none has no prompt 'long'"),
        (("ask", "-", "--project", "none"), "There is no question; give one in quotes, or on stdin."),
        (("ask", "out of order", "--project", "none", "--model", "nano"), "The process ended; ask again."),
    ],
)
def test_what_cannot_be_asked_is_one_sentence_and_exit_code_2(service: None, words, sentence):
    done = call(*words)
    assert done.exit_code == 2
    assert sentence in done.stderr
