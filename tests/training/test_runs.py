"""The runs of a project side by side, from its record and from the service."""

from collections.abc import Mapping

import pytest
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from workbench.dataset.check.check import check
from workbench.dataset.dataset import Dataset, Example
from workbench.errors import DataError
from workbench.project import Project, open_project
from workbench.training.cost import billed
from workbench.training.jobs import keep_data
from workbench.training.runs import runs

AZURE = "https://my-resource.openai.azure.com/openai/v1/"


@pytest.fixture
def dogs(home) -> Project:
    return open_project("dogs")


def started(project: Project, job_id: str, n_epochs: int | str = 3, **more: object) -> None:
    facts = {
        "content": f"content of {job_id}",
        "model": "gpt-4.1-2025-04-14",
        "provider": "azure",
        "endpoint": "my-resource.openai.azure.com",
        "training_sha256": "a" * 64,
        "validation_sha256": "f" * 64,
        "hyperparameters": {"n_epochs": n_epochs, "batch_size": "auto", "learning_rate_multiplier": 1.0},
        "seed": 0,
        "training_type": "globalStandard",
    }
    project.record("job", job_id=job_id, **(facts | more))


def example(question: str, answer: str) -> Example:
    said = ({"role": "user", "content": question}, {"role": "assistant", "content": answer})
    return Example(said, "faq.csv")


def scored(project: Project, job_id: str, score: float, low: float, high: float, items: int = 100) -> None:
    project.record(
        "comparison",
        job_id=job_id,
        tuned_model=f"tuned by {job_id}",
        tuned_score=score,
        tuned_low=low,
        tuned_high=high,
        items=items,
        grader="exact",
        difference=score - 0.5,
        outcome="better",
        training_seconds=260,
    )


def kept(project: Project, sha256: str, examples: int, source: str) -> None:
    counts = {"training_examples": examples, "validation_examples": 20}
    project.record("dataset", training_sha256=sha256, source=source, repairs=[], **counts)


def test_only_what_differs_between_the_runs_is_told(dogs):
    started(dogs, "ftjob-1", 3)
    started(dogs, "ftjob-2", 4, grader={"type": "string_check", "name": "exact"})
    found = runs(dogs)
    assert found.configuration_diff == {"n_epochs": (3, 4), "grader": (None, "exact")}
    assert found.data_diff == {}


def test_the_data_differ_by_hash_counts_and_source(dogs):
    kept(dogs, "a" * 64, 120, "faq.csv")
    kept(dogs, "b" * 64, 240, "more.csv")
    started(dogs, "ftjob-1")
    started(dogs, "ftjob-2", training_sha256="b" * 64)
    assert runs(dogs).data_diff == {
        "training data": ("a" * 12, "b" * 12),
        "training examples": (120, 240),
        "source": ("faq.csv", "more.csv"),
    }


def test_the_data_differ_by_the_rehearsal_mixed_in(dogs):
    kept(dogs, "a" * 64, 120, "faq.csv")
    mixed = {"training_examples": 144, "validation_examples": 20, "rehearsal": {"share": 0.2, "rows": 24}}
    dogs.record("dataset", training_sha256="b" * 64, source="faq.csv", repairs=[], **mixed)
    started(dogs, "ftjob-1")
    started(dogs, "ftjob-2", training_sha256="b" * 64)
    assert runs(dogs).data_diff == {
        "training data": ("a" * 12, "b" * 12),
        "training examples": (120, 144),
        "rehearsal": (None, 0.2),
    }


@pytest.mark.parametrize("kind", ["pairs", "prompts"])
def test_pairs_and_prompts_are_data_as_well(dogs, kind):
    counts = {"training_examples": 80, "validation_examples": 12}
    dogs.record(kind, training_sha256="a" * 64, source="asked.jsonl", repairs=[], **counts)
    started(dogs, "ftjob-1")
    assert runs(dogs)[1].data == {
        "training data": "a" * 12,
        "validation data": "f" * 12,
        "training examples": 80,
        "validation examples": 12,
        "source": "asked.jsonl",
        "repairs": 0,
    }


def test_data_that_nobody_counted_have_a_hash_only(dogs):
    started(dogs, "ftjob-1")
    assert runs(dogs)[1].data == {"training data": "a" * 12, "validation data": "f" * 12}


