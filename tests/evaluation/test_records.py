"""What evaluations leave in a project's record, when some of it is not known."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from openai import OpenAI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from workbench.decide.situation import measured_in
from workbench.errors import SetupError
from workbench.evaluation.compare import compare
from workbench.evaluation.evaluation import Evaluation, Item
from workbench.evaluation.grader_trial import Check, GraderQuality
from workbench.evaluation.graders.ready_made import grader
from workbench.evaluation.model_comparison import compare_models
from workbench.evaluation.pass_rates import pass_rates
from workbench.evaluation.prompt_comparison import compare_prompts
from workbench.evaluation.prompts import Prompt
from workbench.evaluation.records import (
    TrainedModel,
    comparisons_made,
    model_to_judge,
    models_beside,
    models_reinforced,
    record_baseline,
    record_comparison,
    record_pass_rates,
    record_preference,
    record_reinforcement,
    reinforcement_start,
    trained_model,
)
from workbench.evaluation.requests import Answer
from workbench.evaluation.reward_hacking import hacking_signs
from workbench.project import Project


def evaluation(*scores: float, model: str = "base", prompt: str = "short") -> Evaluation:
    items = tuple(
        Item(
            f"i{n}",
            f"faq.csv:{n + 2}",
            f"Q{n}?",
            "a",
            (Answer("b", "stop", math.nan, 9, 1, problem="it hung", score=score),),
        )
        for n, score in enumerate(scores)
    )
    return Evaluation(model, Prompt(prompt), grader("exact"), items, 64, 0.0)


def test_a_comparison_is_recorded_with_what_does_not_count_and_why(tmp_path: Path):
    project = Project("p", tmp_path / "p")
    base, tuned = evaluation(0.0, 0.0, 1.0), evaluation(1.0, math.nan, 1.0, model="tuned")
    entry = record_comparison(project, compare(base, tuned), job_id="ftjob-1", training_seconds=9.0)
    facts = json.loads((tmp_path / "p" / "record.jsonl").read_text())["facts"]
    assert (facts["items"], facts["fixed"], facts["broken"], facts["minimum"]) == (2, 1, 0, 0.02)
    assert facts["left_out"][0]["ids"] == ["i1"]
    assert (facts["base_model"], facts["tuned_model"], facts["job_id"]) == ("base", "tuned", "ftjob-1")
    assert facts["outcome"] == "inconclusive"
    assert len(Evaluation.load(project.path / str(entry.facts["tuned_evaluation"])).items) == 2
    assert facts["examples"] == {"broken": [], "fixed": ["i0"]}
    assert facts["headline"].startswith("It is not clear which model is better: ")
    assert "slices" not in facts


def test_a_prompt_of_which_nothing_could_be_graded_is_not_the_best_and_is_recorded(tmp_path: Path):
    project = Project("p", tmp_path / "p")
    hopeless, poor = evaluation(math.nan, math.nan, prompt="hopeless"), evaluation(0.0, 0.0, prompt="poor")
    rungs = compare_prompts([hopeless, poor])
    assert rungs.best.prompt.name == "poor"
    entry = record_baseline(project, rungs, test_sha256="0" * 64)
    assert [rung["score"] for rung in entry.facts["rungs"]] == [None, 0.0]
    assert [rung["seconds_p50"] for rung in entry.facts["rungs"]] == [None, None]


# A model to go on from


class Service:
    """A service with one job and some models."""

    def __init__(self, *models: str, **job: object) -> None:
        self.models = models
        self.job = {"id": "ftjob-1", "object": "fine_tuning.job", "model": "nano", **job} if job else None

    @property
    def client(self) -> OpenAI:
        paths = {"fine_tuning/jobs/ftjob-1": self.shown_job, "models/{name}": self.shown_model}
        paths["fine_tuning/jobs/ftjob-1/checkpoints"] = self.shown_checkpoints
        app = Starlette(routes=[Route(f"/openai/v1/{path}", shown) for path, shown in paths.items()])
        url = "http://127.0.0.1/openai/v1/"
        return OpenAI(base_url=url, api_key="key", http_client=TestClient(app), max_retries=0)

    async def shown_job(self, request: Request) -> JSONResponse:
        error = {"error": {"message": "no such job", "code": "notFound"}}
        return JSONResponse(self.job or error, 200 if self.job else 404)

    async def shown_checkpoints(self, request: Request) -> JSONResponse:
        steps = [int(name.partition("step-")[2]) for name in self.models]
        kept = [
            {"id": f"c{step}", "step_number": step, "fine_tuned_model_checkpoint": name}
            for step, name in zip(steps, self.models, strict=True)
        ]
        return JSONResponse({"object": "list", "data": kept, "has_more": False})

    async def shown_model(self, request: Request) -> JSONResponse:
        name = request.path_params["name"]
        return JSONResponse({"id": name, "object": "model"}, 200 if name in self.models else 404)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project("p", tmp_path / "p")
    made.record("job", job_id="ftjob-1", model="nano")
    return made


DONE = {"status": "succeeded", "fine_tuned_model": "nano.ft-1", "finished_at": 9}


def test_the_model_to_go_on_from_is_that_of_the_newest_supervised_job(project: Project):
    project.record("job", job_id="ftjob-2", method="dpo")
    found = trained_model(Service("nano.ft-1", **DONE).client, project)
    assert (found.model, found.base, found.job_id) == ("nano.ft-1", "nano", "ftjob-1")
    assert found.judged == "not judged yet; run 06_evaluate to know whether it is better"
    base, tuned = evaluation(0.0, 0.0), evaluation(1.0, 1.0, model="nano.ft-1")
    record_comparison(project, compare(base, tuned), job_id="ftjob-1", training_seconds=9.0)
    judged = trained_model(Service("nano.ft-1", **DONE).client, project).judged
    assert judged.startswith("Inconclusive: 2 of 2 items right against 0")


@pytest.mark.parametrize(
    ("service", "sentence"),
    [
        (
            Service("nano.ft-1"),
            "local knows no job ftjob-1, which 04_launch started for project p: it was deleted there, or it "
            "ran at another service. Run 04_launch again, here.",
        ),
        (
            Service(**DONE),
            "The model nano.ft-1, which 04_launch trained for project p, is not at local any more. Train it "
            "again: run 04_launch with another SEED, as the same job would be found again and not repeated.",
        ),
        (
            Service(status="running"),
            "Job ftjob-1 is running, so there is no model to go on from; wait for it in 04_launch.",
        ),
        (
            Service(status="failed", finished_at=9),
            "Job ftjob-1 is failed, so there is no model to go on from; run 04_launch again.",
        ),
    ],
    ids=["no job", "no model", "running", "failed"],
)
def test_a_model_that_vanished_or_never_was_is_named_with_the_way_out(project, service, sentence):
    with pytest.raises(SetupError) as caught:
        trained_model(service.client, project)
    assert str(caught.value) == sentence


def test_another_model_can_be_named_if_it_is_there(project: Project):
    service = Service("nano.ft-7:ckpt-step-5", **DONE)
    found = trained_model(service.client, project, model="nano.ft-7:ckpt-step-5")
    assert (found.model, found.base) == ("nano.ft-7:ckpt-step-5", "nano")
    with pytest.raises(
        SetupError, match=r"There is no model nano\.ft-8 at local; give a tuned model or check"
    ):
        trained_model(service.client, project, model="nano.ft-8")


class TestModelToJudge:
    """The checkpoint that is compared with the base model."""

    service = Service("nano.ft-1:ckpt-step-5", "nano.ft-1:ckpt-step-10", **DONE)

    def chosen(self, project: Project, checkpoint: int | str | None = None) -> str:
        client = self.service.client
        return model_to_judge(client, project, client.fine_tuning.jobs.retrieve("ftjob-1"), checkpoint)

    def test_it_is_the_last_until_a_curve_of_this_job_chose_another(self, project: Project):
        assert self.chosen(project) == "nano.ft-1"
        project.record("curve", job_id="ftjob-1", choice={"model": "nano.ft-1:ckpt-step-5"})
        project.record("curve", job_id="ftjob-2", choice={"model": "nano.ft-2"})
        assert self.chosen(project) == "nano.ft-1:ckpt-step-5"
        project.record("curve", job_id="ftjob-1", choice={"model": None})
        assert self.chosen(project) == "nano.ft-1"

    def test_a_step_or_a_name_goes_before_what_was_chosen(self, project: Project):
        project.record("curve", job_id="ftjob-1", choice={"model": "nano.ft-1:ckpt-step-5"})
        assert self.chosen(project, 10) == "nano.ft-1:ckpt-step-10"
        assert self.chosen(project, "nano.ft-1:ckpt-step-10") == "nano.ft-1:ckpt-step-10"
        assert self.chosen(project, "nano.ft-1") == "nano.ft-1"

    def test_one_that_is_not_there_is_named_beside_those_that_are(self, project: Project):
        with pytest.raises(SetupError) as caught:
            self.chosen(project, 7)
        assert str(caught.value) == (
            "Job ftjob-1 has no checkpoint 7; it has step 5 (nano.ft-1:ckpt-step-5), step 10 "
            "(nano.ft-1:ckpt-step-10). Give one of these, or nano.ft-1, its last, as CHECKPOINT."
        )
        project.record("curve", job_id="ftjob-1", choice={"model": "nano.ft-1:ckpt-step-2"})
        with pytest.raises(
            SetupError, match=r"no checkpoint nano\.ft-1:ckpt-step-2, which 05_loss_curves chose; "
        ):
            self.chosen(project)


def test_the_base_model_is_asked_with_its_best_prompt_and_the_others_with_the_short_one(project: Project):
    before = TrainedModel("nano.ft-1", "nano", "ftjob-1", "")
    plain = models_beside(project, before, "nano.ft-2")
    assert {name: (one.model, one.prompt.name) for name, one in plain.items()} == {
        "base": ("nano", "short"),
        "SFT": ("nano.ft-1", "short"),
        "SFT + DPO": ("nano.ft-2", "short"),
    }
    assert list(models_beside(project, before, "x", stages="SFT + DPO")) == [
        "base",
        "SFT + DPO",
        "SFT + DPO + DPO",
    ]
    assert list(models_beside(project, before, "x", stages="")) == ["base", "DPO"]
    prompts = [evaluation(0.0, 0.0, model="nano"), evaluation(1.0, 0.0, model="nano", prompt="long")]
    record_baseline(project, compare_prompts(prompts), test_sha256="0" * 64)
    assert models_beside(project, before, "nano.ft-2")["base"].prompt.name == "long"


def test_what_a_preference_cost_is_on_record_and_counts_as_a_comparison(project: Project):
    names = ("base", "SFT", "SFT + DPO")
    scores = {"tone": ((0.0, 0.0), (0.0, 0.0), (1.0, 1.0)), "task": ((0.0, 0.0), (1.0, 1.0), (1.0, math.nan))}
    measured = {
        measure: {name: evaluation(*row, model=name) for name, row in zip(names, rows, strict=True)}
        for measure, rows in scores.items()
    }
    comparison = compare_models(measured)
    made = {"job_id": "ftjob-2", "training_seconds": 5.0, "pairs": "file", "training_pairs": 300}
    entry = record_preference(project, comparison, **made)
    facts = json.loads((project.path / "record.jsonl").read_text().splitlines()[-1])["facts"]
    assert (facts["tuned_model"], facts["pairs"], facts["training_pairs"]) == ("SFT + DPO", "file", 300)
    assert facts["verdict"] == comparison.verdict
    kept = Evaluation.load(project.path / str(entry.facts["evaluations"]["task, SFT"]))
    assert [item.score for item in kept.items] == [1.0, 1.0]
    assert comparisons_made(project, "SFT + DPO") == 1
    assert comparisons_made(project, "another") == 2


def test_reinforcement_goes_on_from_the_supervised_model_and_else_shows_the_base_model_examples(
    project: Project, tmp_path: Path
):
    client = Service("nano.ft-1", **DONE).client
    assert reinforcement_start(client, project) == ("nano.ft-1", 0)
    assert reinforcement_start(client, project, "nano", None) == ("nano", 10)
    assert reinforcement_start(client, project, None, 2) == ("nano.ft-1", 2)
    assert reinforcement_start(client, Project("new", tmp_path / "new"), "nano") == ("nano", 10)


def test_the_models_after_reinforcement_are_each_named_once():
    assert {name: one.model for name, one in models_reinforced("nano", "nano.ft-2").items()} == {
        "base": "nano",
        "after": "nano.ft-2",
    }
    assert {name: one.model for name, one in models_reinforced("nano.ft-1", "nano.ft-2").items()} == {
        "base": "nano",
        "before": "nano.ft-1",
        "after": "nano.ft-2",
    }


def test_what_was_found_before_a_reinforcement_job_is_on_record_and_in_the_situation(project: Project):
    sampled = evaluation(1.0, 0.0)
    answers = tuple(replace(item, answers=item.answers * 2) for item in sampled.items)
    rates = pass_rates(replace(sampled, items=answers))
    quality = GraderQuality((Check("always gives a number", "refused", "it hung."),), "exact")
    entry = record_pass_rates(project, rates, quality)
    project.record("baseline", model="base", evidence={})
    known = measured_in(sorted(project.entries(), key=lambda one: one.kind))
    assert (known["pass_rate"], known["grader_sound"]) == (0.5, False)
    assert 0 < known["mixed_share"] < 0.1
    assert len(Evaluation.load(project.path / str(entry.facts["evaluation"])).items) == 2


def test_what_reinforcement_reached_is_on_record_with_its_signs(project: Project):
    models = {"before": evaluation(0.0, 0.0), "after": evaluation(1.0, 0.0, model="rft")}
    comparison = compare_models({"judged": models, "paid": models})
    signs = hacking_signs(models["before"], models["after"])
    made = {"job_id": "ftjob-3", "training_seconds": 5.0}
    made |= {"hyperparameters": {"max_completion_tokens": 32}}
    entry = record_reinforcement(project, comparison, signs=signs, **made)
    assert entry.facts["hyperparameters"] == {"max_completion_tokens": 32}
    assert (entry.facts["tuned_model"], entry.facts["difference"], entry.facts["task"]) == (
        "rft",
        0.5,
        "judged",
    )
    assert entry.facts["reward_hacking"]["level"] == signs.level
    baseline = project.record("baseline", model="base", evidence={})
    assert measured_in([baseline, entry])["graded_gain"] == 0.5
    assert comparisons_made(project, "another") == 2
