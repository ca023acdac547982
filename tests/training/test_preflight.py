"""What is known of a job before it is paid for: the request, the changes, the cost, what is in the way."""

import datetime
import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from job_specs import spec, start
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from workbench.dataset.dataset import Dataset, Example
from workbench.errors import DataError, SetupError
from workbench.evaluation.graders.ready_made import grader
from workbench.local.api.app import create_app
from workbench.local.store.store import Store
from workbench.project import open_project
from workbench.training.cost import CostCap, token_findings
from workbench.training.curve import Curve
from workbench.training.follow import Progress
from workbench.training.preflight import Preflight, grader_in_training, launch, preflight

pytestmark = pytest.mark.usefixtures("home")

MINI = "gpt-4.1-mini-2025-04-14"
DAY = datetime.date(2026, 11, 22)
AUTO = {"n_epochs": "auto", "batch_size": "auto", "learning_rate_multiplier": "auto"}


def dataset(name: str, size: int = 60) -> Dataset:
    rows = (
        ({"role": "user", "content": f"How many {name} {n}?"}, {"role": "assistant", "content": f"{n}."})
        for n in range(size)
    )
    return Dataset(name, tuple(Example(row, f"{name}.csv:{n}") for n, row in enumerate(rows, 2)))


PAIRS = Dataset(
    "pairs",
    tuple(
        Example(
            ({"role": "user", "content": f"Dog {n}?"},),
            f"pairs:{n}",
            {
                "preferred_output": [{"role": "assistant", "content": f"Yes, {n}."}],
                "non_preferred_output": [{"role": "assistant", "content": "No."}],
            },
        )
        for n in range(12)
    ),
)


def prompts(**more: object) -> Dataset:
    """Prompts for reinforcement, with what a grader reads."""
    asked = (({"role": "user", "content": f"{n} + {n}?"},) for n in range(12))
    return Dataset("sums", tuple(Example(row, f"sums:{n}", more) for n, row in enumerate(asked, 1)))


DOGS, CATS = dataset("dogs"), dataset("cats")
JUDGED_BY = ("price", "cost_cap", "hours", "region", "existing_customer", "on", "project", "continue_anyway")


