"""The pictures of the README, drawn from a run: the curve, base against tuned, and a window of a notebook.

    python -m workbench run                          first: seven minutes
    python tests/benchmarks/pictures.py              then: three pictures in data/gql, half a minute
    python tests/benchmarks/pictures.py NAME FOLDER  of project NAME, into FOLDER

The two charts are written twice, for a light page and a dark one. The window (the review of training rows, as
JupyterLab shows it) wants Chromium on the PATH and is left out without it.
"""

import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat

sys.path.insert(0, str(Path(__file__).parents[1]))
from lab_page import CHROMIUM, run_all

from workbench.evaluation import records
from workbench.evaluation.compare import compare
from workbench.evaluation.evaluation import Evaluation
from workbench.project import Project, open_project
from workbench.settings import DATA
from workbench.training.curve_files import read_curve
from workbench.widgets.curve_figure import plot
from workbench.widgets.score_charts import comparison_chart
from workbench.widgets.svg import _THEMED

PATIENCE = 120  # seconds
REVIEW = """
import workbench as wb
project = wb.open_project({name!r})
examples, test = project.task.read_examples(), project.task.read_test()
report = wb.check(examples, test=test)
wb.review(examples, wb.open_review(project), order="suspicious", report=report)
"""


def curve(project: Project) -> str:
    """The curve of the job that 05_loss_curves read last."""
    facts = project.need("curve", "05_loss_curves").facts
    return plot(read_curve(project.path / str(facts["curve_file"]))).svg


def comparison(project: Project) -> str:
    """The newest comparison of 06_evaluate: tuned, base, and every prompt of 01_baseline."""
    facts = project.need("comparison", "06_evaluate").facts
    base, tuned = (
        Evaluation.load(project.path / str(facts[f"{side}_evaluation"])) for side in ("base", "tuned")
    )
    made = records.comparisons_made(project, tuned.model)
    return comparison_chart(
        compare(base, tuned, comparisons_made=made), records.baseline_evaluations(project)
    ).svg


def write_both(folder: Path, name: str, drawing: str) -> None:
    """The drawing for a light page (``NAME.svg``) and for a dark one (``NAME-dark.svg``)."""
    for ending, shade in (("", 0), ("-dark", 1)):
        coloured = drawing
        for colour, (_, *shades) in _THEMED.items():
            coloured = coloured.replace(f'"{colour}"', f'"{shades[shade]}"')
        path = folder / f"{name}{ending}.svg"
        path.write_text(coloured, encoding="utf-8")
        print(f"{path}: {len(coloured.encode()):,} bytes")


@contextmanager
def lab(folder: Path) -> Iterator[str]:
    """JupyterLab on a folder; its address with a place for a notebook's name."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(16)
    command = [sys.executable, "-m", "workbench", "lab", str(folder), "--no-browser", "--allow-root"]
    command += [f"--ServerApp.port={port}", "--ServerApp.ip=127.0.0.1", f"--IdentityProvider.token={token}"]
    command += ["--LabApp.expose_app_in_browser=True", "--LabApp.extension_manager=readonly"]
    own = {"JUPYTER_CONFIG_DIR": str(folder / "config"), "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings")}
    server = subprocess.Popen(
        command,
        env=os.environ | own | {"WORKBENCH_HEADLESS": ""},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + PATIENCE
    try:
        while time.monotonic() < deadline and server.poll() is None:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api/status?token={token}", timeout=5).close()
                break
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/doc/tree/{{}}?reset&token={token}"
    finally:
        server.terminate()
        server.wait(30)


def window(project: Project, picture: Path) -> None:
    """The review of the training rows, photographed in JupyterLab."""
    from playwright.sync_api import sync_playwright

    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    cell = nbformat.v4.new_code_cell(REVIEW.format(name=project.name))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=kernel), Path(folder, "review.ipynb"))
        with lab(Path(folder)) as address:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1000, "height": 1400}, device_scale_factor=2)
            page.set_default_timeout(1000 * PATIENCE)
            run_all(page, address.format("review.ipynb"))
            shown = page.get_by_role("group", name="Review of training rows")
            shown.get_by_role("region", name="What the model sees").wait_for()
            page.wait_for_function("() => window.ran !== undefined")
            shown.screenshot(path=picture)
            browser.close()
    print(f"{picture}: {picture.stat().st_size:,} bytes")


def main() -> None:
    """Draw them all."""
    name, folder = [*sys.argv[1:], *("gql", str(DATA / "gql"))[len(sys.argv) - 1 :]]
    project, into = open_project(name), Path(folder)
    into.mkdir(parents=True, exist_ok=True)
    write_both(into, "loss_curve", curve(project))
    write_both(into, "comparison", comparison(project))
    if CHROMIUM is None:
        print("No Chromium on the PATH: the picture of the window is left out.")
    else:
        window(project, into / "review.png")


if __name__ == "__main__":
    main()
