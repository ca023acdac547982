"""The data in the record: which bytes, by which repairs, and what they say to the decision."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from workbench.dataset.check.check import check
from workbench.dataset.dataset import Dataset, Example
from workbench.dataset.repair.changes import changes_from_jsonl, undo
from workbench.dataset.repair.repair import propose
from workbench.decide.situation import situation
from workbench.project import open_project
from workbench.training.jobs import data_evidence, keep_data, kept_data


def example(number: int, question: str, answer: str) -> Example:
    said = ({"role": "user", "content": question}, {"role": "assistant", "content": answer})
    return Example(said, f"faq.csv:{number}")


@pytest.fixture
def faq() -> Dataset:
    rows = [example(n, f"What is {n} and {n}?", f"It is {2 * n}.") for n in range(2, 14)]
    return Dataset("faq.csv", (*rows, example(14, "What is 2 and 2?", "It is 5."), example(15, "Why?", " ")))


def test_the_files_are_saved_with_their_hashes(faq, home):
    project = open_project("faq")
    facts = keep_data(project, faq.take(12), faq[12:], source="faq.csv", report=check(faq)).facts
    assert (facts["training_examples"], facts["validation_examples"]) == (12, 2)
    saved = (project.path / facts["training_file"]).read_bytes()
    assert hashlib.sha256(saved).hexdigest() == facts["training_sha256"] == faq.take(12).sha256


def test_what_was_kept_knows_the_lines_of_the_users_own_file(faq, home):
    project = open_project("faq")
    facts = keep_data(project, faq.take(12), faq[12:], source="faq.csv", report=check(faq)).facts
    kept = kept_data(project)
    assert [example.origin for example in kept] == [f"faq.csv:{line}" for line in range(2, 14)]
    assert kept.sha256 == facts["training_sha256"]
    assert [example.origin for example in kept_data(project, "validation")] == ["faq.csv:14", "faq.csv:15"]
    (project.path / facts["training_file"]).with_name("training-origins.json").unlink()  # as it was before
    assert kept_data(project)[0].origin == "training.jsonl:1"


def test_later_data_does_not_take_the_place_of_earlier_data(faq, home):
    project = open_project("faq")
    first = keep_data(project, faq.take(12), faq[12:], source="faq.csv", report=check(faq)).facts
    keep_data(project, faq.take(11), faq[12:], source="faq.csv", report=check(faq))
    saved = (project.path / first["training_file"]).read_bytes()
    assert hashlib.sha256(saved).hexdigest() == first["training_sha256"]


def test_every_change_is_saved_and_can_be_undone(faq, home):
    project = open_project("faq")
    repair = propose(faq)
    entry = keep_data(project, repair.apply(), faq[:0], source="x", report=check(faq), repairs=[repair])
    kept = changes_from_jsonl(
        (project.path / entry.facts["training_file"]).with_name("repair-1.jsonl").read_bytes()
    )
    assert undo(repair.apply(), kept).sha256 == faq.sha256 == entry.facts["repairs"][0]["before_sha256"]


def test_rows_of_rehearsal_are_recorded_by_their_lines_and_not_marked_in_the_file(faq, home):
    project = open_project("faq")
    own = replace(example(9, "Hello", "Hi."), metadata={"rehearsal": "answered by base"})
    mixed = replace(faq, examples=(*faq.examples[:3], own, *faq.examples[3:12]))
    rehearsal = {"share": 0.08, "rows": 1, "model": "base"}
    entry = keep_data(project, mixed, faq[12:], source="faq.csv", report=check(faq), rehearsal=rehearsal)
    assert entry.facts["rehearsal"] == {"share": 0.08, "rows": 1, "model": "base", "lines": [4]}
    assert entry.facts["evidence"]["demonstrations"] == 14  # the task's own
    assert b"rehearsal" not in (project.path / entry.facts["training_file"]).read_bytes()
    prepared = next(step for step in project.checklist.steps if step.notebook == "03_build_data")
    assert prepared.done == "13 examples, 1 of them rehearsal"


def test_without_rehearsal_the_record_says_nothing_of_it(faq, home):
    none = {"share": 0.0, "rows": 0, "model": "base"}
    kept = {"source": "faq.csv", "report": check(faq), "rehearsal": none}
    assert "rehearsal" not in keep_data(open_project("faq"), faq.take(12), faq[12:], **kept).facts


def test_what_a_check_says_to_the_decision(faq):
    test = Dataset("test.csv", (example(2, "What is 3 and 3?", "It is 6."),))
    evidence = data_evidence(check(faq, test=test))
    assert evidence == {
        "demonstrations": 14,
        "contradictions": pytest.approx(2 / 14),
        "leaks": 1,
        "format_errors": 1,
    }


def test_lines_that_nobody_can_read_are_refused_and_a_short_file_is_no_refused_line(tmp_path: Path):
    good = '{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}'
    path = tmp_path / "few.jsonl"
    path.write_text("\n".join([good] * 2 + ["{broken"] * 8))
    evidence = data_evidence(check(path))
    assert (evidence["demonstrations"], evidence["format_errors"]) == (10, 8)
    assert situation(evidence).facts == evidence
    path.write_text("\n".join([good] * 2))
    assert data_evidence(check(path))["format_errors"] == 0
