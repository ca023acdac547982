"""A page of a real JupyterLab in a real browser: where the browser is, and how a notebook is run in it."""

import json
import re
import shutil
import urllib.request
from typing import TYPE_CHECKING

import nbformat

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATIENCE = 120  # seconds; everything takes a few on a quiet machine
READY = """() => {
    const context = window.jupyterapp?.shell?.currentWidget?.sessionContext;
    return Boolean(context?.isReady && context.kernelDisplayStatus === 'idle');
}"""  # the circle in the toolbar says idle before there is a kernel
RUN_ALL = """() => {
    window.ran = undefined;
    window.jupyterapp.commands.execute('notebook:run-all-cells').then(ran => { window.ran = ran; });
}"""  # not awaited here: a dialog would hang it for ever


def run_all(page: "Page", address: str) -> None:
    """Open a notebook and run all its cells, as its menu does."""
    page.goto(address)
    page.wait_for_function(READY)
    page.evaluate(RUN_ALL)


def put(lab: str, name: str, notebook: nbformat.NotebookNode) -> str:
    """Save a notebook in the lab at this address; the notebook's own address."""
    body = json.dumps({"type": "notebook", "content": json.loads(nbformat.writes(notebook))}).encode()
    address = re.sub(r"/doc/tree/.*\?reset&", f"/api/contents/{name}?", lab)
    urllib.request.urlopen(urllib.request.Request(address, body, method="PUT"), timeout=60).close()
    return lab.format(name)
