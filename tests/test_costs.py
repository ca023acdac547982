"""A month on the emulated clock: the ledger holds the hours and tokens that the service counted."""

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
from workbench.deploy import deploy, deployments, follow, plan_deployment, remove
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
usd = { hosting_hour = 1.70, training = 5.00 }
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


def ask(client: openai.OpenAI, name: str) -> None:
    client.chat.completions.create(model=name, messages=[{"role": "user", "content": "Hi"}])


@pytest.mark.usefixtures("priced")
def test_after_a_month_the_ledger_has_the_hours_that_the_service_counted(
    client: openai.OpenAI, watch: Watch, project: Project
):
    begun = watch.now
    for name, sku in (("live", "GlobalStandard"), ("trial", "DeveloperTier"), ("unused", "GlobalStandard")):
        host(client, watch, project, name, sku)
    counted = dict.fromkeys(("live", "trial", "unused"), 0)
    while watch.now < begun + 30 * DAY:
        watch.now += HOUR
        for one in deployments(client):  # the service's own count: it is there, or it is not
            counted[one.name] += 1
        if counted["live"] % 240 == 1 and counted["live"] < 480:
            ask(client, "live")
        if counted["live"] == 480:
            remove(client, "live", project=project)
    assert counted == {"live": 480, "trial": 23, "unused": 359}  # whole hours: the rest is minutes
    found = ledger(client, project, now=watch.now)
    assert {charge.name: charge.amount for charge in found.charges} == {
        "live": "480.0 hours",
        "trial": "24.0 hours",
        "unused": "360.0 hours",
    }
    assert [charge.state.split(" by")[0] for charge in found.charges] == ["removed"] * 3
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
    store = Store(home)
    model = "gpt-4.1-mini-2025-04-14"
    job = store.jobs.add({"model": model, "training_file": "file-x", "hyperparameters": {}, "seed": 1})["id"]
    store.jobs.update(job, status="succeeded", trained_tokens=7_223_400)
    store.events.add(job, "Training tokens billed: 7223000")
    store.close()
    facts = {"provider": "azure", "training_type": "globalStandard", "estimated_usd": 36.2}
    project.record("job", job_id=job, **facts)
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
