"""What a report says of a project, and where it is written."""

import json
import re
from pathlib import Path

import pytest
from made_project import trained, walked

from workbench.errors import DataError
from workbench.project import Project, open_project
from workbench.report import report
from workbench.report.page import Drawing, Missing, Rows, VerdictCard
from workbench.report.sections import sections
from workbench.report.subject import Subject, runs_of, subjects


@pytest.fixture
def shop(home: Path) -> Project:
    return walked(open_project("shop"))


def of(subject: Subject, title: str) -> tuple[object, ...]:
    return next(section.blocks for section in sections(subject) if section.title == title)


def rows(subject: Subject, title: str) -> dict[str, str]:
    """The tables of two columns in a section, as one."""
    tables = (block.rows for block in of(subject, title) if isinstance(block, Rows))
    return {str(row[0]): str(row[1]) for table in tables for row in table if len(row) == 2}


def test_the_verdict_says_better_refused_and_what_was_lost(shop: Project):
    better, release, kept = of(subjects(shop)[0], "Verdict")
    assert isinstance(better, VerdictCard)
    assert (better.state, better.answer) == ("good", "Yes")
    assert better.why.startswith("The tuned model is better: 32 of 50 items right against 10")
    assert (release.state, release.answer) == ("bad", "No")
    assert [check[:2] for check in release.checks] == [
        ("good", "better at the task"),
        ("bad", "nothing lost elsewhere"),
    ]
    assert kept.state == "bad"
    assert "Of 100 questions beside the task the base model answers 60 right and the tuned one 20" in kept.why


def test_the_decision_stands_with_its_reason_and_the_facts_it_was_taken_from(shop: Project):
    first, *_ = of(subjects(shop)[0], "Decision")
    assert first.text.startswith("Not yet: ")
    assert rows(subjects(shop)[0], "Decision")["The score that is good enough"] == "90 %"


def test_the_data_name_their_file_alone_with_split_repairs_and_hashes(shop: Project):
    found = rows(subjects(shop)[0], "Data")
    data = shop.latest("dataset")
    assert found["from"] == "faq.csv"  # and not the folder, which may tell a person's name
    assert (found["trained on"], found["held out to watch the training"]) == ("15", "6")
    assert found["SHA-256 of the training file"] == data.facts["training_sha256"]
    assert found["SHA-256 of the test"] == "e" * 64
    assert found["white space around answers removed"] == "1"


def test_the_curve_is_drawn_from_the_file_that_the_project_kept(shop: Project):
    (drawing,) = (block for block in of(subjects(shop)[0], "Training") if isinstance(block, Drawing))
    assert "shop #1: 40 steps" in drawing.svg
    assert drawing.numbers.rows[0] == (
        *("Loss: training", "1.9 (step 1)", "0.257 (step 40)", "1.9 (step 1)", "0.257 (step 40)"),
    )


def test_a_curve_whose_file_is_gone_names_the_notebook_and_keeps_the_last_values(shop: Project):
    (shop.path / "curves" / "ftjob-1.csv").unlink()
    missing = next(block for block in of(subjects(shop)[0], "Training") if isinstance(block, Missing))
    assert missing.run == "05_loss_curves."
    assert rows(subjects(shop)[0], "Training")["full_valid_loss"] == "0.7"


def test_the_best_prompt_stands_once_beside_the_others_and_the_tuned_model(shop: Project):
    (drawing,) = of(subjects(shop)[0], "Base model against tuned model")
    assert [tuple(row) for row in drawing.numbers.rows] == [
        ("nano, zero-shot", "0.0 % (0–7)"),
        ("shop #1: base, few-shot", "20.0 % (11–33)"),
        ("shop #1: tuned, short", "64.0 % (50–76)"),
    ]


def test_what_got_worse_stands_by_category_with_how_many_were_asked(shop: Project):
    drawing, words = of(subjects(shop)[0], "What got worse")
    assert [tuple(row) for row in drawing.numbers.rows] == [
        ("facts", "30 → 10 of 50"),
        ("tone", "30 → 10 of 50"),
    ]
    assert words.text == "Of the questions of the task itself 8 right answers became wrong."


def test_without_the_number_of_questions_of_each_kind_no_share_is_drawn(shop: Project):
    facts = dict(shop.latest("comparison").facts)
    facts["forgetting"] = {name: value for name, value in facts["forgetting"].items() if name != "asked"}
    shop.record("comparison", **facts)
    table, _ = of(subjects(shop)[0], "What got worse")
    assert table.rows == [("facts", "30", "10"), ("tone", "30", "10")]


def test_items_that_do_not_count_are_no_examples(shop: Project):
    seen = [f"id{n}" for n in range(40, 48)]  # all of the broken ones
    left_out = [{"why": "contaminated", "ids": seen}]
    shop.record("comparison", **{**shop.latest("comparison").facts, "left_out": left_out})
    (table,) = of(subjects(shop)[0], "Ten examples")
    assert table.caption == "10 of 50 questions; in all 0 broken, 10 still wrong, 30 fixed"


