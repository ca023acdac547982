"""Notebooks in a real JupyterLab, driven by a real browser: what a person sees of a job and of its curve."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest
from lab_page import READY, RUN_ALL, put, run_all

from workbench.settings import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page


@pytest.fixture(scope="module", autouse=True)
def prepared(lab: str, lab_home: Path) -> None:
    """03_build_data has run in the home of the lab."""
    command = [sys.executable, "-m", "workbench", "run", "--only", "03"]
    done = subprocess.run(
        command,
        env=os.environ | {"WORKBENCH_HOME": str(lab_home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def beside_other_work() -> nbformat.NotebookNode:
    """A notebook in which somebody watches a job and works on."""
    sources = [
        "from workbench import connect, follow, open_project\n"
        "from workbench.widgets.curve_view import watch_in_background\n"
        'job = open_project("gql").need("job", "04_launch").facts["job_id"]',
        "watched = watch_in_background(follow(connect(), job))",
        'print("worked on, and watched:", not watched.done())',
    ]
    return nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source) for source in sources],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    )


def with_epochs(number: int) -> nbformat.NotebookNode:
    """The notebook that launches a job, with one parameter changed as a person would."""
    notebook = nbformat.read(ROOT / "notebooks" / "04_launch.ipynb", as_version=4)
    parameters = next(cell for cell in notebook.cells if cell.cell_type == "code")
    parameters.source = parameters.source.replace("N_EPOCHS = None", f"N_EPOCHS = {number}")
    return notebook


def wait_for_end(page: "Page", picture: Path) -> None:
    """Wait until all cells have run well, and take a picture of the whole notebook."""
    page.wait_for_function("() => window.ran !== undefined")
    page.wait_for_function(READY)
    errors = page.locator("[data-mime-type='application/vnd.jupyter.stderr'], [data-mime-type*='error']")
    assert errors.all_inner_texts() == []
    page.set_viewport_size({"width": 1100, "height": 2400})
    page.evaluate("document.querySelector('.jp-WindowedPanel-outer').scrollTop = 0")
    page.screenshot(path=picture)


def outputs(page: "Page", line: str) -> "Locator":
    """The outputs of the cell whose last line is ``line``."""
    cells = page.locator(
        ".jp-CodeCell", has=page.locator(".cm-line:last-child", has_text=re.compile(f"^{re.escape(line)}$"))
    )
    return cells.locator(".jp-OutputArea")


def test_a_person_watches_pauses_and_resumes_a_job_and_finds_it_after_a_restart(
    page: "Page", lab: str, tmp_path: Path
):
    run_all(page, put(lab, "steered.ipynb", with_epochs(4)))
    watched = outputs(page, "job = wb.watch(wb.follow(client, job), plan=plan)")
    watched.get_by_text(re.compile(r"step \d+ of 179 \(\d+ %\), about .* left")).wait_for()
    drawn = watched.locator("svg.wb-svg path[stroke*='blue']").first.get_attribute("d")
    page.locator("button:enabled", has_text="Pause").click()  # the cell still runs
    watched.get_by_text("Paused", exact=True).wait_for()
    assert watched.locator("svg.wb-svg path[stroke*='blue']").first.get_attribute("d") != drawn
    page.locator("button:enabled", has_text="Resume").click()
    watched.get_by_text("Training", exact=True).wait_for()
    assert page.evaluate("window.ran") is None  # all of it while the cell waited
    page.screenshot(path=tmp_path / "resumed.png")
    page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    page.wait_for_function(READY)
    page.evaluate(RUN_ALL)
    outputs(page, "plan").get_by_text(re.compile("is there already .*nothing is paid again")).wait_for()
    wait_for_end(page, tmp_path / "04_launch.png")
    assert "Finished · step 179 of 179 (100 %)" in watched.inner_text()
    assert page.locator("button", has_text="Resume").count() == 0
    for name in ("training", "validation", "held-out answers"):
        assert watched.locator("svg text", has_text=re.compile(f"^{name} ")).first.is_visible()
    assert "training seconds" in outputs(page, "done.result").inner_text()


def test_a_person_works_on_while_a_job_is_watched(page: "Page", lab: str):
    run_all(page, put(lab, "background.ipynb", beside_other_work()))
    page.wait_for_function("() => window.ran !== undefined")
    beside = outputs(page, 'print("worked on, and watched:", not watched.done())')
    assert beside.inner_text().strip() == "worked on, and watched: True"
    watched = outputs(page, "watched = watch_in_background(follow(connect(), job))")
    watched.get_by_text("Finished", exact=True).wait_for()


def test_a_person_reads_one_conclusion_and_the_curve_behind_it(page: "Page", lab: str, tmp_path: Path):
    run_all(page, lab.format("05_loss_curves.ipynb"))
    wait_for_end(page, tmp_path / "05_loss_curves.png")
    card = outputs(page, "conclusion")
    assert card.locator("p").first.inner_text().startswith("Use the ")
    assert card.get_by_text("Next:").count() == 1
    card.get_by_text("The checkpoints that can be used").click()
    assert "nano.ft-" in card.locator("table").last.inner_text()
    asked = outputs(
        page, "curve_view.checkpoint_answers(client, conclusion.checkpoints, held_out, grader, cache=cache)"
    )
    assert asked.locator("th", has_text="step 179").count() == 1
    assert (
        outputs(page, "wb.plot(done.curve, done.job.id, checkpoints=conclusion.checkpoints.steps)")
        .locator("svg.wb-svg")
        .count()
        == 1
    )
