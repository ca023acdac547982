"""Which model was made from which: SFT, then DPO, then RFT; and what stops the next training."""

import json
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from job_specs import spec, start
from openai import OpenAI
from starlette.testclient import TestClient

from workbench.dataset.dataset import Dataset, Example
from workbench.errors import DataError, SetupError
from workbench.local.api.app import create_app
from workbench.local.models.bases import NANO
from workbench.project import Project, open_project
from workbench.training.follow import follow
from workbench.training.lineage import lineage
from workbench.training.preflight import launch, preflight

BASE = "gpt-4.1-mini-2025-04-14"
SFT, DPO, RFT = (f"{BASE}.ft-{digit * 4}" for digit in "abc")


@pytest.fixture
def shop(home: Path) -> Project:
    return open_project("shop")


def job(project: Project, digit: str, model: str, method: str = "supervised", **more: object) -> None:
    facts = {"model": model, "provider": "azure", "method": method, "training_examples": 300}
    project.record("job", job_id=f"ftjob-{digit * 4}", **facts | more)


def compared(project: Project, digit: str, model: str, score: float, **more: object) -> None:
    facts = {"tuned_model": model, "tuned_score": score, "tuned_low": score - 0.1, "tuned_high": score + 0.05}
    facts |= {"base_model": BASE, "base_score": 0.5, "items": 100, "grader": "team", "outcome": "better"}
    project.record(
        "comparison", job_id=f"ftjob-{digit * 4}", difference=score - 0.5, training_seconds=9, **facts | more
    )


def curve(project: Project, digit: str, model: str, verdict: str, **more: object) -> None:
    diagnosis = {"verdict": verdict, "title": f"Title of {verdict}", "flags": {}}
    facts = {"fine_tuned_model": model, "checkpoints": [model], "diagnosis": diagnosis}
    project.record("curve", job_id=f"ftjob-{digit * 4}", **facts | more)


@pytest.fixture
def stacked(shop: Project) -> Project:
    """SFT, then DPO from a checkpoint of it, then RFT."""
    job(shop, "a", BASE)
    compared(shop, "a", SFT, 0.9)
    job(shop, "b", f"{SFT}:ckpt-step-20", "dpo", training_examples=120)
    job(shop, "c", DPO, "reinforcement", training_examples=80)
    return shop


# What is on record


def test_a_model_goes_back_to_its_base_through_all_that_it_was_trained_on(stacked: Project):
    found = lineage(stacked, model=RFT)
    assert found.bases == (BASE,)
    assert [(step.model, step.method, step.depth, step.data) for step in found.steps] == [
        (SFT, "sft", 1, "300 examples"),
        (DPO, "dpo", 2, "120 pairs"),
        (RFT, "rft", 3, "80 prompts"),
    ]
    assert found.steps[1].started_from == f"{SFT}:ckpt-step-20"
    assert found.path == f"{BASE} → SFT on 300 examples → DPO on 120 pairs → RFT on 80 prompts"
    assert str(found.steps[0].scores[0]) == "90 % (80–95)"
    assert found.missing == ()


def test_it_is_shown_as_lines_as_a_table_and_as_json(stacked: Project, unstyled):
    found = lineage(stacked, model=DPO)
    assert repr(found).splitlines() == [
        BASE,
        f"  {SFT}: SFT on 300 examples; 90 % (80–95), better",
        f"    {DPO}: DPO on 120 pairs",
    ]
    html = unstyled(found._repr_html_())
    assert f"2 trainings of shop, from {BASE}" in html
    assert f'<th scope="row">{DPO}</th><td>DPO ftjob-bbbb</td><td>{SFT}:ckpt-step-20</td>' in html
    facts = json.loads(json.dumps(found.facts))
    assert [step["job_id"] for step in facts["steps"]] == ["ftjob-aaaa", "ftjob-bbbb"]
    assert facts["steps"][0]["scores"][0]["outcome"] == "better"


def test_all_trainings_of_a_project_are_a_tree(stacked: Project):
    job(stacked, "d", SFT, "dpo")
    assert [(step.job_id, step.depth) for step in lineage(stacked).steps] == [
        ("ftjob-aaaa", 1),
        ("ftjob-bbbb", 2),
        ("ftjob-cccc", 3),
        ("ftjob-dddd", 2),
    ]
    assert len(lineage(stacked, model=BASE).steps) == 4
    assert len(lineage(stacked, model="ftjob-dddd").steps) == 2


def test_a_checkpoint_that_is_asked_for_is_named_itself(stacked: Project):
    curve(stacked, "a", SFT, "healthy", checkpoints=[SFT, f"{SFT}:ckpt-step-20"])
    assert lineage(stacked, model=f"{SFT}:ckpt-step-20").steps[-1].model == f"{SFT}:ckpt-step-20"


