"""``costs`` and ``cleanup`` in a shell, on the real local service: what is told, asked and removed."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from control_plane import management
from echo_service import Watch, client_of, echo_service, tune
from openai import OpenAI
from typer.testing import CliRunner, Result

from workbench.cli import OneSentence, hosting
from workbench.connect import connect
from workbench.deploy import deploy, deployments, plan_deployment
from workbench.project import open_project

TUNED = "nano.ft-0123456789abcdef0123456789abcdef"


@pytest.fixture
def client(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAI]:
    """The client that the commands connect with; two deployments are there, one of another project."""
    watch = Watch()
    tune(home / "service", TUNED)
    with echo_service(home / "service", watch) as http:
        client = connect("local", client=client_of(http), management=management(http, watch))
        monkeypatch.setattr(hosting, "connect", lambda provider: client)
        for name in ("mine", "other"):
            project = open_project(name)
            deploy(client, plan_deployment(client, TUNED, name=name, project=project), project=project)
            watch.now += 5
        yield client


def call(*words: str, answer: str = "") -> Result:
    app = typer.Typer(cls=OneSentence)
    hosting.add_to(app)
    return CliRunner().invoke(app, words, input=answer)


def names(client: OpenAI) -> list[str]:
    return [one.name for one in deployments(client)]


def test_cleanup_lists_and_asks_and_a_no_removes_nothing(client: OpenAI):
    done = call("cleanup", "--project", "mine", answer="n\n")
    assert done.exit_code == 0
    assert done.stdout.endswith("Nothing was removed.\n")
    assert "mine  DeveloperTier  $0.00 an hour" in done.stderr
    assert "Remove these 1?" in done.stderr
    assert names(client) == ["mine", "other"]


def test_cleanup_removes_what_this_project_has_made_and_nothing_else(client: OpenAI):
    done = call("cleanup", "--project", "mine", "--yes", "--json")
    assert json.loads(done.stdout) == {"deployments": ["mine"], "removed": ["mine"]}
    assert names(client) == ["other"]
    assert call("cleanup", "--project", "mine", "--yes").stdout == "Project mine has no deployments.\n"


def test_costs_ends_with_1_where_something_needs_somebody(client: OpenAI):
    assert call("costs", "--project", "nothing").exit_code == 0
    call("cleanup", "--project", "mine", "--yes")
    done = call("costs", "--project", "mine", "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["usd_per_month"] == 0.0
