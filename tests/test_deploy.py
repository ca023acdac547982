"""Deploying through Azure's own SDK, on the local service in strict mode: plans, requests, errors."""

import datetime
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import openai
import pytest
from control_plane import management, sent_by
from echo_service import Watch, client_of, echo_service, tune
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from workbench import deploy as deploying
from workbench.catalog.providers import carrying, provider
from workbench.connect import Resource, connect
from workbench.deploy import (
    answering,
    deploy,
    deployments,
    find,
    follow,
    parity,
    plan_deployment,
    released,
    remove,
    scale,
    snippet,
)
from workbench.errors import DataError, SetupError
from workbench.local.emulation import Emulation, read_faults
from workbench.project import Project

TUNED = "nano.ft-0123456789abcdef0123456789abcdef"
MINI = "gpt-4.1-mini-2025-04-14.ft-0123456789abcdef0123456789abcdef"
OPEN = "gpt-oss-20b.ft-0123456789abcdef0123456789abcdef"
PATH = (
    "/subscriptions/my-subscription/resourceGroups/workbench/providers/Microsoft.CognitiveServices"
    "/accounts/workbench/deployments"
)
SECRETS = ("my-subscription", "the-key-of-this-test")


@pytest.fixture
def watch() -> Watch:
    return Watch()


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


def in_north_central(name: str = "azure") -> openai.OpenAI:
    """A client of a resource in North Central US, to plan only."""
    made = carrying(openai.OpenAI(api_key="none"), provider(name))
    vars(made)["workbench_resource"] = Resource(None, "my-group", "my-account", "northcentralus")
    return made


def made(client: openai.OpenAI, watch: Watch, project: Project | None = None, **named: object):
    """A deployment that answers."""
    plan = plan_deployment(client, TUNED, project=project, **named)
    begun = deploy(client, plan, project=project, agreed=True)
    watch.now += 5
    *_, ready = follow(client, begun, project=project, poll_seconds=0)
    return ready


def events(project: Project) -> list[object]:
    return [entry.facts["event"] for entry in project.entries("deployment")]


