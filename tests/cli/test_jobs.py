"""``jobs`` in a shell, on the real local service: what is told, as text and as JSON, and how it ends."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer
from openai import OpenAI
from starlette.testclient import TestClient
from typer.testing import CliRunner, Result

from workbench.cli import OneSentence
from workbench.cli import jobs as commands
from workbench.cli.guide import CONTRACTS
from workbench.local.api.app import create_app
from workbench.local.store.store import Store
from workbench.project import open_project


class Idle:
    """Workers that leave every job pending."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def wake(self) -> None: ...


@pytest.fixture
def client(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAI]:
    """The client that the commands connect with, to the real service without a port."""
    with TestClient(create_app(home / "service", "key", workers=Idle())) as http:
        client = OpenAI(
            base_url="http://127.0.0.1/openai/v1/", api_key="key", http_client=http, max_retries=0
        )
        monkeypatch.setattr(commands, "connect", lambda provider: client)
        yield client


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    store = Store(home / "service")
    yield store
    store.close()


@pytest.fixture
def job(client: OpenAI) -> str:
    rows = b'{"messages": []}\n' * 10
    file = client.files.create(file=("train.jsonl", rows), purpose="fine-tune")
    return client.fine_tuning.jobs.create(model="nano", training_file=file.id, suffix="cli").id


@pytest.fixture
def ends(client: OpenAI, store: Store, job: str) -> Callable[..., str]:
    """Gives the id of a job that has ended so."""

    def ended(status: str, **fields: object) -> str:
        id = client.fine_tuning.jobs.create(
            model="nano", training_file=client.fine_tuning.jobs.retrieve(job).training_file
        ).id
        store.jobs.update(id, status=status, **fields)
        return id

    return ended


def call(*words: str) -> Result:
    app = typer.Typer(cls=OneSentence)
    commands.add_to(app)
    app.command("other")(lambda: None)
    return CliRunner().invoke(app, ["jobs", *words], catch_exceptions=False)


def test_no_jobs_are_told(client: OpenAI):
    assert call("list").stdout == "There are no jobs yet.\n"
    assert json.loads(call("list", "--json").stdout) == {"jobs": []}


def test_jobs_are_listed_newest_first(job: str, ends: Callable[..., str]):
    newest = ends("succeeded", fine_tuned_model="nano.ft-1")
    header, *lines = call("list").stdout.splitlines()
    assert header.split() == [
        "job",
        "status",
        "started",
        "(UTC)",
        "project",
        "run",
        *("base", "model", "tuned", "model"),
    ]
    assert [line.split()[:2] for line in lines] == [[newest, "succeeded"], [job, "pending"]]
    assert lines[0].endswith("  nano        nano.ft-1")
    listed = json.loads(call("list", "--json").stdout)["jobs"]
    assert [(each["id"], each["fine_tuned_model"]) for each in listed] == [
        (newest, "nano.ft-1"),
        (job, None),
    ]
    assert len(call("list", "--limit", "1").stdout.splitlines()) == 2


def test_a_listed_job_names_its_project_and_its_short_name(job: str, ends: Callable[..., str]):
    second = ends("succeeded")
    for number, id in enumerate((job, second)):
        open_project("mine").record("job", job_id=id, seed=number)
    open_project("mine").record("job", job_id=second, seed=1)  # found again, and no new run
    lines = call("list").stdout.splitlines()
    assert "  mine     #2, seed 1  nano" in lines[1]
    assert "  mine     #1, seed 0  nano" in lines[2]
    listed = json.loads(call("list", "--json").stdout)["jobs"]
    assert [(each["project"], each["run"]) for each in listed] == [
        ("mine", "#2, seed 1"),
        ("mine", "#1, seed 0"),
    ]


def test_a_job_is_shown_with_what_can_be_done_to_it(job: str):
    shown = call("show", job).stdout
    assert shown.startswith(f"{job}: pending\nNothing has been measured yet.\n")
    assert "cancel (possible: at any time before its end, for good): costs nothing.\n" in shown
    told = json.loads(call("show", job, "--json").stdout)
    assert (told["id"], told["status"], told["step"], told["alerts"]) == (job, "pending", 0, [])
    assert [choice["verb"] for choice in told["choices"] if choice["possible"]] == ["cancel"]


@pytest.mark.parametrize(("status", "code"), [("succeeded", 0), ("failed", 1), ("cancelled", 3)])
def test_following_ends_as_the_job_ended(ends: Callable[..., str], status: str, code: int):
    id = ends(status)
    done = call("follow", id, "--poll", "0")
    assert done.exit_code == code
    assert done.stdout.startswith(f"{id}: {status}\n")
    assert done.stderr.startswith(f"{id}: {status}, step 0\nAlert: {id} at step 0: ")


