"""The forms of 00, 02 and 03 in a real JupyterLab: the task, the decision, the columns, repairs and undo.

And both lists that may be long, with 100,000 rows.
"""

import platform
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest
from lab_page import READY, RUN_ALL, flaws, put, run_all
from nbformat.v4 import new_code_cell, new_notebook

from workbench.project import Project
from workbench.settings import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Page

FORM = """
import workbench as wb
form = wb.questionnaire(wb.situation({"score": 0.5, "eval_items": 200, "trainable": True}))
form
"""
COLUMNS = """
import workbench as wb
from pathlib import Path
rows = [f"{n},c{n % 2},Where is {n}?,ticket {n},Here {n}." for n in range(5)]
table = chr(10).join(["id,customer,question,text,answer", *rows])
folder = wb.open_project("shop").path
folder.mkdir(parents=True, exist_ok=True)
for name in ("train.csv", "test.csv"):
    (folder / name).write_text(table)
if not (folder / "project.toml").exists():
    files = {"examples": str(folder / "train.csv"), "test": str(folder / "test.csv")}
    wb.state_task(wb.open_project("shop"), files)
wb.map_columns(folder / "train.csv", wb.open_project("shop"))
"""
PROBLEMS = """
import workbench as wb
def row(n, question, answer):
    said = ({"role": "user", "content": question}, {"role": "assistant", "content": answer})
    return wb.Example(said, f"faq.csv:{n}")
rows = [row(n, f"Where is parcel {n}?", f"On its way, {n}. ") for n in range(2, 14)]
rows += [row(14, "Who <b>signed</b>?", "Ask jane.miller@contoso.com")]
faq = wb.Dataset("faq.csv", tuple(rows))
window = wb.problems(faq, wb.check(faq), project=wb.open_project("shop"))
window
"""
LARGE = """
import workbench as wb
from workbench.dataset.check.report import FileFacts, Group, Report
from workbench.dataset.check.row import Finding
from workbench.evaluation.evaluation import Evaluation, Item
from workbench.evaluation.prompts import Prompt
from workbench.evaluation.requests import Answer
from workbench.evaluation.scores import pair
numbers = range(2, 100_002)
said = lambda n: ({"role": "user", "content": f"Question {n}?"}, {"role": "assistant", "content": "Yes. "})
faq = wb.Dataset("faq.csv", tuple(wb.Example(said(n), f"faq.csv:{n}") for n in numbers))
odd = Finding("warning", "whitespace", "messages[1].content", "white space around the answer", "strip it")
report = Report((FileFacts("faq.csv", "training", 100_000),), (Group(odd, "faq.csv", tuple(numbers)),), "sft")
def evaluated(model, score):
    answers = (Answer("Yes.", "stop", 0.1, 9, 1, score=score),)
    items = tuple(Item(f"q{n}", f"faq.csv:{n}", f"Question {n}?", "No.", answers) for n in numbers)
    return Evaluation(model, Prompt("short"), wb.grader("exact"), items, 64, 0.0)
wb.problems(faq, report)
"""
LARGE_ITEMS = 'wb.browse(pair(evaluated("small", 1.0), evaluated("tuned", 0.0), missing="refuse"))'
STEPS = """async ([act, seen]) => {
    const took = [];
    for (let step = 0; step < 20; step++) {
        const before = document.querySelector(seen).textContent, began = performance.now();
        const pressed = document.querySelector(act);
        if (pressed.matches('button')) pressed.click();
        else pressed.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowRight', bubbles: true }));
        while (document.querySelector(seen).textContent === before)
            await new Promise(requestAnimationFrame);
        took.push(performance.now() - began);
    }
    return took.sort((one, other) => one - other);
}"""  # milliseconds from a key or click until its row is there


@pytest.fixture
def open_cells(page: "Page", lab: str):
    """Opens and runs a notebook of these cells."""

    def opened(name: str, *sources: str) -> None:
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python"}}
        notebook = new_notebook(cells=[new_code_cell(source) for source in sources], metadata=kernel)
        run_all(page, put(lab, name, notebook))
        page.wait_for_function("() => window.ran !== undefined")  # until then the notebook moves the focus

    return opened