class TestPlan:
    def test_a_model_of_openai_shows_every_sku_with_its_price_and_takes_the_developer_tier(self):
        plan = plan_deployment(in_north_central(), MINI)
        assert [(o.sku, o.possible, o.rates.hosting_hour) for o in plan.options] == [
            ("DeveloperTier", True, 0.0),
            ("GlobalStandard", True, 1.7),
            ("DataZoneStandard", True, 1.7),
            ("Standard", True, 1.7),
            ("ProvisionedManaged", False, None),
        ]
        assert (plan.sku, plan.capacity) == ("DeveloperTier", 50)
        assert plan.chosen.rates[1:3] == (0.4, 1.6)
        assert plan.ends == datetime.date(2027, 10, 14)

    def test_what_it_costs_by_the_month_stands_in_the_verdict_before_anything_is_sent(self):
        plan = plan_deployment(in_north_central(), MINI, sku="globalstandard", name="live")
        assert plan.verdict == (
            f"{MINI} as live (GlobalStandard, capacity 50): $1.70 an hour, $0.40 and $1.60 per 1M tokens in "
            "and out; $1,241.00 a month whether it is asked or not."
        )
        assert "50,000 tokens a minute, about 50 requests a minute" in plan._repr_html_()

    def test_an_open_weight_model_has_its_makers_format_and_a_capacity_of_100(self):
        plan = plan_deployment(in_north_central(), OPEN)
        assert plan.body["properties"] == {"model": {"format": "Microsoft", "name": OPEN, "version": "1"}}
        assert plan.body["sku"] == {"name": "GlobalStandard", "capacity": 100}
        assert [option.sku for option in plan.options if option.possible] == ["GlobalStandard"]

    def test_a_base_model_is_asked_for_by_its_name_and_version(self):
        plan = plan_deployment(in_north_central(), "gpt-4.1-mini-2025-04-14")
        model = {"format": "OpenAI", "name": "gpt-4.1-mini", "version": "2025-04-14"}
        assert (plan.sku, plan.body["properties"]) == ("GlobalStandard", {"model": model})

    def test_the_source_in_another_subscription_is_sent_and_not_shown(self):
        source = "/subscriptions/5e0f/resourceGroups/rg/providers/Microsoft.CognitiveServices/accounts/there"
        plan = plan_deployment(in_north_central(), MINI, source=source)
        assert plan.request.serialize()["properties"]["model"]["source"] == source
        assert plan.body["properties"]["model"]["source"] == source.replace("5e0f", "…")
        assert "5e0f" not in plan._repr_html_() + repr(plan)

    @pytest.mark.parametrize(
        ("named", "says"),
        [
            ({"sku": "Premium"}, "There is no SKU 'Premium'; choose DeveloperTier, GlobalStandard,"),
            (
                {"sku": "ProvisionedManaged"},
                r"cannot be deployed as ProvisionedManaged here \(not offered\); choose Dev",
            ),
            ({"capacity": 0}, "capacity is 0; give 1 or more"),
            ({"name": "my_model"}, "'my_model' cannot name a deployment; use up to 64 letters"),
        ],
    )
    def test_a_value_that_cannot_be_is_named_with_those_that_can(self, named: dict[str, object], says: str):
        with pytest.raises(DataError, match=says):
            plan_deployment(in_north_central(), MINI, **named)

    def test_a_model_of_managed_compute_is_left_to_the_portal(self):
        with pytest.raises(
            SetupError, match="gpt-oss-120b is deployed as managedCompute, fireworks, which is"
        ):
            plan_deployment(in_north_central(), "gpt-oss-120b.ft-0123456789abcdef0123456789abcdef")

    def test_at_openai_nothing_is_deployed(self):
        with pytest.raises(SetupError, match="At openai a tuned model answers by its name"):
            plan_deployment(carrying(openai.OpenAI(api_key="none"), provider("openai")), MINI)

    def test_azure_needs_a_subscription_and_says_where_it_stands(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("AZURE_SUBSCRIPTION_ID", "")
        client = connect("azure", client=openai.OpenAI(base_url="https://r.openai.azure.com/", api_key="k"))
        with pytest.raises(SetupError, match=r"Set AZURE_SUBSCRIPTION_ID in \.env"):
            plan_deployment(client, MINI)


class TestDeploy:
    def test_every_request_is_of_the_documented_shape(
        self, client: openai.OpenAI, watch: Watch, project: Project
    ):
        made(client, watch, project, name="my-gql", sku="GlobalStandard", capacity=20)
        scale(client, "my-gql", 30, project=project)
        remove(client, "my-gql", project=project)
        sent = sent_by(vars(client)["workbench_management"])
        changes = [
            (each.method, each.url.removeprefix("http://testserver"), each.body and json.loads(each.body))
            for each in sent
            if each.method != "GET"
        ]
        address = f"{PATH}/my-gql?api-version=2025-09-01"
        model = {"format": "OpenAI", "name": TUNED, "version": "1"}
        tags = {"made-by": "fine-tuning-workbench", "project": "gql"}
        sku = {"name": "GlobalStandard", "capacity": 20}
        assert changes == [
            ("PUT", address, {"tags": tags, "sku": sku, "properties": {"model": model}}),
            ("PATCH", address, {"sku": {"name": "GlobalStandard", "capacity": 30}}),
            ("DELETE", address, None),
        ]
        assert {each.headers["Authorization"] for each in sent} == {"Bearer the-key-of-this-test"}

    def test_it_is_creating_then_there_and_it_is_ready_once_it_has_answered(
        self, client: openai.OpenAI, watch: Watch, project: Project
    ):
        begun = deploy(client, plan_deployment(client, TUNED, project=project), project=project)
        seen = follow(client, begun, project=project, poll_seconds=0)
        first = next(seen)
        assert (first.state, first.ready) == ("Creating", False)
        watch.now += 5
        *_, last = seen
        assert (last.state, last.ready, last.sku) == ("Succeeded", True, "DeveloperTier")
        assert events(project) == ["asked", "ready"]

    def test_succeeded_is_not_ready_while_the_deployment_does_not_answer(self, home: Path, watch: Watch):
        tune(home, TUNED)
        emulation = Emulation(strict=True, faults=read_faults(["not-ready=60"]))
        with echo_service(home, watch, emulation) as http:
            client = connect("azure", client=client_of(http), management=management(http, watch))
            begun = deploy(client, plan_deployment(client, TUNED))
            watch.now += 5
            seen = follow(client, begun, poll_seconds=0)
            waiting = next(seen)
            assert (waiting.state, waiting.ready) == ("Succeeded", False)
            assert "is not ready yet, although its state is Succeeded" in waiting.note
            watch.now += 60
            assert [one.ready for one in seen] == [True]

    def test_the_same_content_is_found_again_and_sent_once(
        self, client: openai.OpenAI, watch: Watch, project: Project
    ):
        first = made(client, watch, project)
        again = deploy(client, plan_deployment(client, TUNED, project=project), project=project)
        assert (again.name, again.created_at) == (first.name, first.created_at)
        sent = sent_by(vars(client)["workbench_management"])
        assert [each.method for each in sent].count("PUT") == 1
        assert events(project) == ["asked", "ready"]

    def test_another_capacity_resizes_the_deployment_that_is_there(
        self, client: openai.OpenAI, watch: Watch, project: Project
    ):
        first = made(client, watch, project)
        larger = plan_deployment(client, TUNED, capacity=80, project=project)
        again = deploy(client, larger, project=project)
        assert (again.name, again.capacity, again.created_at) == (first.name, 80, first.created_at)
        assert events(project) == ["asked", "ready", "resized"]

    def test_what_costs_by_the_hour_is_deployed_only_when_that_is_agreed(self, client: openai.OpenAI):
        plan = plan_deployment(client, TUNED, sku="Standard")
        for answer in (None, False):
            with pytest.raises(SetupError, match=r"Nothing was deployed\. Set DEPLOY = True to agree to"):
                deploy(client, plan, agreed=answer)
        assert deploy(client, plan, agreed=True).state == "Creating"

    def test_a_second_try_that_meets_the_first_at_work_finds_it(
        self, client: openai.OpenAI, watch: Watch, monkeypatch: pytest.MonkeyPatch
    ):
        plan = plan_deployment(client, TUNED)
        deploy(client, plan)
        # The answer to the first was lost: nobody knows of it yet.
        real, lost = deploying.find, [None]
        monkeypatch.setattr(deploying, "find", lambda *asked: lost.pop() if lost else real(*asked))
        assert deploy(client, plan).state == "Creating"
        assert len(deployments(client)) == 1

    def test_a_name_of_another_model_is_refused_and_replaced_only_when_asked(
        self, home: Path, client: openai.OpenAI, watch: Watch, project: Project
    ):
        other = "nano.ft-ffffffffffffffffffffffffffffffff"
        tune(home, other)
        made(client, watch, project, name="my-gql")
        plan = plan_deployment(client, other, name="my-gql", project=project)
        with pytest.raises(SetupError, match=f"There is a deployment my-gql of {TUNED}; give another name"):
            deploy(client, plan, project=project)
        assert deploy(client, plan, project=project, replace_other=True).model == other
        assert events(project) == ["asked", "ready", "removed", "asked"]

    def test_a_developer_deployment_says_when_it_is_removed_and_is_gone_after_a_day(
        self, client: openai.OpenAI, watch: Watch
    ):
        ready = made(client, watch)
        assert ready.removed_at == ready.created_at + 86_400
        assert ready.facts["removed by the service"] == "2027-01-16 08:00 UTC"
        watch.now += 86_400
        assert deployments(client) == ()
        with pytest.raises(SetupError, match=f"{ready.name} is gone: it was removed"):
            next(follow(client, ready))

    def test_no_key_and_no_subscription_is_in_what_is_shown_and_recorded(
        self, client: openai.OpenAI, watch: Watch, project: Project
    ):
        ready = made(client, watch, project)
        plan = plan_deployment(client, TUNED, project=project)
        shown = [repr(plan), plan._repr_html_(), repr(ready), ready._repr_html_(), snippet(client, ready)]
        shown += [(project.path / "record.jsonl").read_text(), repr(vars(client)["workbench_resource"])]
        assert [secret for secret in SECRETS for text in shown if secret in text] == []

    def test_the_snippet_names_the_deployment_and_the_variable_of_the_key(self, client, watch):
        ready = made(client, watch, name="my-gql")
        assert 'os.environ["AZURE_OPENAI_API_KEY"]' in snippet(client, ready)
        assert 'create(model="my-gql"' in snippet(client, ready)
        assert "curl http://testserver/openai/v1/chat/completions" in snippet(client, ready)


@pytest.mark.parametrize("lose_every", [2, 3, 5])
def test_a_network_that_loses_answers_delays_and_doubles_nothing(
    service: TestClient, watch: Watch, project: Project, lose_every: int
):
    azure = management(service, watch, lose_every=lose_every)
    client = connect("azure", client=client_of(service), management=azure)
    ready = made(client, watch, project)
    assert [one.name for one in deployments(client)] == [ready.name]
    assert remove(client, ready.name, project=project) is True
    assert deployments(client) == ()
    assert events(project) == ["asked", "ready", "removed"]


def test_on_azure_a_sign_in_is_asked_for_the_control_plane_and_a_key_never_goes_there(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("AZURE_SUBSCRIPTION_ID", "my-subscription")
    url = "https://contoso.openai.azure.com/openai/v1/"
    azure = sys.modules["workbench.connect"]._management(
        openai.OpenAI(base_url=url, api_key="secret"), provider("azure")
    )
    assert azure._config.credential_scopes == ["https://management.azure.com/.default"]
    assert azure._client._base_url == "https://management.azure.com"
    assert "secret" not in str(vars(azure._config))
    azure.close()


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (
            "role",
            "refused (403 AuthorizationFailed): you may train but not deploy: ask for the role Foundry Owner",
        ),
        (
            "quota",
            "refused (429 InsufficientQuota): the quota of this region and SKU is used up: ask for less",
        ),
        (
            "model-check=Violence",
            "which asks it harmful questions: deploy an earlier checkpoint",
        ),
    ],
)
def test_a_refusal_names_the_cause_and_the_way_out_without_ids(
    home: Path, watch: Watch, fault: str, says: str
):
    tune(home, TUNED)
    with echo_service(home, watch, Emulation(strict=True, faults=read_faults([fault]))) as http:
        client = connect("azure", client=client_of(http), management=management(http, watch))
        with pytest.raises(SetupError) as refused:
            deploy(client, plan_deployment(client, TUNED))
    assert says in str(refused.value)
    assert "my-subscription" not in str(refused.value)


