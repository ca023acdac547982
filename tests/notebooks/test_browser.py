"""Notebooks in a real JupyterLab, driven by a real browser: what a person sees of a job and of its curve."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest
from lab_page import READY, put, run_all

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


def with_few_epochs() -> nbformat.NotebookNode:
    """The notebook that launches a job, with one parameter changed as a person would."""
    notebook = nbformat.read(ROOT / "notebooks" / "04_launch.ipynb", as_version=4)
    parameters = next(cell for cell in notebook.cells if cell.cell_type == "code")
    parameters.source = parameters.source.replace("N_EPOCHS = None", "N_EPOCHS = 2")
    return notebook


def wait_for_end(page: "Page", picture: Path) -> None:
    """Wait until all cells have run well, and take a picture of the whole notebook."""
    page.wait_for_function("() => window.ran !== undefined")
    page.wait_for_function(READY)
    errors = page.locator("[data-mime-type='application/vnd.jupyter.stderr'], [data-mime-type*='error']")
    assert errors.all_inner_texts() == []
    page.locator(".js-plotly-plot .gtitle").first.wait_for()
    page.set_viewport_size({"width": 1100, "height": 2400})
    page.evaluate("document.querySelector('.jp-WindowedPanel-outer').scrollTop = 0")
    page.screenshot(path=picture)


def outputs(page: "Page", line: str) -> "Locator":
    """The outputs of the cell whose last line is ``line``."""
    cells = page.locator(
        ".jp-CodeCell", has=page.locator(".cm-line:last-child", has_text=re.compile(f"^{re.escape(line)}$"))
    )
    return cells.locator(".jp-OutputArea")


def test_a_person_watches_a_job_learn(page: "Page", lab: str, tmp_path: Path):
    run_all(page, put(lab, "few.ipynb", with_few_epochs()))
    watched = outputs(page, "job = wb.watch(wb.follow(client, job))")
    drawing = watched.locator("img[src^='data:image/svg']")
    drawing.wait_for()  # while it learns
    wait_for_end(page, tmp_path / "04_launch.png")
    assert drawing.count() == 0  # the figure has taken its place
    assert "· succeeded · step " in watched.locator(".gtitle").text_content()
    for name in ("training", "validation", "held-out answers"):
        assert watched.get_by_text(name, exact=True).is_visible()
    assert "training seconds" in outputs(page, "done.result").inner_text()


def test_a_person_works_on_while_a_job_is_watched(page: "Page", lab: str):
    run_all(page, put(lab, "background.ipynb", beside_other_work()))
    page.wait_for_function("() => window.ran !== undefined")
    beside = outputs(page, 'print("worked on, and watched:", not watched.done())')
    assert beside.inner_text().strip() == "worked on, and watched: True"
    watched = outputs(page, "watched = watch_in_background(follow(connect(), job))")
    assert "· succeeded · step " in watched.locator(".gtitle").text_content()


def test_a_person_reads_the_curve_in_a_picture_and_in_words(page: "Page", lab: str, tmp_path: Path):
    run_all(page, lab.format("05_loss_curves.ipynb"))
    wait_for_end(page, tmp_path / "05_loss_curves.png")
    words = outputs(page, "done.curve").locator("li").all_inner_texts()
    assert words[0].endswith(" of them with numbers.")
    assert words[1].startswith("Training loss: ")
    assert "nano.ft-" in outputs(page, "kept").locator("table").inner_text()
