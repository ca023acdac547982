"""A month on the emulated clock: the ledger holds the hours and tokens that the service counted."""

import json
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from control_plane import management
from echo_service import Watch, client_of, echo_service, tune
from starlette.testclient import TestClient

from workbench import deploy as deploying
from workbench.connect import connect
from workbench.costs import ledger
from workbench.deploy import answering, deploy, deployments, follow, plan_deployment, remove
from workbench.evaluation.requests import Request
from workbench.evaluation.requests import ask as ask_all
from workbench.local.emulation import Emulation
from workbench.local.store.store import Store
from workbench.project import Project

TUNED = "nano.ft-0123456789abcdef0123456789abcdef"
HOUR, DAY = 3_600, 86_400
PRICES = """
[source.mine]
title = "A price of this test"
date = 2026-11-01

[[price]]
model = "gpt-4.1-mini"
service = "azure"
training_type = "globalStandard"
source = "mine"
usd = { hosting_hour = 1.70, training = 5.00, tuned_input = 0.40, tuned_output = 1.60 }
"""


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    watch = Watch()
    monkeypatch.setattr(deploying, "now", watch.read)
    return watch


@pytest.fixture
def service(home: Path, watch: Watch) -> Iterator[TestClient]:
    tune(home, TUNED)
    with echo_service(home, watch, Emulation(strict=True)) as http:
        yield http


@pytest.fixture
def client(service: TestClient, watch: Watch) -> openai.OpenAI:
    return connect("azure", client=client_of(service), management=management(service, watch))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project("gql", tmp_path / "project")