ID = "0b1f6471-1bf0-4dda-aec3-cb9272f09590"


@pytest.mark.parametrize(
    ("status", "code", "message", "says"),
    [
        (
            401,
            "ExpiredAuthenticationToken",
            "The access token expiry UTC time is earlier.",
            "sign in again with",
        ),
        (
            403,
            "AuthorizationFailed",
            f"The client '{ID}' does not have authorization.",
            "ask for the role Foundry O",
        ),
        (
            404,
            "SubscriptionNotFound",
            f"The subscription '{ID}' could not be found.",
            "check AZURE_SUBSCRIPTION_ID",
        ),
        (
            409,
            "RequestConflict",
            "Another operation is being performed.",
            "is there already, or something is being",
        ),
        (
            400,
            "quotaExceeded",
            "This resource has 10 deployments.",
            "a resource takes ten deployments of tuned",
        ),
        (410, "Gone", "The model has been retired.", "the model is retired: 'python -m workbench models'"),
        (
            429,
            "TooManyRequests",
            "Too many requests.",
            "the control plane was asked too often: wait a minute",
        ),
        (500, "", "", "Azure answers so to a wrong format of the model: it is OpenAI for its"),
        (
            400,
            "InvalidResourceProperties",
            "The sku is not supported.",
            "this model cannot be deployed as this SKU",
        ),
    ],
)
def test_every_documented_refusal_has_its_cause(
    watch: Watch, status: int, code: str, message: str, says: str
):
    body = {"error": {"code": code, "message": message}} if code else None

    async def refuse(_: Request) -> Response:
        return Response(status_code=status) if body is None else JSONResponse(body, status)

    app = Starlette(routes=[Route("/{path:path}", refuse, methods=["GET"])])
    with TestClient(app) as http:
        client = connect("azure", client=client_of(http), management=management(http, watch))
        with pytest.raises(SetupError) as refused:
            deployments(client)
    assert f"refused ({f'{status} {code}'.strip()}): " in str(refused.value)
    assert says in str(refused.value)
    assert ID not in str(refused.value)


