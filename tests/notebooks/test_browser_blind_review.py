"""The blind review, the item browser and labelling in a real JupyterLab, driven by keyboard."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from lab_page import errors_of, flaws, put, run_all
from nbformat.v4 import new_code_cell, new_notebook

from workbench.evaluation.failures import Labels
from workbench.evaluation.ratings import Ratings

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

ASKED = (
    ("May I return the kettle?", "Yes, within 30 days.", "Yes, within 30 days, unused and in its box."),
    ("Is it <b>blue</b>?", "It is <b>blue</b>.", "Yes, it is blue."),
    ("Do you ship to Norway?", "No.", "We do. It takes five days, and duty is paid on delivery."),
)
PREPARE = f"""
from workbench import Dataset, Example, compare, open_project
from workbench.evaluation.prompts import Prompt
from workbench.evaluation.pareto import field
from workbench.evaluation.evaluation import Evaluation, Item
from workbench.evaluation.requests import Answer
from workbench.evaluation.graders.ready_made import grader
from workbench.evaluation.failures import Failed, Failures
from workbench.evaluation.records import open_labels, open_ratings
from workbench.widgets.labelling import label
from workbench.widgets.blind_review import blind_review
from workbench.widgets.item_browser import browse
from workbench.widgets.cost_charts import quality_cost
def evaluated(model, answers, scores):
    rows = enumerate(zip({ASKED!r}, answers, scores, strict=True), start=1)
    items = (
        Item(
            f"q{{n}}",
            f"test.jsonl:{{n}}",
            asked[0],
            asked[2],
            (Answer(answer, "stop", 0.3, 40, 9, score=score),),
        )
        for n, (asked, answer, score) in rows
    )
    return Evaluation(model, Prompt("as trained"), grader("exact"), tuple(items), 64, 0.0)
base = evaluated("small", {[asked[1] for asked in ASKED]!r}, (1.0, 0.0, 0.0))
tuned = evaluated("small.ft-secret", {[asked[2] for asked in ASKED]!r}, (0.0, 1.0, 1.0))
def row(line, asked, said):
    chat = ({{"role": "user", "content": asked}}, {{"role": "assistant", "content": said}})
    return Example(chat, f"train.jsonl:{{line}}")
rows = row(7, "May I return the old kettle?", "No."), row(8, "Do you ship abroad?", "To Norway, yes.")
training = Dataset("train.jsonl", rows)
ratings = open_ratings(open_project("shop"))
wrong = tuple(Failed(item) for item in base.items)
failures = Failures(Prompt("best"), "small", wrong, 3)
"""
CELLS = (
    PREPARE,
    'blind_review(base, tuned, ratings=ratings, rater="Ann")',
    "browse(compare(base, tuned), training=training)",
    'label(failures, open_labels(open_project("shop")))',
    'quality_cost(field({"base": base, "tuned": tuned}, costs={"base": 0.001, "tuned": 0.002}))',
)


@pytest.fixture
def notebook(lab: str) -> str:
    """The address of a notebook that compares two models on three questions."""
    content = new_notebook(
        cells=[new_code_cell(source) for source in CELLS],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python"}},
    )
    return put(lab, "blind.ipynb", content)


def opened(page: "Page", notebook: str) -> "Locator":
    """The blind review, in a notebook that has just been opened and run."""
    run_all(page, notebook)
    window = page.get_by_role("group", name="Blind review of two answers")
    window.wait_for()
    return window


def test_a_person_rates_blind_by_keyboard_and_then_looks_at_what_got_worse(
    page: "Page",
    notebook: str,
    lab_home: Path,
    tmp_path: Path,
):
    heard = errors_of(page)
    window = opened(page, notebook)
    window.get_by_text("1 of 3", exact=True).wait_for()
    window.get_by_text("Click here").click()  # takes the focus, and chooses nothing
    assert "secret" not in window.inner_html()

    page.keyboard.press("ArrowLeft")
    window.get_by_text("2 of 3", exact=True).wait_for()
    page.keyboard.press("c")
    page.keyboard.type("tbs, a note")  # letters here, not keys
    page.screenshot(path=tmp_path / "note.png")
    page.keyboard.press("Control+Enter")
    window.get_by_text("Note: tbs, a note").wait_for()
    page.keyboard.press("b")
    window.get_by_text("3 of 3", exact=True).wait_for()
    for key in ("x", "d", "d", "z", "Enter", "Shift+Enter", "Escape"):  # not ours, and not the notebook's
        page.keyboard.press(key)
    assert page.locator(".jp-CodeCell").count() == len(CELLS)

    page.keyboard.press("p")
    window.get_by_text("2 of 3", exact=True).wait_for()
    assert window.get_by_role("button", name="Both bad").get_attribute("aria-pressed") == "true"
    page.keyboard.press("t")
    window.get_by_text("3 of 3", exact=True).wait_for()
    assert flaws(page, tmp_path, "blind") == []
    latest = list(Ratings(lab_home / "projects" / "shop" / "ratings" / "ratings.jsonl").latest.values())
    assert [rating.choice == rating.first for rating in latest] == [True, False]
    assert (latest[1].choice, latest[1].note, latest[1].rater) == ("tie", "tbs, a note", "Ann")

    window = opened(page, notebook)
    window.get_by_text("3 of 3", exact=True).wait_for()
    window.get_by_role("button", name="Answer 2 is better").click()
    window.get_by_text("That was the last one.").wait_for()

    items = page.locator(".wb-item")
    items.get_by_text("right → wrong").wait_for()
    assert "train.jsonl:7" in items.inner_text()
    page.get_by_label("Show", exact=True).select_option("all (3)")
    items.get_by_text("May I return the kettle?").first.wait_for()
    page.locator(".wb-browse").get_by_role("button", name="Next").click()
    items.get_by_text("Is it <b>blue</b>?").first.wait_for()  # as text, not as HTML
    page.keyboard.press("ArrowRight")  # keys go on after a click
    items.get_by_text("Do you ship to Norway?").first.wait_for()
    page.keyboard.press("ArrowLeft")
    items.get_by_text("Is it <b>blue</b>?").first.wait_for()
    page.screenshot(path=tmp_path / "items.png", full_page=True)

    labelling = page.get_by_role("group", name="Labelling of failures")
    labelling.get_by_role("button", name="style: right, but not").dblclick()  # labels one, not two
    labelling.get_by_text("2 of 3", exact=True).wait_for()
    page.keyboard.press("7")  # after the click the keys go on
    labelling.get_by_text("3 of 3", exact=True).wait_for()
    page.keyboard.press("u")
    labelling.get_by_text("1 labelled, 2 open").wait_for()
    labels = Labels(lab_home / "projects" / "shop" / "failures" / "labels.jsonl").latest.values()
    assert [(label.kind, label.by) for label in labels] == [("style", "person")]
    page.get_by_text("tuned 66.7 % (21 to 94)", exact=True).wait_for()
    assert heard == []
