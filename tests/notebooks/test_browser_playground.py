"""The playground in a real JupyterLab: answers grow, are stopped and kept, in the dark and in 900 pixels."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from lab_page import RUN_ALL, errors_of, flaws, put, run_all
from nbformat.v4 import new_code_cell, new_notebook

from workbench.evaluation.by_hand import Kept
from workbench.project import Project

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

PREPARE = """
import json, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from openai import OpenAI
import workbench as wb

class Slow(BaseHTTPRequestHandler):
    def do_POST(self):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        head = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "m"}
        for number in range(200):
            delta = {"content": f"word-{number} <b>bold</b> "}
            event = {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
            self.wfile.write(f"data: {json.dumps(event)}\\n\\n".encode())
            time.sleep(0.1)
    def log_message(self, *words):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = OpenAI(base_url=f"http://127.0.0.1:{server.server_port}", api_key="none")
"""
SHOW = 'wb.playground(client, {"base": "m", "tuned": "m.ft"}, project=wb.open_project("play"))'


@pytest.fixture
def notebook(lab: str) -> str:
    """The address of a notebook with a playground, whose models write ten words a second."""
    content = new_notebook(
        cells=[new_code_cell(source) for source in (PREPARE, SHOW)],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python"}},
    )
    return put(lab, "playground.ipynb", content)


def test_answers_grow_are_stopped_and_kept_in_the_dark_and_in_900_pixels(
    page: "Page", notebook: str, lab_home: Path, tmp_path: Path
):
    heard = errors_of(page)
    page.set_viewport_size({"width": 900, "height": 1000})
    run_all(page, notebook)
    window: Locator = page.get_by_role("group", name="Playground")
    answer = window.get_by_role("region", name="Answer of tuned")
    field = window.get_by_role("textbox", name="Your question")

    field.wait_for()
    assert not answer.is_visible()  # there is nothing to keep yet
    field.fill("Is it <b>blue</b>?")
    page.keyboard.press("Enter")
    answer.get_by_text("word-1 <b>bold</b>").wait_for()  # as text, and before the last word
    assert "word-199" not in answer.inner_text()
    assert answer.get_attribute("aria-busy") == "true"
    assert field.input_value() == ""
    answer.get_by_text("word-8").wait_for()
    page.keyboard.press("Escape")
    answer.get_by_text("stopped").wait_for()
    assert window.get_by_role("button", name="Stop the answers").is_disabled()

    assert flaws(page, tmp_path, "playground") == []

    window.get_by_role("button", name="Keep the question with the answer of tuned").click()
    right = window.get_by_role("textbox", name="The right answer")
    right.fill("Yes, <i>blue</i>.")
    window.get_by_label("Keep it for").select_option("for training")
    right.press("Control+Enter")
    window.get_by_text("Kept: 0 for the test, 1 for training").wait_for()
    kept = Kept(Project("play", lab_home / "projects" / "play"))
    assert kept.answers("training") == {"Is it <b>blue</b>?": "Yes, <i>blue</i>."}

    page.evaluate(RUN_ALL)
    window.get_by_text("word-8").first.wait_for(state="detached")
    window.get_by_text("Kept: 0 for the test, 1 for training").wait_for()
    field.fill("Again?")
    page.keyboard.press("Enter")
    answer.get_by_text("word-1 <b>bold</b>").wait_for()
    assert page.locator(".jp-CodeCell").count() == 2
    assert heard == []