def test_a_model_that_the_service_does_not_have_is_not_supported(client: openai.OpenAI):
    with pytest.raises(
        SetupError, match=r"DeploymentModelNotSupported.*the name, the format or the region is"
    ):
        deploy(client, plan_deployment(client, "nano.ft-eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"))


class TestAnswering:
    def test_a_model_is_asked_by_its_own_name_through_the_deployment_that_is_there(
        self, client: openai.OpenAI, watch: Watch, project: Project
    ):
        ready = made(client, watch, project)
        served = answering(client, project, TUNED)
        assert served.through == {TUNED: ready.name}
        said = served.client.with_options(max_retries=1).chat.completions.create(
            model=TUNED, messages=[{"role": "user", "content": "Hi"}]
        )
        assert said.choices[0].message.content == "Hi"
        with pytest.raises(openai.NotFoundError):  # the client that was given is as it was
            client.chat.completions.create(model=TUNED, messages=[{"role": "user", "content": "Hi"}])

    def test_the_end_leaves_what_was_there_before(
        self, client: openai.OpenAI, watch: Watch, project: Project
    ):
        ready = made(client, watch, project)
        answering(client, project, TUNED).end()
        assert [one.name for one in deployments(client)] == [ready.name]

    def test_without_a_deployment_it_says_what_one_would_cost(self, client: openai.OpenAI, project: Project):
        with pytest.raises(
            SetupError, match=r"Set DEPLOY = True .* DEPLOYMENT .* \(DeveloperTier, capacity 50\)"
        ):
            answering(client, project, TUNED)
        assert deployments(client) == ()

    def test_one_is_made_where_that_is_allowed_and_removed_in_the_end(
        self, client: openai.OpenAI, watch: Watch, project: Project, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(
            deploying.time, "sleep", lambda seconds: setattr(watch, "now", watch.now + seconds)
        )
        served = answering(client, project, TUNED, deploy=True)
        assert [one.sku for one in deployments(client)] == ["DeveloperTier"]
        again = answering(client, project, TUNED)  # after a restart of the kernel
        assert again.through == served.through
        again.end()
        assert deployments(client) == ()
        assert events(project) == ["asked", "ready", "removed"]

    def test_what_07_goes_on_using_is_not_removed_by_the_notebook_that_made_it_to_judge(
        self, client: openai.OpenAI, watch: Watch, project: Project, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(
            deploying.time, "sleep", lambda seconds: setattr(watch, "now", watch.now + seconds)
        )
        served = answering(client, project, TUNED, deploy=True)
        deploy(client, plan_deployment(client, TUNED, project=project), project=project)
        answering(client, project, TUNED).end()
        assert [one.name for one in deployments(client)] == list(served.through.values())

    def test_your_own_deployment_is_taken_by_its_name_without_the_control_plane(
        self, client: openai.OpenAI, watch: Watch, project: Project
    ):
        ready = made(client, watch, name="mine")
        sent = len(sent_by(vars(client)["workbench_management"]))
        served = answering(client, project, TUNED, name="mine")
        assert served.through == {TUNED: ready.name}
        assert len(sent_by(vars(client)["workbench_management"])) == sent

    def test_where_models_answer_by_their_names_nothing_is_done(self, service: TestClient, project: Project):
        local = connect("local", client=client_of(service))
        served = answering(local, project, TUNED)
        assert (served.client, served.through) == (local, {})


class TestRelease:
    def judged(self, project: Project, result: str) -> None:
        gate = {"result": result, "verdict": "Do not deploy this model, it fails this: better at the task."}
        project.record("comparison", tuned_model=TUNED, gate=gate)

    def test_a_passed_check_allows_it(self, project: Project):
        self.judged(project, "passed")
        assert released(project).facts["tuned_model"] == TUNED

    @pytest.mark.parametrize("result", ["refused", "open"])
    def test_any_other_needs_a_reason_which_is_recorded(self, project: Project, result: str):
        self.judged(project, result)
        with pytest.raises(SetupError, match=r"it fails this: better at the task\. Better the model"):
            released(project)
        released(project, "a rehearsal")
        facts = project.need("override", "07_deploy").facts
        assert (facts["model"], facts["release_check"], facts["reason"]) == (TUNED, result, "a rehearsal")


def answers(*texts: str, score: float = 0.5, interval: tuple[float, float] = (0.4, 0.6)) -> SimpleNamespace:
    """Answers of which each has this score."""
    items = [SimpleNamespace(id=str(n), answer=text, score=score) for n, text in enumerate(texts)]
    tokens = {"prompt_tokens": 10.5, "cached_tokens": 0.0, "completion_tokens": 3.0}  # for one, on average
    return SimpleNamespace(items=items, score=score, interval=interval, **tokens)


def test_parity_counts_equal_answers_and_holds_the_score_of_then_against_the_interval_of_now():
    same = parity(answers("a", "b", "c", score=0.6), answers("a", "x"))
    assert (same.items, same.same, same.share, same.holds) == (2, 1, 0.5, True)
    assert same.different == (("b", "x"),)
    assert (same.facts["prompt_tokens"], same.facts["completion_tokens"]) == (21, 6)
    assert not parity(answers("a", score=0.7), answers("a")).holds
    assert parity(answers("a", score=0.0), answers("a", score=0.0, interval=(1e-17, 0.3))).holds
    assert repr(same) == (
        "<Parity: 1 of 2 answers are the same as when the model was judged; 60.0 % right then, 50.0 % now, "
        "which chance explains.>"
    )
    assert not parity(answers("a"), answers()).holds


def test_what_is_not_there_is_not_removed(client: openai.OpenAI):
    assert find(client, "nothing") is None
    assert remove(client, "nothing") is False
    with pytest.raises(SetupError, match="There is no deployment nothing; deploy it first"):
        scale(client, "nothing", 10)