def test_ten_examples_show_what_is_broken_what_is_still_wrong_and_what_is_fixed(shop: Project):
    (table,) = of(subjects(shop)[0], "Ten examples")
    assert table.caption == "10 of 50 questions; in all 8 broken, 10 still wrong, 30 fixed"
    assert [row[0] for row in table.rows] == ["broken"] * 3 + ["still wrong"] * 3 + ["fixed"] * 4
    assert table.rows[0][1:] == ("Q40 <?>", "A40", "nano 40", "nano.ft-1 40")
    assert [row[1] for row in table.rows[-4:]] == ["Q0 <?>", "Q7 <?>", "Q15 <?>", "Q22 <?>"]  # spread


def test_a_job_on_this_machine_costs_nothing_and_took_its_time(shop: Project):
    found = rows(subjects(shop)[0], "Cost")
    assert found == {"training, as it was": "$0.00, on a machine of your own", "training time": "4 min"}


def test_an_estimate_and_a_bill_stand_side_by_side(shop: Project):
    shop.record(
        "job",
        job_id="ftjob-9",
        model="gpt",
        provider="azure",
        estimated_usd=2.5,
        seed=1,
    )
    shop.record("curve", job_id="ftjob-9", usd=2.75)
    found = rows(runs_of(shop)[1], "Cost")
    assert found["training, as estimated"] == "$2.50"
    assert found["training, as it was"] == "$2.75"


def test_a_deployment_of_the_model_stands_with_its_price_and_in_the_manifest(shop: Project):
    shop.record("deployment", name="faq-bot", model="nano.ft-1", event="asked", hosting_hour=1.7)
    shop.record("deployment", name="other", model="nano.ft-2", event="asked", hosting_hour=9)
    assert rows(subjects(shop)[0], "Cost")["deployment faq-bot, an hour"] == "$1.70"
    assert rows(subjects(shop)[0], "Reproduce it")["deployment"] == "faq-bot"


def test_the_manifest_goes_from_the_bytes_of_the_data_to_the_scores(shop: Project):
    found = rows(subjects(shop)[0], "Reproduce it")
    assert found["training data"] == shop.latest("dataset").facts["training_sha256"]
    assert found["test"] == "e" * 64
    assert found["hyperparameters"] == "batch_size 2, learning_rate_multiplier 1.0, n_epochs 4"
    assert (found["seed"], found["job"], found["tuned model"]) == ("3", "ftjob-1", "nano.ft-1")
    assert found["scores"] == "20.0 % (11–33); 64.0 % (50–76)"
    assert found["versions"] == "python 3.11.7, torch 2.13.0"
    assert found["deployment"] == "not on record"


def test_the_manifest_says_when_a_file_is_not_what_it_was(shop: Project):
    (shop.path / shop.latest("dataset").facts["training_file"]).write_text("changed", encoding="utf-8")
    found = rows(subjects(shop)[0], "Reproduce it")
    assert "the file has changed since" in found["training data"]
    assert "changed" not in found["validation data"]


def test_an_empty_project_is_a_line_for_each_step_that_names_its_notebook(home: Path):
    (subject,) = subjects(open_project("empty"))
    found = {section.title: section.blocks for section in sections(subject)}
    assert all(isinstance(block, Missing) for blocks in found.values() for block in blocks)
    assert [blocks[0].run for blocks in found.values()] == [
        "04_launch.",
        "04_launch, then 06_evaluate.",
        "02_decide.",
        "03_build_data.",
        "04_launch.",
        "01_baseline, later 06_evaluate.",
        "06_evaluate.",
        "06_evaluate.",
        "02_decide and 04_launch.",
        "04_launch.",
        "00_start_here.",
    ]


def test_a_record_of_odd_shapes_is_reported_all_the_same(home: Path):
    project = open_project("odd")
    project.record("decision", title=None, situation={"no_such_field": 1}, reasons="none")
    project.record("dataset", training_file="gone.jsonl", repairs=[1], problems={"error": "many"})
    project.record("job", job_id="ftjob-1", model=None, estimated_usd=[], hyperparameters=[])
    project.record("curve", job_id="ftjob-1", final={"train_loss": "none"}, diagnosis=None, choice=[])
    scores = {"tuned_score": 0.5, "tuned_low": 0.4, "tuned_high": 0.6, "items": 9, "difference": 0.1}
    facts = {
        "base_evaluation": "gone",
        "tuned_evaluation": "gone",
        "forgetting": {"categories": {}},
        **scores,
    }
    project.record(
        "comparison",
        job_id="ftjob-1",
        tuned_model="m",
        outcome="odd",
        grader="g",
        gate={"checks": [1]},
        **facts,
    )
    assert "<h3>Reproduce it</h3>" in report(project).path.read_text(encoding="utf-8")