@pytest.fixture
def priced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosting as on Azure, for models that only this machine has."""
    rate = {"DeveloperTier": 0.0}
    monkeypatch.setattr(
        deploying, "_rates", lambda base, sku, *_: deploying._Rates(rate.get(sku, 1.7), 0.4, 1.6, "mine")
    )


def host(client: openai.OpenAI, watch: Watch, project: Project, name: str, sku: str) -> None:
    """A deployment that answers 5 seconds after it was asked for."""
    plan = plan_deployment(client, TUNED, sku=sku, name=name, project=project)
    begun = deploy(client, plan, project=project, agreed=True)
    watch.now += 5
    assert [one.ready for one in follow(client, begun, project=project, poll_seconds=0)] == [True]


def ask(client: openai.OpenAI, project: Project, name: str, text: str) -> None:
    """Ask the deployed model by its own name, as the notebooks do; the service counts 5 tokens and 2."""
    served = answering(client, project, TUNED, name=name).client
    asked = Request(TUNED, ({"role": "user", "content": text},), 8)
    list(ask_all(served, [asked], concurrency=1, cache=project.path / "answers.jsonl"))


def train(home: Path, project: Project, model: str, tokens: int) -> str:
    """A job that the service has ended and billed, as the project launched it."""
    store = Store(home)
    job = store.jobs.add({"model": model, "training_file": "file-x", "hyperparameters": {}, "seed": 1})["id"]
    store.jobs.update(job, status="succeeded", trained_tokens=tokens)
    store.events.add(job, f"Training tokens billed: {round(tokens, -3)}")
    store.close()
    launched = {"provider": "azure", "training_type": "globalStandard", "estimated_usd": 36.2}
    project.record("job", job_id=job, **launched)
    return job


@pytest.mark.usefixtures("priced")
def test_after_a_month_the_ledger_has_the_hours_and_tokens_that_the_service_counted(
    client: openai.OpenAI, watch: Watch, project: Project, home: Path
):
    begun = watch.now
    job = train(home, project, "nano", 91_000)
    for name, sku in (("live", "GlobalStandard"), ("trial", "DeveloperTier"), ("unused", "GlobalStandard")):
        host(client, watch, project, name, sku)
    counted = dict.fromkeys(("live", "trial", "unused"), 0)
    while watch.now < begun + 30 * DAY:
        watch.now += HOUR
        for one in deployments(client):  # the service's own count: it is there, or it is not
            counted[one.name] += 1
        if counted["live"] % 240 == 1 and counted["live"] < 480:
            ask(client, project, "live", f"hour {counted['live']}")
            ask(client, project, "live", "the same")  # the second time it is not asked again
        if counted["live"] == 480:
            remove(client, "live", project=project)
    assert counted == {"live": 480, "trial": 23, "unused": 359}  # whole hours: the rest is minutes
    found = ledger(client, project, now=watch.now)
    assert {charge.name: charge.amount for charge in found.charges} == {
        "live": "480.0 hours",
        "trial": "24.0 hours",
        "unused": "360.0 hours",
        job: "91,000 tokens",
        TUNED: "15 tokens in, 6 out",
    }
    assert [c.state.split(" by")[0] for c in found.charges if c.what == "hosting"] == ["removed"] * 3
    assert found.usd == pytest.approx(1.7 * (480 + 360), abs=0.1)
    assert (found.month, found.alarms) == (0.0, ())


@pytest.mark.usefixtures("priced")
def test_an_idle_deployment_is_an_alarm_with_its_cost_and_its_end(
    client: openai.OpenAI, watch: Watch, project: Project
):
    host(client, watch, project, "live", "GlobalStandard")
    watch.now += 6 * DAY
    assert ledger(client, project, now=watch.now).alarms == ()
    watch.now += 2 * DAY
    found = ledger(client, project, now=watch.now)
    assert found.month == pytest.approx(1241.0)
    assert found.alarms == (
        "live was not asked by this project for 8 days and costs $40.80 a day; remove it, or the service "
        "does on 2027-01-30 08:00 UTC unless somebody asks.",
    )


def test_the_developer_tier_says_on_which_day_it_ends_and_another_of_its_name_is_counted_apart(
    client: openai.OpenAI, watch: Watch, project: Project
):
    host(client, watch, project, "trial", "DeveloperTier")
    assert ledger(client, project, now=watch.now).alarms == (
        "trial is removed on 2027-01-16 08:00 UTC, as every deployment of the Developer tier.",
    )
    watch.now += 3 * DAY
    host(client, watch, project, "trial", "DeveloperTier")
    watch.now += HOUR
    amounts = [charge.amount for charge in ledger(client, project, now=watch.now).charges]
    assert amounts == ["24.0 hours", "1.0 hours"]


def test_a_training_stands_with_its_estimate_and_the_tokens_that_the_service_billed(
    client: openai.OpenAI, home: Path, project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    (tmp_path / "prices.toml").write_text(PRICES)
    monkeypatch.setenv("WORKBENCH_PRICES", str(tmp_path / "prices.toml"))
    job = train(home, project, "gpt-4.1-mini-2025-04-14", 7_223_400)
    facts = {"provider": "azure", "training_type": "globalStandard", "estimated_usd": 36.2}
    project.record("job", job_id="ftjob-gone", **facts)
    first, gone = ledger(client, project).charges
    assert first.facts == {
        "what": "training",
        "name": job,
        "amount": "7,223,000 tokens",
        "estimated": 36.2,
        "usd": pytest.approx(36.115),
        "state": "succeeded",
    }
    assert (gone.usd, gone.state) == (None, "deleted at the service")
    assert "1 without a known price left out" in ledger(client, project).verdict


@pytest.mark.usefixtures("priced")
def test_a_deployment_that_the_monitor_asked_is_not_idle(
    client: openai.OpenAI, watch: Watch, project: Project
):
    host(client, watch, project, "live", "GlobalStandard")
    watch.now += 8 * DAY
    assert len(ledger(client, project, now=watch.now).alarms) == 1
    project.record("asked", name="live", moment=watch.now)
    assert ledger(client, project, now=watch.now).alarms == ()


def test_answers_are_priced_by_the_token_those_of_07_among_them_and_other_models_are_left_out(
    client: openai.OpenAI, project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    (tmp_path / "prices.toml").write_text(PRICES)
    monkeypatch.setenv("WORKBENCH_PRICES", str(tmp_path / "prices.toml"))
    tuned = "gpt-4.1-mini-2025-04-14.ft-0123456789abcdef0123456789abcdef"
    hosted = {"name": "live", "model": tuned, "sku": "GlobalStandard", "hosting_hour": 1.7, "created_at": 1e9}
    for event, moment in (("ready", 1e9 + 5), ("removed", 1e9 + HOUR)):
        project.record("deployment", provider="azure", event=event, moment=moment, **hosted)
    project.record("parity", name="live", moment=1e9 + 9, prompt_tokens=1_000_000, completion_tokens=250_000)
    kept = [
        {"key": "a", "model": tuned, "prompt_tokens": 500_000, "completion_tokens": 0},
        {"key": "b", "model": "gpt-4.1-mini-2025-04-14", "prompt_tokens": 7, "completion_tokens": 7},
    ]
    project.save("answers.jsonl", "".join(json.dumps(line) + "\n" for line in kept))
    hosting, answers = ledger(client, project).charges
    assert (hosting.what, hosting.usd) == ("hosting", pytest.approx(1.7))
    assert (answers.what, answers.name, answers.amount) == (
        "answers",
        tuned,
        "1,500,000 tokens in, 250,000 out",
    )
    assert answers.usd == pytest.approx(1.5 * 0.40 + 0.25 * 1.60)
