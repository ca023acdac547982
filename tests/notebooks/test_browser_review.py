"""The review in a real JupyterLab, driven by keyboard: what a person decides is there when they come back."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from lab_page import errors_of, flaws, put, run_all
from nbformat.v4 import new_code_cell, new_notebook

from workbench.dataset.dataset import Dataset, Example
from workbench.project import Project
from workbench.review import Decisions, open_review

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

ROWS = (
    ("May I return the kettle?", "Yes, within 30 days, unused and in its box."),
    ("Where is parcel 4711?", "As an AI language model, I cannot know."),
    ("Is it <b>blue</b>?", "Yes, it is blau."),
    ("Do you ship to Norway?", "We do. It takes five days."),
    ("Can I pay by invoice?", "Yes, from the second order on."),
)
PREPARE = f"""
from workbench import Dataset, Example, open_project
from workbench.dataset.check.report import FileFacts, Group, Report
from workbench.dataset.check.row import Finding
from workbench.review import open_review
from workbench.widgets.row_review import review
system = {{"role": "system", "content": "You answer for a shop, briefly and kindly."}}
chats = [
    (system, {{"role": "user", "content": question}}, {{"role": "assistant", "content": answer}})
    for question, answer in {ROWS!r}
]
faq = Dataset("faq.jsonl", tuple(Example(chat, f"faq.jsonl:{{n}}") for n, chat in enumerate(chats, 1)))
found = Finding("warning", "refusal", "messages[2].content", "the answer refuses", "answer, or drop the row")
report = Report((FileFacts("faq.jsonl", "training", 5),), (Group(found, "faq.jsonl", [2]),), "sft")
decisions = open_review(open_project("shop"))
"""
SHOW = 'review(faq, decisions, order="file", report=report, model="gpt-4.1-mini")'


@pytest.fixture
def notebook(lab: str) -> str:
    """The address of a notebook that reviews five rows."""
    cells = [new_code_cell(source) for source in (PREPARE, SHOW)]
    content = new_notebook(
        cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python"}}
    )
    return put(lab, "review.ipynb", content)


@pytest.fixture
def decisions(lab_home: Path) -> Decisions:
    return open_review(Project("shop", lab_home / "projects" / "shop"))


def opened(page: "Page", notebook: str) -> "Locator":
    """The review, in a notebook that has just been opened and run."""
    run_all(page, notebook)
    window = page.get_by_role("group", name="Review of training rows")
    window.wait_for()
    return window


def verdicts(decisions: Decisions) -> list[str]:
    return [decision.verdict for decision in decisions.latest.values()]


def test_a_person_decides_by_keyboard_and_comes_back_to_the_place(
    page: "Page",
    notebook: str,
    decisions: Decisions,
    tmp_path: Path,
):
    heard = errors_of(page)
    window = opened(page, notebook)
    status, text = window.get_by_role("status"), window.get_by_role("region", name="What the model sees")
    window.get_by_text("1 of 5").wait_for()
    assert "trained" in text.inner_text()
    window.get_by_text("faq.jsonl:1").click()  # takes the focus, and decides nothing

    page.keyboard.press("k")
    window.get_by_text("2 of 5").wait_for()
    assert "the answer refuses; answer, or drop the row." in window.inner_text()
    page.keyboard.press("2")
    window.get_by_text("rated 2 of 5", exact=True).wait_for()
    assert flaws(page, tmp_path, "review") == []
    page.keyboard.press("d")
    window.get_by_text("3 of 5").wait_for()
    page.keyboard.press("d")
    window.get_by_text("4 of 5").wait_for()
    for key in (
        "x",
        "a",
        "b",
        "z",
        "m",
        "Enter",
        "Shift+Enter",
        "Escape",
    ):  # not ours, and not the notebook's
        page.keyboard.press(key)
    assert page.locator(".jp-CodeCell").count() == 2  # d d deletes a cell where the notebook gets the keys
    assert page.locator(".jp-MarkdownCell").count() == 0

    page.keyboard.press("u")
    window.get_by_text("3 of 5").wait_for()
    assert "Is it <b>blue</b>?" in text.inner_text()  # as text, not as HTML
    page.keyboard.press("e")
    answer = window.get_by_role("textbox", name="The answer")
    assert answer.input_value() == "Yes, it is blau."
    page.keyboard.type("dk")  # letters here, not keys
    page.keyboard.press("Escape")
    assert answer.count() == 0
    assert "Yes, it is blau." in text.inner_text()
    page.keyboard.press("e")
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("Yes, it is blue.")
    page.screenshot(path=tmp_path / "edit.png")
    page.keyboard.press("Control+Enter")
    window.get_by_text("4 of 5").wait_for()
    assert status.inner_text() == "Saved."
    assert verdicts(decisions) == ["keep", "drop", "edit"]
    assert [decision.rating for decision in decisions.latest.values()] == [None, 2, None]

    window = opened(page, notebook)
    window.get_by_text("4 of 5").wait_for()
    assert "1 kept, 1 dropped, 1 edited, 2 open" in window.inner_text()
    window.get_by_role("button", name="Keep this row").dblclick()  # keeps one row, not two
    window.get_by_text("5 of 5").wait_for()
    page.keyboard.press("ArrowLeft")
    window.get_by_text("4 of 5").wait_for()
    assert window.get_by_role("button", name="Keep this row").get_attribute("aria-pressed") == "true"
    assert "2 kept, 1 dropped, 1 edited, 1 open" in window.inner_text()
    page.keyboard.press("?")
    window.get_by_text("undo the last decision made here").wait_for()
    assert flaws(page, tmp_path, "help") == []
    assert heard == []
    assert page.locator(".jp-CodeCell").count() == 2

    system = {"role": "system", "content": "You answer for a shop, briefly and kindly."}
    rows = (
        Example((system, {"role": "user", "content": asked}, {"role": "assistant", "content": said}), "f:1")
        for asked, said in ROWS
    )
    assert [example.answer for example in decisions.apply(Dataset("faq.jsonl", tuple(rows)))] == [
        "Yes, within 30 days, unused and in its box.",
        "Yes, it is blue.",
        "We do. It takes five days.",
        "Yes, from the second order on.",
    ]
