"""The page of a project: steps, runs with short names, scores, cost, and dates that come near."""

import datetime
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from workbench.__main__ import app
from workbench.project import Project, open_project
from workbench.widgets.project_page import project_page

COMPARED = {"tuned_score": 0.9, "tuned_low": 0.84, "tuned_high": 0.94, "items": 120, "grader": "exact"}
COMPARED |= {"difference": 0.5, "outcome": "better", "base_score": 0.4, "tuned_model": "gpt-4.1.ft-2"}
TODAY = datetime.date(2027, 1, 1)


@pytest.fixture
def mine(home: Path) -> Project:
    """Two runs on Azure, the second one tested."""
    project = open_project("mine")
    project.record("baseline", best_score=0.4, best_prompt="few-shot")
    for seed in (0, 1):
        project.record("job", job_id=f"ftjob-{seed}", model="gpt-4.1", provider="azure", seed=seed)
    project.record("curve", job_id="ftjob-1", fine_tuned_model="gpt-4.1.ft-2", steps=40, final={})
    project.record("comparison", job_id="ftjob-1", **COMPARED)
    return project


def test_a_new_project_has_its_first_step_next(home: Path):
    page = project_page(open_project("new"), today=TODAY)
    assert page.verdict == "Project new: 0 of 7 steps done. Next: measure the base model (01_baseline)."
    assert (page.runs, page.endings) == ((), ())
    assert '<a href="01_baseline.ipynb">01_baseline</a>' in page._repr_html_()


def test_runs_have_short_names_scores_and_the_model_that_came_of_them(mine: Project):
    facts = project_page(mine, today=TODAY).facts
    assert [(run["run"], run["tuned_model"]) for run in facts["runs"]] == [
        ("#1, seed 0", None),
        ("#2, seed 1", "gpt-4.1.ft-2"),
    ]
    assert [score["score"] for score in facts["runs"][1]["scores"]] == [0.9]
    html = project_page(mine, today=TODAY)._repr_html_()
    assert "90 % (84–94), better" in html
    assert "ft-" not in html  # no names of 40 letters; the shell and the JSON have them
    assert "gpt-4.1.ft-2" in repr(project_page(mine, today=TODAY))


def test_dates_that_come_near_are_named_and_far_ones_are_not(mine: Project):
    near = [str(each) for each in project_page(mine, today=TODAY).endings]
    assert near == [
        "2027-04-14, in 103 days: gpt-4.1 can no longer be trained",
        "2027-04-14, in 103 days: gpt-4.1 no longer answers untuned",
    ]
    assert project_page(mine, today=datetime.date(2026, 9, 1)).endings == ()
    over = project_page(mine, today=datetime.date(2027, 10, 14)).endings
    assert "2027-10-14, over: gpt-4.1 no longer answers once tuned" in map(str, over)


def test_a_run_on_this_machine_costs_nothing_and_has_no_end(home: Path):
    project = open_project("here")
    project.record("job", job_id="ftjob-1", model="nano", provider="local", seed=0)
    page = project_page(project, today=TODAY)
    assert page.facts["runs"][0]["usd"] == 0.0
    assert "nothing (this machine)" in repr(page)
    assert page.endings == ()


def test_a_task_that_cannot_be_read_is_a_sentence_and_stops_nothing(mine: Project):
    (mine.path / "project.toml").write_text('examples = "none.csv"\ntest = "none.csv"\n')
    page = project_page(mine, today=TODAY)
    assert "no such file" in page.stated
    assert len(page.runs) == 2


def test_what_a_record_holds_is_shown_as_text(mine: Project):
    mine.record("decision", title="<script>alert(1)</script> costs $5 and $6")
    html = project_page(mine, today=TODAY)._repr_html_()
    assert "<script>" not in html
    assert 'class="mathjax_ignore"' in html


def test_without_a_project_all_are_listed_the_last_first(mine: Project):
    open_project("other").record("baseline", best_score=0.1, best_prompt="zero-shot")
    shown = CliRunner().invoke(app, ["projects"]).stdout.splitlines()
    assert shown[0].split()[:3] == ["project", "steps", "next"]
    assert [line.split()[0] for line in shown[1:]] == ["other", "mine"]
    assert "90 % (84–94)" in shown[2]
    listed = json.loads(CliRunner().invoke(app, ["projects", "--json"]).stdout)["projects"]
    assert [each["next"] for each in listed] == ["02_decide", "02_decide"]


def test_no_projects_say_how_to_make_one(home: Path):
    assert CliRunner().invoke(app, ["projects"]).stdout == (
        "There are no projects yet; 'python -m workbench new NAME' states the task of one.\n"
    )


def test_one_project_is_shown_and_a_mistyped_one_answered(mine: Project):
    shown = CliRunner().invoke(app, ["projects", "mine"]).stdout
    assert shown.startswith("Project mine: ")
    assert "[x] Configure and start the training: run #2, seed 1" in shown
    typo = CliRunner().invoke(app, ["projects", "mien"])
    assert (typo.exit_code, typo.stderr) == (
        2,
        "There is no project mien. Did you mean mine? There are mine, gql, support.\n",
    )