def test_two_runs_differ_by_the_rows_they_were_trained_on(dogs):
    rows = [example(f"dog {n}", f"breed {n}") for n in range(12)]
    report = check(Dataset("faq", tuple(rows)))
    for number, data in enumerate((rows[:10], [*rows[1:9], example("dog 9", "poodle")]), 1):
        entry = keep_data(
            dogs, Dataset("faq", tuple(data)), Dataset("faq", (rows[11],)), source="faq", report=report
        )
        started(dogs, f"ftjob-{number}", training_sha256=entry.facts["training_sha256"])
    found = runs(dogs)
    changes = found.row_changes(1, 2)
    assert [old.answer for old, _ in changes.changed] == ["breed 9"]
    told = "Run 2 against run 1: 0 rows added, 1 removed, 1 with another answer, 8 the same."
    assert found.row_verdicts == (told,)
    assert told in repr(found)
    assert told in found._repr_html_()


def test_rows_that_are_gone_cannot_be_compared(dogs):
    started(dogs, "ftjob-1")
    started(dogs, "ftjob-2", training_sha256="b" * 64)
    assert runs(dogs).row_verdicts == ()
    with pytest.raises(DataError, match="training data of run 1 is not in the project's folder"):
        runs(dogs).row_changes(1, 2)


def test_a_job_recorded_twice_is_one_run(dogs):
    started(dogs, "ftjob-1")
    started(dogs, "ftjob-1")
    assert [(run.number, run.job_id) for run in runs(dogs)] == [(1, "ftjob-1")]


def test_a_run_is_named_by_what_is_particular_about_it(dogs):
    started(dogs, "ftjob-1", 3)
    started(dogs, "ftjob-2", 4)
    found = runs(dogs)
    assert [found.name(run) for run in found] == ["#1, 3 epochs", "#2, 4 epochs"]


def test_a_run_alone_is_named_by_its_number(dogs):
    started(dogs, "ftjob-1")
    found = runs(dogs)
    assert found.name(found[1]) == "#1"


def test_scores_stand_with_their_intervals_and_the_last_of_a_model_counts(dogs):
    started(dogs, "ftjob-1")
    scored(dogs, "ftjob-1", 0.7, 0.6, 0.78)
    scored(dogs, "ftjob-1", 0.8, 0.71, 0.87)
    assert [str(score) for score in runs(dogs)[1].scores] == ["80 % (71–87)"]
    assert runs(dogs)[1].training_seconds == 260


def test_a_run_above_the_intervals_of_all_others_is_called_highest(dogs):
    started(dogs, "ftjob-1", 3)
    started(dogs, "ftjob-2", 4)
    scored(dogs, "ftjob-1", 0.5, 0.4, 0.6)
    scored(dogs, "ftjob-2", 0.8, 0.71, 0.87)
    assert runs(dogs).verdict == "Run 2 scores highest: 80 % (71–87), above the intervals of all others."


def test_where_intervals_overlap_no_run_is_called_better(dogs):
    started(dogs, "ftjob-1", 3)
    started(dogs, "ftjob-2", 4)
    scored(dogs, "ftjob-1", 0.75, 0.66, 0.82)
    scored(dogs, "ftjob-2", 0.8, 0.71, 0.87)
    assert "but the interval of run 1 overlaps with it; compare(…)" in runs(dogs).verdict


def test_scores_on_different_items_do_not_compare(dogs):
    started(dogs, "ftjob-1", 3)
    started(dogs, "ftjob-2", 4)
    scored(dogs, "ftjob-1", 0.5, 0.4, 0.6)
    scored(dogs, "ftjob-2", 0.8, 0.71, 0.87, items=50)
    assert runs(dogs).verdict == "The scores come from different items or graders, and do not compare."


def test_the_table_shows_differences_and_below_it_what_is_the_same(dogs, unstyled):
    started(dogs, "ftjob-<1>", 3)
    started(dogs, "ftjob-2", 4)
    scored(dogs, "ftjob-2", 0.8, 0.71, 0.87)
    shown = unstyled(runs(dogs)._repr_html_())
    assert '<th scope="col">n_epochs</th>' in shown
    assert "<td>80 % (71–87) of 100, +30 points: better</td>" in shown
    assert '<th scope="row">model</th><td>gpt-4.1-2025-04-14</td>' in shown
    assert "ftjob-&lt;1&gt;" in shown


def test_a_project_without_runs_says_how_to_start_one(dogs):
    assert repr(runs(dogs)) == "Project dogs has no run yet; 04_launch starts one."
    assert "04_launch" in runs(dogs)._repr_html_()


def test_a_run_that_is_not_there_is_an_error(dogs):
    started(dogs, "ftjob-1")
    with pytest.raises(DataError, match="There is no run 2; dogs has 1, the first is 1"):
        runs(dogs)[2]


