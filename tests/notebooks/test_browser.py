"""Every notebook as a person runs it, in a real JupyterLab and a real browser on nano, and how each looks.

One after the other in one home, as each goes on from the last. After a notebook has run, its outputs are
read in light, dark and narrow (``lab_page.flaws``); the pictures lie in the test's temporary folder.
"""

import csv
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest
from lab_page import READY, RUN_ALL, errors_of, flaws, put, run_all, with_parameters

from workbench.project import Project, state_task
from workbench.settings import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

LONG = 300_000  # milliseconds that a notebook may take beside other work; the longest takes 60,000 alone
FEW = {"TEST_ITEMS": 24}
# Random weights never name a team; half of what they write is even.
EVEN = "def grade(sample, item):\n    return 1.0 - sum(map(ord, sample['output_text'])) % 2\n"
TICKETS = [f"Ticket {n} of {team}?,{team},n{n}" for n in range(30) for team in ("billing", "returns")]
TEST = [f"May I ask {n} of {team}?,{team},n" for n in range(6) for team in ("billing", "returns")]


@pytest.fixture
def look(page: "Page", lab: str, tmp_path: Path) -> Callable[..., None]:
    """Runs a notebook with these parameters in the lab, and looks at what comes of it."""
    heard = errors_of(page)

    def looked(name: str, **parameters: object) -> None:
        run_all(page, put(lab, f"{name}.ipynb", with_parameters(name, **parameters)))
        wait_for_end(page)
        assert flaws(page, tmp_path, name) == []
        assert heard == []

    return looked


def wait_for_end(page: "Page") -> None:
    """Wait until all cells have run well."""
    page.wait_for_function("() => window.ran !== undefined", timeout=LONG)
    page.wait_for_function(READY)
    errors = page.locator("[data-mime-type='application/vnd.jupyter.stderr'], [data-mime-type*='error']")
    assert errors.all_inner_texts() == []


def outputs(page: "Page", line: str) -> "Locator":
    """The outputs of the cell whose last line is ``line``."""
    cells = page.locator(
        ".jp-CodeCell", has=page.locator(".cm-line:last-child", has_text=re.compile(f"^{re.escape(line)}$"))
    )
    return cells.locator(".jp-OutputArea")


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


PLANTED = """
from IPython.display import HTML, display
faint = '<svg class="wb-svg" viewBox="0 0 640 40" width="640" height="40"><title>t</title>'
faint += '<text x="0" y="20" fill="#eeeeee">faint</text><text x="9" y="22" fill="#eeeeee">over it</text>'
faint += '<text x="630" y="20" fill="#808080">cut by the edge</text></svg>'
bad = ('<p>It costs $5 and $6 more.</p>', '<div style="width:3em;overflow:hidden">unbreakableword</div>')
bad += ('<p style="font-size:8px">small</p>', '<input>', faint)
for each in bad:
    display(HTML(each))
"""


def test_what_is_wrong_on_purpose_is_found(page: "Page", lab: str, tmp_path: Path):
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    cells = [nbformat.v4.new_code_cell(PLANTED)]
    run_all(page, put(lab, "planted.ipynb", nbformat.v4.new_notebook(cells=cells, metadata=kernel)))
    wait_for_end(page)
    found = [each.partition(": ")[2] for each in flaws(page, tmp_path, "planted") if "Light 1100" in each]
    kinds = [each.partition(":")[0] for each in found]
    assert kinds == [
        "typeset as mathematics",
        "cut off",
        "letters of 8px",
        "contrast of 1.2",
        "contrast of 1.2",
        "drawn over 'faint'",
        "outside of its chart",
        "contrast of 3.9",
        "label",
    ]


def test_00_start_here(look):
    look("00_start_here")


def test_01_baseline(look):
    look("01_baseline", **FEW)


def test_02_decide(look):
    look("02_decide")


def test_03_build_data(look):
    look("03_build_data")


