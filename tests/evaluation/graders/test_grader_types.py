"""The table of grader types: a new entry is known wherever graders are checked, run or listed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from idle_service import client_of, idle_service
from openai import BadRequestError, OpenAI

from workbench.dataset.check.methods import grader_findings
from workbench.errors import DataError
from workbench.evaluation.graders.grader_types import (
    TYPES,
    GraderType,
    Resources,
    check_in_training,
    check_shape,
    models_asked,
    needs,
)
from workbench.evaluation.graders.grades import AnswerToGrade, BadGraderError, Grade, Grader
from workbench.evaluation.graders.grading import grade, graded

MINE = {"type": "starts_with", "name": "mine", "text": "{{sample.output_text}}", "start": "{{item.answer}}"}
ITEM = {"answer": "Yes", "origin": "faq.csv:2"}
ROW = b'{"messages": [{"role": "user", "content": "Is it?"}, {"role": "assistant", "content": "Yes"}]}\n'


def starts_with(grader: Grader, answer: AnswerToGrade, using: Resources) -> Grade:
    text, start = answer.fill(str(grader["text"])), answer.fill(str(grader["start"]))
    return Grade(float(text.startswith(start)), f"{text!r} against {start!r}")


@pytest.fixture(autouse=True)
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = GraderType(
        "compares the beginning of a text",
        texts=("name", "text", "start"),
        templates=("text", "start"),
        grade=starts_with,
    )
    monkeypatch.setitem(TYPES, "starts_with", entry)


@pytest.fixture
def client(home: Path) -> Iterator[OpenAI]:
    with idle_service(home) as http:
        yield client_of(http)


def test_a_new_type_is_validated():
    check_shape(MINE)
    with pytest.raises(BadGraderError, match=r"grader\.start is missing; a starts_with grader needs a text"):
        check_shape({key: value for key, value in MINE.items() if key != "start"})
    with pytest.raises(BadGraderError, match=r"grader\.start has the template \{\{item\}\}"):
        check_shape(MINE | {"start": "{{item}}"})


def test_a_new_type_grades_alone_and_inside_a_multi_grader():
    assert graded(MINE, "Yes, it is.", ITEM).score == 1.0
    assert graded(MINE, "No, yes.", ITEM).reason == "'No, yes.' against 'Yes'"
    both = {"type": "multi", "name": "m", "graders": {"mine": MINE}, "calculate_output": "mine / 2"}
    assert graded(both, "Yes, it is.", ITEM).score == 0.5
    with pytest.raises(DataError, match=r"\{\{item\.answer\}\} finds nothing in item faq\.csv:3"):
        grade(MINE, "Yes", {"origin": "faq.csv:3"})


def test_error_messages_list_a_new_type():
    with pytest.raises(BadGraderError, match=r"there are string_check, .*, starts_with"):
        check_shape({"type": "magic"})
    label = {"type": "label_model", "name": "l", "model": "m"}
    with pytest.raises(
        BadGraderError, match="use string_check, text_similarity, python, multi, endpoint, starts_with, or"
    ):
        check_in_training(label)
    (finding,) = grader_findings({"type": "start_with"})
    assert finding.fix == "did you mean 'starts_with'"


def test_the_check_of_training_data_reads_the_templates_of_a_new_type():
    assert grader_findings(MINE) == []
    (finding,) = grader_findings(MINE | {"start": "{{sample.text}}"})
    assert (finding.path, finding.message) == ("grader.start", "a sample has no 'text'")


def test_the_service_validates_and_runs_a_new_type(client: OpenAI):
    graders = client.fine_tuning.alpha.graders
    assert graders.run(grader=MINE, model_sample="Yes!", item=ITEM).reward == 1.0  # type: ignore[arg-type]
    assert graders.validate(grader=MINE).grader.type == "starts_with"  # type: ignore[arg-type,union-attr]
    with pytest.raises(BadRequestError, match=r"grader\.text is 5"):
        graders.validate(grader=MINE | {"text": 5})  # type: ignore[arg-type]


def test_a_supervised_job_grades_by_a_new_type_that_only_computes(client: OpenAI):
    file = client.files.create(file=("rows.jsonl", ROW * 12), purpose="fine-tune").id
    settings = {"hyperparameters": {"eval_samples": 2}, "grader": MINE}
    job = client.fine_tuning.jobs.create(
        model="nano",
        training_file=file,
        validation_file=file,
        method={"type": "supervised", "supervised": settings},  # type: ignore[typeddict-item]
    )
    assert job.method.supervised.grader == MINE  # type: ignore[union-attr]


def test_a_supervised_job_takes_no_type_that_needs_more_than_computing(
    monkeypatch: pytest.MonkeyPatch, client: OpenAI
):
    entry = GraderType("asks", texts=("name", "model"), grade=starts_with, needs="model")
    monkeypatch.setitem(TYPES, "oracle", entry)
    oracle = {"type": "oracle", "name": "o", "model": "nano"}
    assert needs(oracle) == {"model"}
    assert list(models_asked(oracle)) == [("grader.model", "nano")]
    with pytest.raises(
        BadRequestError, match="is 'oracle', which asks a model, and local training asks none"
    ) as refused:
        client.fine_tuning.jobs.create(
            model="nano",
            training_file="file-1",
            validation_file="file-1",
            method={"type": "supervised", "supervised": {"grader": oracle}},  # type: ignore[typeddict-item]
        )
    assert refused.value.param == "method.supervised.grader.type"


def test_a_grader_of_a_supervised_job_has_no_unknown_fields():
    check_in_training(MINE | {"pass_threshold": 0.5})
    with pytest.raises(BadGraderError, match=r"grader\.stop is no field of a starts_with grader"):
        check_in_training(MINE | {"stop": "x"})