def test_openais_names_tell_their_base_too(shop: Project):
    tuned = "ft:gpt-4o-mini-2024-07-18:shop::Ab1"
    job(shop, "a", "gpt-4o-mini-2024-07-18")
    curve(shop, "a", tuned, "healthy")
    job(shop, "b", f"{tuned}:ckpt-step-9", "dpo")
    found = lineage(shop, model="ftjob-bbbb")
    assert found.bases == ("gpt-4o-mini-2024-07-18",)
    assert [step.model for step in found.steps] == [tuned, "ftjob-bbbb"]


def test_a_model_of_which_nobody_knows_the_job_is_said_to_be_one(shop: Project):
    job(shop, "b", SFT, "dpo")
    found = lineage(shop, model="ftjob-bbbb")
    assert [(step.model, step.job_id, step.method) for step in found.steps] == [
        (SFT, None, ""),
        ("ftjob-bbbb", "ftjob-bbbb", "dpo"),
    ]
    assert found.missing == (
        f"How {SFT} was made is not known: no job on the record of project shop made it, and no job that "
        "the service lists did.",
    )
    assert found.path == f"{BASE} → made elsewhere → DPO on 300 pairs"


def test_a_circle_is_one_clear_sentence(shop: Project):
    job(shop, "a", DPO)
    job(shop, "b", SFT, "dpo")
    with pytest.raises(DataError) as caught:
        lineage(shop)
    assert str(caught.value) == (
        f"The record of project shop goes round in a circle: it has {SFT} from {DPO}, and {DPO} from {SFT}. "
        "One of these jobs is written down wrong in record.jsonl; correct its model."
    )


def test_a_model_that_is_not_there_is_named_with_those_that_are(stacked: Project):
    with pytest.raises(DataError, match=rf"^Project shop has no model 'gpt-9'; it has {BASE}, "):
        lineage(stacked, model="gpt-9")
    with pytest.raises(DataError, match=r"^Project empty has no model 'gpt-9'; it has no run yet\.$"):
        lineage(open_project("empty"), model="gpt-9")


# What speaks against training a model further


def against(project: Project, model: str) -> list[tuple[bool, str]]:
    drawbacks = lineage(project, model=model).steps[-1].drawbacks
    return [(each.grave, each.why.rpartition(" (")[0]) for each in drawbacks]


def test_a_model_that_answers_worse_than_its_base_got_worse(shop: Project):
    job(shop, "a", BASE)
    compared(shop, "a", SFT, 0.9)
    assert against(shop, SFT) == []
    compared(shop, "a", SFT, 0.4, outcome="worse")
    worse = f"answers the task worse than {BASE}: 40 % against 50 % of 100 items"
    assert against(shop, SFT) == [(True, worse)]
    compared(shop, "a", SFT, 0.51, outcome="inconclusive")
    assert against(shop, SFT) == [(False, f"was not shown to be better at the task than {BASE}")]


def test_a_model_that_got_worse_is_known_in_capitals_too(shop: Project):
    job(shop, "a", BASE)
    compared(shop, "a", SFT, 0.4, outcome="worse")
    spelt = SFT.replace("gpt", "GPT")
    assert [grave for grave, _ in against(shop, spelt)] == [True]
    assert lineage(shop, model=spelt).steps[-1].model == SFT


def test_a_model_that_forgot_too_much_got_worse(shop: Project):
    job(shop, "a", BASE)
    checks = [
        {"name": "better at the task", "result": "passed", "why": "Better."},
        {"name": "nothing lost elsewhere", "result": "refused", "why": "Worse: 12 of 120."},
    ]
    compared(shop, "a", SFT, 0.9, gate={"result": "refused", "checks": checks})
    assert against(shop, SFT) == [(True, "forgot more than is acceptable: Worse: 12 of 120.")]
    remedy = lineage(shop, model=SFT).steps[0].drawbacks[0].remedy
    assert remedy == "train it again with rehearsal (REHEARSAL in 03_build_data)"


@pytest.mark.parametrize(
    ("verdict", "grave"), [("diverged", True), ("no_signal", True), ("underfitting", False)]
)
def test_a_curve_that_diverged_or_taught_nothing_speaks_against_its_model(
    shop: Project, verdict: str, grave: bool
):
    job(shop, "a", BASE)
    curve(shop, "a", SFT, verdict)
    assert against(shop, SFT) == [(grave, f"is of a job whose curve says: Title of {verdict}")]