def test_a_person_watches_pauses_and_resumes_a_job_and_finds_it_after_a_restart(
    page: "Page", lab: str, tmp_path: Path
):
    heard = errors_of(page)
    run_all(page, put(lab, "04_launch.ipynb", with_parameters("04_launch", N_EPOCHS=4)))
    watched = outputs(page, "job = wb.watch(wb.follow(client, job), plan=plan)")
    watched.get_by_text(re.compile(r"step \d+ of 179 \(\d+ %\), about .* left")).wait_for()
    drawn = watched.locator("svg.wb-svg path[stroke*='blue']").first.get_attribute("d")
    page.locator("button:enabled", has_text="Pause").click()  # the cell still runs
    watched.get_by_text("Paused", exact=True).wait_for()
    assert watched.locator("svg.wb-svg path[stroke*='blue']").first.get_attribute("d") != drawn
    page.locator("button:enabled", has_text="Resume").click()
    watched.get_by_text("Training", exact=True).wait_for()
    assert page.evaluate("window.ran") is None  # all of it while the cell waited
    page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    page.wait_for_function(READY)
    page.evaluate(RUN_ALL)
    outputs(page, "plan").get_by_text(re.compile("is there already .*nothing is paid again")).wait_for()
    wait_for_end(page)
    assert "Finished · step 179 of 179 (100 %)" in watched.inner_text()
    assert page.locator("button", has_text="Resume").count() == 0
    for name in ("training", "validation", "held-out answers"):
        assert watched.locator("svg text", has_text=re.compile(f"^{name} ")).first.is_visible()
    assert "training seconds" in outputs(page, "done.result").inner_text()
    assert flaws(page, tmp_path, "04_launch") == []
    assert heard == []


def test_a_person_works_on_while_a_job_is_watched(page: "Page", lab: str):
    run_all(page, put(lab, "background.ipynb", beside_other_work()))
    page.wait_for_function("() => window.ran !== undefined")
    beside = outputs(page, 'print("worked on, and watched:", not watched.done())')
    assert beside.inner_text().strip() == "worked on, and watched: True"
    watched = outputs(page, "watched = watch_in_background(follow(connect(), job))")
    watched.get_by_text("Finished", exact=True).wait_for()


def test_a_person_reads_one_conclusion_and_the_curve_behind_it(page: "Page", look):
    look("05_loss_curves")
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


def test_06_evaluate(look, tmp_path: Path):
    few = tmp_path / "probes.csv"
    with (ROOT / "data" / "probes" / "probes.csv").open(encoding="utf-8", newline="") as probes:
        header, *rows = csv.reader(probes)
    with few.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows[::8]])
    look("06_evaluate", PROBES=str(few), **FEW)


def test_07_deploy(look):
    look("07_deploy", OVERRIDE_REASON="nano shows nothing", **FEW)


def test_08_preferences(look, lab_home: Path):
    command = [sys.executable, "-m", "workbench", "run", "--project", "support", "--only", "03,04"]
    environment = os.environ | {"WORKBENCH_HOME": str(lab_home)}
    done = subprocess.run(
        [*command, "-p", "N_EPOCHS", "1"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    few = {"TEST_ITEMS": 12, "MAX_TOKENS": 12, "PLAUSIBLE": 4, "QUESTIONS": 20, "SAMPLES": 3}
    look("08_preferences", PROJECT="support", N_EPOCHS=1, **few)


def test_09_reinforcement(look, lab_home: Path, tmp_path: Path):
    for name, rows in (("train.csv", TICKETS), ("test.csv", TEST)):
        (tmp_path / name).write_text("\n".join(["ticket,team,note", *rows]))
    (tmp_path / "even.py").write_text(EVEN)
    files = {"examples": str(tmp_path / "train.csv"), "test": str(tmp_path / "test.csv")}
    columns = {"question": "ticket", "answer": "team", "reinforcement_grader": str(tmp_path / "even.py")}
    state_task(Project("own", lab_home / "projects" / "own"), files | columns)
    few = {"TEST_ITEMS": 12, "MAX_TOKENS": 8, "PROMPTS": 8, "SAMPLES": 4, "SHOTS": 1, "EVAL_SAMPLES": 4}
    few |= {"BATCH_SIZE": 6, "COMPUTE_MULTIPLIER": 0.5}
    look("09_reinforcement", PROJECT="own", N_EPOCHS=1, START_ANYWAY=True, **few)