def test_the_frame_has_a_row_a_run(dogs):
    started(dogs, "ftjob-1", 3)
    started(dogs, "ftjob-2", 4)
    scored(dogs, "ftjob-2", 0.8, 0.71, 0.87)
    frame = runs(dogs).frame
    assert frame["n_epochs"].tolist() == [3, 4]
    assert frame["high"].iloc[1] == 0.87


JOB = {
    "id": "ftjob-1",
    "object": "fine_tuning.job",
    "created_at": 1000,
    "finished_at": 1300,
    "model": "gpt-4.1-2025-04-14",
    "fine_tuned_model": "gpt-4.1-2025-04-14.ft-1",
    "status": "succeeded",
    "hyperparameters": {"n_epochs": 2, "batch_size": 8, "learning_rate_multiplier": 1.0},
    "trained_tokens": 40_000,
    "training_file": "file-1",
    "result_files": ["file-results"],
    "seed": 0,
}
RESULTS = b"step,train_loss,full_valid_loss\n1,2.0,\n2,1.0,1.5\n3,0.8,\n4,0.6,1.25\n"


def service(*jobs: Mapping[str, object]) -> OpenAI:
    """A service with these jobs, none of which says more than its results."""

    async def job(request: Request) -> Response:
        for known in jobs:
            if known["id"] == request.path_params["id"]:
                return JSONResponse(known)
        return JSONResponse({"error": {"code": "notFound", "message": "not found"}}, status_code=404)

    async def events(request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [], "has_more": False})

    async def file(request: Request) -> Response:
        return JSONResponse({"id": "file-results", "bytes": len(RESULTS), "object": "file"})

    async def content(request: Request) -> Response:
        return Response(RESULTS)

    prefix = "/openai/v1"
    app = Starlette(
        routes=[
            Route(prefix + "/fine_tuning/jobs/{id}", job),
            Route(prefix + "/fine_tuning/jobs/{id}/events", events),
            Route(prefix + "/files/{id}", file),
            Route(prefix + "/files/{id}/content", content),
        ]
    )
    return OpenAI(base_url=AZURE, api_key="test", http_client=TestClient(app), max_retries=0)


def test_the_service_adds_status_curve_cost_and_the_numbers_it_chose(dogs):
    started(dogs, "ftjob-1", "auto")
    run = runs(dogs, service(JOB))[1]
    assert (run.status, run.training_seconds) == ("succeeded", 300)
    assert run.configuration["n_epochs"] == 2
    assert run.configuration["batch_size"] == 8
    assert run.usd == pytest.approx(1.0)  # 40,000 tokens at $25 per million
    assert run.final["full_valid_loss"] == 1.25
    assert run.curve.frame["epoch"].tolist() == [0.5, 1.0, 1.5, 2.0]
    assert run.curve.frame["tokens"].tolist() == [10_000, 20_000, 30_000, 40_000]


def test_a_job_that_the_service_no_longer_has_keeps_what_is_on_record(dogs):
    started(dogs, "ftjob-1", 3)
    started(dogs, "ftjob-gone", 4)
    found = runs(dogs, service(JOB))
    assert [run.status for run in found] == ["succeeded", None]
    assert list(found.curves) == ["#1, 3 epochs, batches of 8"]


def test_another_services_jobs_are_not_asked_for(dogs):
    started(dogs, "ftjob-1", provider="openai")
    assert runs(dogs, service(JOB))[1].status is None


def job(**changes: object) -> FineTuningJob:
    return FineTuningJob.model_validate({**JOB, "organization_id": "", **changes})


def said(message: str) -> FineTuningJobEvent:
    event = {"id": "e", "created_at": 1, "level": "info", "message": message}
    return FineTuningJobEvent.model_validate(event | {"object": "fine_tuning.job.event"})


def test_what_the_service_billed_is_believed_before_what_it_trained():
    events = (said("Training tokens billed: 7223000"),)
    assert billed(job(), events, service="azure", training_type="globalStandard") == pytest.approx(180.575)


def test_reinforcement_is_billed_by_the_hour():
    rft = job(model="o4-mini-2025-04-16", method={"type": "reinforcement"})
    events = (said("Training hours billed: 24.750"),)
    assert billed(rft, events, service="azure", training_type="globalStandard") == pytest.approx(2475.0)
    assert billed(rft, service="azure", training_type="globalStandard") is None


def test_a_failed_job_and_one_on_this_machine_cost_nothing():
    assert billed(job(status="failed"), service="azure") == 0
    assert billed(job(model="nano"), service="local") == 0


def test_without_a_price_the_cost_is_unknown():
    assert billed(job(), service="azure", training_type="Standard") is None
    assert billed(job(model="something-else"), service="azure") is None