def test_an_earlier_checkpoint_of_a_job_that_diverged_late_is_only_doubtful(shop: Project):
    job(shop, "a", BASE)
    curve(shop, "a", SFT, "diverged", choice={"model": f"{SFT}:ckpt-step-20"})
    assert [grave for grave, _ in against(shop, SFT)] == [True, False]
    assert [grave for grave, _ in against(shop, f"{SFT}:ckpt-step-20")] == [False]


def test_a_healthy_curve_speaks_against_nothing(shop: Project):
    job(shop, "a", BASE)
    curve(shop, "a", SFT, "healthy", choice={"model": SFT})
    assert against(shop, SFT) == []


def judged(project: Project, after: float, kept: str, outcome: str = "worse") -> None:
    """What 08_preferences records: a tone reached, and what became of the task."""
    change = {"outcome": outcome, "difference": after - 0.92, "low": -0.5, "high": 0.0}
    found = {"from_the_first": {"outcome": "better", "difference": after - 0.5}, "last_step": change}
    scores = {name: {"score": s, "low": s, "high": s} for name, s in (("SFT", 0.92), ("SFT + DPO", after))}
    tone = {"scores": scores, **found, "last_step": {"outcome": "better", "difference": 0.9}}
    measures = {"tone": tone, "team": {"scores": scores, "kept": kept, **found}}
    measures["team"]["grader"] = "team"
    facts = {"aim": "tone", "measures": measures, "items": 120, "tuned_model": DPO, "outcome": "reached"}
    project.record("preference", job_id="ftjob-bbbb", **facts)


def test_preferences_that_cost_more_of_the_task_than_the_margin_made_it_worse(shop: Project):
    job(shop, "b", BASE, "dpo")
    judged(shop, 0.9, "not worse", "inconclusive")
    assert against(shop, DPO) == []
    judged(shop, 0.88, "inconclusive")
    paid = "paid for tone with team, if within the margin: 92 % → 88 % of 120 items"
    assert against(shop, DPO) == [(False, paid)]
    judged(shop, 0.56, "worse")
    assert against(shop, DPO) == [(True, "paid for tone with team: 92 % → 56 % of 120 items")]
    assert str(lineage(shop).steps[0].scores[0]) == "56 % (56–56)"


def reinforced(
    project: Project, after: float, outcome: str, hacking: str = "none", *, kept: str = "not worse"
) -> None:
    """What 09_reinforcement records: the score by the grader that judges, and by the one that paid."""
    change = {"outcome": outcome, "difference": after - 0.4, "low": -0.5, "high": 0.0}
    scores = {name: {"score": s, "low": s, "high": s} for name, s in (("before", 0.4), ("after", after))}
    found = {"scores": scores, "from_the_first": change, "last_step": change, "grader": "normalised"}
    facts = {
        "aim": "judged",
        "task": "judged",
        "measures": {"judged": found, "paid": found | {"kept": kept}},
    }
    facts |= {"items": 120, "tuned_model": RFT, "outcome": "reached", "difference": after - 0.4}
    facts |= {"reward_hacking": {"level": hacking, "verdict": "the answers are one template."}}
    project.record("reinforcement", job_id="ftjob-cccc", **facts)


def test_reinforcement_that_made_it_worse_or_pleased_the_grader_speaks_against_it(shop: Project):
    job(shop, "c", BASE, "reinforcement")
    reinforced(shop, 0.8, "better")
    assert against(shop, RFT) == []
    assert str(lineage(shop).steps[0].scores[0]) == "80 % (80–80)"
    reinforced(shop, 0.8, "better", "stop")
    assert against(shop, RFT) == [
        (False, "shows signs of reward hacking: the answers are one template."),
    ]
    reinforced(shop, 0.2, "worse")
    assert against(shop, RFT) == [
        (True, "became worse by the grader that did not pay for it: 40 % → 20 % of 120 items")
    ]
    reinforced(shop, 0.2, "better", kept="worse")
    assert against(shop, RFT) == [(True, "lost by the grader that paid for it: 40 % → 20 % of 120 items")]


# The real service: SFT, and on top of it DPO


COLOURS = ("red", "blue", "green", "pink", "gold", "gray", "teal", "lime", "rose", "navy", "plum", "mint")


def shouting() -> Dataset:
    rows = (({"role": "user", "content": f"say {c}"}, {"role": "assistant", "content": c}) for c in COLOURS)
    return Dataset("shouting", tuple(Example(row, f"c:{n}") for n, row in enumerate(rows, 1)))


def pairs() -> Dataset:
    def example(number: int, colour: str) -> Example:
        sides = {"preferred_output": colour.upper(), "non_preferred_output": colour}
        more = {name: [{"role": "assistant", "content": said}] for name, said in sides.items()}
        return Example(({"role": "user", "content": f"say {colour}"},), f"p:{number}", more)

    return Dataset("pairs", tuple(example(*each) for each in enumerate(COLOURS, 1)))