def test_of_several_jobs_the_worst_end_counts(ends: Callable[..., str]):
    good, gone, bad = ends("succeeded"), ends("cancelled"), ends("failed")
    assert call("follow", good, gone).exit_code == 3
    done = call("follow", good, gone, bad, "--json")
    told = json.loads(done.stdout)
    assert done.exit_code == 1
    assert [(each["id"], each["status"]) for each in told["jobs"]] == [
        (good, "succeeded"),
        (gone, "cancelled"),
        (bad, "failed"),
    ]
    assert [alert["kind"] for alert in told["alerts"]] == ["done", "cancelled", "failed"]


def test_a_webhook_that_nobody_listens_at_ends_no_watch(ends: Callable[..., str]):
    done = call("follow", ends("succeeded"), "--webhook", "http://127.0.0.1:9/secret")
    assert done.exit_code == 0
    assert "The webhook at 127.0.0.1 cannot be reached: " in done.stderr
    assert "secret" not in done.stderr


def test_a_webhook_that_is_none_is_refused_before_anything_is_followed(job: str):
    done = call("follow", job, "--webhook", "hooks.example.com")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("A webhook is an address that begins with https://")


def test_an_interrupt_stops_the_following_and_not_the_job(
    client: OpenAI, job: str, monkeypatch: pytest.MonkeyPatch
):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("workbench.training.follow.time.sleep", interrupted)
    done = call("follow", job)
    assert done.exit_code == 130
    assert done.stderr.endswith(f"No longer followed; the jobs go on: {job}\n")
    assert client.fine_tuning.jobs.retrieve(job).status == "pending"


def test_a_job_is_cancelled_and_its_cost_told(client: OpenAI, job: str):
    assert call("cancel", job).stdout == f"{job} is cancelled.\nIt costs nothing.\n"
    assert client.fine_tuning.jobs.retrieve(job).status == "cancelled"
    again = call("cancel", job)
    assert again.exit_code == 2
    assert f"Job {job} cannot be cancelled; it has ended: cancelled." in again.stderr


def test_a_cancellation_in_json(job: str):
    told = json.loads(call("cancel", job, "--json").stdout)
    assert (told["id"], told["status"], told["costs"]) == (job, "cancelled", "nothing")


@pytest.fixture
def stacked(home: Path, ends: Callable[..., str]) -> tuple[str, str]:
    """A job on the service alone, and one on top of its model that is on record; their ids."""
    below = ends("succeeded", fine_tuned_model="nano.ft-1")
    facts = {"model": "nano.ft-1", "method": "dpo", "training_examples": 40}
    open_project("gql").record("job", job_id="ftjob-2", **facts)
    return below, "ftjob-2"


def test_a_lineage_is_shown_from_the_record_and_where_it_ends_from_the_service(stacked: tuple[str, str]):
    below, above = stacked
    assert call("lineage", above).stdout == (
        "nano\n  nano.ft-1: SFT; is deleted; what was trained from it stays\n    ftjob-2: DPO on 40 pairs\n"
    )
    facts = json.loads(call("lineage", "--json").stdout)
    assert [(step["job_id"], step["method"], step["depth"]) for step in facts["steps"]] == [
        (below, "sft", 1),
        (above, "dpo", 2),
    ]
    assert (facts["bases"], facts["missing"]) == (["nano"], [])


def test_the_lineage_of_a_model_that_is_not_there_is_one_sentence(stacked: tuple[str, str]):
    done = call("lineage", "nnao")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == "Project gql has no model 'nnao'; it has nano.\n"


@pytest.mark.parametrize("verb", ["show", "follow", "pause", "resume", "cancel"])
def test_a_job_that_nobody_knows_is_one_sentence(client: OpenAI, verb: str):
    done = call(verb, "ftjob-nobody")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "this service has no job 'ftjob-nobody'" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_what_the_local_service_cannot_do_it_says_itself(job: str, verb: str):
    done = call(verb, job)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("The service did not do it: Error code: 4")


def test_the_json_of_every_command_has_the_names_that_the_guide_promises(job: str):
    for words in (("list",), ("show", job), ("cancel", job), ("follow", job, "--poll", "0")):
        answer = json.loads(call(*words, "--json").stdout)
        assert set(CONTRACTS[f"jobs {words[0]}"].answers) - answer.keys() == set()