class Idle:
    """Workers of the local service that leave every job pending."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def wake(self) -> None: ...


@pytest.fixture
def local(home: Path) -> Iterator[OpenAI]:
    with TestClient(create_app(home / "service", "key", workers=Idle())) as http:
        yield OpenAI(base_url="http://127.0.0.1/openai/v1/", api_key="key", http_client=http, max_retries=0)


class Azure:
    """As much of Azure as a preflight asks for; it takes no job and no file."""

    def __init__(self) -> None:
        self.jobs: list[str] = []  # their states
        self.files: list[int] = []  # their sizes
        self.models = [MINI, "gpt-oss-20b", "o4-mini-2025-04-16"]
        self.asked: list[str] = []

    def client(self) -> OpenAI:
        every = ("fine_tuning/jobs", "files", "models")
        app = Starlette(routes=[Route(f"/openai/v1/{path}", self.listed) for path in every])
        url = "https://my-resource.openai.azure.com/openai/v1/"
        return OpenAI(base_url=url, api_key="key", http_client=TestClient(app), max_retries=0)

    async def listed(self, request: Request) -> Response:
        self.asked.append(f"{request.method} {request.url.path}")
        data = {
            "jobs": [
                {"id": f"ftjob-{n}", "status": status, "object": "fine_tuning.job"}
                for n, status in enumerate(self.jobs)
            ],
            "files": [
                {"id": f"file-{n}", "bytes": size, "filename": f"{n}.jsonl", "status": "processed"}
                for n, size in enumerate(self.files)
            ],
            "models": [{"id": name, "object": "model"} for name in self.models],
        }[request.url.path.rsplit("/", 1)[-1]]
        return JSONResponse({"object": "list", "data": data, "has_more": False})


@pytest.fixture
def azure() -> Azure:
    return Azure()


def plan(azure: Azure, training: Dataset = DOGS, **settings: object) -> Preflight:
    about = {name: settings.pop(name) for name in JUDGED_BY if name in settings}
    job = spec(training, **{"model": MINI, **settings})
    return preflight(azure.client(), job, **{"on": DAY, **about})


def found(plan: Preflight, rule: str) -> list[tuple[str, str]]:
    """The findings by one rule: level and what is the matter."""
    return [(finding.level, finding.message) for finding in plan.findings if finding.rule == rule]


# On top of a tuned model

TUNED = f"{MINI}.ft-0a1b2c3d"


def test_a_tuned_model_is_dated_and_priced_as_its_base(azure):
    azure.models.append(TUNED)
    tuned, base = plan(azure, model=TUNED, n_epochs=3), plan(azure, model=MINI, n_epochs=3)
    assert tuned.cost.usd == base.cost.usd
    assert tuned.cost.usd.likely > 0
    assert found(tuned, "closed") == found(base, "closed")


def test_which_methods_may_start_from_a_tuned_model_is_said_with_its_page(azure):
    ((level, message),) = found(plan(azure, model=TUNED), "continued")
    assert (level, message.split(" (")[0]) == ("info", "SFT may start from a tuned model")
    assert "continuous fine-tuning" in message
    ((level, message),) = found(plan(azure, PAIRS, model=TUNED), "continued")
    assert (level, message.split(" (")[0]) == ("info", "DPO may start from a tuned model")
    graded = {"grader": grader("exact"), "validation": prompts(answer="1")}
    ((level, message),) = found(plan(azure, prompts(answer="1"), model=TUNED, **graded), "continued")
    assert (level, message) == ("warning", "no page of azure's says that RFT may start from a tuned model")
    ((level, message),) = found(plan(azure, model="gpt-oss-20b.ft-0a1b2c3d"), "continued")
    assert (level, message.split(" (")[0]) == (
        "error",
        "azure trains only OpenAI's own tuned models further, not gpt-oss-20b's",
    )
    assert found(plan(azure), "continued") == []


def test_how_the_tuned_model_was_made_is_said_and_what_speaks_against_it_stops_the_job(azure):
    project = open_project("dogs")
    said = found(plan(azure, PAIRS, model=TUNED, project=project), "lineage")
    assert said[0] == (
        "warning",
        f"How {TUNED} was made is not known: no job on the record of project dogs "
        "made it, and no job that the service lists did",
    )
    project.record("job", job_id="ftjob-0a1b2c3d", model=MINI, method="supervised", training_examples=60)
    diagnosis = {"verdict": "diverged", "title": "The training diverged", "flags": {}}
    project.record("curve", job_id="ftjob-0a1b2c3d", fine_tuned_model=TUNED, diagnosis=diagnosis)
    stopped = plan(azure, PAIRS, model=TUNED, project=project)
    assert found(stopped, "lineage") == [("info", f"it goes on from {MINI} → SFT on 60 examples")]
    ((level, message),) = found(stopped, "got_worse")
    assert level == "error"
    assert message.startswith(f"{TUNED} is of a job whose curve says: The training diverged (")
    assert not stopped.ok
    fix = next(finding.fix for finding in stopped.findings if finding.rule == "got_worse")
    assert fix == (
        f"start from {MINI} or an earlier checkpoint, or train it again with a smaller learning rate "
        "multiplier, or say continue_anyway=True (CONTINUE_ANYWAY in the notebook)"
    )
    anyway = plan(azure, PAIRS, model=TUNED, project=project, continue_anyway=True)
    assert [level for level, _ in found(anyway, "got_worse")] == ["warning"]


# The request


def test_nothing_is_started_and_nothing_uploaded(azure):
    plan(azure)
    assert set(azure.asked) == {
        "GET /openai/v1/fine_tuning/jobs",
        "GET /openai/v1/files",
        "GET /openai/v1/models",
    }


def test_the_request_is_shown_word_for_word_before_and_after_it_is_sent(local):
    settings = {"model": "nano", "validation": CATS, "n_epochs": 2, "seed": 7, "suffix": "gql"}
    before = preflight(local, spec(DOGS, **settings))
    assert before.body == {
        "model": "nano",
        "training_file": f"train-{DOGS.sha256[:12]}.jsonl",
        "validation_file": f"validation-{CATS.sha256[:12]}.jsonl",
        "method": {"type": "supervised", "supervised": {"hyperparameters": AUTO | {"n_epochs": 2}}},
        "seed": 7,
        "suffix": "gql",
        "metadata": {"workbench_content": before.spec.content},
    }
    job = launch(local, before)
    after = preflight(local, spec(DOGS, **settings))
    assert after.body == {
        **before.body,
        "training_file": job.training_file,
        "validation_file": job.validation_file,
    }
    assert (after.known.id, after.ok) == (job.id, True)
    assert f"job {job.id} is there already (pending); nothing is paid again" in str(after)


def test_what_is_launched_is_the_job_that_its_spec_finds(local):
    project = open_project("gql")
    launched = launch(local, preflight(local, spec(DOGS, model="nano"), project=project), project=project)
    assert start(local, DOGS, model="nano", project=project).id == launched.id
    assert len(project.entries("job")) == 1


def test_the_azure_field_is_part_of_the_request(azure):
    assert plan(azure).body["trainingType"] == "globalStandard"
    assert plan(azure, training_type="developerTier").body["trainingType"] == "developerTier"


def test_every_hyperparameter_has_a_reason(azure):
    found = {each.name: (each.value, each.reason) for each in plan(azure, n_epochs=3).hyperparameters}
    assert found["n_epochs"] == (3, "how often each example is seen; with 60 examples 3 to 5 are usual")
    assert found["batch_size"][0] == "auto"
    assert list(found) == ["n_epochs", "batch_size", "learning_rate_multiplier"]


def guesses(plan: Preflight) -> dict[str, str]:
    return {each.name: each.guess for each in plan.hyperparameters if each.guess}


def test_what_auto_will_become_is_guessed_with_its_source(azure):
    skill = "Microsoft's fine-tuning skill, 2026-08-20; no promise of the service"
    portal = "the portal's text: 0.2 % of the examples; jobs on 148 and 2,750 were seen to take 1"
    assert guesses(plan(azure, dataset("dogs", 1_500))) == {
        "n_epochs": f"probably 1 to 2 ({skill})",
        "batch_size": f"probably 1 to 3 ({portal})",
    }
    nano = plan(azure, model="gpt-4.1-nano-2025-04-14", n_epochs=3, batch_size=6)
    seen = "probably 0.1 (saved outputs of Microsoft's samples, 2026-01-23)"
    assert guesses(nano) == {"learning_rate_multiplier": seen}
    assert nano.steps_guessed == (30, 30)  # 60 examples, three times, by 6
    assert plan(azure, dataset("dogs", 1_500)).steps_guessed == (500, 3_000)


def test_what_this_machine_makes_of_auto_is_known_exactly(local):
    here = preflight(local, spec(DOGS, model="nano"))
    rule = "(the local service's own rule)"
    assert guesses(here) == {
        "n_epochs": f"it will be 10 {rule}",
        "batch_size": f"it will be 8 {rule}",
        "learning_rate_multiplier": f"it will be 1 {rule}",
    }
    assert here.steps_guessed == (75, 75)


# What has changed


def test_a_first_run_has_no_changes_and_the_same_again_has_none_either(local):
    project = open_project("gql")
    first = preflight(local, spec(DOGS, model="nano"), project=project)
    launch(local, first, project=project)
    again = preflight(local, spec(DOGS, model="nano"), project=project)
    assert (first.changes, again.changes) == (None, ())


def test_each_thing_that_changed_is_named_with_before_and_now(local):
    project = open_project("gql")
    project.record("dataset", training_sha256=DOGS.sha256, training_examples=60)
    start(local, DOGS, model="nano", n_epochs=2, suffix="a", project=project)
    now = preflight(
        local, spec(dataset("dogs", 61), model="nano", validation=CATS, suffix="b"), project=project
    )
    assert [tuple(change) for change in now.changes] == [
        (
            "training data",
            f"60 examples, SHA-256 {DOGS.sha256[:12]}",
            f"61 examples, SHA-256 {dataset('dogs', 61).sha256[:12]}",
        ),
        ("validation data", "not given", f"60 examples, SHA-256 {CATS.sha256[:12]}"),
        ("n_epochs", "2", "auto"),
        ("suffix", "a", "b"),
    ]
    assert found(now, "changes") == [
        (
            "warning",
            "4 things have changed since the last run: training data, validation data, n_epochs, suffix",
        )
    ]


def test_one_change_is_how_it_should_be(local):
    project = open_project("gql")
    start(local, DOGS, model="nano", project=project)
    now = preflight(local, spec(DOGS, model="nano", n_epochs=4), project=project)
    assert [change.what for change in now.changes] == ["n_epochs"]
    assert found(now, "changes") == []


# The cost


def test_the_cost_is_tokens_times_epochs_times_price(azure):
    cost = plan(azure, price=5.0, n_epochs=3).cost
    tokens = plan(azure, price=1_000_000.0, n_epochs=1).cost.likely
    assert cost.usd == pytest.approx((tokens * 3 * 5.0 / 1e6,) * 3)
    assert cost.likely == cost.usd.likely


def test_a_job_that_is_likely_dearer_than_the_cap_is_not_launched(azure):
    dear = plan(azure, price=1_000_000.0, n_epochs=1, cost_cap=100)
    ((level, message),) = found(dear, "cost_cap")
    assert level == "error"
    assert message.endswith("and the cap is $100.00")
    azure.asked.clear()
    with pytest.raises(
        SetupError, match=r"^The job is not started, and nothing was uploaded\. it will likely"
    ):
        launch(azure.client(), dear)
    assert {request.partition(" ")[0] for request in azure.asked} == {"GET"}


def test_a_job_below_the_cap_carries_it_on_for_alerts(azure):
    cheap = plan(azure, price=1_000_000.0, n_epochs=2, cost_cap=1e9)
    assert found(cheap, "cost_cap") == []
    assert cheap.cap == CostCap(1e9, usd_per_epoch=cheap.cost.likely / 2)


def test_a_running_job_has_cost_its_share_of_the_tokens(azure):
    dear = plan(azure, price=1_000_000.0, n_epochs=3)
    used = {"n_epochs": 3, "batch_size": 6, "learning_rate_multiplier": 1.0}
    facts = {
        "id": "ftjob-1",
        "object": "fine_tuning.job",
        "created_at": 1,
        "model": MINI,
        "status": "running",
    }
    facts |= {
        "organization_id": "",
        "result_files": [],
        "seed": 0,
        "training_file": "f",
        "hyperparameters": used,
    }
    job = FineTuningJob.model_validate(facts)
    assert dear.steps(job) == 30  # 60 examples, three times, by 6
    halfway = Progress(job, Curve(pd.DataFrame({"train_loss": [1.0]}, index=pd.Index([15], name="step"))), ())
    likely = dear.cost.likely
    assert dear.cost_so_far(halfway) == f"about ${likely / 2:,.2f} of ${likely:,.2f} so far"


def test_locally_a_running_job_costs_nothing(local):
    here = preflight(local, spec(DOGS, model="nano", n_epochs=1))
    assert here.cost_so_far(Progress(start(local, DOGS, model="nano"), Curve(pd.DataFrame()), ())) == (
        "costs nothing here"
    )


def test_epochs_left_to_the_service_may_pass_the_cap(azure):
    one = plan(azure, price=1_000_000.0, n_epochs=1).cost.likely
    ((level, _),) = found(plan(azure, price=1_000_000.0, cost_cap=4.5 * one), "cost_cap")
    assert level == "warning"  # 3 to 5 epochs, likely 4


def test_a_cap_that_nobody_can_hold_stands_in_the_way(azure):
    azure.models.append("Qwen3-32B")
    ((level, message),) = found(plan(azure, model="Qwen3-32B", cost_cap=10), "cost_cap")
    assert level == "error"
    assert message.startswith("the cap of $10.00 cannot be held, because the cost is not known")


def test_locally_everything_is_below_every_cap(local):
    free = preflight(local, spec(DOGS, model="nano"), cost_cap=0)
    assert (free.cost.likely, found(free, "cost_cap")) == (0, [])


def test_one_job_reads_two_billion_tokens_at_most():
    assert list(token_findings(500_000_000, 4, 2_000_000_000)) == []
    (finding,) = token_findings(500_000_001, 5, 2_000_000_000)
    assert (finding.level, finding.message[:38]) == ("error", "it would train on 2.5 billion tokens, ")


def test_a_price_that_cannot_be_is_refused(azure):
    with pytest.raises(DataError, match="price is -1"):
        plan(azure, price=-1)


def test_reinforcement_is_billed_by_the_hour(azure):
    sums = prompts(answer="0")
    settings = {"model": "o4-mini-2025-04-16", "validation": sums, "grader": grader("exact")}
    by_hours = plan(azure, sums, hours=2, cost_cap=150, **settings)
    assert by_hours.cost.likely == 200  # o4-mini costs $100 an hour
    assert found(by_hours, "cost_cap")[0][0] == "error"
    assert by_hours.cap == CostCap(150, usd_per_hour=100)


def test_the_price_at_which_azure_pauses_a_reinforcement_job_is_said_before(azure):
    sums = prompts(answer="0")
    settings = {"model": "o4-mini-2025-04-16", "validation": sums, "grader": grader("exact"), "hours": 2}
    says = "azure pauses the job by itself when training and grading have cost $5,000 together"
    assert found(plan(azure, sums, **settings), "service_cap") == [("info", says)]
    assert found(plan(azure, sums, cost_cap=6_000, **settings), "service_cap") == [
        ("info", f"{says}, which is below your cap of $6,000.00")
    ]
    assert found(plan(azure), "service_cap") == []


def test_openai_says_until_when_it_trains_and_for_whom(azure):
    azure.models.append("gpt-4.1-mini-2025-04-14")
    client = azure.client().with_options(base_url="https://api.openai.com/openai/v1/")
    job = spec(DOGS, model=MINI, training_type="Standard")
    open_to_some = preflight(client, job, on=DAY)
    ((level, message),) = found(open_to_some, "closed")
    assert level == "warning"
    assert "only an organisation that used a tuned model within the last 60 days" in message
    assert "trainingType" not in open_to_some.body
    assert found(preflight(client, job, on=datetime.date(2027, 1, 6)), "retired")[0][0] == "error"


# The model


def test_a_sound_request_has_nothing_in_its_way(azure):
    sound = plan(azure, validation=CATS)
    assert (sound.errors, sound.ok) == ((), True)
    assert str(sound).endswith("nothing in the way; 0 jobs queued there, 0 running")


def test_a_model_can_be_trained_until_its_last_day(azure):
    assert found(plan(azure, on=datetime.date(2027, 1, 1)), "retired") == []
    soon = plan(azure, on=datetime.date(2027, 4, 13))
    assert found(soon, "retired")[0][0] == "info"
    late = plan(azure, on=datetime.date(2027, 4, 14))
    assert [level for level, _ in found(late, "retired")] == ["error"]
    o4 = plan(azure, model="o4-mini-2025-04-16", existing_customer=False)
    (gone,) = [finding for finding in o4.findings if finding.rule == "retired"]
    assert gone.fix.endswith("in its place the service recommends gpt-5.6-terra")


def test_a_new_customer_is_told_what_is_closed(azure):
    closed = "gpt-4.1-mini is closed to new customers: only a subscription that has deployed this version "
    closed += "before can train it"
    assert found(plan(azure), "closed") == [("warning", closed)]  # nobody said what this one is
    (unsaid,) = [finding for finding in plan(azure).findings if finding.rule == "closed"]
    assert unsaid.fix.startswith("say whether yours is one (EXISTING_CUSTOMER in 04_launch, ")
    assert found(plan(azure, existing_customer=True), "closed") == [("info", closed)]
    assert found(plan(azure, existing_customer=False), "retired")[0][0] == "error"
    assert found(plan(azure, model="gpt-oss-20b"), "closed") == []


def test_the_name_of_a_deployment_is_recognised(azure):
    named = plan(azure, model="my-deployment")
    assert ("warning", "azure lists no model my-deployment") in found(named, "unknown_model")


def test_a_deployment_on_record_is_refused_with_the_model_behind_it(azure):
    project = open_project("gql")
    project.record("deployment", name="my-deployment", model=TUNED, event="ready")
    named = plan(azure, model="my-deployment", project=project)
    (error,) = named.errors
    assert error.message.startswith("my-deployment is the name of a deployment")
    assert error.fix == f"give {TUNED} as the model"


def test_a_model_without_its_version_is_named_with_it(azure):
    (finding,) = [each for each in plan(azure, model="gpt-4.1-mini").findings if each.rule == "unknown_model"]
    assert finding.fix == f"give it with its version: {MINI}"


def test_a_model_that_the_local_service_lacks_is_an_error(local):
    none = preflight(local, spec(DOGS, model="nono"))
    assert found(none, "unknown_model") == [("error", "local lists no model nono")]


@pytest.mark.parametrize(
    ("model", "type", "message"),
    [
        (MINI, "Standard", None),
        ("gpt-oss-20b", "globalStandard", None),
        ("gpt-oss-20b", "Standard", "gpt-oss-20b is not trained as Standard"),
        (MINI, "Global", None),
        ("gpt-oss-20b", "developer", "gpt-oss-20b is not trained as Developer (developerTier)"),
        (MINI, "regional", "there is no training type 'regional'"),
    ],
)
def test_a_training_type_must_be_one_of_the_models(azure, model, type, message):
    errors = [said for level, said in found(plan(azure, model=model, training_type=type), "training_type")]
    assert errors == ([message] if message else [])


def rows(plan: Preflight, *labels: str) -> list[str]:
    """The values that a preflight shows under these labels."""
    return [value for label, value, _ in plan._rows() if label in labels]


def test_each_training_type_is_shown_with_its_price_that_of_the_job_first(azure):
    azure.models.append("gpt-4.1-nano-2025-04-14")
    shown = plan(azure, dataset("dogs", 6_000), model="gpt-4.1-nano-2025-04-14", n_epochs=1)
    usd = {type: round(cost.likely, 2) for type, cost in shown.training_types.items()}
    assert usd["developerTier"] == pytest.approx(usd["globalStandard"] / 2, abs=0.01)
    assert usd["standard"] > usd["globalStandard"] > 0
    assert rows(shown, "training type") == [f"Global (globalStandard): about ${usd['globalStandard']:.2f}"]
    assert rows(shown, "instead") == [
        f"Standard: about ${usd['standard']:.2f}",
        f"Developer (developerTier): about ${usd['developerTier']:.2f}",
    ]


def test_the_portals_word_for_a_training_type_becomes_that_of_the_api(azure):
    said = {"Developer": "developerTier", "GLOBAL": "globalStandard", "standard": "Standard"}
    assert {word: plan(azure, training_type=word).body["trainingType"] for word in said} == said


def test_an_open_weight_model_is_trained_in_the_one_type_that_it_has_and_says_what_it_needs(azure):
    oss = plan(azure, model="gpt-oss-20b")
    assert oss.body["trainingType"] == "globalStandard"
    assert list(oss.training_types) == ["globalStandard"]
    needs, start_with = [each for each in oss.findings if each.rule == "open_weights"]
    assert needs.message.startswith("gpt-oss-20b has open weights: it is trained on a Foundry resource")
    assert needs.fix == "deploy it as GlobalStandard, with the format Microsoft and a capacity of 100"
    assert start_with.message == "Start with 2 epochs and a learning rate multiplier of 0.3"
    assert "2026-08-20" in start_with.fix
    assert found(plan(azure), "open_weights") == []


def test_a_region_must_be_one_of_the_models(azure):
    here = {"training_type": "Standard"}
    assert found(plan(azure, region="swedencentral", **here), "region") == []
    away = found(plan(azure, region="Norway East", **here), "region")
    assert away == [("error", "gpt-4.1-mini is not trained as Standard in Norway East")]
    assert found(plan(azure, region="Norway East"), "region") == []  # but globally it is


def test_data_of_another_method_does_not_fit_the_model(azure):
    assert found(plan(azure, model="o4-mini-2025-04-16"), "method") == [
        ("error", "o4-mini is not trained by sft")
    ]


# Data and settings


def test_too_few_examples_are_an_error_and_few_a_warning(azure):
    assert found(plan(azure, dataset("few", 9)), "too_few") == [
        ("error", "9 examples, and a job needs at least 10")
    ]
    assert found(plan(azure, dataset("few", 10)), "few")[0][0] == "warning"


def test_a_row_that_the_service_would_refuse_is_named(azure):
    bad = Example(({"role": "user", "content": "?"}, {"role": "assistant", "content": ""}), "faq.csv:99")
    errors = plan(azure, Dataset("faq", (*DOGS, bad, bad))).errors
    (error,) = errors
    assert error.path == "training_file"
    assert error.message.startswith("faq.csv:99 and 1 more place: ")


@pytest.mark.parametrize(
    ("suffix", "levels"), [("x" * 18, []), ("x" * 19, ["warning"]), ("x" * 41, ["error"]), ("a.b", ["error"])]
)
def test_a_suffix_is_held_to_its_limits(azure, suffix, levels):
    assert [level for level, _ in found(plan(azure, suffix=suffix), "suffix")] == levels


@pytest.mark.parametrize(
    ("setting", "fits"),
    [
        ({"n_epochs": 50}, True),
        ({"n_epochs": 51}, False),
        ({"n_epochs": 0}, False),
        ({"batch_size": 256}, True),
        ({"batch_size": 257}, False),
        ({"learning_rate_multiplier": 0.001}, True),
        ({"learning_rate_multiplier": 0.0}, False),
        ({"training": PAIRS, "beta": 2}, True),
        ({"training": PAIRS, "beta": 3}, False),
        ({"training": PAIRS, "beta": 0}, False),
        ({"beta": 2}, False),  # no hyperparameter of this method
        ({"n_epochs": 2.5}, False),
        ({"eval_samples": 4}, False),  # nothing grades while it trains
        ({"seed": 2**31 - 1}, True),
        ({"seed": -1}, False),
    ],
)
def test_a_setting_outside_its_range_is_named(azure, setting, fits):
    assert (found(plan(azure, **setting), "range") == []) is fits


def test_more_epochs_than_are_kept_are_worth_knowing(azure):
    assert found(plan(azure, n_epochs=3), "checkpoints") == []
    assert found(plan(azure, n_epochs=4), "checkpoints")[0][0] == "info"


def test_a_grader_is_held_against_every_row_of_a_reinforcement_job(azure):
    settings = {"model": "o4-mini-2025-04-16", "grader": grader("exact")}  # it reads item.answer
    good, bad = prompts(answer="0"), prompts(reply="0")
    assert found(plan(azure, good, validation=good, **settings), "template") == []
    (level, message), *_ = found(plan(azure, bad, validation=good, **settings), "template")
    assert level == "error"
    assert message.startswith("sums:1 and 11 more places: ")


def test_a_reinforcement_job_needs_validation_and_a_grader(azure):
    bare = plan(azure, prompts(answer="0"), model="o4-mini-2025-04-16")
    assert {error.rule for error in bare.errors} == {"no_validation", "grader"}


def test_a_grader_in_a_supervised_job_reads_what_it_is_given(local):
    exact = grader("exact")
    fits = preflight(local, spec(DOGS, model="nano", validation=CATS, grader=exact))
    assert found(fits, "grader") == []
    other = preflight(
        local, spec(DOGS, model="nano", validation=CATS, grader=exact | {"reference": "{{item.total}}"})
    )
    assert found(other, "grader")[0][1].startswith("it reads item.total")
    alone = preflight(local, spec(DOGS, model="nano", grader=exact))
    assert found(alone, "grader") == [("error", "a grader needs held-out questions to be asked")]


def test_the_task_s_grader_grades_in_training_where_the_service_and_the_grader_allow_it(local, azure):
    own = {
        "type": "python",
        "name": "mine",
        "source": "def grade(sample, item):\n    return item['answer'] == ''",
    }
    assert grader_in_training(local, own) == (
        own,
        "Answers to validation questions are graded by mine while it trains.",
    )
    assert grader_in_training(azure.client(), own) == (
        None,
        "azure takes no grader in a supervised job; 06_evaluate grades by mine afterwards.",
    )
    judge = {"type": "score_model", "name": "worth", "model": "gpt-4o", "input": []}
    assert grader_in_training(local, judge) == (
        None,
        "Nothing is graded while it trains, as grader.type is 'score_model', which asks a model, and local "
        "training asks none; 06_evaluate grades by worth afterwards.",
    )
    team = own | {"source": "def grade(sample, item):\n    return item['team'] == ''"}
    assert grader_in_training(local, team) == (
        None,
        "Nothing is graded while it trains, as grader reads item.team, and an item has question and answer "
        "while a model trains; 06_evaluate grades by mine afterwards.",
    )


def test_azure_takes_no_grader_in_a_supervised_job(azure):
    assert found(plan(azure, validation=CATS, grader=grader("exact")), "grader") == [
        ("error", "azure takes no grader in a supervised job")
    ]


SCHEMA = {"type": "object", "properties": {"sum": {"type": "string"}}, "required": ["sum"]}
WRAPPED = {
    "type": "json_schema",
    "json_schema": {"name": "sum", "strict": True, "schema": SCHEMA | {"additionalProperties": False}},
}


def test_a_response_format_goes_with_a_reinforcement_job_and_is_part_of_its_content(azure):
    sums = prompts(answer="0")
    settings = {"model": "o4-mini-2025-04-16", "validation": sums, "grader": grader("exact")}
    plain, shaped = plan(azure, sums, **settings), plan(azure, sums, response_format=WRAPPED, **settings)
    assert found(shaped, "response_format") == []
    assert shaped.body["method"]["reinforcement"]["response_format"] == WRAPPED
    assert "response_format" not in plain.body["method"]["reinforcement"]
    assert plain.spec.content != shaped.spec.content
    bare = plan(azure, sums, response_format=SCHEMA, **settings)
    assert found(bare, "response_format") == [("error", "this is a bare schema")]


def test_no_other_job_takes_a_response_format(azure):
    assert found(plan(azure, response_format=WRAPPED), "response_format") == [
        ("error", "a supervised job takes no response_format")
    ]


# The queue


@pytest.mark.parametrize(
    ("jobs", "levels"),
    [
        (["running"] * 2 + ["pending"] * 19, []),
        (["running"] * 3, ["info"]),
        (["pending"] * 20, ["error"]),
        (["succeeded"] * 100, ["warning"]),
    ],
)
def test_the_queue_has_its_limits(azure, jobs, levels):
    azure.jobs = jobs
    full = plan(azure)
    assert [level for level, _ in found(full, "queue")] == levels
    assert (full.running, full.queued) == (jobs.count("running"), jobs.count("pending"))


def test_more_developer_jobs_run_at_once(azure):
    azure.jobs = ["running"] * 4
    assert found(plan(azure, training_type="developerTier"), "queue") == []


@pytest.mark.parametrize(
    ("files", "errors"), [([1] * 98, 0), ([1] * 99, 1), ([1024**3 - 10**6], 0), ([1024**3], 1)]
)
def test_the_files_of_a_resource_have_their_limits(azure, files, errors):
    azure.files = files
    assert len(found(plan(azure), "files")) == errors


def test_a_full_queue_does_not_hide_the_job_that_is_there(local, home):
    job = start(local, DOGS, model="nano")
    store = Store(home / "service")
    for _ in range(20):
        store.jobs.add({"model": "nano", "training_file": "file-x", "hyperparameters": {}, "seed": 1})
    store.close()
    there = preflight(local, spec(DOGS, model="nano"))
    assert [error.rule for error in there.errors] == ["queue"]
    assert launch(local, there).id == job.id


# How it is shown


def test_it_shows_itself_escaped_with_the_request_inside(azure, unstyled):
    shown = unstyled(plan(azure, suffix="<b>")._repr_html_())
    assert "<b>" not in shown
    assert "&lt;b&gt;" in shown
    assert "<details><summary>The request, word for word</summary><pre>" in shown
    assert "&quot;trainingType&quot;: &quot;globalStandard&quot;" in shown


def test_as_text_it_tells_the_worst_first(azure):
    told = repr(plan(azure, dataset("few", 9), suffix="x" * 19))
    assert told.index("error (training_file): 9 examples") < told.index("warning (suffix): ")
    assert json.dumps(AUTO) not in told