def cells_of(page: "Page") -> int:
    return page.locator(".jp-CodeCell").count()


def test_a_person_answers_the_form_by_keyboard(page: "Page", open_cells, tmp_path: Path):
    open_cells("form.ipynb", FORM, "1 + 1")
    status = page.get_by_role("status").filter(has_text="With these answers")
    status.wait_for()
    target = page.get_by_label("Which score is good enough?")
    target.focus()
    page.keyboard.type("85")
    page.keyboard.press("Tab")
    error = page.get_by_role("alert").filter(has_text="it should be 1 or less")
    error.wait_for()
    assert error.inner_text().endswith("For 85 percent write 85 % or 0.85.")
    below = error.bounding_box()["y"] - target.bounding_box()["y"]
    assert 0 < below < 60  # pixels: beside the field that it is about
    assert page.get_by_label("How many requests come in a month?").evaluate(
        "each => each === document.activeElement"
    )
    page.get_by_text("Without the answer marked ✕ below").wait_for()
    assert flaws(page, tmp_path, "form") == []
    target.focus()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("85 %")
    page.keyboard.press("Enter")
    status.wait_for()
    error.wait_for(state="detached")
    page.get_by_text("The evaluation", exact=True).click()
    label = page.locator(".widget-label").filter(
        has_text="How well do two people agree on what is right (Cohen's kappa)?"
    )
    assert label.evaluate("each => each.scrollWidth <= each.clientWidth")  # nothing of it is cut off
    assert cells_of(page) == 2


def test_a_person_says_which_column_is_what(page: "Page", open_cells, lab_home: Path, tmp_path: Path):
    open_cells("columns.ipynb", COLUMNS, "1 + 1")
    question = page.get_by_label("Which column is the question?")
    question.wait_for()
    assert question.evaluate("each => each.selectedOptions[0].text") == "question"
    question.focus()
    page.keyboard.press("ArrowDown")
    page.locator("th", has_text="text").filter(has_text="▸ question").wait_for()
    page.get_by_label("Which column is the cluster?").select_option("customer")
    assert flaws(page, tmp_path, "columns") == []
    save = page.get_by_role("button", name="Save in project.toml")
    save.focus()
    page.keyboard.press("Enter")
    page.get_by_role("status").filter(has_text="Saved in project.toml").wait_for()
    save.dblclick()
    task = Project("shop", lab_home / "projects" / "shop").task
    assert (task.question, task.answer, task.cluster) == ("text", "answer", "customer")
    assert cells_of(page) == 2


def test_a_person_states_a_task_in_00_by_uploading_two_files_and_edits_nothing_else(
    page: "Page", lab: str, lab_home: Path, tmp_path: Path
):
    rows = "".join(f"K{n % 9};¿Dónde está el paquete {n}?;envío\n" for n in range(40))
    for name in ("entrenar.csv", "prueba.csv"):
        (tmp_path / name).write_bytes(("cliente;mensaje;categoría\n" + rows).encode("cp1252"))
    notebook = nbformat.read(ROOT / "notebooks" / "00_start_here.ipynb", as_version=4)
    notebook.metadata.language_info.version = platform.python_version()  # as delivered, it names another one
    parameters = next(cell for cell in notebook.cells if cell.cell_type == "code")
    parameters.source = parameters.source.replace('PROJECT = "gql"', 'PROJECT = "quejas"')
    page.goto(put(lab, "own.ipynb", notebook))
    page.wait_for_function(READY)
    unsaved = "window.jupyterapp.shell.currentWidget.context.model.dirty"
    assert page.evaluate(unsaved) is False  # closing it would not ask to save
    page.evaluate(RUN_ALL)
    page.wait_for_function("() => window.ran !== undefined")
    page.get_by_text(
        "Project quejas states no task yet; write it with"
    ).wait_for()  # of a cell below the form
    for name in ("examples", "test"):
        with page.expect_file_chooser() as chosen:
            page.get_by_role("button", name=f"Upload the {name}").click()
        chosen.value.set_files(tmp_path / ("entrenar.csv" if name == "examples" else "prueba.csv"))
        field = page.get_by_label("File with the examples" if name == "examples" else "File with the test")
        page.wait_for_function("field => field.value.endsWith('.csv')", arg=field.element_handle())
    page.get_by_role("button", name="Save in project.toml").click()
    page.get_by_role("status").filter(has_text="Choose a column for the question").wait_for()
    page.get_by_label("Which column is the question?").select_option("mensaje")
    page.get_by_label("Which column is the right answer?").select_option("categoría")
    page.get_by_label("Instruction before each question").fill("Responde con una etiqueta.")
    assert flaws(page, tmp_path, "task") == []
    page.get_by_role("button", name="Save in project.toml").click()
    page.get_by_text("40 examples and 40 test questions. Now run the cells below.").wait_for()
    page.evaluate(RUN_ALL)
    page.wait_for_function("() => window.ran !== undefined")
    page.get_by_text("Next is 01_baseline").wait_for(state="attached")
    assert page.locator("[data-mime-type*='error']").count() == 0
    task = Project("quejas", lab_home / "projects" / "quejas").task
    assert (task.question, task.answer, task.system) == ("mensaje", "categoría", "Responde con una etiqueta.")


