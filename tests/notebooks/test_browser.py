"""Notebooks in a real JupyterLab, driven by a real browser: what a person sees of a job and of its curve."""

import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest

from workbench.local import process
from workbench.settings import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
PATIENCE = 120  # seconds; everything takes a few on a quiet machine
READY = """() => {
    const context = window.jupyterapp?.shell?.currentWidget?.sessionContext;
    return Boolean(context?.isReady && context.kernelDisplayStatus === 'idle');
}"""  # the circle in the toolbar says idle before there is a kernel
RUN_ALL = """() => {
    window.ran = undefined;
    window.jupyterapp.commands.execute('notebook:run-all-cells').then(ran => { window.ran = ran; });
}"""  # not awaited here: a dialog would hang it for ever


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    made = tmp_path_factory.mktemp("browser") / "home"
    yield made
    process.stop(made)


@pytest.fixture(scope="module")
def prepared(home: Path) -> Path:
    """A home in which 03_build_data has run."""
    command = [sys.executable, "-m", "workbench", "run", "--only", "03"]
    done = subprocess.run(
        command, env=os.environ | {"WORKBENCH_HOME": str(home)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return home


def beside_other_work() -> nbformat.NotebookNode:
    """A notebook in which somebody watches a job and works on."""
    sources = [
        "from workbench import connect, follow, open_project, watch_in_background\n"
        'job = open_project("gql").need("job", "04_launch").facts["job_id"]',
        "watched = watch_in_background(follow(connect(), job))",
        'print("worked on, and watched:", not watched.done())',
    ]
    return nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source) for source in sources],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    )


@pytest.fixture(scope="module")
def lab(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """JupyterLab on a copy of the notebooks; its address with a place for a notebook's name."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    launch = folder / "notebooks" / "04_launch.ipynb"
    fewer = launch.read_text(encoding="utf-8").replace("N_EPOCHS = None", "N_EPOCHS = 2")
    launch.write_text(fewer, encoding="utf-8")
    nbformat.write(beside_other_work(), folder / "notebooks" / "background.ipynb")
    settings = folder / "settings" / "@jupyterlab"
    for plugin, content in {
        "notebook-extension/tracker": '{"windowingMode": "none"}',  # else only cells in view exist
        "apputils-extension/notification": '{"fetchNews": "false"}',
        "docmanager-extension/plugin": '{"autosave": false}',
    }.items():
        file = settings / f"{plugin}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(16)
    command = [
        sys.executable,
        "-m",
        "workbench",
        "lab",
        str(folder / "notebooks"),
        "--no-browser",
        "--allow-root",
    ]
    command += ["--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    command += [f"--IdentityProvider.token={token}", "--LabApp.expose_app_in_browser=True"]
    command += ["--LabApp.extension_manager=readonly"]
    own = {
        "WORKBENCH_HOME": prepared,
        "JUPYTERLAB_SETTINGS_DIR": folder / "settings",
        "JUPYTERLAB_WORKSPACES_DIR": folder / "workspaces",
        "JUPYTER_RUNTIME_DIR": folder / "runtime",
        "JUPYTER_CONFIG_DIR": folder / "config",
        "WORKBENCH_HEADLESS": "",
    }
    environment = os.environ | {name: str(value) for name, value in own.items()}
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        wait_until_up(f"http://127.0.0.1:{port}/api/status?token={token}", server, folder / "log")
        yield f"http://127.0.0.1:{port}/doc/tree/{{}}?reset&token={token}"
    finally:
        server.terminate()
        server.wait(30)


def wait_until_up(address: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise AssertionError(log.read_text())


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    flags += ["--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=flags)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: "Browser") -> Iterator["Page"]:
    opened = browser.new_page(viewport={"width": 1100, "height": 1400})
    opened.set_default_timeout(1000 * PATIENCE)
    yield opened
    opened.close()


def run_all(page: "Page", lab: str, notebook: str) -> None:
    """Open a notebook and run all its cells, as its menu does."""
    page.goto(lab.format(notebook))
    page.wait_for_function(READY)
    page.evaluate(RUN_ALL)


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
    run_all(page, lab, "04_launch.ipynb")
    watched = outputs(page, "job = wb.watch(wb.follow(client, job))")
    drawing = watched.locator("img[src^='data:image/svg']")
    drawing.wait_for()  # while it learns
    wait_for_end(page, tmp_path / "04_launch.png")
    assert drawing.count() == 0  # the figure has taken its place
    assert "· succeeded · step " in watched.locator(".gtitle").text_content()
    for name in ("training", "validation", "held-out answers"):
        assert watched.get_by_text(name, exact=True).is_visible()
    assert "training seconds" in outputs(page, "wb.job_result(done)").inner_text()


def test_a_person_works_on_while_a_job_is_watched(page: "Page", lab: str):
    run_all(page, lab, "background.ipynb")
    page.wait_for_function("() => window.ran !== undefined")
    beside = outputs(page, 'print("worked on, and watched:", not watched.done())')
    assert beside.inner_text().strip() == "worked on, and watched: True"
    watched = outputs(page, "watched = watch_in_background(follow(connect(), job))")
    assert "· succeeded · step " in watched.locator(".gtitle").text_content()


def test_a_person_reads_the_curve_in_a_picture_and_in_words(page: "Page", lab: str, tmp_path: Path):
    run_all(page, lab, "05_loss_curves.ipynb")
    wait_for_end(page, tmp_path / "05_loss_curves.png")
    words = outputs(page, "done.curve").locator("li").all_inner_texts()
    assert words[0].endswith(" of them with numbers.")
    assert words[1].startswith("Training loss: ")
    assert "nano.ft-" in outputs(page, "kept").locator("table").inner_text()
