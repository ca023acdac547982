"""A real JupyterLab and a real browser, for the tests that drive one with the other."""

import os
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

import pytest
from lab_page import CHROMIUM, PATIENCE
from notebook_road import Road

from workbench.local import process
from workbench.settings import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Road]:
    """A home of this file's own to run notebooks in."""
    made = Road(tmp_path_factory.mktemp("road") / "home")
    yield made
    made.end()


@pytest.fixture(scope="session")
def lab_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home that the kernels of ``lab`` work in."""
    made = tmp_path_factory.mktemp("browser") / "home"
    yield made
    process.stop(made)


@pytest.fixture(scope="session")
def lab(lab_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """JupyterLab on a copy of the notebooks; its address with a place for a notebook's name.

    One for all tests of a process: a browser is closed after each file, as it keeps an event loop.
    """
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
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
        "WORKBENCH_HOME": lab_home,
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