def test_a_person_repairs_by_keyboard_undoes_it_and_finds_the_choice_again(
    page: "Page", open_cells, tmp_path: Path
):
    open_cells("problems.ipynb", PROBLEMS, "[e.answer for e in window.repair.apply()][:1]")
    findings, rows = page.get_by_label("Findings", exact=True), page.get_by_label("Rows", exact=True)
    findings.wait_for()
    names = findings.locator("option").all_inner_texts()
    assert "! warning: whitespace, 12 places" in [name.replace("\xa0", " ") for name in names]
    assert findings.evaluate("each => each.selectedIndex") == 0
    rows.locator("option", has_text="faq.csv:13").wait_for(state="attached")
    rows.focus()
    page.keyboard.press("ArrowDown")
    page.get_by_text("--- faq.csv:3").wait_for()
    for key in ("d", "d", "x"):  # of the notebook: it would delete the cell
        page.keyboard.press(key)
    assert cells_of(page) == 2
    repair, undo = page.get_by_role("button", name="Repair"), page.get_by_role("button", name="Undo")
    repair.focus()
    page.keyboard.press("Enter")
    page.get_by_text("Chosen for repair: whitespace").wait_for()
    assert flaws(page, tmp_path, "problems") == []
    undo.focus()
    page.keyboard.press("Enter")
    page.get_by_text("Chosen for repair: nothing").wait_for()
    repair.dblclick()
    page.get_by_text("Chosen for repair: whitespace").wait_for()
    page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
    page.get_by_text("['On its way, 2.']").wait_for()
    page.get_by_text("Chosen for repair: whitespace").first.wait_for()
    assert "jane.miller" not in page.locator(".jp-OutputArea").all_inner_texts()[0]


def test_of_a_hundred_thousand_rows_the_next_ones_are_there_within_a_tenth_of_a_second(
    page: "Page", open_cells
):
    open_cells("large.ipynb", LARGE, LARGE_ITEMS)
    page.locator(".wb-browse").get_by_text("Question 2?").first.wait_for()
    browsing = page.evaluate(STEPS, [".wb-browse", ".wb-browse .wb-item"])
    page.locator(".wb-browse").get_by_text("Question 22?").first.wait_for()
    page.get_by_role("button", name="Further rows").evaluate("each => each.classList.add('further')")
    page.get_by_label("Rows", exact=True).evaluate("each => each.classList.add('listed')")
    paging = page.evaluate(STEPS, ["button.further", "select.listed"])
    page.get_by_label("Rows", exact=True).locator("option", has_text="faq.csv:1002").wait_for(
        state="attached"
    )
    assert (browsing[5] < 100, paging[5] < 100) == (True, True), (browsing, paging)  # others work here too
    assert page.locator(".jp-OutputArea-output *").count() < 3_000
