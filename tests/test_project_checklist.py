"""The checklist: what the record holds is done, and nothing else."""

import pytest

from workbench.project import Project, open_project


@pytest.fixture
def gql(home) -> Project:
    return open_project("gql")


def test_a_new_project_has_everything_to_do(gql):
    steps = gql.checklist
    assert [step.done for step in steps.steps] == [""] * 7
    assert steps.steps[0].notebook == "01_baseline"
    assert repr(steps).splitlines()[0] == "[ ] Measure the base model"


def test_what_is_on_record_is_ticked_with_what_it_says(gql):
    gql.record("baseline", best_score=0.0083, best_prompt="few-shot")
    gql.record("dataset", training_examples=358, validation_examples=0)
    steps = gql.checklist
    assert [bool(step.done) for step in steps.steps] == [True, False, True, False, False, False, False]
    assert steps.steps[0].done == "0.8 % with the prompt few-shot"


def test_validation_data_counts_only_when_there_is_some(gql):
    gql.record("dataset", training_examples=358, validation_examples=63)
    assert gql.checklist.steps[3].done == "63 examples"


def test_it_is_shown_as_a_table(gql, unstyled):
    gql.record("job", job_id="ftjob-1")
    html = unstyled(gql.checklist._repr_html_())
    assert '<th scope="row">done</th><td>Configure and start the training</td><td>run #1</td>' in html
    assert "<td>Evaluate the model</td><td>06_evaluate does it</td>" in html