def prompts() -> Dataset:
    rows = (({"role": "user", "content": f"say {colour}"},) for colour in COLOURS)
    return Dataset("prompts", tuple(Example(row, f"r:{n}", {"answer": "a"}) for n, row in enumerate(rows, 1)))


CONTAINS = {"type": "string_check", "name": "a", "operation": "like"}
CONTAINS |= {"input": "{{sample.output_text}}", "reference": "{{item.answer}}"}


@pytest.fixture
def client(home: Path, models: Path) -> Iterator[OpenAI]:
    with TestClient(create_app(home / "service", "key", models=models)) as http:
        yield OpenAI(base_url="http://127.0.0.1/openai/v1/", api_key="key", http_client=http, max_retries=0)


def ended(client: OpenAI, id: str) -> str:
    *_, last = follow(client, id, poll_seconds=0.05)
    assert last.job.status == "succeeded", last.job.error
    return str(last.job.fine_tuned_model)


def test_dpo_goes_on_from_an_sft_model_and_is_refused_on_one_that_got_worse(client: OpenAI, shop: Project):
    few = {"n_epochs": 2, "batch_size": 4}
    sft = ended(client, start(client, shouting(), model=NANO, project=shop, **few).id)
    told = preflight(client, spec(pairs(), model=sft, **few), project=shop)
    assert told.ok
    assert told.changes is None  # nothing to compare it with: it is the first by preferences
    goes_on = next(finding.message for finding in told.findings if finding.rule == "lineage")
    assert goes_on == f"it goes on from {NANO} → SFT on 12 examples"

    facts = {"base_model": NANO, "base_score": 0.5, "tuned_score": 0.1, "items": 100, "outcome": "worse"}
    shop.record(
        "comparison", tuned_model=sft, tuned_low=0.0, tuned_high=0.2, difference=-0.4, grader="g", **facts
    )
    with pytest.raises(SetupError, match=r"answers the task worse than nano: 10 % against 50 % of 100 items"):
        launch(client, spec(pairs(), model=sft, **few), project=shop)
    plan = preflight(client, spec(pairs(), model=sft, **few), project=shop, continue_anyway=True)
    assert [finding.level for finding in plan.findings if finding.rule == "got_worse"] == ["warning"]
    job = launch(client, plan, project=shop)
    dpo = ended(client, job.id)

    # The record keeps the way to the base, whatever the service forgets.
    recorded = shop.latest("job")
    assert recorded is not None
    assert [each["model"] for each in recorded.facts["ancestors"]] == [sft]
    assert lineage(shop, client, model=dpo).path == f"{NANO} → SFT on 12 examples → DPO on 12 pairs"

    # The adapter of the stacked model holds all that it learnt: the one below may go.
    ask = {"messages": [{"role": "user", "content": "say red"}], "max_tokens": 4, "temperature": 0}
    before = client.chat.completions.create(model=dpo, **ask).choices[0].message.content
    client.models.delete(sft)
    assert client.chat.completions.create(model=dpo, **ask).choices[0].message.content == before
    below, above = lineage(shop, client, model=dpo).steps
    assert (below.gone, above.gone) == (True, False)
    with pytest.raises(openai.BadRequestError, match="does not support fine-tuning"):
        client.fine_tuning.jobs.create(model=sft, training_file=job.training_file)


def test_rft_goes_on_from_a_dpo_model_that_goes_on_from_an_sft_model(client: OpenAI, shop: Project):
    few = {"n_epochs": 1, "batch_size": 6}
    sft = ended(client, start(client, shouting(), model=NANO, project=shop, **few).id)
    dpo = ended(client, start(client, pairs(), model=sft, project=shop, **few).id)
    graded = {
        "method": "reinforcement",
        "grader": CONTAINS,
        "validation": prompts(),
        "compute_multiplier": 0.25,
    }
    rft = ended(client, start(client, prompts(), model=dpo, project=shop, **graded, **few).id)
    path = f"{NANO} → SFT on 12 examples → DPO on 12 pairs → RFT on 12 prompts"
    assert lineage(shop, client, model=rft).path == path
    assert [step.model for step in lineage(shop, client).steps] == [sft, dpo, rft]


def test_a_model_that_was_made_in_another_project_is_found_on_the_service(client: OpenAI, shop: Project):
    few = {"n_epochs": 1, "batch_size": 4}
    sft = ended(client, start(client, shouting(), model=NANO, project=open_project("other"), **few).id)
    start(client, pairs(), model=sft, project=shop, **few)
    assert [(step.method, step.data) for step in lineage(shop).steps] == [("sft", ""), ("dpo", "12 pairs")]
    assert lineage(open_project("third"), client, model=sft).path == f"{NANO} → SFT"