def test_a_preference_job_is_judged_by_what_08_found_of_it(shop: Project):
    scores = {"base": {"score": 0.1, "low": 0.0, "high": 0.2}, "SFT": {"score": 0.4, "low": 0.3, "high": 0.5}}
    change = {"difference": 0.3, "low": 0.2, "high": 0.4, "outcome": "better"}
    measure = {"grader": "tone", "scores": scores, "from_the_first": change, "last_step": change}
    shop.record("job", job_id="ftjob-2", model="nano.ft-1", provider="local", method="dpo", seed=0)
    facts = {
        "aim": "preference",
        "measures": {"preference": measure},
        "items": 12,
        "tuned_model": "nano.ft-2",
    }
    shop.record("preference", job_id="ftjob-2", outcome="not reached", verdict="Not reached: 40 %.", **facts)
    _, preferred = runs_of(shop)
    assert subjects(shop)[0].id == "ftjob-1"
    assert of(preferred, "Verdict")[0] == VerdictCard(
        "bad", "Is the tuned model better?", "No", "Not reached: 40 %."
    )
    assert of(subjects(shop)[0], "Verdict")[-1].question == "What came of 08_preferences?"
    assert of(preferred, "What got worse")[0].text.startswith(
        "preference: +30.0 points against the first model"
    )


# The file.


def test_two_projects_stand_side_by_side_above_their_parts(shop: Project):
    walked(open_project("other"))
    written = report("shop", "other")
    html = written.path.read_text(encoding="utf-8")
    assert written.path.name == "shop_other.html"
    headings = re.findall(r"<h2>(.*?)</h2>", html)
    assert headings == ["Side by side", "Project shop #1", "Project other #1"]
    assert html.index("other #1: tuned, short") < html.index("<h2>Project shop #1")


def test_several_runs_of_a_project_are_compared_by_what_differs(shop: Project):
    trained(shop, "ftjob-2", seed=7, tuned="1" * 45 + "0" * 5)
    html = report(shop).path.read_text(encoding="utf-8")
    assert re.findall(r"<h2>(.*?)</h2>", html) == ["Side by side", "Project shop #2"]
    above = html.partition("<h2>Project")[0]
    assert "90.0 % (79–96)" in above
    assert ">seed 3<" in above
    assert ">seed 7<" in above
    both = report(shop, runs=(1, 2)).path.read_text(encoding="utf-8")
    assert re.findall(r"<h2>(.*?)</h2>", both) == ["Side by side", "Project shop #1", "Project shop #2"]


def test_a_run_that_is_not_there_is_told_with_those_that_are(shop: Project):
    with pytest.raises(DataError, match=r"Project shop has no run 3; it has 1 run, the first is 1\."):
        report(shop, runs=(3,))


def test_a_project_that_is_not_there_is_told_with_the_nearest_name(shop: Project):
    with pytest.raises(
        DataError, match=r"There is no project shpo\. Did you mean shop\? There are gql, shop"
    ):
        report("shpo")
    with pytest.raises(DataError, match="Name a project to report; there are gql, shop, support"):
        report()


def test_a_file_that_is_no_report_is_not_written_over_unless_asked(shop: Project, tmp_path: Path):
    mine = tmp_path / "thesis.html"
    mine.write_text("<p>Mine</p>", encoding="utf-8")
    with pytest.raises(DataError, match=r"thesis\.html is there already and is no report of the workbench"):
        report(shop, out=mine)
    assert mine.read_text(encoding="utf-8") == "<p>Mine</p>"
    assert report(shop, out=mine, force=True).path == mine
    assert report(shop, out=mine).path == mine  # by now it is one
    assert list(tmp_path.glob(".thesis*")) == []


@pytest.mark.parametrize("name", ["report.pdf", "report"])
def test_a_file_of_another_kind_is_refused(shop: Project, tmp_path: Path, name: str):
    with pytest.raises(DataError, match=r"A report is a file that ends in \.html or \.md"):
        report(shop, out=tmp_path / name)


def test_a_folder_is_no_place_for_a_report(shop: Project, tmp_path: Path):
    (tmp_path / "out.html").mkdir()
    with pytest.raises(DataError, match=r"out\.html is a folder; name a file in it"):
        report(shop, out=tmp_path / "out.html")


def test_in_a_notebook_the_report_is_a_link_that_carries_the_file(shop: Project):
    written = report(shop)
    assert written.path == shop.path / "report.html"
    assert repr(written) == f"Fine-tuning report: shop: {written.path}"
    html = written._repr_html_()
    assert '<a download="report.html" href="data:text/html;base64,PCFET0NUWVBFIGh0bWw+' in html
    assert f"<code>{written.path}</code>" in html


def test_markdown_has_the_numbers_of_every_drawing_and_the_manifest_as_json(shop: Project, tmp_path: Path):
    text = report(shop, out=tmp_path / "r.md").path.read_text(encoding="utf-8")
    assert text.startswith("<!-- Fine-Tuning Workbench report -->\n# Fine-tuning report: shop\n")
    assert "| shop \\#1: tuned, short | 64.0 % (50–76) |" in text
    assert "| facts | 30 → 10 of 50 |" in text
    assert "<svg" not in text
    manifest = json.loads(re.search(r"```json\n(.*?)\n```", text, re.DOTALL)[1])
    assert manifest["job"] == "ftjob-1"
    assert re.findall("^### (.*)$", text, re.MULTILINE)[:2] == ["Verdict", "Decision"]
